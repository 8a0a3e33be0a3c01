#include "connectors/kafka/kafka_utils.hpp"
#include "dstream/testkit.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace dstream::kafka {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testsupport::errorOf;

/// A log without records: what the driver sees of Kafka.
struct FakeLog final : Consumer {
    std::set<TopicPartition> assignment() override { return partitions; }
    Offsets positions(const std::set<TopicPartition>& of, bool discovered) override {
        Offsets positions;
        for (const auto& one : of) positions[one] = discovered ? 0 : start;
        return positions;
    }
    Offsets endOffsets(const std::set<TopicPartition>&, std::chrono::milliseconds) override {
        if (gone) throw SparkException("topic t is gone");
        return silent ? Offsets() : ends;
    }
    void commitAsync(const Offsets& offsets, OffsetCommitCallback callback) override {
        if (!refuseCommits) commits.push_back(offsets);
        callback(offsets, refuseCommits ? std::optional<std::string>("ILLEGAL_GENERATION") : std::nullopt);
    }
    void flushCommits() override {}
    std::string groupMetadata() override { return {}; }
    void close() override { closed = true; }

    std::set<TopicPartition> partitions{{"t", 0}, {"t", 1}};
    Offsets ends{{{"t", 0}, 0}, {{"t", 1}, 0}};
    int64_t start = 0;
    bool silent = false, gone = false, refuseCommits = false, closed = false;
    std::vector<Offsets> commits;
};

struct FakeStrategy final : ConsumerStrategy<std::string, std::string> {
    explicit FakeStrategy(std::shared_ptr<FakeLog> fake, Params more) : log(std::move(fake)), params(std::move(more)) {
        params.insert({{"bootstrap.servers", "127.0.0.1:1"}, {"group.id", "g"}});
    }
    Params executorKafkaParams() const override { return params; }
    std::shared_ptr<Consumer> onStart(const Offsets& currentOffsets) override {
        startedAt = currentOffsets;
        return log;
    }
    std::shared_ptr<FakeLog> log;
    Params params;
    Offsets startedAt;
};

struct KafkaOffsets : testing::Test {
    SparkConf conf;
    std::shared_ptr<FakeLog> log = std::make_shared<FakeLog>();
    std::shared_ptr<FakeStrategy> strategy;
    std::optional<StreamingContext> ssc;
    std::shared_ptr<detail::DirectStream> stream;
    int64_t now = 1000;  // ms

    detail::DirectStream& begin(Params params = {}, const std::string& saved = {}) {
        strategy = std::make_shared<FakeStrategy>(log, std::move(params));
        stream.reset();
        ssc.reset();
        ssc.emplace(testkit::makeContext(Milliseconds(500), conf));
        stream = std::make_shared<detail::DirectStream>(*ssc, "stream", strategy, nullptr, [this] { return now; });
        if (!saved.empty()) stream->restore(saved);
        stream->start();
        return *stream;
    }
    /// Lengths of the ranges of a batch.
    std::vector<int64_t> counts(int batch, int64_t rate = -1) {
        std::vector<int64_t> all;
        for (const auto& range : stream->plan(at(batch), rate).ranges) all.push_back(range.count());
        return all;
    }
    static Time at(int batch) { return Time(500 * batch); }
    void fill(int64_t first, int64_t second) { log->ends = {{{"t", 0}, first}, {{"t", 1}, second}}; }
};

TEST_F(KafkaOffsets, ABatchTakesAllThatCameSinceTheLastOne) {
    begin();
    fill(10, 3);
    EXPECT_THAT(counts(1), ElementsAre(10, 3));
    fill(12, 3);
    const auto plan = stream->plan(at(2), -1);
    EXPECT_THAT(plan.ranges, ElementsAre(OffsetRange::create("t", 0, 10, 12), OffsetRange::create("t", 1, 3, 3)));
    EXPECT_EQ(plan.inputInfo(0).numRecords, 2);
    EXPECT_EQ(plan.inputInfo(0).metadataDescription(), "topic: t\tpartition: 0\toffsets: 10 to 12\tcount: 2");
    EXPECT_EQ(stream->plan(at(1), -1).ranges[0], OffsetRange::create("t", 0, 0, 10));  // the same whenever it is asked
}

TEST_F(KafkaOffsets, MaxRatePerPartitionLimitsABatch) {
    conf.set("spark.streaming.kafka.maxRatePerPartition", "100");
    begin();
    fill(1000, 20);
    EXPECT_THAT(counts(1), ElementsAre(50, 20));
}

TEST_F(KafkaOffsets, MinRatePerPartitionIsANumberOfRecordsPerBatch) {
    conf.set("spark.streaming.kafka.maxRatePerPartition", "1").set("spark.streaming.kafka.minRatePerPartition", "7");
    begin();
    fill(1000, 1000);
    EXPECT_THAT(counts(1), ElementsAre(7, 7));
}

TEST_F(KafkaOffsets, BackpressureSharesTheRateByLag) {
    conf.set("spark.streaming.kafka.maxRatePerPartition", "150");
    begin();
    fill(3000, 1000);
    EXPECT_THAT(counts(1, 200), ElementsAre(75, 25));   // 150 and 50 a second
    EXPECT_THAT(counts(2, 1000), ElementsAre(75, 75));  // capped
}

TEST_F(KafkaOffsets, TheInitialRateLimitsTheFirstBatchUnderBackpressure) {
    conf.set("spark.streaming.backpressure.initialRate", "40");
    begin();
    fill(1000, 1000);
    EXPECT_THAT(counts(1, 0), ElementsAre(10, 10));
    EXPECT_THAT(counts(2, -1), ElementsAre(990, 990));  // backpressure is off
}

TEST_F(KafkaOffsets, TheFirstBatchAfterAnOutageIsBounded) {
    conf.set("dstream.kafka.maxBatchRecords", "1000");
    begin();
    fill(9000, 1000);
    EXPECT_THAT(counts(1), ElementsAre(900, 100));
    EXPECT_THAT(counts(2), ElementsAre(900, 100));
}

TEST_F(KafkaOffsets, Row27_PartitionsAddedAtRunTimeAreReadFromTheirBeginning) {
    log->start = 5;
    fill(5, 5);
    begin();
    EXPECT_THAT(counts(1), ElementsAre(0, 0));
    log->partitions.insert({"t", 2});
    log->ends[{"t", 2}] = 8;
    EXPECT_THAT(counts(2), ElementsAre(0, 0, 8));
}

TEST_F(KafkaOffsets, Row25_WhileTheBrokerIsSilentBatchesAreEmptyAndNothingIsLost) {
    begin();
    fill(4, 4);
    log->silent = true;
    EXPECT_THAT(counts(1), ElementsAre(0, 0));
    log->silent = false;
    EXPECT_THAT(counts(2), ElementsAre(4, 4));
}

TEST_F(KafkaOffsets, Row26_ABatchOfATopicThatIsGoneFailsAndNamesIt) {
    begin();
    fill(4, 4);
    log->gone = true;
    EXPECT_THAT(stream->plan(at(1), -1).failure, HasSubstr("topic t is gone"));
    log->gone = false;
    EXPECT_THAT(counts(2), ElementsAre(4, 4));
}

TEST_F(KafkaOffsets, Row29_APartitionLostToAnotherMemberFailsTheBatch) {
    begin();
    log->partitions.erase({"t", 1});
    EXPECT_THAT(stream->plan(at(1), -1).failure, HasSubstr("has lost partition t-1 to another member of group g"));
}

TEST_F(KafkaOffsets, BatchesAreCommittedInOrderOnceTheyHaveCompleted) {
    begin();
    fill(1, 1);
    counts(1);
    fill(2, 2);
    counts(2);
    stream->batchEnded(at(2), true);
    EXPECT_THAT(log->commits, IsEmpty());
    stream->batchEnded(at(1), true);
    EXPECT_THAT(log->commits, ElementsAre(Offsets{{{"t", 0}, 2}, {{"t", 1}, 2}}));
}

TEST_F(KafkaOffsets, AFailedBatchHoldsBackTheCommitsOfLaterOnes) {
    begin();
    fill(1, 1);
    counts(1);
    stream->batchEnded(at(1), true);
    fill(2, 2);
    counts(2);
    stream->batchEnded(at(2), false);
    fill(3, 3);
    counts(3);
    stream->batchEnded(at(3), true);
    EXPECT_EQ(log->commits.size(), 1U);
    stream->forgetBefore(at(100));
    EXPECT_EQ(stream->rangesOfBatch(at(2))[0], OffsetRange::create("t", 0, 1, 2));  // still to be done
}

TEST_F(KafkaOffsets, WithoutAutoCommitOnlyCommitAsyncCommits) {
    begin({{"enable.auto.commit", "false"}});
    fill(5, 5);
    counts(1);
    stream->batchEnded(at(1), true);
    EXPECT_THAT(log->commits, IsEmpty());
    fill(9, 9);
    const auto ranges = stream->plan(at(2), -1).ranges;
    Offsets told;
    stream->commitAsync({ranges[0]}, [&](const Offsets& offsets, const auto& error) {
        told = offsets;
        EXPECT_FALSE(error);
    });
    EXPECT_THAT(log->commits, IsEmpty());  // its batch has not completed
    stream->batchEnded(at(2), true);
    EXPECT_THAT(log->commits, ElementsAre(Offsets{{{"t", 0}, 9}}));
    EXPECT_EQ(told, log->commits[0]);
}

TEST_F(KafkaOffsets, WhatWasCommittedLateIsSentAtStop) {
    begin({{"enable.auto.commit", "false"}});
    fill(5, 5);
    const auto ranges = stream->plan(at(1), -1).ranges;
    stream->batchEnded(at(1), true);
    stream->commitAsync(ranges, nullptr);
    stream->stop();
    EXPECT_THAT(log->commits, ElementsAre(Offsets{{{"t", 0}, 5}, {{"t", 1}, 5}}));
    EXPECT_TRUE(log->closed);
}

TEST_F(KafkaOffsets, Row29_ARefusedCommitIsSentAgainWithTheNextBatch) {
    begin();
    fill(5, 5);
    counts(1);
    log->refuseCommits = true;
    stream->batchEnded(at(1), true);
    EXPECT_EQ(stream->metrics().failedCommits, 1);
    log->refuseCommits = false;
    counts(2);
    stream->batchEnded(at(2), true);
    EXPECT_THAT(log->commits, ElementsAre(Offsets{{{"t", 0}, 5}, {{"t", 1}, 5}}));
}

TEST_F(KafkaOffsets, ARestartReadsTheSameRangesAndGoesOnBehindThem) {
    begin();
    fill(5, 5);
    counts(1);
    stream->batchEnded(at(1), true);
    fill(8, 6);
    counts(2);
    const std::string saved = stream->save();
    fill(20, 20);
    begin({}, saved);
    EXPECT_EQ(strategy->startedAt, (Offsets{{{"t", 0}, 8}, {{"t", 1}, 6}}));
    EXPECT_THAT(stream->plan(at(2), -1).ranges,
                ElementsAre(OffsetRange::create("t", 0, 5, 8), OffsetRange::create("t", 1, 5, 6)));
    EXPECT_THAT(counts(3), ElementsAre(12, 14));
    log->commits.clear();
    stream->batchEnded(at(2), true);
    stream->batchEnded(at(3), true);
    EXPECT_EQ(log->commits.back(), (Offsets{{{"t", 0}, 20}, {{"t", 1}, 20}}));
}

TEST_F(KafkaOffsets, ABatchOfTheCheckpointThatHadCompletedDoesNotHoldBackCommits) {
    begin();
    fill(5, 5);
    counts(1);
    const std::string saved = stream->save();  // before it was known to have completed
    fill(9, 9);
    begin({}, saved);
    log->commits.clear();
    counts(2);
    stream->batchEnded(at(2), true);
    EXPECT_THAT(log->commits, ElementsAre(Offsets{{{"t", 0}, 9}, {{"t", 1}, 9}}));
}

TEST_F(KafkaOffsets, MetricsShowLagAndPositions) {
    conf.set("spark.streaming.kafka.maxRatePerPartition", "2");
    begin();
    fill(10, 3);
    counts(1);
    stream->batchEnded(at(1), true);
    const KafkaMetrics metrics = stream->metrics();
    const PartitionMetrics first = metrics.partitions.at({"t", 0});
    EXPECT_EQ(first.nextOffset, 1);
    EXPECT_EQ(first.latestOffset, 10);
    EXPECT_EQ(first.committedOffset, 1);
    EXPECT_EQ(first.lag, 9);
    EXPECT_EQ(metrics.totalLag, 11);
    EXPECT_EQ(metrics.fetchAgeMs, 0);
}

TEST_F(KafkaOffsets, TheFetchAgeGrowsUntilTheBrokerAnswersAgain) {
    begin();
    log->silent = true;
    now += 700;
    EXPECT_EQ(stream->plan(at(1), -1).metrics.fetchAgeMs, 700);
    now += 300;
    EXPECT_EQ(stream->metrics().fetchAgeMs, 1000);
    log->silent = false;
    EXPECT_EQ(stream->plan(at(2), -1).metrics.fetchAgeMs, 0);
}

TEST(KafkaSplits, ManyRecordsInFewPartitionsAreSeveralTasks) {
    const std::vector<OffsetRange> ranges{OffsetRange::create("t", 0, 0, 1'000'000),
                                          OffsetRange::create("t", 1, 0, 10)};
    EXPECT_THAT(detail::splitsOf(ranges, 8, SparkConf()), ElementsAre(4, 1));
    EXPECT_THAT(detail::splitsOf(ranges, 2, SparkConf()), ElementsAre(1, 1));
    EXPECT_THAT(detail::splitsOf(ranges, 8, SparkConf().set("dstream.kafka.minSplitRecords", "1000000000")),
                ElementsAre(1, 1));
    EXPECT_EQ(detail::splitOf(ranges[0], 1, 4), OffsetRange::create("t", 0, 250'000, 500'000));
    EXPECT_EQ(detail::splitOf(ranges[0], 3, 4).untilOffset, 1'000'000);
}

TEST(KafkaRanges, CountTheRecordsWithoutReadingUnlessGapsAreToBeExpected) {
    const std::vector<OffsetRange> ranges{OffsetRange::create("t", 0, 3, 3), OffsetRange::create("t", 1, 0, 10)};
    const auto check = [&](const Params& more, const SparkConf& conf, const auto& use) {
        SparkContext sc(SparkConf(conf).setAppName("ranges").setMaster("local[1]"));
        Params params{{"bootstrap.servers", "127.0.0.1:1"}};  // nobody listens there
        params.insert(more.begin(), more.end());
        use(KafkaUtils::createRDD<std::string, std::string>(sc, params, ranges, LocationStrategies::PreferConsistent));
    };
    const auto known = [](const auto& rdd) {
        EXPECT_EQ(rdd.count(), 10);
        EXPECT_FALSE(rdd.isEmpty());
        EXPECT_EQ(rdd.countApprox(1).getFinalValue(), (BoundedDouble{10, 1, 10, 10}));
    };
    const auto read = [](const auto& rdd) {
        EXPECT_THAT(errorOf([&] { rdd.count(); }), HasSubstr("Kafka gave no record"));
        EXPECT_THAT(errorOf([&] { rdd.isEmpty(); }), HasSubstr("Kafka gave no record"));
        EXPECT_THAT(errorOf([&] { rdd.map([](const auto& record) { return record.value(); }).count(); }),
                    HasSubstr("Kafka gave no record"));
    };
    const SparkConf soon = SparkConf().set("spark.streaming.kafka.consumer.poll.ms", "1ms");
    check({}, SparkConf(), known);
    check({{"isolation.level", "read_committed"}}, soon, read);
    check({}, SparkConf(soon).set("spark.streaming.kafka.allowNonConsecutiveOffsets", "true"), read);
    check({}, SparkConf(soon).set("dstream.kafka.onUndecodable", "skip"), read);
}

TEST(KafkaRanges, AreThoseOfAnRddStraightFromKafkaOnly) {
    SparkContext sc(SparkConf().setAppName("ranges").setMaster("local[1]"));
    const Params params{{"bootstrap.servers", "127.0.0.1:1"}};
    const std::vector<OffsetRange> ranges{OffsetRange::create("t", 0, 3, 3)};
    const auto rdd =
        KafkaUtils::createRDD<std::string, std::string>(sc, params, ranges, LocationStrategies::PreferConsistent);
    EXPECT_EQ(HasOffsetRanges(rdd).offsetRanges(), ranges);
    EXPECT_EQ(rdd.count(), 0);  // nobody is asked for an empty range
    EXPECT_THAT(errorOf([&] { HasOffsetRanges(RDD<int>(rdd.map([](const auto&) { return 1; }))); }),
                HasSubstr("straight from Kafka"));
    EXPECT_THAT(errorOf([&] {
                    KafkaUtils::createRDD<std::string, std::string>(sc, params, ranges,
                                                                    LocationStrategies::PreferBrokers);
                }),
                HasSubstr("PreferConsistent or PreferFixed"));
    EXPECT_THAT(errorOf([&] {
                    KafkaUtils::createRDD<std::string, std::string>(sc, params, {OffsetRange::create("t", 0, 3, 2)},
                                                                    LocationStrategies::PreferConsistent);
                }),
                HasSubstr("must not end before it begins"));
}

}  // namespace
}  // namespace dstream::kafka
