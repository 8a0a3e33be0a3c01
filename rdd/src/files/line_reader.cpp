#include "files/line_reader.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace dstream::detail {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(std::unique_ptr<ByteSource> source, std::string origin, uint64_t start, uint64_t end,
                       Options options)
    : source_(std::move(source)),
      origin_(std::move(origin)),
      end_(end),
      options_(options),
      bufferOffset_(start),
      skipsLine_(start != 0) {}

size_t LineReader::find(char wanted, size_t from) const {
    const char* const data = buffer_.get();
    const void* const found = from == size_ ? nullptr : std::memchr(data + from, wanted, size_ - from);
    return found == nullptr ? size_ : static_cast<size_t>(static_cast<const char*>(found) - data);
}

size_t LineReader::next(std::vector<std::string_view>& lines) {
    const char* const data = buffer_.get();
    std::string_view* const out = lines.data();
    const size_t most = lines.size();
    const size_t size = size_;
    // Lines that begin behind the range are not ours.
    const size_t lastBegin = static_cast<size_t>(std::min<uint64_t>(end_ - std::min(end_, bufferOffset_), size));
    const bool beyond = bufferOffset_ > end_;
    size_t begin = begin_;
    size_t nextFeed = nextFeed_;
    size_t nextReturn = nextReturn_;
    size_t count = 0;
    bool needsMore = false;
    while (count < most) {
        if (begin > lastBegin || beyond) {
            atEnd_ = true;
            break;
        }
        const size_t lineEnd = std::min(nextFeed, nextReturn);
        size_t after = lineEnd + 1;
        if (lineEnd == size) {
            needsMore = !sourceEnded_;
            atEnd_ = sourceEnded_ && begin == size;
            if (needsMore || atEnd_) break;
            after = size;
        } else if (lineEnd == nextReturn) {
            if (after == size && !sourceEnded_) {  // a line feed may follow
                needsMore = true;
                break;
            }
            if (after == nextFeed && after < size) ++after;
        }
        if (skipsLine_) {
            skipsLine_ = false;
        } else {
            out[count++] = {data + begin, lineEnd - begin};
        }
        begin = after;
        if (nextFeed < after) nextFeed = find('\n', after);
        if (nextReturn < after) nextReturn = find('\r', after);
    }
    begin_ = begin;
    nextFeed_ = nextFeed;
    nextReturn_ = nextReturn;
    if (count == 0 && needsMore) refill();
    return count;
}

void LineReader::refill() {
    if (skipsLine_ && begin_ < size_) {  // a carriage return at the end still decides where the line ends
        begin_ = nextReturn_ < size_ ? nextReturn_ : size_;
    }
    const size_t kept = size_ - begin_;
    if (kept == capacity_) {
        if (capacity_ > options_.maxLineBytes) {
            throw SparkException(
                origin_ + ": the line at byte " + std::to_string(position()) + " is longer than " +
                std::to_string(options_.maxLineBytes) +
                " bytes; raise dstream.files.maxLineBytes if this is text, or read the file with binaryRecords");
        }
        const size_t wanted = capacity_ == 0 ? std::max<size_t>(options_.bufferBytes, kByteOrderMark.size())
                                             : std::min(2 * capacity_, options_.maxLineBytes + 2);
        capacity_ = std::max(wanted, capacity_ + 2);
        auto* const grown = static_cast<char*>(std::realloc(buffer_.get(), capacity_ + kPadding));
        if (grown == nullptr) throw std::bad_alloc();
        static_cast<void>(buffer_.release());
        buffer_.reset(grown);
    }
    if (begin_ != 0) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, kept);
        bufferOffset_ += begin_;
        nextFeed_ -= begin_;
        nextReturn_ -= begin_;
        size_ = kept;
        begin_ = 0;
    }
    // Not far behind the range: only the end of its last line is wanted there.
    const uint64_t at = bufferOffset_ + size_;
    size_t wanted = capacity_ - size_;
    if (at < end_ && end_ - at < wanted) wanted = std::min<size_t>(wanted, static_cast<size_t>(end_ - at) + 1024);
    append(wanted);
    if (options_.skipByteOrderMark && bufferOffset_ == 0 && at == 0) {
        while (size_ < kByteOrderMark.size() && !sourceEnded_) append(kByteOrderMark.size() - size_);
        if (std::string_view(buffer_.get(), size_).starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
    }
}

void LineReader::append(size_t wanted) {
    const size_t before = size_;
    const size_t count = source_->read({reinterpret_cast<std::byte*>(buffer_.get()) + before, wanted});
    sourceEnded_ = count == 0;
    size_ = before + count;
    if (nextFeed_ == before) nextFeed_ = find('\n', before);
    if (nextReturn_ == before) nextReturn_ = find('\r', before);
}

Chunk<std::string_view> LineCursor::doNext() {
    lines_.resize(context_.chunkSize());
    const uint64_t before = reader_.position();
    size_t count = 0;
    while (!reader_.atEnd() && (count = reader_.next(lines_)) == 0) context_.checkCancelled();
    context_.taskMetrics().recordsRead += static_cast<int64_t>(count);
    context_.taskMetrics().bytesRead += static_cast<int64_t>(reader_.position() - before);
    return Chunk<std::string_view>::ownedBy(lines_.data(), count);
}

}  // namespace dstream::detail
