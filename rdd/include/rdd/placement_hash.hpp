#pragma once

#include "rdd/codec.hpp"
#include "rdd/time.hpp"

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace dstream {

namespace detail {

/// The finaliser of splitmix64.
constexpr uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/// Adds the hash of the next part to the hash of those before it; the order matters.
constexpr uint64_t combineHash(uint64_t before, uint64_t next) {
    return mix64(before + 0x9E3779B97F4A7C15) + next;
}

/// XXH3-64 with seed 0 of any length, by the library.
uint64_t xxh3Long(const void* data, size_t size) noexcept;

inline uint64_t load64(const char* place) {
    uint64_t value;
    std::memcpy(&value, place, sizeof value);
    return value;
}
inline uint32_t load32(const char* place) {
    uint32_t value;
    std::memcpy(&value, place, sizeof value);
    return value;
}

/// XXH3-64 with seed 0. Up to 16 bytes written out here, for words; the constants come from the default secret.
inline uint64_t xxh3(std::string_view bytes) noexcept {
    const char* const data = bytes.data();
    const size_t size = bytes.size();
    if (size > 16) return xxh3Long(data, size);
    if (size > 8) {
        const uint64_t low = load64(data) ^ 0x6782737BEA4239B9;
        const uint64_t high = load64(data + size - 8) ^ 0xAF56BC3B0996523A;
        __extension__ using Wide = unsigned __int128;
        const Wide product = static_cast<Wide>(low) * high;
        uint64_t h = size + __builtin_bswap64(low) + high +
                     (static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64));
        h = (h ^ (h >> 37)) * 0x165667919E3779F9;
        return h ^ (h >> 32);
    }
    if (size >= 4) {
        uint64_t h = (load32(data + size - 4) + (static_cast<uint64_t>(load32(data)) << 32)) ^ 0xC73AB174C5ECD5A2;
        h ^= std::rotl(h, 49) ^ std::rotl(h, 24);
        h *= 0x9FB21C651E98DF25;
        h = (h ^ ((h >> 35) + size)) * 0x9FB21C651E98DF25;
        return h ^ (h >> 28);
    }
    if (size > 0) {
        const auto byte = [data](size_t index) {
            return static_cast<uint32_t>(static_cast<unsigned char>(data[index]));
        };
        uint64_t h = (byte(0) << 16 | byte(size >> 1) << 24 | byte(size - 1) | static_cast<uint32_t>(size) << 8) ^
                     uint64_t { 0x87275A9B };
        h = (h ^ (h >> 33)) * 0xC2B2AE3D27D4EB4F;
        h = (h ^ (h >> 29)) * 0x165667B19E3779F9;
        return h ^ (h >> 32);
    }
    return 0x2D06800538D394C2;
}

}  // namespace detail

/// The hash that decides which partition a key lives in: the same in every process, on every machine and in every
/// version, because checkpoints depend on it. Never std::hash.
///
/// Integers and enums: a mix of the value widened to int64, so that int32 and int64 agree. Floating point: the bits of
/// the double, -0.0 as +0.0 and one NaN. Strings, views and bytes: XXH3-64 with seed 0. Pair, tuple, optional, vector:
/// their parts in order. Another type with a Codec: XXH3-64 of the bytes of one value, without its version. Or
/// specialise.
template <class T>
struct PlacementHash {
    uint64_t operator()(const T& value) const requires Codable<T> {
        std::array<std::byte, 256> room;  // enough for most keys
        ByteWriter bytes(room);
        if constexpr (requires { Codec<T>::putMembers(bytes, value); }) {
            Codec<T>::putMembers(bytes, value);
        } else {
            detail::putValue<T>(bytes, value);
        }
        return detail::xxh3(asText(bytes.view()));
    }
};

/// A type that can be a key.
template <class T>
concept Hashable = requires(const T& value) {
    { PlacementHash<T>{}(value) } -> std::same_as<uint64_t>;
};

/// Returns the placement hash of any key, a view or an owning one.
template <Hashable T>
uint64_t placementHash(const T& value) {
    return PlacementHash<T>{}(value);
}

template <class T>
requires std::integral<T> || std::is_enum_v<T>
struct PlacementHash<T> {
    constexpr uint64_t operator()(T value) const noexcept {
        return detail::mix64(static_cast<uint64_t>(static_cast<int64_t>(value)));
    }
};

template <std::floating_point T>
struct PlacementHash<T> {
    constexpr uint64_t operator()(T value) const noexcept {
        double real = static_cast<double>(value);
        if (real == 0.0) real = 0.0;
        return detail::mix64(real == real ? std::bit_cast<uint64_t>(real) : 0x7FF8000000000000);
    }
};

template <class T>
requires std::same_as<T, Time> || std::same_as<T, Duration>
struct PlacementHash<T> {
    constexpr uint64_t operator()(T value) const noexcept { return PlacementHash<int64_t>{}(value.milliseconds()); }
};

template <class T>
requires std::same_as<T, std::string> || std::same_as<T, std::string_view>
struct PlacementHash<T> {
    uint64_t operator()(std::string_view value) const noexcept { return detail::xxh3(value); }
};

namespace detail {
template <class T>
concept ByteSized = std::same_as<T, std::byte> || std::same_as<T, char> || std::same_as<T, unsigned char>;
}

template <class T>
requires(std::same_as<T, std::span<const std::byte>> || std::same_as<T, std::span<std::byte>>) struct PlacementHash<T> {
    uint64_t operator()(std::span<const std::byte> value) const noexcept { return detail::xxh3(asText(value)); }
};

template <Hashable A, Hashable B>
struct PlacementHash<std::pair<A, B>> {
    constexpr uint64_t operator()(const std::pair<A, B>& value) const {
        return detail::combineHash(PlacementHash<A>{}(value.first), PlacementHash<B>{}(value.second));
    }
};

template <Hashable A, Hashable... B>
struct PlacementHash<std::tuple<A, B...>> {
    constexpr uint64_t operator()(const std::tuple<A, B...>& value) const {
        return std::apply(
            [](const A& first, const B&... rest) {
                uint64_t hash = PlacementHash<A>{}(first);
                ((hash = detail::combineHash(hash, PlacementHash<B>{}(rest))), ...);
                return hash;
            },
            value);
    }
};

template <Hashable T>
struct PlacementHash<std::optional<T>> {
    constexpr uint64_t operator()(const std::optional<T>& value) const {
        return value ? detail::combineHash(1, PlacementHash<T>{}(*value)) : detail::mix64(0x9E3779B97F4A7C15);
    }
};

template <Hashable T>
struct PlacementHash<std::vector<T>> {
    uint64_t operator()(const std::vector<T>& value) const {
        if constexpr (detail::ByteSized<T>) {
            return detail::xxh3(asText(std::as_bytes(std::span(value))));
        } else {
            uint64_t hash = value.size();
            for (const auto& element : value) hash = detail::combineHash(hash, PlacementHash<T>{}(element));
            return hash;
        }
    }
};

// No order to hash in: unusable as keys.
template <class T, class H, class E, class A>
struct PlacementHash<std::unordered_set<T, H, E, A>>;
template <class K, class V, class H, class E, class A>
struct PlacementHash<std::unordered_map<K, V, H, E, A>>;

}  // namespace dstream
