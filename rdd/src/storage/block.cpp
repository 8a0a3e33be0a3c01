#include "rdd/block.hpp"

#include <algorithm>
#include <cstring>

namespace dstream {

Block::~Block() = default;

BlockPtr detail::asShared(const Block* made) {
    return BlockPtr(made);
}

TextBlock::TextBlock(std::string bytes, std::vector<uint32_t> lineEnds)
    : bytes_(std::move(bytes)), lineEnds_(std::move(lineEnds)) {}
TextBlock::~TextBlock() = default;

BytesBlock::BytesBlock(std::string bytes, std::optional<int64_t> numRecords)
    : bytes_(std::move(bytes)), numRecords_(numRecords) {}
BytesBlock::~BytesBlock() = default;

TextBlockBuilder::TextBlockBuilder(size_t maxLineBytes) : maxLineBytes_(std::min(maxLineBytes, kMaxBlockBytes)) {}

size_t TextBlockBuilder::append(std::string_view bytes, size_t maxLines) {
    const char* const begin = bytes.data();
    const char* const end = begin + bytes.size();
    const char* position = begin;
    const auto find = [end](const char* from, char wanted) {
        const void* found = from == end ? nullptr : std::memchr(from, wanted, static_cast<size_t>(end - from));
        return found != nullptr ? static_cast<const char*>(found) : end;
    };
    if (position != end && afterCarriageReturn_) {
        afterCarriageReturn_ = false;
        if (*position == '\n') {
            if (!lineEnds_.empty() && lineEnds_.back() == bytes_.size() && bytes_.back() == '\r') {
                bytes_.push_back('\n');
                ++lineEnds_.back();
            }
            ++position;
        }
    }
    if (bytes_.capacity() < bytesHint_) bytes_.reserve(bytesHint_);
    if (lineEnds_.capacity() < linesHint_) lineEnds_.reserve(linesHint_);
    const char* nextFeed = find(position, '\n');
    const char* nextReturn = find(position, '\r');
    for (size_t lines = 0; position != end && lines < maxLines;) {
        const char* const contentEnd = std::min(nextFeed, nextReturn);
        const bool complete = contentEnd != end;
        const char* next = complete ? contentEnd + 1 : end;
        if (complete && *contentEnd == '\r' && next != end && *next == '\n') ++next;
        const bool tooLong =
            skipping_ || bytes_.size() - partialStart() + static_cast<size_t>(contentEnd - position) > maxLineBytes_;
        if (tooLong) {
            if (!skipping_) ++longLines_;
            bytes_.resize(partialStart());
            skipping_ = !complete;
        } else {
            const auto size = static_cast<size_t>(next - position);
            if (bytes_.size() + size > kMaxBlockBytes && !lineEnds_.empty()) break;
            bytes_.append(position, size);
            if (complete) {
                lineEnds_.push_back(static_cast<uint32_t>(bytes_.size()));
                ++lines;
            }
        }
        afterCarriageReturn_ = complete && next == end && end[-1] == '\r';
        if (nextFeed < next) nextFeed = find(next, '\n');
        if (nextReturn < next) nextReturn = find(next, '\r');
        position = next;
    }
    return static_cast<size_t>(position - begin);
}

void TextBlockBuilder::finish() {
    if (bytes_.size() > partialStart()) lineEnds_.push_back(static_cast<uint32_t>(bytes_.size()));
    skipping_ = false;
    afterCarriageReturn_ = false;
}

void TextBlockBuilder::dropPartialLine() {
    bytes_.resize(partialStart());
    skipping_ = false;
    afterCarriageReturn_ = false;
}

std::shared_ptr<const TextBlock> TextBlockBuilder::take() {
    if (lineEnds_.empty()) return nullptr;
    const size_t end = partialStart();
    std::string partial = bytes_.substr(end);
    bytes_.resize(end);
    bytesHint_ = end + end / 8;
    linesHint_ = lineEnds_.size() + lineEnds_.size() / 8;
    auto block = std::make_shared<const TextBlock>(std::move(bytes_), std::move(lineEnds_));
    bytes_ = std::move(partial);
    lineEnds_ = {};
    return block;
}

}  // namespace dstream
