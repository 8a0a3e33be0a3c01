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

/// `count` pairs of a key below `count` and a value, in two partitions.
inline auto randomPairs(const dstream::SparkContext& sc, uint64_t seed, int64_t count) {
    return sc.range(0, count, 1, 2).map([seed, count](int64_t i) {
        const uint64_t key = draw(seed, static_cast<uint64_t>(i)) % static_cast<uint64_t>(count);
        return std::pair(static_cast<int64_t>(key), i % 1000000);
    });
}

/// Every pair of one side with every pair of the other that has the same key.
inline auto joinedPairs(const dstream::SparkContext& sc, int64_t count) {
    return randomPairs(sc, 1, count).join(randomPairs(sc, 2, count), 2);
}
