// Counts words over all batches, with a state per word that begins with an RDD: StatefulNetworkWordCount.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace dstream;

using WordCount = std::pair<std::string, int>;

void statefulNetworkWordCount(StreamingContext& ssc, const Options& options) {
    const auto initialRDD = ssc.sparkContext().parallelize(std::vector<WordCount>{{"hello", 1}, {"world", 1}});

    const auto lines = inputLines(ssc, options);
    const auto words = lines.flatMap(wordsOf);
    const auto wordDstream = words.map([](const std::string& x) { return std::pair(x, 1); });

    const auto mappingFunc = [](const std::string& word, std::optional<int> one, State<int>& state) {
        const int sum = one.value_or(0) + state.getOption().value_or(0);
        state.update(sum);
        return WordCount(word, sum);
    };
    const auto stateDstream = wordDstream.mapWithState(
        StateSpec<std::string, int, int, WordCount>::function(mappingFunc).initialState(initialRDD));
    stateDstream.print();
}

DSTREAM_REGISTER_JOB("stateful_network_word_count", statefulNetworkWordCount, lineOptions())

int main(int argc, char** argv) {
    return runMain(argc, argv, "stateful_network_word_count");
}
