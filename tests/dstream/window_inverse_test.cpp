#include "stream_test.hpp"
#include "support/test_files.hpp"
#include "window_batches.hpp"

#include <atomic>

namespace dstream {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

using Count = std::pair<int, int64_t>;
using Counts = std::vector<Count>;

const std::plus<int64_t> add;
const std::minus<int64_t> subtract;
const auto isThere = [](const Count& entry) { return entry.second != 0; };

/// Sums over windows that go on from the window before. All values are positive: a key with the sum 0 has left.
class InverseWindowTest : public StreamTest {
protected:
    InverseWindowTest()
        : batches_(drawBatches<int64_t>(60, [](int batch, uint64_t n) { return batch + static_cast<int64_t>(n); })) {}

    StreamingContext contextWithCheckpoints(SparkConf conf = SparkConf()) {
        auto ssc = makeContext(Seconds(1), std::move(conf));
        ssc.checkpoint(directory_ / "checkpoint");
        return ssc;
    }
    Counts expected(int end, int window) const {
        const auto sums = reduceAll(batches_, end, window, add);
        return {sums.begin(), sums.end()};
    }

    const std::vector<Counts> batches_;
    testsupport::TemporaryDirectory directory_;
};

/// Window and slide in batches.
class InverseWindowsTest : public InverseWindowTest, public ::testing::WithParamInterface<std::pair<int, int>> {};

TEST_P(InverseWindowsTest, HoldWhatTheirBatchesSumUpTo) {
    const auto [window, slide] = GetParam();
    auto ssc = contextWithCheckpoints();
    const auto in = testkit::batches(ssc, batches_);
    const auto filtered =
        testkit::collect(in.reduceByKeyAndWindow(add, subtract, Seconds(window), Seconds(slide), 3, isThere));
    const auto kept = testkit::collect(in.reduceByKeyAndWindow(add, subtract, Seconds(window), Seconds(slide), 2));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(60));
    for (int end = slide; end <= 60; end += slide) {
        EXPECT_THAT(filtered.batch(Time(end * 1000)), UnorderedElementsAreArray(expected(end, window)));
        Counts all = kept.batch(Time(end * 1000));
        EXPECT_EQ(all.size(), reduceAll(batches_, end, 60, add).size()) << "every key there ever was";
        std::erase_if(all, [](const Count& entry) { return !isThere(entry); });
        EXPECT_THAT(all, UnorderedElementsAreArray(expected(end, window)));
    }
    ssc.stop();
}

INSTANTIATE_TEST_SUITE_P(Windows, InverseWindowsTest,
                         ::testing::Values(std::pair(1, 1), std::pair(3, 1), std::pair(30, 1), std::pair(6, 2),
                                           std::pair(5, 3), std::pair(12, 12)));

TEST_F(InverseWindowTest, PersistMeansTheReducedBatches) {
    auto ssc = contextWithCheckpoints();
    const auto sums = testkit::batches(ssc, batches_).reduceByKeyAndWindow(add, subtract, Seconds(7));
    const auto& reduced = *sums.node()->dependencies()[0]->dependencies()[0];
    EXPECT_EQ(reduced.storageLevel(), StorageLevel::MEMORY_ONLY_SER);
    sums.persist(StorageLevel::MEMORY_AND_DISK);
    EXPECT_EQ(reduced.storageLevel(), StorageLevel::MEMORY_AND_DISK);
}

TEST_F(InverseWindowTest, AFailedTaskLeavesNothingBehind) {
    SparkConf conf;
    conf.setMaster("local[2,4]");
    auto ssc = contextWithCheckpoints(conf);
    auto calls = std::make_shared<std::atomic<int>>(0);
    const auto now = [calls] {
        if (calls->fetch_add(1) % 20 == 19) throw std::runtime_error("now and then");
    };
    const auto sums = testkit::collect(testkit::batches(ssc, batches_)
                                           .reduceByKeyAndWindow(
                                               [now](int64_t a, int64_t b) {
                                                   now();
                                                   return a + b;
                                               },
                                               [now](int64_t a, int64_t b) {
                                                   now();
                                                   return a - b;
                                               },
                                               Seconds(7), Seconds(1), 2, isThere));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(60));
    EXPECT_GT(calls->load(), 200);
    for (int end = 1; end <= 60; ++end) {
        EXPECT_THAT(sums.batch(Time(end * 1000)), UnorderedElementsAreArray(expected(end, 7)));
    }
    ssc.stop();
}

TEST_F(InverseWindowTest, OlderWindowsStayWhatTheyWereAndCanBeComputedAgain) {
    auto ssc = contextWithCheckpoints();
    std::vector<RDD<Count>> rdds;
    const auto sums =
        testkit::batches(ssc, batches_).reduceByKeyAndWindow(add, subtract, Seconds(5), Seconds(1), 2, isThere);
    sums.foreachRDD([&rdds](const auto& rdd) {
        rdd.count();
        rdds.push_back(rdd);
    });
    ssc.remember(Seconds(100));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(35));
    for (const std::size_t batch : {34, 12, 3}) {
        EXPECT_THAT(rdds.at(batch).collect(), UnorderedElementsAreArray(expected(static_cast<int>(batch) + 1, 5)));
    }
    for (const auto& [id, rdd] : ssc.sparkContext().getPersistentRDDs()) rdd->unpersist(true);
    for (const std::size_t batch : {12, 34, 33, 4}) {
        EXPECT_THAT(rdds.at(batch).collect(), UnorderedElementsAreArray(expected(static_cast<int>(batch) + 1, 5)));
    }
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(rdds.at(35).collect(), UnorderedElementsAreArray(expected(36, 5)));
    ssc.stop();
}

TEST_F(InverseWindowTest, ABatchThatFailsIsTakenUpByTheNextOne) {
    auto ssc = contextWithCheckpoints();
    auto fails = std::make_shared<std::atomic<bool>>(false);
    const auto sums = testkit::collect(testkit::batches(ssc, batches_)
                                           .map([fails](const Count& count) {
                                               if (fails->load()) throw std::runtime_error("for a while");
                                               return count;
                                           })
                                           .reduceByKeyAndWindow(add, subtract, Seconds(4), Seconds(1), 2, isThere));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(21));
    fails->store(true);
    testkit::manualClock(ssc).advance(Seconds(3));
    fails->store(false);
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(sums.batch(Time(24000)), IsEmpty());
    EXPECT_THAT(sums.batch(Time(26000)), UnorderedElementsAreArray(expected(26, 4)));
    ssc.stop();
}

}  // namespace
}  // namespace dstream
