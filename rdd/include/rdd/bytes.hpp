#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream {

static_assert(std::endian::native == std::endian::little, "all formats are little-endian and written as in memory");

inline std::span<const std::byte> asBytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view asText(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Collects little-endian values into one growing buffer.
class ByteWriter {
public:
    ByteWriter() = default;
    /// Begins in memory of the caller, which must outlive the writer; goes on in its own when that is full.
    explicit ByteWriter(std::span<std::byte> room) : place_(room.data()), capacity_(room.size()) {}
    ByteWriter(ByteWriter&& that) noexcept;
    ByteWriter& operator=(ByteWriter&& that) noexcept;

    void u8(uint8_t value) { put(value); }
    void u16(uint16_t value) { put(value); }
    void u32(uint32_t value) { put(value); }
    void u64(uint64_t value) { put(value); }
    void i64(int64_t value) { put(value); }
    void f64(double value) { put(value); }
    void bytes(std::span<const std::byte> value) {
        if (!value.empty()) std::memcpy(extend(value.size()), value.data(), value.size());
    }
    void bytes(std::string_view value) { bytes(asBytes(value)); }
    /// Writes the length as u32 and then the bytes.
    /// @throws SparkException  for 4 GiB or more
    void text(std::string_view value) {
        if (value.size() > UINT32_MAX) tooLong(value.size());
        u32(static_cast<uint32_t>(value.size()));
        bytes(value);
    }
    /// Writes a number in groups of 7 bits, lowest first: one byte below 128.
    void varint(uint64_t value) {
        for (; value >= 0x80; value >>= 7) u8(static_cast<uint8_t>(value | 0x80));
        u8(static_cast<uint8_t>(value));
    }

    /// Lengthens the contents by `count` bytes that the caller fills in before the next call, and returns where.
    std::byte* extend(size_t count) {
        if (capacity_ - size_ < count) grow(count);
        std::byte* const place = place_ + size_;
        size_ += count;
        return place;
    }
    /// Overwrites a u32 written before, at its distance from the beginning.
    void patchU32(size_t offset, uint32_t value) { std::memcpy(place_ + offset, &value, sizeof value); }
    void patchU64(size_t offset, uint64_t value) { std::memcpy(place_ + offset, &value, sizeof value); }

    size_t size() const { return size_; }
    std::span<const std::byte> view() const { return {place_, size_}; }
    /// Empties it and keeps the memory.
    void clear() { size_ = 0; }

    /// Hands the contents over and leaves the writer empty.
    std::vector<std::byte> take();
    std::string takeString() {
        std::string text(asText(view()));
        size_ = 0;
        return text;
    }

private:
    template <class T>
    void put(T value) {
        std::memcpy(extend(sizeof value), &value, sizeof value);
    }
    void grow(size_t count);
    [[noreturn]] static void tooLong(size_t size);

    std::vector<std::byte> buffer_;  // empty while the caller's memory suffices
    std::byte* place_ = nullptr;     // of the buffer or of the caller
    size_t capacity_ = 0;
    size_t size_ = 0;
};

/// Reads little-endian values from bytes that it does not own.
/// Every method throws SparkException, naming the place, when fewer bytes are left than it needs.
class ByteReader {
public:
    explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
    explicit ByteReader(std::string_view bytes) : bytes_(asBytes(bytes)) {}

    uint8_t u8() { return get<uint8_t>(); }
    uint16_t u16() { return get<uint16_t>(); }
    uint32_t u32() { return get<uint32_t>(); }
    uint64_t u64() { return get<uint64_t>(); }
    int64_t i64() { return get<int64_t>(); }
    double f64() { return get<double>(); }
    /// Returns a view of the next `count` bytes.
    std::span<const std::byte> bytes(size_t count) {
        if (remaining() < count) underflow(count);
        const auto result = bytes_.subspan(position_, count);
        position_ += count;
        return result;
    }
    /// Returns a view of the bytes written by ByteWriter::text.
    std::string_view text() {
        const uint32_t length = u32();
        return asText(bytes(length));
    }
    uint64_t varint() {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const uint8_t byte = u8();
            if (shift == 63 && byte > 1) break;
            value |= static_cast<uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80) return value;
        }
        badVarint();
    }
    /// Reads a count of things that take at least `leastBytes` each, and checks that so many can follow.
    size_t count(size_t leastBytes = 1) {
        const uint64_t number = u64();
        if (number > remaining() / leastBytes) badCount(number);
        return static_cast<size_t>(number);
    }

    size_t position() const { return position_; }
    size_t remaining() const { return bytes_.size() - position_; }

private:
    template <class T>
    T get() {
        if (remaining() < sizeof(T)) underflow(sizeof(T));
        T value;
        std::memcpy(&value, bytes_.data() + position_, sizeof value);
        position_ += sizeof value;
        return value;
    }
    [[noreturn]] void underflow(size_t wanted) const;
    [[noreturn]] void badVarint() const;
    [[noreturn]] void badCount(uint64_t number) const;

    std::span<const std::byte> bytes_;
    size_t position_ = 0;
};

}  // namespace dstream
