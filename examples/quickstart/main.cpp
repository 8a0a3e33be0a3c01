#include <dstream/dstream.hpp>

using namespace dstream;

void countWords(StreamingContext& ssc) {
    ssc.socketTextStream("localhost", 9999)
        .flatMap([](std::string_view line) { return splitWords(line); })
        .map([](std::string_view word) { return std::pair(word, int64_t{1}); })  // still a view into the line
        .reduceByKey(std::plus<>{})                                              // owns its keys
        .print();
}

int main() {
    StreamingContext ssc(SparkConf().setAppName("WordCount").setMaster("local[2]"), Seconds(1));
    countWords(ssc);
    ssc.start();
    ssc.awaitTermination();
}

// The same for dstream-run.
#include <plugins/plugin.hpp>

DSTREAM_REGISTER_JOB("quickstart", [](StreamingContext& ssc, const Options&) { countWords(ssc); })
