// Somebody else's program: it sees nothing but what dstream::streaming gives it.
#include <dstream/dstream.hpp>
#include <dstream/testkit.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace dstream;

int main() {
    StreamingContext ssc = testkit::makeContext(Seconds(1));
    auto words = testkit::batches<std::string>(ssc, {{"b", "a", "b"}});
    auto counts = testkit::collect(
        words.map([](const std::string& word) { return std::pair(word, int64_t{1}); }).reduceByKey(std::plus<>{}));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    auto batch = counts.batch(Time(1000));
    ssc.stop();
    std::sort(batch.begin(), batch.end());
    return batch == std::vector<std::pair<std::string, int64_t>>{{"a", 1}, {"b", 2}} ? 0 : 1;
}
