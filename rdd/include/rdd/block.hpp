#pragma once

#include "rdd/detail/array.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream {

/// Holds data of one partition; immutable once shared, so any thread may read it without a lock.
class Block {
public:
    virtual ~Block();
    /// Memory the block keeps, in bytes (an estimate).
    virtual size_t sizeBytes() const = 0;
    /// Number of records, absent where only reading the bytes would tell.
    virtual std::optional<int64_t> numRecords() const = 0;

protected:
    Block() = default;
    Block(const Block&) = default;
    Block& operator=(const Block&) = default;
};

using BlockPtr = std::shared_ptr<const Block>;

namespace detail {

/// Takes over a block that has just been made. This one and those for nodes return pointers made of the bases': with a
/// control block of its own every kind of block or node would cost each program compile time.
BlockPtr asShared(const Block* made);

/// Estimates the memory of one element including what it owns on the heap.
template <class T>
size_t elementBytes(const T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
        return sizeof(T);
    } else if constexpr (requires { elementBytes(value.first) + elementBytes(value.second); }) {
        return elementBytes(value.first) + elementBytes(value.second);
    } else if constexpr (requires {
                             value.size();
                             value.data();
                             sizeof(typename T::value_type);
                         }) {
        size_t bytes = sizeof(T);
        if constexpr (std::is_trivially_copyable_v<typename T::value_type>) {
            bytes += value.size() * sizeof(typename T::value_type);
        } else {
            for (const auto& element : value) bytes += elementBytes(element);
        }
        return bytes;
    } else {
        return sizeof(T);
    }
}

}  // namespace detail

/// Keeps elements as objects.
template <class T>
class VectorBlock final : public Block {
public:
    explicit VectorBlock(detail::Array<T> elements) : elements_(std::move(elements)), sizeBytes_(measure(elements_)) {}
    /// Takes the size from a caller that has measured the elements while it gathered them.
    VectorBlock(detail::Array<T> elements, size_t measuredBytes)
        : elements_(std::move(elements)), sizeBytes_(measuredBytes) {}

    const detail::Array<T>& elements() const { return elements_; }
    size_t sizeBytes() const override { return sizeBytes_; }
    std::optional<int64_t> numRecords() const override { return static_cast<int64_t>(elements_.size()); }

private:
    static size_t measure(const detail::Array<T>& elements) {
        if constexpr (std::is_trivially_copyable_v<T>) return elements.size() * sizeof(T);
        size_t bytes = 0;
        for (const T& element : elements) bytes += detail::elementBytes(element);
        return bytes;
    }

    detail::Array<T> elements_;
    size_t sizeBytes_;
};

/// Keeps text as it arrived: one buffer and, for each line, the offset behind its terminator.
/// LF, CR or CRLF end a line; the last one may have no terminator. Bytes of a line are kept as they are (NUL, invalid
/// UTF-8).
class TextBlock final : public Block {
public:
    /// @param lineEnds  offsets behind each line's terminator, rising; the last one is the size of `bytes`
    TextBlock(std::string bytes, std::vector<uint32_t> lineEnds);
    ~TextBlock() override;

    size_t numLines() const { return lineEnds_.size(); }
    /// Line `index` without its terminator; valid as long as the block.
    std::string_view line(size_t index) const {
        const char* begin = bytes_.data() + (index == 0 ? 0 : lineEnds_[index - 1]);
        const char* end = bytes_.data() + lineEnds_[index];
        if (end != begin && end[-1] == '\n') --end;
        if (end != begin && end[-1] == '\r') --end;
        return {begin, static_cast<size_t>(end - begin)};
    }
    /// The text with its terminators.
    std::string_view bytes() const { return bytes_; }
    const std::vector<uint32_t>& lineEnds() const { return lineEnds_; }

    size_t sizeBytes() const override { return bytes_.size() + lineEnds_.size() * sizeof(uint32_t); }
    std::optional<int64_t> numRecords() const override { return static_cast<int64_t>(lineEnds_.size()); }

private:
    std::string bytes_;
    std::vector<uint32_t> lineEnds_;
};

/// Splits arriving bytes into lines and gathers them as text blocks; right however the bytes are cut into pieces.
/// Not thread-safe.
///
///     TextBlockBuilder builder;
///     while (size_t n = read(buffer)) builder.append({buffer, n});
///     builder.finish();
///     BlockPtr block = builder.take();
class TextBlockBuilder {
public:
    static constexpr size_t kNoLimit = static_cast<size_t>(-1);
    /// A block does not grow beyond this; offsets are 32 bits.
    static constexpr size_t kMaxBlockBytes = size_t{1} << 30;

    /// @param maxLineBytes  a longer line is dropped up to its terminator and counted; at most `kMaxBlockBytes`
    explicit TextBlockBuilder(size_t maxLineBytes = kMaxBlockBytes);

    /// Appends bytes until they are used up, `maxLines` lines have been completed or the block is full.
    /// @return how many bytes were taken; less than all only for the last two reasons
    size_t append(std::string_view bytes, size_t maxLines = kNoLimit);
    /// Ends the text: an unterminated last line becomes a line. Text appended later begins a new line.
    void finish();
    /// Drops an unfinished last line, for a source that starts again from elsewhere.
    void dropPartialLine();

    /// Completed lines since the last `take()`.
    size_t numLines() const { return lineEnds_.size(); }
    /// Bytes held, an unfinished line included.
    size_t sizeBytes() const { return bytes_.size() + lineEnds_.size() * sizeof(uint32_t); }
    /// Lines dropped so far for their length.
    uint64_t longLines() const { return longLines_; }
    /// True while the rest of a line that is too long is being dropped.
    bool insideLongLine() const { return skipping_; }

    /// Gives the completed lines as a block and keeps an unfinished one; null if there is no line.
    std::shared_ptr<const TextBlock> take();

private:
    size_t partialStart() const { return lineEnds_.empty() ? 0 : lineEnds_.back(); }

    std::string bytes_;
    std::vector<uint32_t> lineEnds_;
    size_t maxLineBytes_;
    size_t bytesHint_ = 0;  // these two: a little more than the block before had, to spare growing step by step
    size_t linesHint_ = 0;
    uint64_t longLines_ = 0;
    bool skipping_ = false;
    bool afterCarriageReturn_ = false;  // a line feed that comes next belongs to the terminator seen already
};

/// Keeps bytes that somebody has serialised before; only a codec knows the records in it.
class BytesBlock final : public Block {
public:
    explicit BytesBlock(std::string bytes, std::optional<int64_t> numRecords = std::nullopt);
    ~BytesBlock() override;

    std::string_view bytes() const { return bytes_; }
    size_t sizeBytes() const override { return bytes_.capacity(); }
    std::optional<int64_t> numRecords() const override { return numRecords_; }

private:
    std::string bytes_;
    std::optional<int64_t> numRecords_;
};

}  // namespace dstream
