#include <dstream/dstream.hpp>

using namespace dstream;

int main() {
    StreamingContext ssc(SparkConf().setAppName("WordCount").setMaster("local[2]"), Seconds(1));
    auto counts =
        ssc.socketTextStream("localhost", 9999)
            .flatMap([](std::string_view line) { return splitWords(line); })
            .map([](std::string_view word) { return std::pair(word, int64_t{1}); })  // still a view into the line
            .reduceByKey(std::plus<>{});                                             // owns its keys
    counts.print();
    ssc.start();
    ssc.awaitTermination();
}
