// Counts words and goes on after a restart, with a broadcast list of excluded words and an accumulator of dropped ones:
// RecoverableNetworkWordCount.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <algorithm>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace dstream;

/// Broadcasts and accumulators are not in a checkpoint: the first batch of a context makes them.
class WordExcludeList {
public:
    static Broadcast<std::vector<std::string>> getInstance(const SparkContext& sc) {
        static std::mutex mutex;
        static std::optional<Broadcast<std::vector<std::string>>> instance;
        const std::lock_guard lock(mutex);
        if (!instance) instance = sc.broadcast(std::vector<std::string>{"a", "b", "c"});
        return *instance;
    }
};

class DroppedWordsCounter {
public:
    static LongAccumulator getInstance(const SparkContext& sc) {
        static std::mutex mutex;
        static std::optional<LongAccumulator> instance;
        const std::lock_guard lock(mutex);
        if (!instance) instance = sc.longAccumulator("DroppedWordsCounter");
        return *instance;
    }
};

/// What createContext of the reference does; the runner calls it through getOrCreate when there is --checkpoint.
void recoverableNetworkWordCount(StreamingContext& ssc, const Options& options) {
    const auto lines = inputLines(ssc, options);
    const auto words = lines.flatMap(wordsOf);
    const auto addOne = [](const std::vector<int>& ones, std::optional<int> sum) {
        return std::optional(sum.value_or(0) + static_cast<int>(ones.size()));
    };
    const auto wordCounts =
        words.map([](const std::string& x) { return std::pair(x, 1); }).updateStateByKey<int>(addOne);
    wordCounts.foreachRDD([](const RDD<std::pair<std::string, int>>& rdd, Time time) {
        const auto excludeList = WordExcludeList::getInstance(rdd.sparkContext());
        auto droppedWordsCounter = DroppedWordsCounter::getInstance(rdd.sparkContext());
        const auto counts = rdd.filter([excludeList, droppedWordsCounter](const auto& count) mutable {
                                   const auto& excluded = excludeList.value();
                                   if (std::ranges::find(excluded, count.first) == excluded.end()) return true;
                                   droppedWordsCounter.add(count.second);
                                   return false;
                               })
                                .collect();
        std::cout << "Counts at time " << time.milliseconds() << " ms:";
        for (const auto& [word, count] : counts) std::cout << " (" << word << ", " << count << ")";
        std::cout << "\nDropped " << droppedWordsCounter.value() << " word(s) totally" << std::endl;
    });
}

DSTREAM_REGISTER_JOB("recoverable_network_word_count", recoverableNetworkWordCount, lineOptions())

int main(int argc, char** argv) {
    return runMain(argc, argv, "recoverable_network_word_count");
}
