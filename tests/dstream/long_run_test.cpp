#include "dstream/stream_test.hpp"
#include "support/sanitizers.hpp"
#include "support/test_files.hpp"

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// A stream of state that runs for very many batches: 100,000, and fewer with a sanitizer;
// DSTREAM_BATCHES says how many others.

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

int64_t wantedBatches() {
    const char* const given = std::getenv("DSTREAM_BATCHES");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    return given != nullptr ? std::stoll(given) : testsupport::kSanitized ? 4'000 : 100'000;
}

TEST_F(StreamTest, Row6_ManyThousandBatchesOfStateOverflowNoStack) {
    const int64_t wanted = wantedBatches();
    const testsupport::TemporaryDirectory directory;
    auto ssc = makeContext(Milliseconds(1), SparkConf().setMaster("local[1]"));
    ssc.checkpoint(directory / "checkpoints");
    const auto count = [](const std::vector<int>& values, std::optional<int64_t> before) {
        return std::optional(before.value_or(0) + static_cast<int64_t>(values.size()));
    };
    const RDD<std::pair<int, int>> one = ssc.sparkContext().parallelize(std::vector{std::pair(7, 1)}, 1);
    auto state = ConstantInputDStream<std::pair<int, int>>(ssc, one).updateStateByKey<int64_t>(count, 1).checkpoint(
        Milliseconds(200));
    std::vector<std::pair<int, int64_t>> last;
    int64_t batches = 0;
    state.foreachRDD([&](const RDD<std::pair<int, int64_t>>& rdd, Time time) {
        ++batches;
        if (time.milliseconds() % 500 == 0 || time.milliseconds() == wanted) last = rdd.collect();
    });
    ssc.start();
    testkit::manualClock(ssc).advance(Milliseconds(wanted));
    ssc.stop();
    EXPECT_EQ(batches, wanted);
    EXPECT_THAT(last, ElementsAre(Pair(7, wanted)));
}

}  // namespace
}  // namespace dstream
