// W1: the word count driven batch by batch over lines that lie in memory in two partitions.
//   workload_w1 FILE view|string|string-vector|struct-key|filter+mapValues WARM_UP BATCHES
#include "measure.hpp"
#include "word_count/word_count.hpp"
#include <dstream/testkit.hpp>

#include <fstream>
#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc != 5) {
        std::cerr << "usage: workload_w1 FILE VARIANT WARM_UP BATCHES\n";
        return 2;
    }
    const std::string variant = argv[2];
    StreamingContext ssc = testkit::makeContext(Seconds(1));
    std::vector<std::string> text;
    std::ifstream file(argv[1]);
    for (std::string line; std::getline(file, line);) text.push_back(line);
    const ConstantInputDStream<std::string> lines(ssc, ssc.sparkContext().parallelize(std::move(text), 2));

    int64_t distinct = 0;
    const auto count = [&distinct](const auto& words) {
        words.foreachRDD([&distinct](const auto& rdd) { distinct = rdd.count(); });
    };
    if (variant == "view") {
        count(countWords(lines));
    } else if (variant == "string") {
        count(countWordStrings(lines));
    } else if (variant == "string-vector") {
        count(countWordVectors(lines));
    } else if (variant == "struct-key") {
        count(countTerms(lines));
    } else if (variant == "filter+mapValues") {
        count(countSome(
            lines, [](std::string_view word) { return word != "-"; }, [](int64_t n) { return n; }));
    } else {
        std::cerr << "no such variant: " << variant << '\n';
        return 2;
    }
    ssc.start();
    measure::repeat(std::stoi(argv[3]), std::stoi(argv[4]), [&] {
        distinct = 0;
        testkit::manualClock(ssc).advance(Seconds(1));
        return distinct;
    });
    measure::printPeakMemory();
    ssc.stop();
}
