#include "tiny_batches.hpp"

#include <plugins/plugin.hpp>

#include <iostream>

using namespace dstream;

/// Prints the sums of the first batch, and whether the 99 that follow have the same; then it ends.
void tinyBatches(StreamingContext& context) {
    tinySums(context).foreachRDD([ssc = context, batches = 0, same = true](const auto& sums) mutable {
        if (batches == 100) return;  // the stop is on its way
        const auto all = sums.collectAsMap();
        if (++batches == 1) {
            for (const auto& [key, sum] : all) std::cout << key << ' ' << sum << '\n';
        }
        for (const auto& [key, sum] : all) same = same && sum == 10;
        if (batches < 100) return;
        std::cout << batches << (same ? " batches, all the same\n" : " batches, not all the same\n") << std::flush;
        ssc.stop();
    });
}

DSTREAM_REGISTER_JOB("tiny_batches", [](StreamingContext& ssc, const Options&) { tinyBatches(ssc); })

int main() {
    StreamingContext ssc(SparkConf().setAppName("TinyBatches").setMaster("local[2]"), Milliseconds(10));
    tinyBatches(ssc);
    ssc.start();
    ssc.awaitTermination();
}
