#pragma once

#include <dstream/dstream.hpp>

#include <cstdint>
#include <utility>

/// A number that looks random and is the same on every machine: the i-th draw of a seed.
inline uint64_t draw(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/// `count` pairs (random number, 1) in the order of the numbers, in two partitions.
inline auto sortedPairs(const dstream::SparkContext& sc, int64_t count) {
    return sc.range(0, count, 1, 2)
        .map([](int64_t i) {
            return std::pair(static_cast<int32_t>(draw(42, static_cast<uint64_t>(i)) >> 33), int32_t{1});
        })
        .sortByKey(true, 2);
}
