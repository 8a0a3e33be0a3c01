// Uses a broadcast, a dictionary that each task reads, and accumulators that all tasks add to.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <iostream>
#include <map>
#include <string>
#include <utility>

using namespace dstream;

void droppedWords(StreamingContext& ssc, const Options& options) {
    const auto dictionary = ssc.sparkContext().broadcast(
        std::map<std::string, std::string>{{"eins", "one"}, {"zwei", "two"}, {"drei", "three"}});
    const auto dropped = ssc.sparkContext().longAccumulator("words without translation");
    const auto lengths = ssc.sparkContext().doubleAccumulator("lengths of words");

    const auto translated =
        inputLines(ssc, options)
            .flatMap(wordsOf)
            .flatMap([dictionary, dropped, lengths](const std::string& word) mutable {
                lengths.add(static_cast<double>(word.size()));
                std::vector<std::string> found;
                if (const auto entry = dictionary.value().find(word); entry != dictionary.value().end()) {
                    found.push_back(entry->second);
                } else {
                    dropped.add(1);
                }
                return found;
            });
    translated.foreachRDD([dropped, lengths](const RDD<std::string>& rdd, Time time) {
        std::cout << time.milliseconds() << " ms:";
        for (const std::string& word : rdd.collect()) std::cout << " " << word;
        std::cout << "; so far " << dropped.value() << " dropped, mean length " << lengths.avg() << std::endl;
    });
}

DSTREAM_REGISTER_JOB("dropped_words", droppedWords, lineOptions())

int main(int argc, char** argv) {
    return runMain(argc, argv, "dropped_words");
}
