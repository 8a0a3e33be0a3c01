#pragma once

#include "rdd/detail/range_traits.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string_view>

namespace dstream {

namespace detail {

/// One bit for each of the next (at most 64) bytes, set where it is white space. Never reads outside [text, text + n).
inline uint64_t spaceMask(const char* text, std::size_t n) {
#if defined(__SSE2__)
    const auto mask16 = [](const char* at) -> uint64_t {
        // Vectors of the compiler: the header of the intrinsics costs every program that includes the library.
        using Unsigned [[gnu::vector_size(16)]] = unsigned char;
        using Signed [[gnu::vector_size(16)]] = signed char;
        using Plain [[gnu::vector_size(16)]] = char;
        Unsigned bytes;
        std::memcpy(&bytes, at, sizeof bytes);
        // \t \n \v \f \r are 9 to 13: plus 119 they wrap to the lower end of the signed bytes, below -123.
        const auto spaces = (bytes == ' ') | (reinterpret_cast<Signed>(bytes + 119) < -128 + 5);
        return static_cast<uint32_t>(__builtin_ia32_pmovmskb128(reinterpret_cast<Plain>(spaces)));
    };
    if (n >= 64) return mask16(text) | mask16(text + 16) << 16 | mask16(text + 32) << 32 | mask16(text + 48) << 48;
    uint64_t mask = 0;
    std::size_t at = 0;
    for (; at + 16 <= n; at += 16) mask |= mask16(text + at) << at;
    if (at == n) return mask;
    if (n >= 16) return mask | mask16(text + n - 16) << (n - 16);  // overlaps what was read before
    char padded[16] = {};
    std::memcpy(padded, text, n);
    return mask16(padded) & ((uint64_t{1} << n) - 1);
#else
    uint64_t mask = 0;
    for (std::size_t i = 0; i < n && i < 64; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        mask |= static_cast<uint64_t>(byte == ' ' || static_cast<unsigned char>(byte - 9) < 5) << i;
    }
    return mask;
#endif
}

}  // namespace detail

/// The words of a text, one after the other, as views into it; see splitWords.
class WordRange : public std::ranges::view_base {
public:
    class iterator {
    public:
        using iterator_concept = std::forward_iterator_tag;
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;

        iterator() = default;
        iterator(const char* text, const char* end) : block_(text), word_(text), end_(end) {
            load();
            advance();
        }
        std::string_view operator*() const { return {begin_, static_cast<std::size_t>(wordEnd_ - begin_)}; }
        iterator& operator++() {
            advance();
            return *this;
        }
        iterator operator++(int) {
            iterator before = *this;
            advance();
            return before;
        }
        friend bool operator==(const iterator& a, const iterator& b) { return a.begin_ == b.begin_; }
        friend bool operator==(const iterator& a, std::default_sentinel_t) { return a.begin_ == nullptr; }

    private:
        void load() {
            const auto left = static_cast<std::size_t>(end_ - block_);
            size_ = left < 64 ? left : 64;
            spaces_ = detail::spaceMask(block_, size_);
        }
        void advance() {
            for (;;) {
                while (spaces_ != 0) {
                    const char* space = block_ + std::countr_zero(spaces_);
                    spaces_ &= spaces_ - 1;
                    const char* begin = word_;
                    word_ = space + 1;
                    if (space != begin) {
                        begin_ = begin;
                        wordEnd_ = space;
                        return;
                    }
                }
                block_ += size_;
                if (block_ == end_) break;
                load();
            }
            // The last word has no space behind it.
            begin_ = word_ != end_ ? word_ : nullptr;
            wordEnd_ = end_;
            word_ = end_;
            size_ = 0;
        }

        const char* block_ = nullptr;  // the bytes that spaces_ speaks of
        const char* word_ = nullptr;   // where the next word may begin
        const char* end_ = nullptr;
        const char* begin_ = nullptr;  // the current word; null at the end
        const char* wordEnd_ = nullptr;
        uint64_t spaces_ = 0;
        std::size_t size_ = 0;
    };

    WordRange() = default;
    explicit WordRange(std::string_view text) : text_(text) {}
    iterator begin() const { return text_.empty() ? iterator() : iterator(text_.data(), text_.data() + text_.size()); }
    std::default_sentinel_t end() const { return {}; }

private:
    std::string_view text_;
};

/// Splits a text at ASCII white space (blank, \t, \n, \v, \f, \r) into words that are views into it; no empty words.
/// Lazy.
inline WordRange splitWords(std::string_view text) {
    return WordRange(text);
}

}  // namespace dstream

template <>
inline constexpr bool std::ranges::enable_borrowed_range<dstream::WordRange> = true;
