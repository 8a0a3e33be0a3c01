// Statistics of numbers, one a line: of each batch, of a window and of all so far.
#include "../example_input.hpp"
#include <rdd/stat_counter.hpp>

#include <plugins/run.hpp>

#include <iostream>
#include <string>

using namespace dstream;

void print(const std::string& of, const StatCounter& stats) {
    std::cout << of << ": count " << stats.count();
    if (stats.count() > 0) {
        std::cout << ", mean " << stats.mean() << ", stdev " << stats.stdev() << ", max " << stats.max() << ", min "
                  << stats.min();
    }
    std::cout << std::endl;
}

void streamingStatistics(StreamingContext& ssc, const Options& options) {
    const auto numbers = inputLines(ssc, options).map([](const std::string& line) { return std::stod(line); });
    numbers.foreachRDD([all = StatCounter()](const RDD<double>& rdd, Time time) mutable {
        const StatCounter batch = rdd.stats();
        all.merge(batch);
        std::cout << "Time: " << time.milliseconds() << " ms\n";
        print("batch", batch);
        print("all", all);
    });
    numbers.window(Seconds(3)).foreachRDD([](const RDD<double>& rdd, Time) { print("last 3 s", rdd.stats()); });
}

DSTREAM_REGISTER_JOB("streaming_statistics", streamingStatistics, lineOptions())

int main(int argc, char** argv) {
    return runMain(argc, argv, "streaming_statistics");
}
