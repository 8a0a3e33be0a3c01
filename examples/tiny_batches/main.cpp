#include "tiny_batches.hpp"

#include <iostream>

using namespace dstream;

/// A batch every 10 ms: prints the sums of the first, and whether the 99 that follow have the same.
int main() {
    StreamingContext ssc(SparkConf().setAppName("TinyBatches").setMaster("local[2]"), Milliseconds(10));
    int batches = 0;
    bool same = true;
    tinySums(ssc).foreachRDD([&ssc, &batches, &same](const auto& sums) {
        if (batches == 100) return;  // the stop is on its way
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
