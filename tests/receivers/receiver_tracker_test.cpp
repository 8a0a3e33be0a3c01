#include "receivers/receiver_tracker.hpp"

#include "receiver_test_support.hpp"
#include "support/sanitizers.hpp"
#include "support/this_process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::Growing;
using testing_support::recordsOf;

/// Does in onStart and onStop what the test wants.
class FakeReceiver final : public Receiver<int> {
public:
    FakeReceiver() : Receiver(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {
        calls.add("onStart");
        if (start) start(*this);
    }
    void onStop() override {
        calls.add("onStop");
        if (end) end(*this);
    }

    std::function<void(FakeReceiver&)> start;
    std::function<void(FakeReceiver&)> end;
    Growing<std::string> calls;
};

class ReceiverTrackerTest : public testing_support::TrackerTest {
protected:
    /// Starts the receiver, which waits for leave_, and stops the tracker by letting the time pass that a receiver has
    /// for it.
    void stopAfterTimeout() {
        store_ = {store_.get(), [this, store = store_](testing_support::WatchedStore*) mutable {
                      store.reset();
                      freed_.set_value();
                  }};
        start(receiver_);
        receiver_->calls.atLeast(1);
        auto stopped = std::async(std::launch::async, [&] { tracker_->stop(false); });
        ASSERT_TRUE(clock_->waitUntilWaiting(11'000));
        clock_->setTime(11'000);
        stopped.get();
    }
    /// Lets the stuck thread go on when only that holds the store, and waits until it has ended.
    void letGo() {
        tracker_.reset();
        receiver_.reset();
        store_.reset();
        leave_->count_down();
        freed_.get_future().wait();
    }

    std::shared_ptr<FakeReceiver> receiver_ = std::make_shared<FakeReceiver>();
    std::shared_ptr<std::latch> leave_ = std::make_shared<std::latch>(1);

private:
    std::promise<void> freed_;
};

TEST_F(ReceiverTrackerTest, RunsAReceiverFromStartToStop) {
    EXPECT_EQ(receiver_->streamId(), -1);
    makeTracker();
    tracker_->addReceiver(3, receiver_);
    EXPECT_EQ(receiver_->streamId(), 3);
    tracker_->start();
    EXPECT_THAT(receiver_->calls.atLeast(1), ElementsAre("onStart"));
    EXPECT_TRUE(receiver_->isStarted());
    EXPECT_FALSE(receiver_->isStopped());
    ASSERT_EQ(tracker_->receivers().size(), 1U);
    const ReceiverInfo info = tracker_->receivers()[0];
    EXPECT_EQ(info.name, "FakeReceiver-3");
    EXPECT_TRUE(info.active);
    EXPECT_EQ(info.lastErrorTime, -1);
    tracker_->stop(false);
    EXPECT_THAT(receiver_->calls.atLeast(2), ElementsAre("onStart", "onStop"));
    EXPECT_TRUE(receiver_->isStopped());
    EXPECT_FALSE(tracker_->receivers()[0].active);
    EXPECT_THAT(events_->all.atLeast(2),
                ElementsAre("started FakeReceiver-3", "stopped FakeReceiver-3: Stopped by driver"));
    tracker_->stop(false);
    EXPECT_THROW(tracker_->start(), IllegalStateException);
}

TEST_F(ReceiverTrackerTest, RefusesMisuse) {
    EXPECT_THROW(receiver_->store(1), IllegalStateException);
    EXPECT_THROW(receiver_->isStopped(), IllegalStateException);
    EXPECT_THROW(makeTracker(SparkConf().set("spark.streaming.blockInterval", "0")), IllegalArgumentException);
    EXPECT_THROW(makeTracker(SparkConf().set("spark.streaming.receiverRestartDelay", "-1")), IllegalArgumentException);
    makeTracker();
    EXPECT_THROW(tracker_->addReceiver(0, nullptr), IllegalArgumentException);
    tracker_->addReceiver(0, receiver_);
    EXPECT_THROW(tracker_->addReceiver(0, std::make_shared<FakeReceiver>()), IllegalStateException);
    tracker_->addReceiver(1, receiver_);
    EXPECT_THROW(tracker_->start(), IllegalStateException);
}

TEST_F(ReceiverTrackerTest, StoresRecordsOneByOneInBlocksOfAnInterval) {
    std::promise<void> stored;
    receiver_->start = [&](FakeReceiver& receiver) {
        receiver.store(1);
        receiver.store(2);
        stored.set_value();
    };
    start(receiver_);
    stored.get_future().wait();
    ASSERT_TRUE(clock_->waitUntilWaiting(1200));
    clock_->setTime(1200);
    store_->ids.atLeast(1);
    receiver_->store(3);
    const auto blocks = finish();
    EXPECT_THAT(recordsOf<int>(blocks), ElementsAre(1, 2, 3));
    ASSERT_EQ(blocks.size(), 2U);
    EXPECT_EQ(blocks[0].blockId.toString(), "input-0-1000");
    EXPECT_EQ(blocks[0].numRecords, 2);
    EXPECT_THROW(receiver_->store(4), SparkException);
    const ReceiverMetrics metrics = tracker_->metrics(0);
    EXPECT_EQ(metrics.records, 3);
    EXPECT_EQ(metrics.blocks, 2);
    EXPECT_EQ(metrics.bytes, 12);
}

TEST_F(ReceiverTrackerTest, StoresWholeBuffersIteratorsAndBytesAsOneBlockEach) {
    receiver_->start = [](FakeReceiver& receiver) {
        receiver.store(std::vector<int>{1, 2}, std::string("meta"));
        receiver.store(Iterator<int>(std::vector<int>{3}));
        receiver.store(ByteBuffer{"raw"}, 5);
        receiver.store(std::vector<int>{});
    };
    start(receiver_);
    receiver_->calls.atLeast(1);
    store_->ids.atLeast(4);
    const auto blocks = finish();
    ASSERT_EQ(blocks.size(), 4U);
    EXPECT_THAT(recordsOf<int>({blocks[0], blocks[1], blocks[3]}), ElementsAre(1, 2, 3));
    EXPECT_EQ(std::any_cast<std::string>(blocks[0].metadata), "meta");
    EXPECT_EQ(blocks[0].blockId.uniqueId, 1000);
    EXPECT_EQ(blocks[1].blockId.uniqueId, 1001);
    EXPECT_EQ(blocks[1].numRecords, 1);
    EXPECT_EQ(blocks[2].numRecords, std::nullopt);
    EXPECT_EQ(dynamic_cast<const BytesBlock&>(*blocks[2].load()).bytes(), "raw");
    EXPECT_THROW(receiver_->store(std::vector<int>{1}), SparkException);
    EXPECT_EQ(tracker_->metrics(0).failedBlocks, 1);
}

TEST_F(ReceiverTrackerTest, RestartsAfterTheDelayAndKeepsTheGenerator) {
    start(receiver_);
    receiver_->calls.atLeast(1);
    receiver_->restart("lost", std::make_exception_ptr(std::runtime_error("cable")));
    EXPECT_THAT(events_->all.atLeast(2)[1],
                "stopped FakeReceiver-0: Restarting receiver with delay 2000 ms: lost - cable");
    EXPECT_TRUE(receiver_->isStopped());
    EXPECT_EQ(tracker_->receivers()[0].lastErrorTime, 1000);
    receiver_->store(1);
    receiver_->restart("ignored while one is waiting");
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    clock_->setTime(2999);
    EXPECT_EQ(receiver_->calls.size(), 2U);
    clock_->setTime(3000);
    EXPECT_THAT(receiver_->calls.atLeast(3), ElementsAre("onStart", "onStop", "onStart"));
    receiver_->restart("again", nullptr, 10);
    ASSERT_TRUE(clock_->waitUntilWaiting(3010));
    clock_->setTime(3010);
    receiver_->calls.atLeast(5);
    EXPECT_EQ(tracker_->metrics(0).restarts, 2);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1));
    EXPECT_EQ(receiver_->calls.size(), 6U);
}

TEST_F(ReceiverTrackerTest, RelaunchesAReceiverThatHasStopped) {
    start(receiver_);
    receiver_->calls.atLeast(1);
    receiver_->store(1);
    receiver_->stop("finished");
    EXPECT_TRUE(receiver_->isStopped());
    EXPECT_THAT(events_->all.atLeast(2)[1], "stopped FakeReceiver-0: finished");
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    EXPECT_TRUE(tracker_->hasUnallocatedBlocks());
    clock_->setTime(3000);
    receiver_->calls.atLeast(3);
    receiver_->store(2);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1, 2));
}

TEST_F(ReceiverTrackerTest, StopsDuringThePauseOfARestartWithoutAnotherOnStop) {
    start(receiver_);
    receiver_->calls.atLeast(1);
    receiver_->restart("pause");
    ASSERT_TRUE(clock_->waitUntilWaiting(3000));
    tracker_->stop(true);
    EXPECT_THAT(receiver_->calls.atLeast(2), ElementsAre("onStart", "onStop"));
    EXPECT_EQ(events_->all.size(), 2U);
}

TEST_F(ReceiverTrackerTest, Row17AReceiverThatThrowsIsReportedAndStartedAgainAfterTheDelayWithItsIdAndBlocks) {
    std::atomic<int> attempts = 0;
    receiver_->start = [&](FakeReceiver& receiver) {
        receiver.store(std::vector<int>{++attempts});
        if (attempts < 3) throw std::runtime_error("attempt failed");
        if (attempts == 3) throw 7;
    };
    start(receiver_);
    for (int attempt = 1; attempt <= 3; ++attempt) {
        EXPECT_EQ(events_->all.atLeast(static_cast<size_t>(attempt) * 3).back(),
                  std::string("stopped FakeReceiver-0: Error starting receiver 0 - ") +
                      (attempt < 3 ? "attempt failed" : "unknown exception"));
        const int64_t relaunch = 1000 + attempt * 2000;
        ASSERT_TRUE(clock_->waitUntilWaiting(relaunch));
        clock_->setTime(relaunch);
    }
    receiver_->calls.atLeast(7);
    store_->ids.atLeast(4);
    EXPECT_EQ(events_->all.atLeast(3)[1], "error FakeReceiver-0: Error starting receiver 0 - attempt failed");
    EXPECT_EQ(receiver_->streamId(), 0);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1, 2, 3, 4));
    EXPECT_EQ(tracker_->metrics(0).restarts, 3);
    EXPECT_EQ(tracker_->metrics(0).errors, 3);
}

TEST_F(ReceiverTrackerTest, ReportsAnErrorAndGoesOn) {
    start(receiver_);
    receiver_->calls.atLeast(1);
    receiver_->reportError("odd", std::make_exception_ptr(std::runtime_error("value")));
    EXPECT_EQ(events_->all.atLeast(2)[1], "error FakeReceiver-0: odd - value");
    EXPECT_TRUE(receiver_->isStarted());
    const ReceiverInfo info = tracker_->receivers()[0];
    EXPECT_TRUE(info.active);
    EXPECT_EQ(info.lastErrorMessage, "odd");
    EXPECT_EQ(info.lastError, "value");
    EXPECT_EQ(info.lastErrorTime, 1000);
}

TEST_F(ReceiverTrackerTest, GoesOnWhenOnStopThrows) {
    receiver_->end = [](FakeReceiver&) { throw std::runtime_error("stuck"); };
    start(receiver_);
    receiver_->calls.atLeast(1);
    tracker_->stop(true);
    EXPECT_EQ(events_->all.atLeast(2)[1], "stopped FakeReceiver-0: Stopped by driver");
}

TEST_F(ReceiverTrackerTest, DoesNotLetTheRateLimitHoldUpAStopThatJoinsTheReceiversThread) {
    std::jthread writer;
    receiver_->start = [&](FakeReceiver& receiver) {
        writer = std::jthread([&receiver] {
            while (!receiver.isStopped()) receiver.store(1);
        });
    };
    receiver_->end = [&](FakeReceiver&) { writer.join(); };
    start(receiver_, SparkConf().set("spark.streaming.receiver.maxRate", "1"));
    ASSERT_TRUE(clock_->waitUntilWaiting(2000));
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1, 1));
}

TEST_F(ReceiverTrackerTest, SetsTheRateOfAReceiverAndRefusesARateOfZeroAtTheFirstRecord) {
    std::promise<std::string> refusal;
    receiver_->start = [&](FakeReceiver& receiver) {
        try {
            receiver.store(1);
        } catch (const IllegalArgumentException& error) {
            refusal.set_value(error.what());
        }
    };
    start(receiver_, SparkConf().set("spark.streaming.receiver.maxRate", "0"));
    EXPECT_THAT(refusal.get_future().get(), HasSubstr("must be positive: 0"));
    tracker_->sendRateUpdate(0, 50);
    tracker_->sendRateUpdate(17, 50);
    receiver_->store(2);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(2));
}

TEST_F(ReceiverTrackerTest, Row18AReceiverThatDoesNotStopIsLeftAloneAfterTheTimeout) {
    Growing<std::string> log;
    setLogLevel(LogLevel::kError);
    setLogSink([&](LogLevel, std::string_view, std::string_view text) { log.add(std::string(text)); });
    // The stuck thread may go on after a test that failed: it holds what it uses.
    receiver_->end = [leave = leave_](FakeReceiver&) { leave->wait(); };
    ASSERT_NO_FATAL_FAILURE(stopAfterTimeout());
    EXPECT_THAT(log.atLeast(1)[0], HasSubstr("FakeReceiver-0 does not stop"));
    EXPECT_THROW(receiver_->store(std::vector<int>{1}), SparkException);
    letGo();
    setLogSink({});
}

TEST_F(ReceiverTrackerTest, Row18AReceiverThatNeverComesBackFromOnStartIsLeftAloneAfterTheTimeout) {
    receiver_->start = [leave = leave_](FakeReceiver&) { leave->wait(); };
    ASSERT_NO_FATAL_FAILURE(stopAfterTimeout());
    letGo();
}

TEST_F(ReceiverTrackerTest, WaitsWithoutLimitForAReceiverWhenGraceful) {
    std::promise<void> leave;
    receiver_->end = [&](FakeReceiver& receiver) {
        leave.get_future().wait();
        receiver.store(std::vector<int>{1});
    };
    start(receiver_);
    receiver_->calls.atLeast(1);
    auto blocks = std::async(std::launch::async, [&] { return finish(); });
    ASSERT_TRUE(clock_->waitUntilWaiting(11'000));
    clock_->setTime(60'000);
    leave.set_value();
    EXPECT_THAT(recordsOf<int>(blocks.get()), ElementsAre(1));
}

TEST_F(ReceiverTrackerTest, StopsAReceiverWhoseOnStartDoesNotReturnButLooksAtIsStopped) {
    receiver_->start = [this](FakeReceiver& receiver) {
        while (!receiver.isStopped()) clock_->waitTillTime(clock_->getTimeMillis() + 1, {});
    };
    start(receiver_);
    receiver_->calls.atLeast(1);
    ASSERT_TRUE(clock_->waitUntilWaiting(1001));
    auto stopped = std::async(std::launch::async, [&] { tracker_->stop(true); });
    ASSERT_TRUE(clock_->waitUntilWaiting(11'000));
    clock_->advance(1);
    stopped.get();
    EXPECT_EQ(receiver_->calls.size(), 2U);
}

TEST_F(ReceiverTrackerTest, StopsAGeneratorOfTheReceiversOwnWithIt) {
    struct Listener final : BlockGeneratorListener<int> {
        explicit Listener(FakeReceiver& owner) : receiver(owner) {}
        void onPushBlock(const StreamBlockId&, std::vector<int> data) override { receiver.store(std::move(data)); }
        void onError(const std::string& message, std::exception_ptr error) override {
            receiver.reportError(message, error);
        }
        FakeReceiver& receiver;
    };
    std::promise<void> added;
    receiver_->start = [&](FakeReceiver& receiver) {
        const auto generator = receiver.createBlockGenerator(std::make_shared<Listener>(receiver));
        generator->start();
        generator->addData(5);
        added.set_value();
    };
    start(receiver_);
    added.get_future().wait();
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(5));
}

TEST_F(ReceiverTrackerTest, ReportsBlocksThatTheStoreRefuses) {
    store_->onStore = [](const StreamBlockId&) { throw SparkException("no memory"); };
    start(receiver_);
    receiver_->calls.atLeast(1);
    EXPECT_THROW(receiver_->store(std::vector<int>{1}), SparkException);
    receiver_->store(2);
    EXPECT_THAT(finish(), IsEmpty());
    EXPECT_THAT(events_->all.atLeast(2),
                testing::Contains(HasSubstr("could not be stored; its records are lost - no memory")));
    EXPECT_EQ(tracker_->metrics(0).failedBlocks, 2);
}

TEST_F(ReceiverTrackerTest, Row19AReceiverWaitsUntilBlocksHaveBeenProcessedAndLosesNothing) {
    constexpr int kRecords = 5000;
    std::atomic<int> accepted = 0;
    std::jthread writer;
    receiver_->start = [&](FakeReceiver& receiver) {
        writer = std::jthread([&] {
            for (; accepted < kRecords; ++accepted) receiver.store(std::vector<int>(100, accepted));
        });
    };
    receiver_->end = [&](FakeReceiver&) { writer = {}; };
    const auto conf = SparkConf().set("dstream.receiver.maxStoredBytes", "4000");
    tracker_ = std::make_unique<ReceiverTracker>(conf, clock_, events_);
    tracker_->addReceiver(0, receiver_);
    tracker_->start();
    std::vector<int> received;
    for (int64_t time = 1001; received.size() < kRecords; ++time) {
        clock_->setTime(time);
        tracker_->allocateBlocksToBatch(Time(time));
        const auto blocks = tracker_->blocksOfBatch(Time(time), 0);
        EXPECT_LE(blocks.size(), 10U);
        for (const auto& info : blocks) {
            received.push_back(dynamic_cast<const VectorBlock<int>&>(*info.load()).elements().front());
        }
        tracker_->cleanupOldBlocksAndBatches(Time(time - 1));
    }
    tracker_->stop(true);
    std::vector<int> expected(kRecords);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(received, expected);
}

TEST_F(ReceiverTrackerTest, AStopKeepsWhatWaitsForRoomAndALoadedBlockKeepsItsRoom) {
    const auto store = memoryBlockStore(100);
    const auto block = std::make_shared<const VectorBlock<int>>(std::vector<int>(20));
    BlockPtr loaded = store->store({0, 1}, block, StorageLevel::MEMORY_ONLY)->load();
    auto second = std::async(std::launch::async, [&] {
        return store->store({0, 2}, block, StorageLevel::MEMORY_ONLY);
    });
    EXPECT_EQ(second.wait_for(std::chrono::milliseconds(10)), std::future_status::timeout);
    loaded.reset();
    const auto kept = second.get();
    auto third = std::async(std::launch::async, [&] { return store->store({0, 3}, block, StorageLevel::MEMORY_ONLY); });
    store->stopWaiting();
    EXPECT_EQ(third.get()->load()->sizeBytes(), 80U);
}

TEST_F(ReceiverTrackerTest, TheRoomForBlocksFollowsTheBatchIntervalOrTheSetting) {
    const auto conf = SparkConf().set("dstream.receiver.maxStoredBytes", "0");
    EXPECT_THROW(memoryBlockStore(conf, Seconds(1)), IllegalArgumentException);
    struct Large final : Block {
        size_t sizeBytes() const override { return size_t{128} << 20; }
        std::optional<int64_t> numRecords() const override { return 0; }
    };
    const auto store = memoryBlockStore(SparkConf(), Milliseconds(1));
    const auto first = store->store({0, 1}, std::make_shared<Large>(), StorageLevel::MEMORY_ONLY);
    auto second = std::async(std::launch::async, [&] {
        return store->store({0, 2}, std::make_shared<Large>(), StorageLevel::MEMORY_ONLY);
    });
    EXPECT_EQ(second.wait_for(std::chrono::milliseconds(10)), std::future_status::timeout);
    store->stopWaiting();
    EXPECT_NE(second.get(), nullptr);
}

TEST_F(ReceiverTrackerTest, RefusesToForgetTheFuture) {
    makeTracker();
    EXPECT_THROW(tracker_->cleanupOldBlocksAndBatches(Time(1000)), IllegalArgumentException);
    tracker_->cleanupOldBlocksAndBatches(Time(999));
}

TEST_F(ReceiverTrackerTest, FreesTheReceiverAfterTheStop) {
    std::weak_ptr<FakeReceiver> watched = receiver_;
    start(receiver_);
    receiver_->calls.atLeast(1);
    receiver_.reset();
    tracker_->stop(false);
    EXPECT_TRUE(watched.expired());
}

TEST_F(ReceiverTrackerTest, Row46LeavesNoThreadBehindAfterManyStartsAndStops) {
    for (int i = 0; i < 200; ++i) {
        auto receiver = std::make_shared<FakeReceiver>();
        start(receiver);
        tracker_->stop(i % 2 == 0);
    }
    tracker_.reset();
    EXPECT_EQ(testsupport::numThreads(), 1 + testsupport::kSanitizerThreads);
}

}  // namespace
}  // namespace dstream
