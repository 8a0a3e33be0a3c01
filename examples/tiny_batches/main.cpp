#include "tiny_batches.hpp"

#include <iostream>

using namespace dstream;

/// A batch every 10 ms for a second: prints the sums of the first, and whether all others had the same.
int main() {
    StreamingContext ssc(SparkConf().setAppName("TinyBatches").setMaster("local[2]"), Milliseconds(10));
    int batches = 0;
    bool same = true;
    tinySums(ssc).foreachRDD([&ssc, &batches, &same](const RDD<std::pair<int64_t, int64_t>>& sums) {
        const auto all = sums.collectAsMap();
        if (++batches == 1) {
            for (const auto& [key, sum] : all) std::cout << key << ' ' << sum << '\n';
        }
        for (const auto& [key, sum] : all) same = same && sum == 10;
        if (batches == 100) ssc.stop();
    });
    ssc.start();
    ssc.awaitTermination();
    std::cout << batches << (same ? " batches, all the same\n" : " batches, not all the same\n");
}
