#include "broker.hpp"

#include "connectors/kafka/kafka_sink.hpp"
#include "connectors/kafka/kafka_utils.hpp"
#include "connectors/kafka/testkit.hpp"
#include "dstream/testkit.hpp"
#include "support/captured_log.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>

namespace dstream::kafka {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;
using testsupport::errorOf;
using Record = ConsumerRecord<std::string, std::string>;
using Stream = DirectKafkaDStream<std::string, std::string>;

/// A batch is empty when the broker takes longer than this to say where its logs end.
constexpr Duration kBatch = Seconds(10);
constexpr std::chrono::minutes kPatience{2};

std::vector<ProducerRecord> numbered(int first, int count) {
    std::vector<ProducerRecord> records;
    for (int i = first; i < first + count; ++i) {
        records.push_back(ProducerRecord::of("user" + std::to_string(i % 97), std::to_string(i)));
    }
    return records;
}

struct BrokerStream : testing::Test {
    Broker& broker = Broker::get();

    Params params(Params more = {}) const {
        more.insert({{"group.id", "g-" + name()}, {"auto.offset.reset", "earliest"}});
        return broker.params(std::move(more));
    }
    static std::string name() { return testing::UnitTest::GetInstance()->current_test_info()->name(); }
    void write(const std::string& topic, int first, int count) {
        kafka::testkit::produce(broker.params(), topic, numbered(first, count));
    }
    Stream assign(const StreamingContext& ssc, const std::string& topic, Params more = {}) {
        const Params all = params(std::move(more));
        return KafkaUtils::createDirectStream(
            ssc, LocationStrategies::PreferConsistent,
            ConsumerStrategies::Assign<std::string, std::string>(KafkaUtils::partitionsOf(all, {topic}), all));
    }
    static auto values(const Stream& stream) {
        return dstream::testkit::collect(stream.map([](const Record& record) { return record.value(); }));
    }
    template <class T>
    static std::vector<T> flat(const std::map<Time, std::vector<T>>& batches) {
        std::vector<T> all;
        for (const auto& [time, batch] : batches) all.insert(all.end(), batch.begin(), batch.end());
        return all;
    }
    /// Runs batches until so many values were seen; each asks the broker.
    template <class Collected>
    static auto advanceUntil(StreamingContext& ssc, const Collected& seen, std::size_t count) {
        for (const Deadline deadline(kPatience); flat(seen.all()).size() < count && !deadline.passed();) {
            dstream::testkit::manualClock(ssc).advance(kBatch);
        }
        return flat(seen.all());
    }
};

TEST_F(BrokerStream, ASubscriptionReadsEachRecordOnceAndItsGroupShowsWhereItIs) {
    const std::string topic = broker.topic(4);
    write(topic, 0, 1000);
    for (int run = 0; run < 2; ++run) {  // the second one goes on where the first has stopped
        auto ssc = dstream::testkit::makeContext(kBatch);
        const auto stream =
            KafkaUtils::createDirectStream(ssc, LocationStrategies::PreferConsistent,
                                           ConsumerStrategies::Subscribe<std::string, std::string>({topic}, params()));
        const auto seen = values(stream);
        ssc.start();
        write(topic, 1000 * (run + 1), 1000);
        auto all = advanceUntil(ssc, seen, run == 0 ? 2000 : 1000);
        EXPECT_EQ(all.size(), run == 0 ? 2000U : 1000U);
        std::sort(all.begin(), all.end());
        EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
        ssc.stop();
    }
    int64_t committed = 0;
    for (int p = 0; p < 4; ++p) committed += broker.committed("g-" + name(), {topic, p});
    EXPECT_EQ(committed, 3000);
}

TEST_F(BrokerStream, TransactionsThatWereAbortedAndMarkersAreGapsThatAreCounted) {
    const std::string topic = broker.topic(1);
    auto ssc = dstream::testkit::makeContext(kBatch);
    const auto committed = assign(ssc, topic, {{"isolation.level", "read_committed"}});
    const auto everything = assign(ssc, topic);
    const auto seen = values(committed);
    const auto all = values(everything);
    ssc.start();
    transaction("gaps", topic, {"a", "b"}, true);
    EXPECT_EQ(advanceUntil(ssc, seen, 2).size(), 2U);  // the last batch ends with a marker
    transaction("gaps", topic, {"c", "d"}, false);
    dstream::testkit::manualClock(ssc).advance(kBatch);  // has nothing that is committed
    transaction("gaps", topic, {"e"}, true);
    EXPECT_THAT(advanceUntil(ssc, seen, 3), ElementsAre("a", "b", "e"));
    dstream::testkit::manualClock(ssc).advance(kBatch);  // whichever stream asked first has the last marker too
    EXPECT_THAT(flat(all.all()), ElementsAre("a", "b", "c", "d", "e"));
    EXPECT_EQ(committed.metrics().missingOffsets, 5);
    EXPECT_EQ(everything.metrics().missingOffsets, 3);
    EXPECT_EQ(committed.metrics().repositions, 1);
    ssc.stop();
}

TEST_F(BrokerStream, StartingPositionsCanBeGivenByTime) {
    const std::string topic = broker.topic(2, {{"retention.ms", "-1"}});  // the records are from 2023
    std::vector<ProducerRecord> records = numbered(0, 10);
    for (int i = 0; i < 10; ++i) {
        records[static_cast<std::size_t>(i)].partition = 0;
        records[static_cast<std::size_t>(i)].timestamp = 1'700'000'000'000 + i * 1000;
    }
    kafka::testkit::produce(broker.params(), topic, records);
    const auto partitions = KafkaUtils::partitionsOf(broker.params(), {topic});
    EXPECT_EQ(KafkaUtils::offsetsForTime(broker.params(), partitions, Time(1'700'000'006'500)),
              (Offsets{{{topic, 0}, 7}, {{topic, 1}, 0}}));
    EXPECT_EQ(KafkaUtils::offsetsForTime(broker.params(), partitions, Time(1'800'000'000'000)).at({topic, 0}), 10);
}

TEST_F(BrokerStream, Row27_NewPartitionsAndNewTopicsOfAPatternAreReadFromTheirBeginning) {
    const std::string first = broker.topic(1);
    auto ssc = dstream::testkit::makeContext(kBatch);
    const auto stream = KafkaUtils::createDirectStream(
        ssc, LocationStrategies::PreferConsistent,
        ConsumerStrategies::SubscribePattern<std::string, std::string>(
            first + "(-[a-z])?", params({{"metadata.max.age.ms", "300"}, {"auto.offset.reset", "latest"}})));
    const auto seen = values(stream);
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(kBatch);
    broker.addPartitions(first, 2);
    broker.createTopic(first + "-b", 1);
    broker.createTopic("not-" + first, 1);
    ProducerRecord record = ProducerRecord::of("k", "new partition");
    record.partition = 1;
    kafka::testkit::produce(broker.params(), first, {record});
    record.value = "new topic";
    record.partition = 0;
    kafka::testkit::produce(broker.params(), first + "-b", {record});
    kafka::testkit::produce(broker.params(), "not-" + first, {record});
    EXPECT_THAT(advanceUntil(ssc, seen, 2), UnorderedElementsAre("new partition", "new topic"));
    ssc.stop();
}

TEST_F(BrokerStream, Row26_ATopicThatDoesNotExistFailsTheStartAndOneThatIsDeletedTheBatch) {
    auto ssc = dstream::testkit::makeContext(kBatch);
    EXPECT_THAT(errorOf([&] { assign(ssc, "no-such-topic"); }), HasSubstr("topic no-such-topic cannot be read"));
    const std::string topic = broker.topic(1);
    write(topic, 0, 3);
    const auto stream = assign(ssc, topic, {{"metadata.max.age.ms", "300"}});
    const auto seen = values(stream);
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(kBatch);
    EXPECT_EQ(flat(seen.all()).size(), 3U);
    broker.deleteTopic(topic);
    const testsupport::CapturedLog log;
    for (const Deadline deadline(kPatience);
         log.text().find("Kafka has no partition") == std::string::npos && !deadline.passed();) {
        dstream::testkit::manualClock(ssc).advance(kBatch);
    }
    EXPECT_THAT(log.text(), HasSubstr("Kafka has no partition " + topic + "-0 (any more)"));
    ssc.stop();
}

TEST_F(BrokerStream, ACompactedTopicIsReadWithItsGapsCounted) {
    const std::string topic = broker.topic(1, {{"cleanup.policy", "compact"},
                                               {"segment.bytes", "1048576"},
                                               {"segment.ms", "100"},
                                               {"min.cleanable.dirty.ratio", "0.01"},
                                               {"max.compaction.lag.ms", "100"}});
    int64_t written = 0;
    std::size_t left = 0;
    for (const Deadline deadline(kPatience); left == static_cast<std::size_t>(written) && !deadline.passed();) {
        for (int i = 0; i < 3; ++i, ++written) {  // the last segment is never compacted
            kafka::testkit::produce(broker.params(), topic, {ProducerRecord::of("key", std::to_string(written))});
        }
        left = valuesOf(topic, "read_uncommitted").size();
    }
    ASSERT_LT(left, static_cast<std::size_t>(written));
    auto ssc = dstream::testkit::makeContext(kBatch);
    const auto stream = assign(ssc, topic);
    const auto seen = values(stream);
    ssc.start();
    const auto all = advanceUntil(ssc, seen, 1);
    EXPECT_EQ(all.back(), std::to_string(written - 1));
    EXPECT_EQ(static_cast<int64_t>(all.size()) + stream.metrics().missingOffsets, written);
    EXPECT_GT(stream.metrics().missingOffsets, 0);
    ssc.stop();
}

TEST_F(BrokerStream, APartitionThatASecondMemberOfTheGroupTakesFailsTheBatchesAndSaysSo) {
    const std::string topic = broker.topic(2);
    auto ssc = dstream::testkit::makeContext(kBatch);
    const auto strategy = ConsumerStrategies::Subscribe<std::string, std::string>({topic}, params());
    const auto stream = KafkaUtils::createDirectStream(ssc, LocationStrategies::PreferConsistent, strategy);
    stream.foreachRDD([](const auto& rdd, Time) { rdd.count(); });
    ssc.start();
    dstream::testkit::manualClock(ssc).advance(kBatch);
    const testsupport::CapturedLog log;
    const std::shared_ptr<Consumer> second = strategy->onStart({});
    for (const Deadline deadline(kPatience);
         log.text().find("has lost partition") == std::string::npos && !deadline.passed();) {
        dstream::testkit::manualClock(ssc).advance(kBatch);
    }
    EXPECT_THAT(log.text(), HasSubstr("to another member of group g-" + name()));
    EXPECT_EQ(second->assignment().size(), 1U);
    second->close();
    ssc.stop();
}

TEST_F(BrokerStream, CredentialsAndCertificatesAreCheckedAndNeverShown) {
    const std::string secret = "right-secret";
    Broker secured(secret);
    secured.createTopic("t", 1);
    kafka::testkit::produce(secured.saslParams(secret, true), "t", numbered(0, 10));
    SparkContext sc(SparkConf().setAppName("reader").setMaster("local[2]"));
    for (const bool encrypted : {false, true}) {
        SCOPED_TRACE(encrypted);
        const Params right = secured.saslParams(secret, encrypted);
        const auto rdd = KafkaUtils::createRDD<std::string, std::string>(
            sc, right, {OffsetRange::create("t", 0, 0, 10)}, LocationStrategies::PreferConsistent);
        EXPECT_EQ(rdd.collect().size(), 10U);
        EXPECT_THAT(describe(right), AllOf(HasSubstr("sasl.username=reader"), Not(HasSubstr(secret))));

        const testsupport::CapturedLog log;
        Params wrong = secured.saslParams("wrong-secret", encrypted);
        wrong["default.api.timeout.ms"] = "3000";
        const std::string error = errorOf([&] { KafkaUtils::partitionsOf(wrong, {"t"}); });
        EXPECT_THAT(error, AllOf(HasSubstr(wrong.at("bootstrap.servers")), Not(HasSubstr("secret"))));
        for (const Deadline deadline(kPatience);
             log.text().find("Authentication failed") == std::string::npos && !deadline.passed();) {
            errorOf([&] { KafkaUtils::partitionsOf(wrong, {"t"}); });
        }
        EXPECT_THAT(log.text(), AllOf(HasSubstr("Authentication failed"), Not(HasSubstr("secret"))));
    }
    const testsupport::CapturedLog log;
    Params untrusting = secured.saslParams(secret, true);
    untrusting.erase("ssl.ca.location");
    untrusting["default.api.timeout.ms"] = "3000";
    for (const Deadline deadline(kPatience);
         log.text().find("certificate verify failed") == std::string::npos && !deadline.passed();) {
        EXPECT_THAT(errorOf([&] { KafkaUtils::partitionsOf(untrusting, {"t"}); }), HasSubstr("does not say"));
    }
    EXPECT_THAT(log.text(), AllOf(HasSubstr("certificate verify failed"), Not(HasSubstr(secret))));
}

struct BrokerSink : BrokerStream {
    /// Copies a topic to another one; the copies are doubled numbers.
    void define(const StreamingContext& ssc, const std::string& in, const std::string& out) {
        source = assign(ssc, in);
        saveToKafka(
            source->map([](const Record& record) { return 2 * std::stoi(record.value()); }), name(), broker.params(),
            out, [](int n) { return ProducerRecord::of("", std::to_string(n)); }, *source);
    }
    std::vector<std::string> doubled(int count) const {
        std::vector<std::string> all;
        for (int i = 0; i < count; ++i) all.push_back(std::to_string(2 * i));
        std::sort(all.begin(), all.end());
        return all;
    }
    static std::vector<std::string> sorted(std::vector<std::string> values) {
        std::sort(values.begin(), values.end());
        return values;
    }
    std::optional<Stream> source;
};

TEST_F(BrokerSink, TheRecordsAndTheOffsetsTheyWereMadeOfAreOneTransaction) {
    const std::string in = broker.topic(2);
    const std::string out = broker.topic(2);
    {
        auto ssc = dstream::testkit::makeContext(kBatch, SparkConf().setAppName(name()));
        define(ssc, in, out);
        ssc.start();
        write(in, 0, 500);
        dstream::testkit::manualClock(ssc).advance(kBatch);
        EXPECT_EQ(broker.committed("g-" + name(), {in, 0}) + broker.committed("g-" + name(), {in, 1}), 500);
        write(in, 500, 500);
        dstream::testkit::manualClock(ssc).advance(kBatch + kBatch);
        ssc.stop();
    }
    EXPECT_EQ(sorted(valuesOf(out, "read_committed")), doubled(1000));
}

TEST_F(BrokerSink, ABatchThatRunsAgainFindsItsMarkAndWritesNothing) {
    const std::string in = broker.topic(1);
    const std::string out = broker.topic(1);
    write(in, 0, 10);
    for (int run = 0; run < 2; ++run) {  // the same batch time, the same records
        auto ssc = dstream::testkit::makeContext(kBatch, SparkConf().setAppName(name()));
        const auto stream = KafkaUtils::createDirectStream(
            ssc, LocationStrategies::PreferConsistent,
            ConsumerStrategies::Assign<std::string, std::string>({{in, 0}}, params(), {{{in, 0}, 0}}));
        saveToKafka(
            stream.map([](const Record& record) { return 2 * std::stoi(record.value()); }), "copy", broker.params(),
            out, [](int n) { return ProducerRecord::of("", std::to_string(n)); }, stream);
        ssc.start();
        dstream::testkit::manualClock(ssc).advance(kBatch);
        ssc.stop();
    }
    EXPECT_EQ(sorted(valuesOf(out, "read_committed")), doubled(10));
}

TEST_F(BrokerSink, Row30_ABatchWhoseProducerIsFencedIsWrittenAgainByANewOne) {
    const testsupport::CapturedLog log;
    const std::string in = broker.topic(1);
    const std::string out = broker.topic(1);
    auto ssc = dstream::testkit::makeContext(kBatch, SparkConf().setAppName(name()));
    define(ssc, in, out);
    ssc.start();
    for (int batch = 0; batch < 3; ++batch) {
        write(in, batch * 10, 10);
        dstream::testkit::manualClock(ssc).advance(kBatch);
        if (batch < 2) fence(name() + "/" + name());
    }
    ssc.stop();
    EXPECT_EQ(sorted(valuesOf(out, "read_committed")), doubled(30));
    EXPECT_THAT(log.text(), HasSubstr("attempt 1 at the transaction"));
}

TEST_F(BrokerSink, Row30_ATransactionThatFailsHalfwayIsAbortedAndItsBatchFailsWithoutARecord) {
    const std::string in = broker.topic(1);
    const std::string out = broker.topic(1);
    auto ssc = dstream::testkit::makeContext(kBatch, SparkConf().setAppName(name()));
    source = assign(ssc, in);
    saveToKafka(
        source->map([](const Record& record) { return record.value(); }), name(),
        broker.params({{"message.max.bytes", "2000"}}), out,
        [](const std::string& value) {
            return ProducerRecord::of("", value == "13" ? std::string(10'000, 'x') : value);
        },
        *source);
    ssc.start();
    write(in, 10, 10);  // one of them is oversized
    dstream::testkit::manualClock(ssc).advance(kBatch);
    write(in, 20, 1);
    dstream::testkit::manualClock(ssc).advance(kBatch);
    EXPECT_THAT(errorOf([&] { ssc.awaitTerminationOrTimeout(0); }), HasSubstr("of 10000 bytes"));
    ssc.stop();
    EXPECT_THAT(valuesOf(out, "read_committed"), ElementsAre("20"));
}

#ifdef KAFKA_EXACTLY_ONCE
struct BrokerCrash : BrokerStream {
    static constexpr int kRecords = 100'000;
    static constexpr int kKilled = 128 + SIGKILL;

    /// What the output must be: each event once, each user's events numbered from 1 in order.
    static void expectNumbered(const std::string& out, int count = kRecords) {
        std::vector<int> seen(static_cast<std::size_t>(count), 0);
        std::map<int, std::vector<int>> numbers;
        for (const std::string& value : valuesOf(out, "read_committed")) {
            const std::size_t space = value.find(' ');
            const int event = std::stoi(value.substr(0, space));
            ++seen.at(static_cast<std::size_t>(event));
            numbers[event % 97].push_back(std::stoi(value.substr(space + 1)));
        }
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), count) << std::count(seen.begin(), seen.end(), 0) << " lost";
        for (auto& [user, all] : numbers) {
            std::sort(all.begin(), all.end());
            for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<int>(i) + 1) << "user " << user;
        }
    }
    std::vector<std::string> command(const std::string& in, const std::string& out, int count = kRecords) const {
        return {testsupport::builtProgram("example_kafka_exactly_once"),
                broker.servers(),
                in,
                out,
                directory / "checkpoints",
                std::to_string(count)};
    }
    const testsupport::TemporaryDirectory directory;
};

TEST_F(BrokerCrash, AProgramThatIsKilled20TimesWritesEachEventOnce) {
    const char* given = std::getenv("DSTREAM_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::stoul(given)) : std::random_device{}();
    std::cout << "DSTREAM_SEED=" << seed << '\n';
    std::mt19937 random(seed);
    const std::string in = broker.topic(4);
    const std::string out = broker.topic(2);
    write(in, 0, kRecords);
    int kills = 0;
    for (bool done = false; !done;) {
        std::vector<std::pair<std::string, std::string>> environment;
        if (kills < 20) environment.emplace_back("DSTREAM_KILL_AT", std::to_string(1 + random() % 120));
        testsupport::ChildProcess program(command(in, out), environment);
        const int status = program.finish();
        if (status == kKilled) ++kills;
        ASSERT_TRUE(status == 0 || status == kKilled) << program.output();
        done = status == 0 && environment.empty();
        ASSERT_LT(kills, 21) << program.output();
    }
    EXPECT_EQ(kills, 20);
    expectNumbered(out);
}

TEST_F(BrokerCrash, AKillAndAFailureAtEachFailpointOfKafkaLoseAndDoubleNothing) {
    constexpr int kStep = 4'000;
    const std::string in = broker.topic(4);
    const std::string out = broker.topic(2);
    int written = 0;
    for (const char* how : {"KILL", "EIO"}) {
        for (const char* point : {"kafka.init", "kafka.begin", "kafka.produced", "kafka.commit_transaction",
                                  "kafka.committed", "kafka.commit"}) {
            const std::string failure = std::string(point) + ":" + how + ":1";
            SCOPED_TRACE(failure);
            write(in, written, kStep);
            written += kStep;
            testsupport::ChildProcess failing(command(in, out, written), {{"DSTREAM_FAIL", failure}});
            const int status = failing.finish();
            ASSERT_TRUE(std::string_view(how) == "EIO" || status == kKilled) << status << '\n' << failing.output();
            testsupport::ChildProcess again(command(in, out, written));
            ASSERT_EQ(again.finish(), 0) << again.output();
        }
    }
    expectNumbered(out, written);
}

TEST_F(BrokerCrash, ABrokerThatIsKilledAndRestartedInTheMiddleLosesAndDoublesNothing) {
    const std::string in = broker.topic(4);
    const std::string out = broker.topic(2);
    write(in, 0, kRecords / 2);
    testsupport::ChildProcess program(command(in, out));
    // It is at work once its group has committed something.
    while (broker.committed("numbering", {in, 0}) <= 0) {
    }
    broker.kill();
    broker.restart();
    write(in, kRecords / 2, kRecords / 2);
    EXPECT_EQ(program.finish(), 0) << program.output();
    expectNumbered(out);
}
#endif

}  // namespace
}  // namespace dstream::kafka
