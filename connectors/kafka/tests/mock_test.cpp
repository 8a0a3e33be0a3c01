#include "connectors/kafka/kafka_utils.hpp"
#include "connectors/kafka/testkit.hpp"
#include "dstream/testkit.hpp"
#include "support/captured_log.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dstream::kafka {
namespace {

using kafka::testkit::MockCluster;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testsupport::errorOf;
using Record = ConsumerRecord<std::string, std::string>;
using View = ConsumerRecord<std::string_view, std::string_view>;

/// A cluster inside of the process: no transactions, few megabytes. A batch is empty when the cluster takes longer than
/// it, at most 10 s, to say where its logs end.
struct KafkaMock : testing::Test {
    MockCluster cluster;
    SparkConf conf = SparkConf().setAppName("mock").setMaster("local[2]");

    Params params(Params more = {}) const {
        more.insert({{"bootstrap.servers", cluster.bootstrapServers()}, {"group.id", "g"}});
        return more;
    }
    void write(const std::string& topic, int partition, int first, int count, std::size_t size = 0) {
        std::vector<ProducerRecord> records;
        for (int i = first; i < first + count; ++i) {
            ProducerRecord record = ProducerRecord::of("k" + std::to_string(i), std::to_string(i));
            record.partition = partition;
            record.value->resize(std::max(size, record.value->size()), ' ');
            records.push_back(std::move(record));
        }
        kafka::testkit::produce(cluster.params(), topic, records);
    }
    DirectKafkaDStream<std::string, std::string> assign(const StreamingContext& ssc, int partitions, Params more = {}) {
        std::vector<TopicPartition> all;
        for (int i = 0; i < partitions; ++i) all.push_back({"t", i});
        more.insert({"auto.offset.reset", "earliest"});
        return KafkaUtils::createDirectStream(
            ssc, LocationStrategies::PreferConsistent,
            ConsumerStrategies::Assign<std::string, std::string>(all, params(std::move(more))));
    }
    static auto values(const DirectKafkaDStream<std::string, std::string>& stream) {
        return dstream::testkit::collect(stream.map([](const Record& record) { return record.value(); }));
    }
};

TEST_F(KafkaMock, ARecordArrivesWithAllItHas) {
    cluster.createTopic("t", 1);
    ProducerRecord full = ProducerRecord::of("key", "value");
    full.headers = {{"h", "1"}, {"none", std::nullopt}};
    full.timestamp = 1'700'000'000'123;
    ProducerRecord deleted;
    deleted.key = "";
    kafka::testkit::produce(cluster.params(), "t", {full, deleted});
    SparkContext sc(conf);
    const auto rdd = KafkaUtils::createRDD<std::string_view, std::string_view>(
        sc, params(), {OffsetRange::create("t", 0, 0, 2)}, LocationStrategies::PreferConsistent);
    const std::vector<Record> records = rdd.collect();
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0].topic(), "t");
    EXPECT_EQ(records[0].key(), "key");
    EXPECT_EQ(records[0].value(), "value");
    EXPECT_EQ(records[0].timestamp(), full.timestamp);
    EXPECT_EQ(records[0].timestampType(), TimestampType::CREATE_TIME);
    EXPECT_EQ(records[0].headers(), full.headers);
    EXPECT_EQ(records[1].offset(), 1);
    EXPECT_TRUE(records[1].hasKey());
    EXPECT_FALSE(records[1].hasValue());
}

TEST_F(KafkaMock, BatchesFollowEachOtherWithoutSeeking) {
    cluster.createTopic("t", 2);
    auto ssc = dstream::testkit::makeContext(Seconds(10));
    const auto stream = assign(ssc, 2);
    const auto seen = values(stream);
    ssc.start();
    for (int batch = 0; batch < 5; ++batch) {
        write("t", 0, batch * 20, 10);
        write("t", 1, batch * 20 + 10, 10);
        dstream::testkit::manualClock(ssc).advance(Seconds(10));
    }
    for (int batch = 0; batch < 5; ++batch) {
        std::vector<std::string> expected;
        for (int i = 0; i < 20; ++i) expected.push_back(std::to_string(batch * 20 + i));
        EXPECT_EQ(seen.batch(Time((batch + 1) * 10000)), expected);
    }
    EXPECT_EQ(stream.metrics().repositions, 2);  // the first reads
    EXPECT_EQ(stream.metrics().consumerInstances, 2);
    EXPECT_EQ(stream.metrics().totalLag, 0);
    ssc.stop();
}

TEST_F(KafkaMock, AProgramWithoutAGroupReadsAndCommitsNothing) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 3);
    auto ssc = dstream::testkit::makeContext(Seconds(10));
    const auto stream = KafkaUtils::createDirectStream(
        ssc, LocationStrategies::PreferConsistent,
        ConsumerStrategies::Assign<std::string, std::string>(
            {{"t", 0}}, {{"bootstrap.servers", cluster.bootstrapServers()}, {"auto.offset.reset", "earliest"}}));
    const auto seen = values(stream);
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(Seconds(10));
    EXPECT_THAT(seen.batch(Time(10000)), ElementsAre("0", "1", "2"));
    EXPECT_EQ(stream.metrics().partitions.at({"t", 0}).committedOffset, -1);
    ssc.stop();
}

TEST_F(KafkaMock, TwoOutputOperationsSeeTheSameRecords) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 5000);
    auto ssc = dstream::testkit::makeContext(Seconds(10));
    const auto stream = assign(ssc, 1);
    const auto first = values(stream);
    const auto second = values(stream);
    const auto few = dstream::testkit::collect(
        stream.transform([](const RDD<Record>& rdd, Time) { return rdd.sparkContext().parallelize(rdd.take(3)); }));
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(Seconds(10));
    EXPECT_EQ(first.batch(Time(10000)).size(), 5000U);
    EXPECT_EQ(first.all(), second.all());
    EXPECT_EQ(few.batch(Time(10000)).at(2).offset(), 2);
    ssc.stop();
}

TEST_F(KafkaMock, AFailedAttemptIsRepeatedWithTheSameRecords) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 3000);
    auto ssc = dstream::testkit::makeContext(Seconds(10), SparkConf().setMaster("local[1,3]"));
    const auto seen = dstream::testkit::collect(assign(ssc, 1).map([](const Record& record) {
        if (record.offset() == 2500 && TaskContext::get()->attemptNumber() < 2) throw std::runtime_error("not yet");
        return record.offset();
    }));
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(Seconds(10));
    const auto offsets = seen.batch(Time(10000));
    ASSERT_EQ(offsets.size(), 3000U);
    for (std::size_t i = 0; i < offsets.size(); ++i) ASSERT_EQ(offsets[i], static_cast<int64_t>(i));
    ssc.stop();
}

TEST_F(KafkaMock, OneBigPartitionIsReadByIdleCoresToo) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 250'000);
    conf.setMaster("local[2]");
    SparkContext sc(conf);
    const auto rdd = KafkaUtils::createRDD<std::string_view, std::string_view>(
        sc, params(), {OffsetRange::create("t", 0, 0, 250'000)}, LocationStrategies::PreferConsistent);
    const auto offsets = rdd.map([](const View& record) { return record.offset(); }).collect();
    ASSERT_EQ(offsets.size(), 250'000U);
    for (std::size_t i = 0; i < offsets.size(); ++i) ASSERT_EQ(offsets[i], static_cast<int64_t>(i));
}

TEST_F(KafkaMock, TheNextPartitionsAreFetchedWhileTheFirstOneIsRead) {
    cluster.createTopic("t", 3);
    for (int partition = 0; partition < 3; ++partition) write("t", partition, partition * 10, 10);
    auto ssc = dstream::testkit::makeContext(Seconds(10));
    const auto stream = assign(ssc, 3);
    std::vector<std::string> firstOnes;
    std::vector<int64_t> begun;
    stream.foreachRDD([&](const auto& rdd) {
        for (const Record& record : rdd.take(1)) firstOnes.push_back(record.value());  // a job of the first partition
        begun.push_back(stream.metrics().repositions);
    });
    const auto seen = values(stream);
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(Seconds(10));
    EXPECT_THAT(firstOnes, ElementsAre("0"));
    EXPECT_THAT(begun, ElementsAre(3));
    EXPECT_EQ(seen.batch(Time(10000)).size(), 30U);
    EXPECT_EQ(stream.metrics().repositions, 4);  // the first partition was left before its end
    EXPECT_EQ(stream.metrics().consumerInstances, 3);
    ssc.stop();
}

TEST_F(KafkaMock, CommittedOffsetsAreWhereTheNextProgramBegins) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 10);
    for (int run = 0; run < 2; ++run) {
        auto ssc = dstream::testkit::makeContext(Seconds(10));
        const auto seen = values(assign(ssc, 1));
        ssc.start();
        dstream::testkit::manualClock(ssc).advance(Seconds(10));
        EXPECT_EQ(seen.batch(Time(10000)).size(), run == 0 ? 10U : 7U);
        ssc.stop();
        write("t", 0, 10, 7);
    }
}

TEST_F(KafkaMock, ARestartFromACheckpointRunsTheSameRangesAgain) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 10);
    const testsupport::TemporaryDirectory directory;
    std::map<Time, std::vector<OffsetRange>> first;
    std::map<Time, std::vector<OffsetRange>> again;
    std::map<Time, std::vector<OffsetRange>>* ranges = &first;
    bool fail = false;
    const auto create = [&] {
        auto ssc = dstream::testkit::makeContext(Seconds(10));
        ssc.checkpoint(directory.path());
        assign(ssc, 1).foreachRDD([&](const RDD<Record>& rdd, Time time) {
            (*ranges)[time] = HasOffsetRanges(rdd).offsetRanges();
            if (fail) throw std::runtime_error("the sink is down");
        });
        return ssc;
    };
    {
        auto ssc = StreamingContext::getOrCreate(directory.path(), create);
        ssc.start();
        dstream::testkit::manualClock(ssc).advance(Seconds(10));
        write("t", 0, 10, 5);
        fail = true;
        dstream::testkit::manualClock(ssc).advance(Seconds(10));
        fail = false;
        write("t", 0, 15, 5);
        dstream::testkit::manualClock(ssc).advance(Seconds(10));
        ssc.stop();
    }
    write("t", 0, 20, 30);
    ranges = &again;
    auto ssc = StreamingContext::getOrCreate(directory.path(), create);
    dstream::testkit::manualClock(ssc).advance(Seconds(30));
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(Seconds(10));
    EXPECT_EQ(again.at(Time(20000)), first.at(Time(20000)));
    EXPECT_THAT(again.at(Time(20000)), ElementsAre(OffsetRange::create("t", 0, 10, 15)));
    EXPECT_THAT(again.at(Time(40000)), ElementsAre(OffsetRange::create("t", 0, 20, 50)));
    ssc.stop();
}

TEST_F(KafkaMock, Row28_AnOffsetOutOfRangeFailsTheBatchAndNamesWhatThereIs) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 10);
    SparkContext sc(conf);
    const auto rdd = KafkaUtils::createRDD<std::string_view, std::string_view>(
        sc, params(), {OffsetRange::create("t", 0, 1000, 1010)}, LocationStrategies::PreferConsistent);
    EXPECT_THAT(errorOf([&] { rdd.collect(); }), AllOf(HasSubstr("offset out of range"), HasSubstr("topic: 't'"),
                                                       HasSubstr("[1000 -> 1010]"), HasSubstr("offsets 0 to 10")));
}

TEST_F(KafkaMock, Row28_RecordsThatTheTopicNoLongerKeepsAreReportedAsLost) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 120, 100'000);  // over twice what is kept
    SparkContext sc(conf);
    const auto ranges = KafkaUtils::availableRanges(params(), {{"t", 0}});
    ASSERT_GT(ranges[0].fromOffset, 0);
    const auto rdd = KafkaUtils::createRDD<std::string_view, std::string_view>(
        sc, params(), {OffsetRange::create("t", 0, 0, 120)}, LocationStrategies::PreferConsistent);
    EXPECT_THAT(errorOf([&] { rdd.collect(); }),
                HasSubstr("; " + std::to_string(ranges[0].fromOffset) + " records of it are lost"));
}

TEST_F(KafkaMock, TheEventsOfABatchTellLagFetchAgeAndCommittedOffsets) {
    struct Watcher final : StreamingListener {
        std::vector<KafkaMetrics> all;
        void onBatchSubmitted(const StreamingListenerBatchSubmitted& batch) override {
            for (const auto& [id, input] : batch.batchInfo.streamIdToInputInfo) {
                all.push_back(std::any_cast<KafkaMetrics>(input.metadata.at("metrics")));
            }
        }
    };
    cluster.createTopic("t", 1);
    write("t", 0, 0, 10);
    auto ssc = dstream::testkit::makeContext(Seconds(1), SparkConf().set("dstream.kafka.maxBatchRecords", "4"));
    const auto stream = assign(ssc, 1);
    const auto seen = values(stream);
    const auto watcher = std::make_shared<Watcher>();
    ssc.addStreamingListener(watcher);
    ssc.start();
    for (int batch = 0; batch < 2; ++batch) dstream::testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    ASSERT_EQ(watcher->all.size(), 2U);
    const auto at = [&](std::size_t batch) { return watcher->all[batch].partitions.at({"t", 0}); };
    EXPECT_EQ(at(0).nextOffset, 4);
    EXPECT_EQ(at(0).latestOffset, 10);
    EXPECT_EQ(at(0).lag, 6);
    EXPECT_EQ(at(0).committedOffset, -1);
    EXPECT_EQ(at(1).nextOffset, 8);
    EXPECT_EQ(at(1).lag, 2);
    EXPECT_EQ(at(1).committedOffset, 4);
    EXPECT_EQ(watcher->all[1].totalLag, 2);
    EXPECT_GE(watcher->all[1].fetchAgeMs, 0);
}

TEST_F(KafkaMock, Row25_ABrokerThatGoesDownAndComesBackLosesNothing) {
    const testsupport::CapturedLog log;
    cluster.createTopic("t", 1);
    auto ssc = dstream::testkit::makeContext(Seconds(1));
    const auto stream = assign(ssc, 1);
    const auto seen = values(stream);
    ssc.start();
    write("t", 0, 0, 5);
    dstream::testkit::manualClock(ssc).advance(Seconds(1));
    cluster.setDown(1);
    dstream::testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_GT(stream.metrics().fetchAgeMs, 0);
    EXPECT_THAT(log.text(), HasSubstr("has had no answer from Kafka"));
    cluster.setUp(1);
    write("t", 0, 5, 5);
    std::vector<std::string> all;
    for (int batch = 0; batch < 30 && all.size() < 10; ++batch) {  // each waits up to a second for the broker
        dstream::testkit::manualClock(ssc).advance(Seconds(1));
        all.clear();
        for (const auto& [time, values] : seen.all()) all.insert(all.end(), values.begin(), values.end());
    }
    EXPECT_THAT(all, ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
    ssc.stop();
}

TEST_F(KafkaMock, Row26_ATopicThatIsNotThereFailsTheStartByItsName) {
    cluster.createTopic("t", 1);
    cluster.setTopicError("t", 3);  // UNKNOWN_TOPIC_OR_PART
    auto ssc = dstream::testkit::makeContext(Seconds(10));
    const auto stream =
        KafkaUtils::createDirectStream(ssc, LocationStrategies::PreferConsistent,
                                       ConsumerStrategies::Subscribe<std::string, std::string>({"t"}, params()));
    stream.foreachRDD([](const auto&, Time) {});
    EXPECT_THAT(errorOf([&] { ssc.start(); }), AllOf(HasSubstr("topic t cannot be read"), HasSubstr("UNKNOWN_TOPIC")));
    cluster.setTopicError("t", 0);
}

TEST_F(KafkaMock, UndecodableRecordsFailTheBatchUnlessToldOtherwise) {
    cluster.createTopic("t", 1);
    cluster.createTopic("bad", 1);
    write("t", 0, 12345670, 5);  // eight bytes: numbers, in a way
    write("t", 0, 1, 2);
    const std::vector<OffsetRange> ranges{OffsetRange::create("t", 0, 0, 7)};
    const auto read = [&](const std::string& choice) {
        SparkContext sc(
            SparkConf(conf).set("dstream.kafka.onUndecodable", choice).set("dstream.kafka.deadLetterTopic", "bad"));
        return KafkaUtils::createRDD<std::string, int64_t>(sc, params(), ranges, LocationStrategies::PreferConsistent)
            .collect()
            .size();
    };
    EXPECT_THAT(errorOf([&] { read("fail"); }),
                AllOf(HasSubstr("record 5 of t-0 does not decode"), HasSubstr("expected 8 bytes")));
    EXPECT_EQ(read("skip"), 5);
    EXPECT_EQ(read("deadLetter"), 5);
    EXPECT_THAT(errorOf([&] { read("ignore"); }), HasSubstr("must be fail, skip or deadLetter"));
    SparkContext sc(conf);
    const auto letters =
        KafkaUtils::createRDD<std::string, std::string>(
            sc, params(), KafkaUtils::availableRanges(params(), {{"bad", 0}}), LocationStrategies::PreferConsistent)
            .collect();
    ASSERT_EQ(letters.size(), 2U);
    EXPECT_EQ(letters[0].value(), "1");
    EXPECT_EQ(letters[0].headers().at(0), Header<std::string>("deadletter.topic", "t"));
    EXPECT_EQ(letters[0].headers().at(2), Header<std::string>("deadletter.offset", "5"));
}

TEST_F(KafkaMock, AConsumerThatIsClosedWhileABatchIsGeneratedStillAnswers) {
    cluster.createTopic("t", 1);
    write("t", 0, 0, 4);
    const auto consumer =
        ConsumerStrategies::Subscribe<std::string, std::string>({"t"}, params({{"auto.offset.reset", "earliest"}}))
            ->onStart({});
    const auto assigned = consumer->assignment();
    consumer->close();
    EXPECT_EQ(consumer->assignment(), assigned);
    EXPECT_EQ(consumer->endOffsets(assigned, std::chrono::seconds(60)), (Offsets{{{"t", 0}, 4}}));
    std::optional<std::string> error;
    consumer->commitAsync({{{"t", 0}, 4}}, [&](const Offsets&, const std::optional<std::string>& why) { error = why; });
    EXPECT_THAT(error.value_or(""), HasSubstr("is closed"));
}

TEST_F(KafkaMock, ANewSubscriptionGetsItsPartitionsFromTheGroup) {
    cluster.createTopic("t", 3);
    write("t", 1, 0, 4);
    auto ssc = dstream::testkit::makeContext(Seconds(10));
    const auto stream = KafkaUtils::createDirectStream(
        ssc, LocationStrategies::PreferConsistent,
        ConsumerStrategies::Subscribe<std::string, std::string>({"t"}, params({{"auto.offset.reset", "earliest"}})));
    const auto seen = values(stream);
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(Seconds(10));
    EXPECT_THAT(seen.batch(Time(10000)), ElementsAre("0", "1", "2", "3"));
    EXPECT_EQ(stream.metrics().partitions.size(), 3U);
    ssc.stop();
}

}  // namespace
}  // namespace dstream::kafka
