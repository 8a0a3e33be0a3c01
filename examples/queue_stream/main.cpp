// Takes its RDDs from a queue: QueueStream.
#include <dstream/dstream.hpp>

#include <plugins/registry.hpp>
#include <plugins/run.hpp>

#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

using namespace dstream;

void queueStream(StreamingContext& ssc, const Options& options) {
    const auto rddQueue = std::make_shared<RDDQueue<int>>();

    const auto inputStream = ssc.queueStream(rddQueue);
    const auto mappedStream = inputStream.map([](int x) { return std::pair(x % 10, 1); });
    const auto reducedStream = mappedStream.reduceByKey(std::plus<>{});
    reducedStream.print();

    std::vector<int> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 1);
    for (int64_t i = 0; i < options.getInt("rdds"); ++i) rddQueue->push(ssc.sparkContext().makeRDD(numbers, 10));
}

DSTREAM_REGISTER_JOB("queue_stream", queueStream, {"rdds", OptionType::kInt, "30", "how many are put into the queue"})

int main(int argc, char** argv) {
    return runMain(argc, argv, "queue_stream");
}
