#include "received_block_tracker.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace dstream::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A log that keeps what it is told as text, and can fail.
class TextLog final : public BlockTrackerLog {
public:
    bool blockAdded(const ReceivedBlockInfo& info) override { return write("added " + info.blockId.toString()); }
    bool batchAllocated(Time batchTime, const BlocksByStream& blocks) override {
        std::string text = "allocated " + batchTime.toString();
        for (const auto& [streamId, infos] : blocks) {
            for (const auto& info : infos) text += " " + info.blockId.toString();
        }
        return write(text);
    }
    bool batchesCleaned(const std::vector<Time>& batchTimes) override {
        std::string text = "cleaned";
        for (const Time time : batchTimes) text += " " + time.toString();
        return write(text);
    }
    std::vector<std::string> records;
    bool failing = false;

private:
    bool write(const std::string& text) {
        if (!failing) records.push_back(text);
        return !failing;
    }
};

class ReceivedBlockTrackerTest : public testing::Test {
protected:
    void SetUp() override { setLogLevel(LogLevel::kOff); }
    void TearDown() override { setLogLevel(LogLevel::kWarn); }
    bool add(int streamId, int64_t id) { return tracker_.addBlock({{streamId, id}, 1, {}, nullptr}); }
    std::vector<int64_t> idsOf(int64_t time, int streamId) {
        std::vector<int64_t> ids;
        for (const auto& info : tracker_.blocksOfBatch(Time(time), streamId)) ids.push_back(info.blockId.uniqueId);
        return ids;
    }

    std::shared_ptr<TextLog> log_ = std::make_shared<TextLog>();
    ReceivedBlockTracker tracker_{log_};
};

TEST_F(ReceivedBlockTrackerTest, GivesEachBlockToOneBatchInTheOrderOfArrival) {
    add(0, 5);
    add(1, 7);
    add(0, 3);
    EXPECT_TRUE(tracker_.hasUnallocatedBlocks());
    tracker_.allocateBlocksToBatch(Time(1000));
    EXPECT_FALSE(tracker_.hasUnallocatedBlocks());
    add(0, 9);
    tracker_.allocateBlocksToBatch(Time(2000));
    EXPECT_THAT(idsOf(1000, 0), ElementsAre(5, 3));
    EXPECT_THAT(idsOf(1000, 1), ElementsAre(7));
    EXPECT_THAT(idsOf(2000, 0), ElementsAre(9));
    EXPECT_THAT(idsOf(2000, 1), IsEmpty());
    EXPECT_THAT(idsOf(3000, 0), IsEmpty());
    EXPECT_EQ(tracker_.blocksOfBatch(Time(1000)).size(), 2U);
}

TEST_F(ReceivedBlockTrackerTest, AllocatesOnlyToBatchesLaterThanTheLastOne) {
    add(0, 1);
    tracker_.allocateBlocksToBatch(Time(2000));
    add(0, 2);
    tracker_.allocateBlocksToBatch(Time(2000));
    tracker_.allocateBlocksToBatch(Time(1000));
    EXPECT_THAT(idsOf(2000, 0), ElementsAre(1));
    EXPECT_THAT(idsOf(1000, 0), IsEmpty());
    EXPECT_TRUE(tracker_.hasUnallocatedBlocks());
}

TEST_F(ReceivedBlockTrackerTest, ForgetsBatchesBeforeTheThreshold) {
    for (int64_t time = 1000; time <= 3000; time += 1000) {
        add(0, time);
        tracker_.allocateBlocksToBatch(Time(time));
    }
    tracker_.cleanup(Time(2000));
    EXPECT_THAT(idsOf(1000, 0), IsEmpty());
    EXPECT_THAT(idsOf(2000, 0), ElementsAre(2000));
    EXPECT_THAT(idsOf(3000, 0), ElementsAre(3000));
}

TEST_F(ReceivedBlockTrackerTest, WritesTheLogBeforeItActs) {
    add(0, 1);
    tracker_.allocateBlocksToBatch(Time(1000));
    tracker_.allocateBlocksToBatch(Time(2000));
    tracker_.cleanup(Time(2000));
    EXPECT_THAT(log_->records,
                ElementsAre("added input-0-1", "allocated 1000 ms input-0-1", "allocated 2000 ms", "cleaned 1000 ms"));
}

/// A block in memory that can be read from a log too.
class Loggable final : public StoredBlock {
public:
    explicit Loggable(bool inMemory) : inMemory_(inMemory) {}
    BlockPtr load() const override { return nullptr; }
    std::shared_ptr<const StoredBlock> withoutMemory() const override {
        return std::make_shared<const Loggable>(false);
    }
    bool inMemory() const { return inMemory_; }

private:
    const bool inMemory_;
};

TEST_F(ReceivedBlockTrackerTest, ReleasedBatchesStayInTheLogUntilTheyAreCleanedUp) {
    for (int64_t time = 1000; time <= 4000; time += 1000) {
        tracker_.addBlock({{0, time}, 1, std::string("metadata"), std::make_shared<const Loggable>(true)});
        tracker_.allocateBlocksToBatch(Time(time));
    }
    const auto inMemory = [&](int64_t time) {
        const auto blocks = tracker_.blocksOfBatch(Time(time), 0);
        return dynamic_cast<const Loggable&>(*blocks.at(0).stored).inMemory();
    };
    log_->records.clear();
    tracker_.release(Time(4000), {Time(2000)}, Duration(0));
    EXPECT_FALSE(inMemory(1000));
    EXPECT_TRUE(inMemory(2000)) << "pending";
    EXPECT_FALSE(inMemory(3000));
    EXPECT_TRUE(inMemory(4000));
    EXPECT_THAT(log_->records, IsEmpty());
    tracker_.cleanup(Time(2000));
    EXPECT_THAT(log_->records, ElementsAre("cleaned 1000 ms"));
    EXPECT_THAT(idsOf(3000, 0), ElementsAre(3000));
}

TEST_F(ReceivedBlockTrackerTest, KeepsBlocksWaitingWhenTheLogFails) {
    add(0, 1);
    log_->failing = true;
    EXPECT_FALSE(add(0, 2));
    EXPECT_THROW(tracker_.allocateBlocksToBatch(Time(1000)), SparkException);
    EXPECT_THAT(idsOf(1000, 0), IsEmpty());
    EXPECT_TRUE(tracker_.hasUnallocatedBlocks());
    log_->failing = false;
    tracker_.allocateBlocksToBatch(Time(2000));
    EXPECT_THAT(idsOf(2000, 0), ElementsAre(1));
}

TEST_F(ReceivedBlockTrackerTest, TellsWhenNoBlockWaitsAnyMore) {
    EXPECT_TRUE(tracker_.waitUntilAllAllocated({}));
    add(0, 1);
    auto allAllocated = std::async(std::launch::async, [&] { return tracker_.waitUntilAllAllocated({}); });
    tracker_.allocateBlocksToBatch(Time(1000));
    EXPECT_TRUE(allAllocated.get());
    add(0, 2);
    std::stop_source stop;
    auto interrupted = std::async(std::launch::async, [&] { return tracker_.waitUntilAllAllocated(stop.get_token()); });
    stop.request_stop();
    EXPECT_FALSE(interrupted.get());
}

}  // namespace
}  // namespace dstream::detail
