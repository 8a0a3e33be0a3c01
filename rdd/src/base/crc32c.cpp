#include "rdd/frame.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace dstream {

namespace {

constexpr std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t rest = i;
        for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ (rest & 1 ? 0x82F63B78 : 0);
        table[i] = rest;
    }
    return table;
}();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t byInstruction(std::span<const std::byte> bytes, uint32_t before) {
    uint64_t crc = ~before;
    const std::byte* place = bytes.data();
    size_t left = bytes.size();
    for (; left >= 8; left -= 8, place += 8) {
        uint64_t word;
        std::memcpy(&word, place, sizeof word);
        crc = _mm_crc32_u64(crc, word);
    }
    for (; left > 0; --left, ++place) crc = _mm_crc32_u8(static_cast<uint32_t>(crc), std::to_integer<uint8_t>(*place));
    return ~static_cast<uint32_t>(crc);
}
#endif

}  // namespace

uint32_t detail::crc32cByTable(std::span<const std::byte> bytes, uint32_t before) {
    uint32_t crc = ~before;
    for (const std::byte byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ std::to_integer<uint32_t>(byte)) & 0xFF];
    return ~crc;
}

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) {
#if defined(__x86_64__)
    static const bool hasInstruction = __builtin_cpu_supports("sse4.2");
    if (hasInstruction) return byInstruction(bytes, before);
#endif
    return detail::crc32cByTable(bytes, before);
}

}  // namespace dstream
