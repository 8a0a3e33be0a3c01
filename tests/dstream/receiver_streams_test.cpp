#include "dstream/stream_test.hpp"
#include "rdd/clock.hpp"
#include "streaming_core.hpp"
#include "support/loopback.hpp"

#include <atomic>
#include <cstdint>
#include <istream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <tuple>
#include <unistd.h>
#include <utility>
#include <vector>

// Streams of receivers: sockets with a converter or raw frames, and the way of a rate back to the receiver.

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// Accepts one connection on the loopback interface, sends bytes and closes.
class ByteServer {
public:
    explicit ByteServer(std::string bytes) {
        std::tie(socket_, port) = testsupport::listenOnLoopback();
        thread_ = std::jthread([this, bytes = std::move(bytes)] {
            const int client = ::accept(socket_, nullptr, nullptr);
            ::close(socket_);
            ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            ::close(client);
        });
    }

    int port = 0;

private:
    int socket_ = -1;
    std::jthread thread_;
};

struct ReceiverEventsListener : StreamingListener {
    void onReceiverStarted(const StreamingListenerReceiverStarted&) override { started.notify(); }
    void onReceiverStopped(const StreamingListenerReceiverStopped& event) override {
        {
            const std::lock_guard lock(mutex);
            last = event.receiverInfo;
        }
        stopped.notify();
    }
    Signal started, stopped;
    std::mutex mutex;
    ReceiverInfo last;
};

std::string bigEndian(uint32_t number) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift);
    return bytes;
}

template <class T>
std::string frame(const std::vector<T>& records) {
    ByteWriter out;
    Codec<T>::write(out, std::span<const T>(records));
    const auto bytes = out.view();
    return bigEndian(static_cast<uint32_t>(bytes.size())) +
           std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

TEST_F(StreamTest, RawSocketStreamMakesABlockOfEachFrame) {
    using Record = std::pair<std::string, int64_t>;
    ByteServer server(frame<Record>({{"a", 1}, {"b", 2}}) + frame<Record>({}) + frame<Record>({{"c", 3}}) +
                      bigEndian(1000) + "cut short");
    auto ssc = makeContext();
    auto listener = std::make_shared<ReceiverEventsListener>();
    ssc.addStreamingListener(listener);
    auto stream = ssc.rawSocketStream<Record>("127.0.0.1", server.port);
    auto output = testkit::collect(stream);
    auto partitions = testkit::collect(stream.glom());
    ssc.start();
    ASSERT_TRUE(listener->stopped.waitFor()) << "the end of the connection ends the receiver";
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_THAT(output.batch(Time(1000)), ElementsAre(Record("a", 1), Record("b", 2), Record("c", 3)));
    EXPECT_THAT(partitions.batch(Time(1000)),
                ElementsAre(ElementsAre(Record("a", 1), Record("b", 2)), IsEmpty(), ElementsAre(Record("c", 3))));
    EXPECT_THAT(listener->last.lastError, HasSubstr("within a frame of 1000 bytes"));
    EXPECT_FALSE(listener->last.active);
    EXPECT_EQ(listener->last.name, "RawNetworkReceiver-0");
}

TEST_F(StreamTest, BytesThatAreNoRecordsFailTheirBatchOnly) {
    ByteServer server(bigEndian(5) + "bytes" + frame<std::string>({"fine"}));
    auto ssc = makeContext();
    auto listener = std::make_shared<ReceiverEventsListener>();
    ssc.addStreamingListener(listener);
    auto stream = ssc.rawSocketStream<std::string>("127.0.0.1", server.port);
    stream.count().foreachRDD([](const RDD<int64_t>& rdd) { rdd.collect(); });
    auto next = testkit::collect(testkit::batches<int>(ssc, {{1}, {2}}));
    ssc.start();
    ASSERT_TRUE(listener->stopped.waitFor());
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(errorOf([&] { ssc.awaitTerminationOrTimeout(0); }), HasSubstr("streaming job 1000 ms.0"));
    ssc.stop();
    EXPECT_THAT(next.batch(Time(1000)), ElementsAre(1));
    EXPECT_THAT(next.batch(Time(2000)), ElementsAre(2));
}

TEST_F(StreamTest, SocketStreamTakesWhatTheConverterMakesOfTheBytes) {
    ByteServer server("1 20 300\n4000 5");
    auto ssc =
        makeContext(Milliseconds(20),
                    SparkConf().set("spark.streaming.clock", "system").set("spark.streaming.blockInterval", "5ms"));
    auto listener = std::make_shared<ReceiverEventsListener>();
    ssc.addStreamingListener(listener);
    auto numbers = ssc.socketStream<int>(
        "127.0.0.1", server.port,
        [](std::istream& in) {
            return Iterator<int>(fromNext([&in]() -> std::optional<int> {
                int number = 0;
                if (in >> number) return number;
                return std::nullopt;
            }));
        },
        StorageLevel::MEMORY_ONLY);
    std::vector<int> seen;
    numbers.foreachRDD([&](const RDD<int>& rdd) {
        for (int number : rdd.collect()) seen.push_back(number);
    });
    ssc.start();
    ASSERT_TRUE(listener->stopped.waitFor()) << "the end of the connection restarts the receiver";
    ssc.stop(true, true);
    EXPECT_THAT(seen, ElementsAre(1, 20, 300, 4000, 5));
    EXPECT_THAT(listener->last.lastErrorMessage, HasSubstr("Restarting receiver"));
}

/// Stores what the test gives, and has a generator of its own whose rate can be looked at.
class RatedReceiver : public Receiver<int> {
public:
    RatedReceiver() : Receiver<int>(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {
        struct Ignore : BlockGeneratorListener<int> {
            void onPushBlock(const StreamBlockId&, std::vector<int>) override {}
            void onError(const std::string&, std::exception_ptr) override {}
        };
        generator = createBlockGenerator(std::make_shared<Ignore>());
        started.notify();
    }
    void onStop() override {}
    std::shared_ptr<BlockGenerator<int>> generator;
    Signal started;
};

class BackPressureTest : public StreamTest {
protected:
    struct Completed : StreamingListener {
        void onBatchCompleted(const StreamingListenerBatchCompleted&) override { signal.notify(); }
        Signal signal;
    };

    /// The rate at the receiver after each batch, of `records` that take 100 ms.
    std::vector<int64_t> rates(SparkConf conf, const std::vector<int>& records) {
        auto ssc = makeContext(Seconds(1), std::move(conf));
        auto receiver = std::make_shared<RatedReceiver>();
        auto& clock = dynamic_cast<ManualClock&>(*ssc.owner()->core()->clock);
        ssc.receiverStream<int>(receiver).foreachRDD([&clock](const RDD<int>& rdd) {
            if (rdd.count() > 0) clock.advance(100);
        });
        ssc.start();
        auto completed = std::make_shared<Completed>();
        ssc.addStreamingListener(completed);  // hears of a batch after the rate controller
        EXPECT_TRUE(receiver->started.waitFor());
        std::vector<int64_t> all{receiver->generator->getCurrentLimit()};
        for (std::size_t i = 0; i < records.size(); ++i) {
            receiver->store(std::vector<int>(static_cast<std::size_t>(records[i]), 1));
            testkit::manualClock(ssc).advance(Time(static_cast<int64_t>(i + 1) * 1000) -
                                              testkit::manualClock(ssc).now());
            EXPECT_TRUE(completed->signal.waitFor(static_cast<int>(i) + 1));
            all.push_back(receiver->generator->getCurrentLimit());
        }
        ssc.stop();
        return all;
    }
};

TEST_F(BackPressureTest, TheReceiverFollowsTheProcessingRateFromTheSecondBatchOn) {
    // 50 records in 100 ms are 500 a second, 20 are 200; the first batch only teaches.
    EXPECT_THAT(rates(SparkConf()
                          .set("spark.streaming.backpressure.enabled", "true")
                          .set("spark.streaming.backpressure.initialRate", "1000"),
                      {50, 50, 20, 1, 90}),
                ElementsAre(1000, 1000, 500, 200, 100, 900))
        << "never below the minimum of 100";
}

TEST_F(BackPressureTest, TheFirstBatchIsBoundedWithoutAnInitialRateToo) {
    EXPECT_THAT(rates(SparkConf().set("spark.streaming.backpressure.enabled", "true"), {50, 50, 20}),
                ElementsAre(50'000, 50'000, 500, 200));
}

TEST_F(BackPressureTest, EachBatchTellsListenersOfTheReceiversAndTheirRates) {
    struct Metrics : StreamingListener {
        void onReceiverMetrics(const StreamingListenerReceiverMetrics& event) override {
            const std::lock_guard lock(mutex);
            all.push_back(event);
        }
        std::mutex mutex;
        std::vector<StreamingListenerReceiverMetrics> all;
    };
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.receiver.maxRate", "300"));
    auto receiver = std::make_shared<RatedReceiver>();
    ssc.receiverStream<int>(receiver).foreachRDD([](const RDD<int>& rdd) { rdd.count(); });
    auto metrics = std::make_shared<Metrics>();
    auto completed = std::make_shared<Completed>();
    ssc.addStreamingListener(metrics);
    ssc.addStreamingListener(completed);
    ssc.start();
    ASSERT_TRUE(receiver->started.waitFor());
    for (int batch = 1; batch <= 2; ++batch) {
        receiver->store(std::vector<int>(10, 1));
        testkit::manualClock(ssc).advance(Seconds(1));
        ASSERT_TRUE(completed->signal.waitFor(batch));
    }
    ssc.stop();
    ASSERT_EQ(metrics->all.size(), 2U);
    for (int64_t batch : {1, 2}) {
        const auto& event = metrics->all[static_cast<std::size_t>(batch - 1)];
        EXPECT_EQ(event.batchTime, Time(batch * 1000));
        EXPECT_EQ(event.streamId, 0);
        EXPECT_EQ(event.metrics.records, batch * 10);
        EXPECT_EQ(event.metrics.rateLimit, 300);
        EXPECT_EQ(event.metrics.log.records, 0);
    }
}

/// Stores numbered records as fast as it may.
class Flood : public Receiver<int64_t> {
public:
    static constexpr int64_t kBlock = 100;

    explicit Flood(int64_t blocks) : Receiver<int64_t>(StorageLevel::MEMORY_ONLY), blocks_(blocks) {}
    void onStart() override {
        thread_ = std::jthread([this] {
            for (int64_t block = 0; block < blocks_; ++block) {
                std::vector<int64_t> records;
                for (int64_t i = 0; i < kBlock; ++i) records.push_back(block * kBlock + i);
                store(std::move(records));
                stored.notify();
            }
        });
    }
    void onStop() override { thread_ = {}; }
    Signal stored;

private:
    const int64_t blocks_;
    std::jthread thread_;
};

TEST_F(BackPressureTest, TenTimesWhatFitsKeepsTheMemoryBoundedAndLosesNothing) {
    constexpr int64_t kBlocks = 200;
    constexpr int64_t kBlocksThatFit = 20;
    constexpr int64_t kBytes = kBlocksThatFit * Flood::kBlock * static_cast<int64_t>(sizeof(int64_t));
    auto ssc = makeContext(Seconds(1), SparkConf()
                                           .set("dstream.receiver.maxStoredBytes", std::to_string(kBytes))
                                           .set("spark.streaming.backpressure.enabled", "true"));
    auto receiver = std::make_shared<Flood>(kBlocks);
    std::map<int64_t, int> seen;
    std::size_t largest = 0;
    ssc.receiverStream<int64_t>(receiver).foreachRDD([&](const RDD<int64_t>& rdd) {
        const auto records = rdd.collect();
        largest = std::max(largest, records.size());
        for (const int64_t record : records) ++seen[record];
    });
    ssc.start();
    // Nothing is processed before it is full: then the receiver waits.
    ASSERT_TRUE(receiver->stored.waitFor(kBlocksThatFit));
    while (seen.size() < kBlocks * Flood::kBlock) testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_LE(largest, kBlocksThatFit * Flood::kBlock);
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(kBlocks * Flood::kBlock));
    for (const auto& [record, times] : seen) ASSERT_EQ(times, 1) << record;
}

TEST_F(BackPressureTest, TheMaximumRateHoldsAndWithoutBackPressureNothingChanges) {
    const SparkConf limited = SparkConf().set("spark.streaming.receiver.maxRate", "300");
    EXPECT_THAT(rates(limited.clone().set("spark.streaming.backpressure.enabled", "true"), {50, 50, 20}),
                ElementsAre(300, 300, 300, 200));
    EXPECT_THAT(rates(limited, {50, 50, 20}), ElementsAre(300, 300, 300, 300));
}

TEST_F(BackPressureTest, AnUnknownEstimatorOrWrongWeightsAreRefused) {
    for (const auto& [key, value] : {std::pair("rateEstimator", "guess"), std::pair("pid.proportional", "-1"),
                                     std::pair("pid.minRate", "0"), std::pair("pid.integral", "much")}) {
        auto ssc = makeContext(Seconds(1), SparkConf()
                                               .set("spark.streaming.backpressure.enabled", "true")
                                               .set(std::string("spark.streaming.backpressure.") + key, value));
        EXPECT_THROW(ssc.receiverStream<int>(std::make_shared<RatedReceiver>()), IllegalArgumentException) << key;
        ssc.stop();
    }
}

}  // namespace
}  // namespace dstream
