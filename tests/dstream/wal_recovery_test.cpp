#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "stream_test.hpp"
#include "streaming_checkpoint.hpp"
#include "streaming_core.hpp"
#include "support/test_files.hpp"

#include <cerrno>
#include <filesystem>

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

/// Stores what the test gives it.
class Feed : public Receiver<int> {
public:
    Feed() : Receiver(StorageLevel::MEMORY_ONLY) {}
    void onStart() override { started.notify(); }
    void onStop() override {}
    Signal started;
};

using Output = std::map<Time, std::vector<int>>;
using Define = std::function<DStream<int>(DStream<int>)>;

/// A program that puts out what a receiver gets, and is killed and started again.
class WalRecoveryTest : public StreamTest {
protected:
    std::string checkpoints() const { return directory_ / "checkpoint"; }

    /// Makes the program, or finds what it left. `define` makes of the received numbers what is put out.
    void make(const Define& define, const SparkConf& conf = SparkConf()) {
        output_ = std::make_shared<Shared>();
        feed_ = std::make_shared<Feed>();
        ssc_ = StreamingContext::getOrCreate(checkpoints(), [&] {
            auto made = makeContext(Seconds(1), conf);
            made.checkpoint(checkpoints());
            define(made.receiverStream<int>(feed_)).foreachRDD([output = output_](const RDD<int>& rdd, Time time) {
                auto numbers = rdd.collect();
                std::lock_guard lock(output->mutex);
                if (output->failing == time) throw SparkException("on purpose");
                output->batches[time] = std::move(numbers);
            });
            return made;
        });
    }
    /// Starts the program, or goes on with it.
    void start(
        const Define& define = [](DStream<int> all) { return all; }, const SparkConf& conf = SparkConf()) {
        make(define, conf);
        ssc_->start();
        ASSERT_TRUE(feed_->started.waitFor());
    }
    void batch() { testkit::manualClock(*ssc_).advance(Seconds(1)); }
    /// One whose checkpoint is not replaced by a later one before it is written.
    void writtenBatch() {
        batch();
        ssc_->owner()->core()->checkpoints->flush();
    }
    void store(std::vector<int> numbers) { feed_->store(std::move(numbers)); }
    /// Ends the process as far as the directory can tell, after its last checkpoint.
    void kill() {
        ssc_->owner()->core()->checkpoints->flush();
        const std::string copy = directory_ / "copy";
        std::filesystem::copy(checkpoints(), copy, std::filesystem::copy_options::recursive);
        ssc_->stop();
        ssc_.reset();
        std::filesystem::remove_all(checkpoints());
        std::filesystem::rename(copy, checkpoints());
    }
    Output output() const {
        std::lock_guard lock(output_->mutex);
        Output filled = output_->batches;
        std::erase_if(filled, [](const auto& batch) { return batch.second.empty(); });
        return filled;
    }

    /// The sums of the last digits so far, and the numbers of three batches.
    static DStream<int> sumsAndWindow(const DStream<int>& all) {
        const auto addUp = [](const std::vector<int>& values, std::optional<int> sum) {
            for (const int value : values) sum = sum.value_or(0) + value;
            return sum;
        };
        const auto sums = all.map([](int number) { return std::pair(number % 10, number); })
                              .updateStateByKey<int>(addUp, 2)
                              .checkpoint(Seconds(3));
        return sums.map([](const std::pair<int, int>& sum) { return sum.first * 1'000'000 + sum.second; })
            .unionWith(all.window(Seconds(3)));
    }

    struct Shared {
        std::mutex mutex;
        Output batches;
        Time failing{-1};
    };
    testsupport::TemporaryDirectory directory_;
    std::shared_ptr<Shared> output_;
    std::shared_ptr<Feed> feed_;
    std::optional<StreamingContext> ssc_;
};

TEST_F(WalRecoveryTest, ABlockThatWasInNoBatchGoesToTheFirstNewOne) {
    start();
    store({1, 2});
    batch();
    store({3});
    kill();
    start();
    store({4});
    batch();
    EXPECT_EQ(output()[Time(2000)], (std::vector<int>{3, 4}));
    EXPECT_EQ(output().count(Time(2000)), 1U);
    ssc_->stop();
}

TEST_F(WalRecoveryTest, WhatIsReceivedBeforeTheFirstBatchIsNotLost) {
    start();
    store({1});
    kill();
    start();
    batch();
    EXPECT_THAT(output(), ElementsAre(Pair(Time(1000), ElementsAre(1))));
    ssc_->stop();
}

TEST_F(WalRecoveryTest, ABatchThatIsRunAgainHasTheSameBlocks) {
    start();
    store({1});
    batch();
    store({2});
    batch();
    store({3});
    kill();
    // The process died before it was written.
    ASSERT_TRUE(std::filesystem::remove(detail::checkpointPath(checkpoints(), Time(2000))));
    start();
    store({4});
    batch();
    EXPECT_THAT(output(), ElementsAre(Pair(Time(1000), ElementsAre(1)), Pair(Time(2000), ElementsAre(2))))
        << "batch 2 is as it was, though more has come";
    batch();
    EXPECT_EQ(output()[Time(3000)], (std::vector<int>{3, 4}));
    ssc_->stop();
}

TEST_F(WalRecoveryTest, AFailedBatchKeepsItsBlocksForTheRestart) {
    setLogLevel(LogLevel::kOff);
    start();
    output_->failing = Time(1000);
    for (int i = 1; i <= 8; ++i) {
        store({i});
        batch();
    }
    EXPECT_FALSE(output().contains(Time(1000)));
    kill();
    start();
    batch();
    EXPECT_EQ(output()[Time(1000)], (std::vector<int>{1}));
    EXPECT_FALSE(output().contains(Time(2000)));
    ssc_->stop();
    setLogLevel(LogLevel::kWarn);
}

TEST_F(WalRecoveryTest, ABatchWhoseBlocksCannotBeLoggedDoesNotRunWithoutThemButAgainWithThem) {
    setLogLevel(LogLevel::kOff);
    start();
    store({1});
    setFailpoints({.failName = "wal.before_batch_allocated", .failErrno = ENOSPC, .failAt = 1});
    batch();
    setFailpoints({});
    EXPECT_FALSE(output_->batches.contains(Time(1000))) << "a sink would take it for one that is done";
    kill();
    start();
    batch();
    EXPECT_THAT(output(), ElementsAre(Pair(Time(1000), ElementsAre(1))));
    ssc_->stop();
    setLogLevel(LogLevel::kWarn);
}

TEST_F(WalRecoveryTest, AWindowFindsTheBlocksOfTheBatchesBefore) {
    const auto define = [](DStream<int> all) { return all.window(Seconds(3)); };
    start(define);
    for (int i = 1; i <= 6; ++i) {
        store({i});
        batch();
    }
    kill();
    start(define);
    store({7});
    batch();
    EXPECT_THAT(output()[Time(6000)], UnorderedElementsAre(4, 5, 6));
    EXPECT_THAT(output()[Time(7000)], UnorderedElementsAre(5, 6, 7));
    ssc_->stop();
}

TEST_F(WalRecoveryTest, APastBatchOfReceivedBlocksGivesTheSameBytesAtAnyNumberOfThreads) {
    start(sumsAndWindow);
    for (int i = 1; i <= 9; ++i) {
        for (int j = 0; j < i; ++j) store({i * 7 + j, i * 11 + j});
        writtenBatch();
    }
    const Output before = output();
    store({1000});
    kill();
    for (const char* const master : {"local[1]", "local[2]", "local[4]"}) {
        make(sumsAndWindow, SparkConf().set("spark.master", master));
        for (const int64_t seconds : {7, 9, 7}) {
            output_->batches.clear();
            ssc_->replay(Time(seconds * 1000));
            EXPECT_THAT(output(), ElementsAre(Pair(Time(seconds * 1000), before.at(Time(seconds * 1000))))) << master;
        }
        ssc_->stop();
    }
    make(sumsAndWindow);
    ssc_->replay(Time(8000));
    ssc_->start();
    batch();
    EXPECT_THAT(output()[Time(10'000)], Contains(1000)) << "a start goes on as without the replay";
    ssc_->stop();
}

TEST_F(WalRecoveryTest, AReplayOfBlocksThatAreInNoLogIsRefusedWithWhatToDo) {
    setLogLevel(LogLevel::kOff);
    const auto same = [](DStream<int> all) { return all; };
    const SparkConf unlogged = SparkConf().set("spark.streaming.receiver.writeAheadLog.enable", "false");
    start(same, unlogged);
    store({1});
    batch();
    kill();
    make(same, unlogged);
    EXPECT_THAT(errorOf([&] { ssc_->replay(Time(1000)); }),
                AllOf(HasSubstr("of batch 1000 ms is in no write-ahead log"),
                      HasSubstr("received with spark.streaming.receiver.writeAheadLog.enable=true")));
    EXPECT_THAT(output(), IsEmpty());
    ssc_->stop();
    setLogLevel(LogLevel::kWarn);
}

TEST_F(WalRecoveryTest, AReplayDoesNotTouchTheLogOfAProgramThatRuns) {
    start();
    store({1});
    batch();
    kill();
    File lock = posixFs().open(checkpoints() + "/.lock", Fs::Mode::kReadWrite);
    ASSERT_TRUE(lock.tryLock());
    make([](DStream<int> all) { return all; });
    EXPECT_THAT(errorOf([&] { ssc_->replay(Time(1000)); }), HasSubstr("another context writes its checkpoints to"));
    lock.close();
    ssc_->replay(Time(1000));
    EXPECT_THAT(output(), ElementsAre(Pair(Time(1000), ElementsAre(1))));
    ssc_->stop();
}

TEST_F(WalRecoveryTest, ADamagedCheckpointFallsBackToOneWhoseBlocksAreStillThere) {
    setLogLevel(LogLevel::kOff);
    start();
    for (int i = 1; i <= 15; ++i) {
        store({i});
        writtenBatch();
    }
    kill();
    const std::vector<Time> times = detail::listCheckpoints(checkpoints());
    ASSERT_GE(times.size(), 9U);
    for (auto time = times.begin() + 1; time != times.end(); ++time) {
        std::filesystem::resize_file(detail::checkpointPath(checkpoints(), *time), 100);
    }
    start();
    testkit::manualClock(*ssc_).advance(Time(15'000) - times.front());
    // Everything after the oldest checkpoint, in the batches of before.
    Output expected;
    for (Time time = times.front(); time <= Time(15'000); time = time + Seconds(1)) {
        expected[time] = {static_cast<int>(time.milliseconds() / 1000)};
    }
    Output found = output();
    found.erase(times.front());  // run again only when the checkpoint was written before its end
    expected.erase(times.front());
    EXPECT_EQ(found, expected);
    ssc_->stop();
    setLogLevel(LogLevel::kWarn);
}

TEST_F(WalRecoveryTest, BlocksOfBatchesThatAreDoneLeaveTheMemory) {
    start();
    std::vector<std::weak_ptr<const Block>> blocks;
    for (int i = 1; i <= 4; ++i) {
        store({i});
        writtenBatch();
        for (const auto& info : ssc_->owner()->core()->receiverTracker.blocksOfBatch(Time(i * 1000), 0)) {
            blocks.push_back(info.load());
        }
    }
    writtenBatch();  // the generator has heard of the checkpoint of batch 4
    batch();
    ASSERT_EQ(blocks.size(), 4U);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(blocks[static_cast<std::size_t>(i)].expired()) << i;
    ssc_->stop();
}

TEST_F(WalRecoveryTest, AFreshStartDoesNotReadAnOldLog) {
    setLogLevel(LogLevel::kOff);
    start();
    store({1});
    kill();
    for (const Time time : detail::listCheckpoints(checkpoints())) {
        std::filesystem::remove(detail::checkpointPath(checkpoints(), time));
    }
    start();
    batch();
    EXPECT_THAT(output(), IsEmpty());
    EXPECT_TRUE(std::filesystem::exists(checkpoints() + "/wal.old-1"));
    ssc_->stop();
    setLogLevel(LogLevel::kWarn);
}

TEST_F(WalRecoveryTest, OldFilesOfTheLogAreRemoved) {
    start();
    for (int i = 1; i <= 5; ++i) {
        store({i});
        batch();
        testkit::manualClock(*ssc_).advance(Seconds(59));
    }
    for (int i = 0; i < 12; ++i) writtenBatch();  // more than are kept
    ssc_->stop();
    const auto files = [&](const char* log) {
        return std::distance(std::filesystem::directory_iterator(checkpoints() + "/wal/" + log),
                             std::filesystem::directory_iterator());
    };
    EXPECT_LE(files("0"), 2);
    EXPECT_LE(files("tracker"), 3);
}

}  // namespace
}  // namespace dstream
