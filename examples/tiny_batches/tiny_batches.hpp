#pragma once

#include <dstream/dstream.hpp>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

/// 100 pairs (i mod 10, 1) in two partitions, in every batch, summed by key.
inline auto tinySums(const dstream::StreamingContext& ssc) {
    std::vector<std::pair<int64_t, int64_t>> pairs;
    for (int64_t i = 0; i < 100; ++i) pairs.emplace_back(i % 10, 1);
    dstream::ConstantInputDStream<std::pair<int64_t, int64_t>> input(ssc, ssc.sparkContext().parallelize(pairs, 2));
    return input.reduceByKey(std::plus<>{});
}
