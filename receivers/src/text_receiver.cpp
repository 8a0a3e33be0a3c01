#include "receivers/text_receiver.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>

namespace dstream {

namespace {

class TextBuffer final : public detail::RecordBuffer<std::string> {
public:
    explicit TextBuffer(size_t maxLineBytes) : builder(maxLineBytes) {}
    void add(std::string line) override {
        builder.append(line);
        builder.append("\n");
    }
    std::shared_ptr<Block> take() override { return std::const_pointer_cast<TextBlock>(builder.take()); }
    size_t sizeBytes() const override { return builder.sizeBytes(); }

    TextBlockBuilder builder;
};

TextBlockBuilder& builderOf(detail::BlockBuffer& buffer) {
    return static_cast<TextBuffer&>(buffer).builder;
}

/// A piece is appended under the generator's lock.
constexpr size_t kPieceBytes = 256 * 1024;

}  // namespace

int64_t TextReceiver::storeText(std::string_view text) {
    detail::BlockGeneratorBase& generator = defaultGenerator();
    int64_t longLines = 0;
    while (!text.empty()) {
        const bool unlimited = generator.unlimited();
        if (!unlimited && admitted_ == 0) admitted_ = generator.admit(RateLimiter::kUnlimited - 1);
        generator.append([&](detail::BlockBuffer& buffer) {
            TextBlockBuilder& builder = builderOf(buffer);
            const auto linesBefore = static_cast<int64_t>(builder.numLines());
            const auto longBefore = static_cast<int64_t>(builder.longLines());
            const size_t maxLines = unlimited ? TextBlockBuilder::kNoLimit : static_cast<size_t>(admitted_);
            text.remove_prefix(builder.append(text.substr(0, kPieceBytes), maxLines));
            admitted_ = unlimited ? 0 : admitted_ - (static_cast<int64_t>(builder.numLines()) - linesBefore);
            longLines += static_cast<int64_t>(builder.longLines()) - longBefore;
        });
    }
    if (longLines > 0) {
        countLongLines(longLines);
        reportError(std::to_string(longLines) + " line(s) longer than dstream.socket.maxLineBytes were dropped");
    }
    return longLines;
}

void TextReceiver::endText() {
    defaultGenerator().append([](detail::BlockBuffer& buffer) { builderOf(buffer).finish(); });
}

void TextReceiver::dropPartialLine() {
    defaultGenerator().append([](detail::BlockBuffer& buffer) { builderOf(buffer).dropPartialLine(); });
}

std::unique_ptr<detail::BlockBuffer> TextReceiver::makeBuffer() const {
    const int64_t maxLineBytes = conf().getSizeAsBytes("dstream.socket.maxLineBytes", int64_t{1} << 20);
    if (maxLineBytes <= 0) {
        throw IllegalArgumentException("dstream.socket.maxLineBytes must be positive: " + std::to_string(maxLineBytes));
    }
    return std::make_unique<TextBuffer>(static_cast<size_t>(maxLineBytes));
}

}  // namespace dstream
