#include "receivers/block_generator.hpp"

#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "receiver_test_support.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <numeric>
#include <thread>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing_support::Growing;

/// Keeps what a generator pushes; may hold pushes back.
class Sink final : public BlockGeneratorListener<int> {
public:
    void onAddData(std::span<const int> data, const std::any& metadata) override {
        added.add(std::vector<int>(data.begin(), data.end()));
        lastMetadata = metadata;
    }
    void onGenerateBlock(const StreamBlockId& id) override { generated.add(id.toString()); }
    void onPushBlock(const StreamBlockId& id, std::vector<int> data) override {
        if (gate.valid()) gate.wait();
        if (failNext) {
            failNext = false;
            throw SparkException("store is full");
        }
        ids.add(id.toString());
        blocks.add(std::move(data));
    }
    void onError(const std::string& message, std::exception_ptr) override { errors.add(message); }

    Growing<std::vector<int>> added;
    std::any lastMetadata;
    Growing<std::string> generated;
    Growing<std::string> ids;
    Growing<std::vector<int>> blocks;
    Growing<std::string> errors;
    std::shared_future<void> gate;
    std::atomic<bool> failNext = false;
};

class BlockGeneratorTest : public testing::Test {
protected:
    std::unique_ptr<BlockGenerator<int>> make() {
        return std::make_unique<BlockGenerator<int>>(settings_, clock_, sink_, [this](int64_t candidate) {
            lastId_ = std::max(candidate, lastId_ + 1);
            return StreamBlockId{4, lastId_};
        });
    }
    void tick() {
        const int64_t next = (clock_->getTimeMillis() / 200 + 1) * 200;
        ASSERT_TRUE(clock_->waitUntilWaiting(next));
        clock_->setTime(next);
        ASSERT_TRUE(clock_->waitUntilWaiting(next + 200));
    }

    detail::BlockGeneratorSettings settings_;
    std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>(1000);
    std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
    int64_t lastId_ = -1;
};

TEST_F(BlockGeneratorTest, CutsABlockAtEachIntervalThatHasRecords) {
    const auto generator = make();
    generator->start();
    generator->addData(1);
    generator->addData(2);
    tick();
    tick();
    generator->addData(3);
    tick();
    EXPECT_THAT(sink_->blocks.atLeast(2), ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
    EXPECT_THAT(sink_->ids.atLeast(2), ElementsAre("input-4-1000", "input-4-1400"));
    EXPECT_THAT(sink_->generated.atLeast(2), ElementsAre("input-4-1000", "input-4-1400"));
    generator->stop();
    EXPECT_TRUE(generator->isStopped());
}

TEST_F(BlockGeneratorTest, TakesRecordsOnlyWhileItIsActive) {
    const auto generator = make();
    EXPECT_THROW(generator->addData(1), SparkException);
    generator->start();
    EXPECT_TRUE(generator->isActive());
    EXPECT_THROW(generator->start(), SparkException);
    generator->addData(1);
    generator->stop();
    EXPECT_THROW(generator->addData(2), SparkException);
    EXPECT_THROW(generator->start(), SparkException);
}

TEST_F(BlockGeneratorTest, LosesNoAcceptedRecordAtAStopFromAnotherThread) {
    settings_.blockIntervalMs = 1;
    clock_ = nullptr;
    const auto systemClock = std::make_shared<SystemClock>();
    BlockGenerator<int> generator(settings_, systemClock, sink_, [this](int64_t) {
        return StreamBlockId{4, ++lastId_};
    });
    generator.start();
    std::promise<void> some;
    std::atomic<int> accepted = 0;
    std::jthread writer([&] {
        try {
            for (int i = 0;; ++i) {
                generator.addData(i);
                if (++accepted == 50'000) some.set_value();
            }
        } catch (const SparkException&) {
        }
    });
    some.get_future().wait();
    generator.stop();
    writer.join();
    std::vector<int> received;
    for (const auto& block : sink_->blocks.atLeast(1)) received.insert(received.end(), block.begin(), block.end());
    std::vector<int> expected(static_cast<size_t>(accepted));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(received, expected);
}

TEST_F(BlockGeneratorTest, PushesWhatIsInTheQueueBeforeAStopReturns) {
    std::promise<void> open;
    sink_->gate = open.get_future().share();
    const auto generator = make();
    generator->start();
    for (int i = 0; i < 3; ++i) {
        generator->addData(i);
        tick();
    }
    generator->addData(3);
    auto stopped = std::async(std::launch::async, [&] { generator->stop(); });
    sink_->generated.atLeast(4);
    EXPECT_EQ(sink_->blocks.size(), 0U);
    open.set_value();
    stopped.get();
    EXPECT_THAT(sink_->blocks.atLeast(4), ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2), ElementsAre(3)));
}

TEST_F(BlockGeneratorTest, HoldsTheTimerWhenTheQueueIsFullAndMakesNoBlockMore) {
    settings_.blockQueueSize = 1;
    std::promise<void> open;
    sink_->gate = open.get_future().share();
    const auto generator = make();
    generator->start();
    generator->addData(0);
    tick();
    sink_->generated.atLeast(1);  // taken by the push thread or still queued
    generator->addData(1);
    clock_->advance(200);
    generator->addData(2);
    clock_->advance(200);
    generator->addData(3);
    clock_->advance(200);
    open.set_value();
    generator->stop();
    std::vector<int> received;
    for (const auto& block : sink_->blocks.atLeast(2)) received.insert(received.end(), block.begin(), block.end());
    EXPECT_THAT(received, ElementsAre(0, 1, 2, 3));
}

TEST_F(BlockGeneratorTest, Row19HoldsTheWriterWhenTheBytesNotYetStoredReachTheirBound) {
    settings_.maxBufferedBytes = 1000 * sizeof(int);
    std::promise<void> open;
    sink_->gate = open.get_future().share();
    const auto generator = make();
    generator->start();
    std::atomic<int> accepted = 0;
    std::promise<void> full;
    std::jthread writer([&] {
        for (int i = 0; i < 5000; ++i) {
            generator->addData(i);
            if (++accepted == 1000) full.set_value();
        }
    });
    full.get_future().wait();
    EXPECT_EQ(sink_->blocks.size(), 0U);
    EXPECT_LE(accepted, 1001);
    open.set_value();  // blocks of a quarter of the bound leave without a tick of the clock
    writer.join();
    generator->stop();
    std::vector<int> received;
    for (const auto& block : sink_->blocks.atLeast(1)) {
        EXPECT_LE(block.size(), 1000U);
        received.insert(received.end(), block.begin(), block.end());
    }
    std::vector<int> expected(5000);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(received, expected);
}

TEST_F(BlockGeneratorTest, LetsRecordsInAtTheRateLimit) {
    settings_.maxRate = settings_.initialRate = 10;
    const auto generator = make();
    generator->start();
    EXPECT_EQ(generator->getCurrentLimit(), 10);
    generator->addData(0);
    auto second = std::async(std::launch::async, [&] { generator->addData(1); });
    ASSERT_TRUE(clock_->waitUntilWaiting(1100));
    clock_->setTime(1100);
    second.get();
    auto third = std::async(std::launch::async, [&] { generator->addData(2); });
    ASSERT_TRUE(clock_->waitUntilWaiting(1200));
    generator->suspendRateLimit();
    third.get();
    generator->stop();
    EXPECT_THAT(sink_->blocks.atLeast(1), ElementsAre(ElementsAre(0, 1, 2)));
}

TEST_F(BlockGeneratorTest, TellsOfAddedRecordsWithTheirMetadata) {
    const auto generator = make();
    generator->start();
    generator->addDataWithCallback(1, std::string("offset 1"));
    EXPECT_EQ(std::any_cast<std::string>(sink_->lastMetadata), "offset 1");
    generator->addMultipleDataWithCallback(Iterator<int>(std::vector<int>{2, 3}), 17);
    EXPECT_EQ(std::any_cast<int>(sink_->lastMetadata), 17);
    generator->stop();
    EXPECT_THAT(sink_->added.atLeast(2), ElementsAre(ElementsAre(1), ElementsAre(2, 3)));
    EXPECT_THAT(sink_->blocks.atLeast(1), ElementsAre(ElementsAre(1, 2, 3)));
}

TEST_F(BlockGeneratorTest, ReportsABlockThatCannotBeStoredAndGoesOn) {
    sink_->failNext = true;
    const auto generator = make();
    generator->start();
    generator->addData(1);
    tick();
    EXPECT_THAT(sink_->errors.atLeast(1), ElementsAre(testing::HasSubstr("input-4-1000")));
    generator->addData(2);
    generator->stop();
    EXPECT_THAT(sink_->blocks.atLeast(1), ElementsAre(ElementsAre(2)));
}

TEST(BlockGeneratorSettingsTest, AreReadFromTheConfiguration) {
    SparkConf conf;
    auto settings = detail::BlockGeneratorSettings::from(conf);
    EXPECT_EQ(settings.blockIntervalMs, 200);
    EXPECT_EQ(settings.blockQueueSize, 10);
    EXPECT_EQ(settings.maxRate, RateLimiter::kUnlimited);
    EXPECT_EQ(settings.initialRate, RateLimiter::kUnlimited);
    EXPECT_EQ(settings.maxBufferedBytes, 64 << 20);
    conf.set("spark.streaming.blockInterval", "50ms").set("spark.streaming.receiver.maxRate", "100");
    settings = detail::BlockGeneratorSettings::from(conf);
    EXPECT_EQ(settings.blockIntervalMs, 50);
    EXPECT_EQ(settings.maxRate, 100);
    EXPECT_EQ(settings.initialRate, 100);
    const SparkConf adaptive = SparkConf().set("spark.streaming.backpressure.enabled", "true");
    EXPECT_EQ(detail::BlockGeneratorSettings::from(adaptive).initialRate, 50'000) << "the first batch is bounded";
    EXPECT_EQ(
        detail::BlockGeneratorSettings::from(adaptive.clone().set("dstream.receiver.firstRate", "70")).initialRate, 70);
    EXPECT_EQ(detail::BlockGeneratorSettings::from(adaptive.clone().set("spark.streaming.receiver.maxRate", "80000"))
                  .initialRate,
              80'000);
    EXPECT_THROW(detail::BlockGeneratorSettings::from(adaptive.clone().set("dstream.receiver.firstRate", "0")),
                 IllegalArgumentException);
    for (const char* key :
         {"spark.streaming.blockInterval", "spark.streaming.blockQueueSize", "dstream.receiver.maxBufferedBytes"}) {
        EXPECT_THROW(detail::BlockGeneratorSettings::from(SparkConf().set(key, "0")), IllegalArgumentException) << key;
    }
}

}  // namespace
}  // namespace dstream
