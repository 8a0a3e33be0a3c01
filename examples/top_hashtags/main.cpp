// The most frequent hashtags of the last 60 and the last 10 seconds: TwitterPopularTags.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <cstdint>
#include <functional>
#include <iostream>
#include <string>
#include <utility>

using namespace dstream;

void printTop(const DStream<std::string>& hashTags, Duration window) {
    const auto topCounts = hashTags.map([](const std::string& tag) { return std::pair(tag, 1); })
                               .reduceByKeyAndWindow(std::plus<>{}, window)
                               .map([](const std::pair<std::string, int>& tagAndCount) {
                                   // Equal counts in the order of the tags
                                   return std::pair(std::pair(-tagAndCount.second, tagAndCount.first), tagAndCount);
                               })
                               .transform([](const auto& rdd, Time) { return rdd.sortByKey(); });
    topCounts.foreachRDD([window](const auto& rdd, Time) {
        std::cout << "\nPopular topics in last " << window.milliseconds() / 1000 << " seconds (" << rdd.count()
                  << " total):\n";
        for (const auto& [order, tagAndCount] : rdd.take(3)) {
            std::cout << tagAndCount.first << " (" << tagAndCount.second << " tweets)\n";
        }
        std::cout << std::flush;
    });
}

void topHashtags(StreamingContext& ssc, const Options& options) {
    const auto hashTags =
        inputLines(ssc, options).flatMap(wordsOf).filter([](const std::string& word) { return word.starts_with("#"); });
    printTop(hashTags, Seconds(60));
    printTop(hashTags, Seconds(10));
}

DSTREAM_REGISTER_JOB("top_hashtags", topHashtags, lineOptions())

int main(int argc, char** argv) {
    return runMain(argc, argv, "top_hashtags");
}
