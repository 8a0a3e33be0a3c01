#include "stream_test.hpp"
#include "window_batches.hpp"

#include <atomic>
#include <numeric>

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using Count = std::pair<int, int64_t>;
using Counts = std::vector<Count>;
using Texts = std::vector<std::pair<int, std::string>>;

class WindowTest : public StreamTest {
protected:
    static std::string join(const std::string& a, const std::string& b) { return a + ' ' + b; }
};

/// Window and slide in batches.
class ReducedWindowTest : public WindowTest, public ::testing::WithParamInterface<std::pair<int, int>> {};

TEST_P(ReducedWindowTest, HoldsTheValuesOfItsBatchesInTheOrderInWhichTheyCame) {
    const auto [window, slide] = GetParam();
    const auto batches = drawBatches<std::string>(
        60, [](int batch, uint64_t n) { return std::to_string(batch) + '.' + std::to_string(n); });
    auto ssc = makeContext();
    const auto reduced =
        testkit::collect(testkit::batches(ssc, batches).reduceByKeyAndWindow(join, Seconds(window), Seconds(slide), 3));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(60));
    const auto output = reduced.all();
    EXPECT_THAT(output, SizeIs(60 / slide));
    for (const auto& [time, texts] : output) {
        const auto expected = reduceAll(batches, static_cast<int>(time.milliseconds() / 1000), window, join);
        EXPECT_THAT(texts, ::testing::UnorderedElementsAreArray(Texts(expected.begin(), expected.end())))
            << "at " << time.toString();
    }
    ssc.stop();
}

INSTANTIATE_TEST_SUITE_P(Windows, ReducedWindowTest,
                         ::testing::Values(std::pair(1, 1), std::pair(3, 1), std::pair(8, 1), std::pair(9, 1),
                                           std::pair(30, 1), std::pair(37, 1), std::pair(24, 2), std::pair(18, 2),
                                           std::pair(27, 2), std::pair(2, 3), std::pair(20, 20)));

TEST_F(WindowTest, ALongWindowCostsNoMoreCallsThanAShortOne) {
    constexpr int kKeys = 100;
    const auto callsABatch = [&](int window) {
        auto ssc = makeContext();
        Counts batch;
        for (int key = 0; key < kKeys; ++key) batch.emplace_back(key, 1);
        auto calls = ssc.sparkContext().longAccumulator("calls");
        const auto add = [calls](int64_t a, int64_t b) {
            calls.add(1);
            return a + b;
        };
        auto sums = testkit::collect(testkit::batches(ssc, std::vector<Counts>(3 * window, batch))
                                         .reduceByKeyAndWindow(add, Seconds(window), Seconds(1), 2));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(window));
        const int64_t before = calls.value();
        testkit::manualClock(ssc).advance(Seconds(2 * window));
        for (const auto& [key, sum] : sums.batch(Time(3000 * window))) EXPECT_EQ(sum, window);
        ssc.stop();
        return static_cast<double>(calls.value() - before) / (2.0 * window * kKeys);
    };
    EXPECT_THAT(callsABatch(16), Le(6));
    EXPECT_THAT(callsABatch(100), Le(6));
}

TEST_F(WindowTest, AReducedWindowIsTheSameWhenItsPartsAreComputedAgain) {
    auto ssc = makeContext();
    const auto batches =
        drawBatches<int64_t>(40, [](int batch, uint64_t n) { return batch + static_cast<int64_t>(n); });
    const auto windows =
        testkit::batches(ssc, batches).reduceByKeyAndWindow(std::plus<int64_t>{}, Seconds(12), Seconds(1));
    std::vector<RDD<Count>> rdds;
    windows.foreachRDD([&rdds](const auto& rdd) { rdds.push_back(rdd); });
    ssc.remember(Seconds(100));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(40));
    const auto check = [&](std::size_t batch) {
        const auto expected = reduceAll(batches, static_cast<int>(batch) + 1, 12, std::plus<int64_t>{});
        EXPECT_THAT(rdds.at(batch).collect(),
                    ::testing::UnorderedElementsAreArray(Counts(expected.begin(), expected.end())));
    };
    for (const std::size_t batch : {39, 20, 5}) check(batch);
    for (const auto& [id, rdd] : ssc.sparkContext().getPersistentRDDs()) rdd->unpersist(true);
    for (const std::size_t batch : {5, 39, 38}) check(batch);
    ssc.stop();
}

TEST_F(WindowTest, AFailedTaskOfAWindowIsRetriedWithoutEffectOnTheResult) {
    SparkConf conf;
    conf.setMaster("local[2,3]");
    auto ssc = makeContext(Seconds(1), conf);
    const auto batches = drawBatches<int64_t>(30, [](int, uint64_t) { return 1; });
    auto failures = std::make_shared<std::atomic<int>>(0);
    const auto add = [failures](int64_t a, int64_t b) {
        if (failures->fetch_add(1) % 50 == 49) throw std::runtime_error("now and then");
        return a + b;
    };
    const auto sums =
        testkit::collect(testkit::batches(ssc, batches).reduceByKeyAndWindow(add, Seconds(10), Seconds(1)));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(30));
    EXPECT_GT(failures->load(), 100);
    for (int batch = 1; batch <= 30; ++batch) {
        const auto expected = reduceAll(batches, batch, 10, std::plus<int64_t>{});
        EXPECT_THAT(sums.batch(Time(batch * 1000)),
                    ::testing::UnorderedElementsAreArray(Counts(expected.begin(), expected.end())));
    }
    ssc.stop();
}

TEST_F(WindowTest, OnlyThePartsThatWindowsStillNeedAreKept) {
    auto ssc = makeContext();
    testkit::collect(testkit::batches(ssc, std::vector<Counts>(300, {{1, 1}}))
                         .reduceByKeyAndWindow(std::plus<int64_t>{}, Seconds(49), Seconds(1)));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(100));
    const auto kept = ssc.sparkContext().getPersistentRDDs().size();
    testkit::manualClock(ssc).advance(Seconds(98));
    EXPECT_EQ(ssc.sparkContext().getPersistentRDDs().size(), kept);
    EXPECT_THAT(kept, Le(49U + 2 + 3 * 7 + 4)) << "the batches of a window, and a few tables";
    ssc.stop();
}

TEST_F(WindowTest, ReduceByWindowGivesOneElementAndNoneForAnEmptyWindow) {
    std::vector<std::vector<int>> batches(20);
    for (int i = 0; i < 10; ++i) batches[static_cast<std::size_t>(i)] = {i, i};
    const auto output =
        run<int>(batches, [](const auto& in) { return in.reduceByWindow(std::plus<int>{}, Seconds(8), Seconds(1)); });
    EXPECT_THAT(output[0], ElementsAre(0));
    EXPECT_THAT(output[9], ElementsAre(2 * (2 + 3 + 4 + 5 + 6 + 7 + 8 + 9)));
    EXPECT_THAT(output[16], ElementsAre(2 * 9));
    EXPECT_THAT(output[17], IsEmpty());
}

}  // namespace
}  // namespace dstream
