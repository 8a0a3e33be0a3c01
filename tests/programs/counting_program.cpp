// A program with state and a checkpoint, for tests that need a process of their own:
//   counting_program DIR BATCHES [plain|two|renamed|hold]
// It runs batches by a manual clock and prints the counts of the last one. "two" counts twice, "renamed" gives the
// counting operator a uid, "hold" says "running" after its batches and waits for the end of its input.
#include "dstream/testkit.hpp"

#include <cstdio>
#include <iostream>
#include <string>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    const std::string directory = argv[1];
    const int64_t batches = std::stoll(argv[2]);
    const std::string variant = argc > 3 ? argv[3] : "plain";
    using Count = std::pair<std::string, int>;
    const auto addUp = [](const std::vector<int>& values, std::optional<int> sum) {
        for (int value : values) sum = sum.value_or(0) + value;
        return sum;
    };
    testkit::Collected<Count> output;
    try {
        auto ssc = StreamingContext::getOrCreate(directory, [&] {
            auto made = testkit::makeContext(Seconds(1));
            made.checkpoint(directory);
            std::vector<std::vector<Count>> input(100, {Count("a", 1), Count("b", 2)});
            auto counts = testkit::batches<Count>(made, input).updateStateByKey<int>(addUp).checkpoint(Seconds(2));
            if (variant == "renamed") counts = counts.uid("counts");
            if (variant == "two") testkit::collect(counts.updateStateByKey<int>(addUp));
            output = testkit::collect(counts);
            return made;
        });
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(batches));
        if (variant == "hold") {
            std::cout << "running" << std::endl;
            while (std::getchar() != EOF) {
            }
        }
        ssc.stop();
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    const auto all = output.all();
    if (!all.empty()) {
        for (const auto& [word, count] : all.rbegin()->second) std::cout << word << " " << count << "\n";
    }
}
