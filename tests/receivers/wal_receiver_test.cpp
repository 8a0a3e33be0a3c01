#include "rdd/file_system.hpp"
#include "receiver_test_support.hpp"
#include "receivers/write_ahead_log.hpp"
#include "support/test_files.hpp"
#include "wal_block_store.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <future>

namespace dstream::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kEnable = "spark.streaming.receiver.writeAheadLog.enable";

/// Stores what the test tells it to, from the test's thread.
template <class T>
class Manual : public Receiver<T> {
public:
    explicit Manual(bool canReplay = false) : Receiver<T>(StorageLevel::MEMORY_ONLY), canReplay_(canReplay) {}
    void onStart() override { started.add(0); }
    void onStop() override {}
    bool canReplay() const override { return canReplay_; }
    Growing<int> started;

private:
    const bool canReplay_;
};

/// Without a codec.
struct Opaque {
    std::shared_ptr<int> value;
};

/// A log in memory that fails as often as it is told to.
class FlakyLog final : public WriteAheadLog {
public:
    static inline std::atomic<int> failures = 0;
    static inline Growing<std::string> written;

    WriteAheadLogRecordHandle write(const ByteBuffer& record, int64_t) override {
        if (failures > 0) {
            --failures;
            throw SparkException("the disk is full");
        }
        written.add(record.bytes);
        return {std::to_string(written.size() - 1)};
    }
    ByteBuffer read(const WriteAheadLogRecordHandle& handle) override {
        return {written.atLeast(1)[std::stoul(handle.bytes)]};
    }
    Iterator<ByteBuffer> readAll() override { return Iterator<ByteBuffer>(std::vector<ByteBuffer>()); }
    void clean(int64_t, bool) override {}
    void close() override {}
};

/// A log of a program's own, which outlives the contexts of the process.
class RememberingLog final : public WriteAheadLog {
public:
    explicit RememberingLog(const SparkConf&, const std::string& directory) : records_(all()[directory]) {}

    WriteAheadLogRecordHandle write(const ByteBuffer& record, int64_t) override {
        records_.add(record.bytes);
        return {std::to_string(records_.size() - 1)};
    }
    ByteBuffer read(const WriteAheadLogRecordHandle& handle) override {
        return {records_.atLeast(1)[std::stoul(handle.bytes)]};
    }
    Iterator<ByteBuffer> readAll() override {
        std::vector<ByteBuffer> records;
        for (const std::string& bytes : records_.atLeast(0)) records.push_back({bytes});
        return Iterator<ByteBuffer>(std::move(records));
    }
    void clean(int64_t, bool) override {}
    void close() override {}

private:
    static std::map<std::string, Growing<std::string>>& all() {
        static std::map<std::string, Growing<std::string>> logs;  // of the test's thread
        return logs;
    }
    Growing<std::string>& records_;
};

class WalReceiverTest : public TrackerTest {
protected:
    std::string directory() const { return temporary_ / "wal"; }

    /// Runs a receiver with logs in the directory.
    template <class T>
    std::shared_ptr<Manual<T>> run(bool recover, SparkConf conf = {}, bool canReplay = false) {
        auto receiver = std::make_shared<Manual<T>>(canReplay);
        tracker_ = std::make_unique<ReceiverTracker>(conf, clock_, events_);
        tracker_->addReceiver(0, receiver);
        tracker_->openLogs(directory(), recover);
        tracker_->start();
        receiver->started.atLeast(1);
        return receiver;
    }
    /// Ends the process as far as the directory can tell: nothing that is done at a stop reaches it.
    void kill() {
        const std::string copy = directory() + "-copy";
        std::filesystem::copy(directory(), copy, std::filesystem::copy_options::recursive);
        tracker_->stop(false);
        tracker_.reset();
        std::filesystem::remove_all(directory());
        std::filesystem::rename(copy, directory());
    }
    std::vector<ReceivedBlockInfo> blocksOf(int64_t time) { return tracker_->blocksOfBatch(Time(time), 0); }
    std::string refusal(const SparkConf& conf, bool recover = true) {
        try {
            run<int>(recover, conf);
        } catch (const SparkException& error) {
            return error.what();
        }
        return "accepted";
    }

    testsupport::TemporaryDirectory temporary_;
};

TEST_F(WalReceiverTest, AfterARestartEachBlockIsInOneBatchAsBefore) {
    auto receiver = run<int>(false);
    receiver->store(std::vector<int>{1, 2});
    receiver->store(std::vector<int>{3});
    tracker_->allocateBlocksToBatch(Time(2000));
    receiver->store(std::vector<int>{4, 5});
    tracker_->allocateBlocksToBatch(Time(3000));
    receiver->store(std::vector<int>{6});
    kill();
    receiver = run<int>(true);
    receiver->store(std::vector<int>{7});
    tracker_->allocateBlocksToBatch(Time(2000));
    tracker_->allocateBlocksToBatch(Time(3000));
    EXPECT_THAT(recordsOf<int>(blocksOf(2000)), ElementsAre(1, 2, 3));
    EXPECT_THAT(recordsOf<int>(blocksOf(3000)), ElementsAre(4, 5));
    tracker_->allocateBlocksToBatch(Time(4000));
    EXPECT_THAT(recordsOf<int>(blocksOf(4000)), ElementsAre(6, 7));
    EXPECT_EQ(blocksOf(2000)[0].numRecords, 2);
    kill();
    receiver = run<int>(true);
    tracker_->allocateBlocksToBatch(Time(5000));
    EXPECT_THAT(recordsOf<int>(blocksOf(2000)), ElementsAre(1, 2, 3));
    EXPECT_THAT(recordsOf<int>(blocksOf(4000)), ElementsAre(6, 7));
    EXPECT_THAT(blocksOf(5000), IsEmpty());
}

TEST_F(WalReceiverTest, EveryFormOfABlockIsReadBack) {
    auto receiver = run<std::string>(false);
    receiver->store(std::vector<std::string>{"a", "", std::string(3000, 'b')});
    receiver->store(ByteBuffer{"raw"});
    kill();
    run<std::string>(true);
    const auto blocks = finish();
    ASSERT_THAT(blocks, SizeIs(2));
    EXPECT_THAT(recordsOf<std::string>({blocks[0]}), ElementsAre("a", "", std::string(3000, 'b')));
    EXPECT_EQ(dynamic_cast<const BytesBlock&>(*blocks[1].load()).bytes(), "raw");
    EXPECT_EQ(blocks[1].numRecords, std::nullopt);

    TextBlockBuilder builder;
    builder.append("one\r\ntwo\rthree\n\nlast");
    builder.finish();
    const BlockPtr text = builder.take();
    const ByteBuffer bytes = detail::encodeReceivedBlock(*text, nullptr);
    const auto again = detail::decodeReceivedBlock(bytes.bytes, nullptr, "test");
    EXPECT_EQ(dynamic_cast<const TextBlock&>(*again).lineEnds(), dynamic_cast<const TextBlock&>(*text).lineEnds());
    EXPECT_EQ(dynamic_cast<const TextBlock&>(*again).bytes(), dynamic_cast<const TextBlock&>(*text).bytes());
}

TEST_F(WalReceiverTest, BlocksOfAnotherTypeAreRefusedByName) {
    run<int>(false)->store(std::vector<int>{1});
    kill();
    run<std::string>(true);
    const auto blocks = finish();
    ASSERT_THAT(blocks, SizeIs(1));
    EXPECT_THAT([&] { blocks[0].load(); },
                ::testing::ThrowsMessage<SparkException>(AllOf(HasSubstr("type int"), HasSubstr("input-0-"))));
}

TEST_F(WalReceiverTest, RecordsStoredOneByOneAreLoggedByBlock) {
    auto receiver = run<int>(false);
    for (int i = 1; i <= 3; ++i) receiver->store(i);
    tracker_->stop(true);
    kill();
    run<int>(true);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1, 2, 3));
}

TEST_F(WalReceiverTest, CleanedBatchesAreGoneAndTheirFilesToo) {
    const SparkConf conf = SparkConf()
                               .set("spark.streaming.receiver.writeAheadLog.closeFileAfterWrite", "true")
                               .set("spark.streaming.driver.writeAheadLog.closeFileAfterWrite", "true");
    auto receiver = run<int>(false, conf);
    for (int batch = 2; batch <= 6; ++batch) {
        clock_->setTime(batch * 1000 + 100);
        receiver->store(std::vector<int>{batch});
        tracker_->allocateBlocksToBatch(Time(batch * 1000));
    }
    const size_t before = posixFs().list(directory() + "/0").size();
    tracker_->cleanupOldBlocksAndBatches(Time(5000), {Time(3000)});
    tracker_->closeLogs();  // waits for the deletions
    EXPECT_EQ(before, 5U);
    EXPECT_EQ(posixFs().list(directory() + "/0").size(), 4U) << "batch 3000 is needed, and so is what came after it";
    kill();
    run<int>(true, conf);
    EXPECT_THAT(recordsOf<int>(blocksOf(3000)), ElementsAre(3));
    EXPECT_THAT(recordsOf<int>(blocksOf(6000)), ElementsAre(6));
    EXPECT_NO_THROW(tracker_->allocateBlocksToBatch(Time(3000)));
    EXPECT_THAT([&] { tracker_->allocateBlocksToBatch(Time(4000)); },
                ::testing::ThrowsMessage<SparkException>(HasSubstr("have been removed")));
    tracker_->cleanupOldBlocksAndBatches(Time(6000));
    tracker_->closeLogs();
    EXPECT_EQ(posixFs().list(directory() + "/0").size(), 1U);
    kill();
    run<int>(true, conf);
    EXPECT_THAT(recordsOf<int>(blocksOf(6000)), ElementsAre(6));
    EXPECT_THAT(finish(), IsEmpty());
}

TEST_F(WalReceiverTest, BlockNumbersGoOnWhenTheClockHasGoneBack) {
    auto receiver = run<int>(false);
    receiver->store(std::vector<int>{1});
    kill();
    clock_->setTime(500);
    run<int>(true)->store(std::vector<int>{2});
    kill();
    run<int>(true);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1, 2));
}

TEST_F(WalReceiverTest, ReceiversThatCanReplayHaveNoLogUnlessItIsAskedFor) {
    run<int>(false, {}, true)->store(std::vector<int>{1});
    kill();
    EXPECT_FALSE(posixFs().exists(directory() + "/0"));
    run<int>(true, {}, true);
    auto blocks = finish();
    ASSERT_THAT(blocks, SizeIs(1)) << "known, and lost";
    EXPECT_EQ(blocks[0].load(), nullptr);
    tracker_.reset();
    std::filesystem::remove_all(directory());
    run<int>(false, SparkConf().set(kEnable, "true"), true)->store(std::vector<int>{1});
    kill();
    EXPECT_TRUE(posixFs().exists(directory() + "/0"));
}

TEST_F(WalReceiverTest, TheLogCanBeSwitchedOffAndWhatItHoldsIsStillRead) {
    const SparkConf off = SparkConf().set(kEnable, "false");
    run<int>(false, off)->store(std::vector<int>{1});
    kill();
    EXPECT_FALSE(posixFs().exists(directory() + "/0"));
    run<int>(true)->store(std::vector<int>{2});
    kill();
    run<int>(true, off);
    const auto blocks = finish();
    ASSERT_THAT(blocks, SizeIs(2));
    EXPECT_EQ(blocks[0].load(), nullptr);
    EXPECT_THAT(recordsOf<int>({blocks[1]}), ElementsAre(2));
}

TEST_F(WalReceiverTest, TheLogNeedsADirectory) {
    const SparkConf conf = SparkConf().set(kEnable, "true");
    EXPECT_THAT([&] { start(std::make_shared<Manual<int>>(), conf); },
                ::testing::ThrowsMessage<SparkException>(HasSubstr("checkpoint directory")));
}

TEST_F(WalReceiverTest, RecordsWithoutCodecAreLoggedOnlyWhenAskedForAndThenRefused) {
    EXPECT_THROW(run<Opaque>(false, SparkConf().set(kEnable, "true")), NotSerializableException);
    tracker_.reset();
    run<Opaque>(false)->store(std::vector<Opaque>{{std::make_shared<int>(1)}});
    EXPECT_FALSE(posixFs().exists(directory() + "/0"));
    EXPECT_THAT(finish(), SizeIs(1));
}

TEST_F(WalReceiverTest, AStartWithoutCheckpointSetsAnOldLogAside) {
    run<int>(false)->store(std::vector<int>{1});
    kill();
    run<int>(false);
    EXPECT_THAT(finish(), IsEmpty());
    EXPECT_TRUE(posixFs().exists(directory() + ".old-1/0/seg-1.wal"));
}

TEST_F(WalReceiverTest, ALogOfOnesOwnIsFoundByName) {
    registerWriteAheadLog<FlakyLog>("flaky");
    const SparkConf conf = SparkConf().set("spark.streaming.receiver.writeAheadLog.class", "flaky");
    const size_t before = FlakyLog::written.size();
    run<int>(false, conf)->store(std::vector<int>{1});
    EXPECT_EQ(FlakyLog::written.size(), before + 1);
    tracker_.reset();
    EXPECT_THAT(refusal(SparkConf().set("spark.streaming.driver.writeAheadLog.class", "unknown")),
                AllOf(HasSubstr("driver.writeAheadLog.class"), HasSubstr("'unknown'"), HasSubstr("flaky")));
}

TEST_F(WalReceiverTest, ALogOfOnesOwnGivesTheBlocksBack) {
    registerWriteAheadLog<RememberingLog>("remembering");
    const SparkConf conf = SparkConf()
                               .set("spark.streaming.receiver.writeAheadLog.class", "remembering")
                               .set("spark.streaming.driver.writeAheadLog.class", "remembering");
    auto receiver = run<int>(false, conf);
    receiver->store(std::vector<int>{1, 2});
    tracker_->allocateBlocksToBatch(Time(2000));
    receiver->store(std::vector<int>{3});
    tracker_->stop(false);
    run<int>(true, conf);
    EXPECT_THAT(recordsOf<int>(blocksOf(2000)), ElementsAre(1, 2));
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(3));
    EXPECT_FALSE(posixFs().exists(directory())) << "no file of the built-in log";
}

TEST_F(WalReceiverTest, TheMetricsOfAReceiverCountItsLog) {
    auto receiver = run<int>(false);
    receiver->store(std::vector<int>{1});
    receiver->store(std::vector<int>{2, 3});
    EXPECT_EQ(tracker_->metrics(0).log.records, 2);
    EXPECT_EQ(tracker_->metrics(0).log.syncs, 2);
    EXPECT_EQ(tracker_->metrics(0).log.tornTails, 0);
    EXPECT_EQ(tracker_->metrics(0).trackerLog.records, 2) << "a block each";
    tracker_->allocateBlocksToBatch(Time(2000));
    EXPECT_EQ(tracker_->metrics(0).trackerLog.records, 3);
    EXPECT_EQ(tracker_->metrics(0).trackerLog.syncs, 3);
    kill();
    const std::string segment = directory() + "/0/seg-1.wal";
    const std::vector<std::byte> bytes = posixFs().readFile(segment);
    File file = posixFs().open(segment, Fs::Mode::kReadWrite);
    // The last byte that is no zero belongs to the last record.
    const auto last = std::find_if(bytes.rbegin(), bytes.rend(), [](std::byte byte) { return byte != std::byte{0}; });
    file.truncate(static_cast<uint64_t>(bytes.rend() - last) - 1);
    file.close();
    run<int>(true);
    EXPECT_EQ(tracker_->metrics(0).log.tornTails, 1);
    EXPECT_EQ(tracker_->metrics(0).log.records, 0);
}

TEST_F(WalReceiverTest, Row10_AReceiverWaitsWhileTheLogFailsAndGoesOnWhenItDoesNot) {
    registerWriteAheadLog<FlakyLog>("flaky");
    auto receiver = run<int>(false, SparkConf().set("spark.streaming.receiver.writeAheadLog.class", "flaky"));
    FlakyLog::failures = 2;
    auto stored = std::async(std::launch::async, [&] { receiver->store(std::vector<int>{1}); });
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(clock_->waitUntilWaiting(2000 + i * 1000));
        clock_->advance(1000);
    }
    stored.get();
    EXPECT_THAT(events_->all.atLeast(3),
                Contains("error Manual-0: the write-ahead log cannot be written; the receiver waits until it can be - "
                         "the disk is full")
                    .Times(2));
    EXPECT_EQ(tracker_->metrics(0).errors, 2);
    EXPECT_THAT(recordsOf<int>(finish()), ElementsAre(1));
}

TEST_F(WalReceiverTest, Row10_BatchesWaitWhileTheirLogFails) {
    registerWriteAheadLog<FlakyLog>("flaky");
    run<int>(false, SparkConf().set("spark.streaming.driver.writeAheadLog.class", "flaky"))->store(std::vector<int>{1});
    FlakyLog::failures = 1;
    auto allocated = std::async(std::launch::async, [&] { tracker_->allocateBlocksToBatch(Time(1000)); });
    ASSERT_TRUE(clock_->waitUntilWaiting(2000));
    clock_->advance(1000);
    allocated.get();
    EXPECT_THAT(recordsOf<int>(blocksOf(1000)), ElementsAre(1));
    EXPECT_THAT(events_->all.atLeast(2),
                Contains("error Manual-0: the write-ahead log cannot be written; batches wait until it can be - "
                         "the disk is full"));
    EXPECT_EQ(tracker_->metrics(0).errors, 1);
}

TEST_F(WalReceiverTest, AStopEndsTheWaitForALogAndTheBlockIsNotAcknowledged) {
    registerWriteAheadLog<FlakyLog>("flaky");
    auto receiver = run<int>(false, SparkConf().set("spark.streaming.receiver.writeAheadLog.class", "flaky"));
    FlakyLog::failures = 1'000'000;
    auto stored = std::async(std::launch::async, [&] { receiver->store(std::vector<int>{1}); });
    ASSERT_TRUE(clock_->waitUntilWaiting(2000));
    tracker_->stop(false);
    EXPECT_THROW(stored.get(), SparkException);
    FlakyLog::failures = 0;
    EXPECT_EQ(tracker_->metrics(0).failedBlocks, 1);
}

}  // namespace
}  // namespace dstream::testing_support
