#include "rdd/bytes.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/frame.hpp"
#include "recovery_fixture.hpp"
#include "support/faulty_file_system.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>

namespace dstream {

namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using testsupport::FaultyFs;

/// A disk that is full while it is told so: nothing can be made or written.
class FullDisk : public PosixFs {
public:
    void setFull(bool full) { full_ = full; }
    int refusals() const { return refusals_; }

protected:
    int64_t doWrite(int descriptor, const void* bytes, size_t count) override {
        return refuses() ? -ENOSPC : PosixFs::doWrite(descriptor, bytes, count);
    }
    int64_t doWriteAt(int descriptor, const void* bytes, size_t count, uint64_t offset) override {
        return refuses() ? -ENOSPC : PosixFs::doWriteAt(descriptor, bytes, count, offset);
    }
    int64_t doMakeDirectory(const char* path, mode_t permissions) override {
        return refuses() ? -ENOSPC : PosixFs::doMakeDirectory(path, permissions);
    }

private:
    bool refuses() {
        if (full_) ++refusals_;
        return full_;
    }
    std::atomic<bool> full_{false};
    std::atomic<int> refusals_{0};
};

/// Puts a file system in the place of the machine's.
class Replaced {
public:
    explicit Replaced(Fs& fs) { replaceFileSystem(&fs); }
    ~Replaced() { replaceFileSystem(nullptr); }
    Replaced(const Replaced&) = delete;
    Replaced& operator=(const Replaced&) = delete;
};

class RecoveryRowsTest : public RecoveryTest {
protected:
    void SetUp() override { setLogLevel(LogLevel::kOff); }
    void TearDown() override { setLogLevel(LogLevel::kWarn); }

    /// A checkpoint with something in every field.
    static detail::StreamingCheckpoint sample(Time time) {
        detail::StreamingCheckpoint checkpoint;
        checkpoint.time = time;
        checkpoint.zeroTime = Time(0);
        checkpoint.batchDuration = Seconds(1);
        checkpoint.pendingTimes = {time};
        checkpoint.conf = {{"spark.app.name", "sample"}};
        checkpoint.defaultParallelism = 2;
        checkpoint.rddDirectory = "/checkpoints/run";
        detail::OperatorCheckpoint& op = checkpoint.operators.emplace_back();
        op.id = op.derivedId = "updateStateByKey(batches())";
        op.kind = "updateStateByKey";
        op.site = "updateStateByKey at sample.cpp:1";
        op.state = true;
        op.codecName = "pair<string,int32>";
        op.beginsAfter = Time(100);
        op.rdds[time] = {"/checkpoints/run/rdd-1", 2, true};
        op.data = "data";
        return checkpoint;
    }
    std::vector<std::string> temporaryFiles() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(checkpoints())) {
            const std::string name = entry.path().filename();
            if (name.starts_with(".") && name != ".lock") names.push_back(name);
        }
        return names;
    }
};

TEST_F(RecoveryRowsTest, Row10_AFullDiskStopsTheCheckpointsAndNotTheBatches) {
    FullDisk disk;
    const Replaced replaced(disk);
    auto events = std::make_shared<CheckpointEvents>();
    auto [ssc, output] = open(sums());
    ssc.addStreamingListener(events);
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    clock.advance(Seconds(5));
    ASSERT_TRUE(events->awaitWritten(Time(5000)));

    disk.setFull(true);
    clock.advance(Seconds(5));
    ASSERT_TRUE(events->awaitFailures(2));
    EXPECT_EQ(output.batch(Time(10000)), Counts({Count("a", 10)})) << "the batches go on";
    EXPECT_THAT(events->failures(), Contains(HasSubstr("No space left on device")));
    EXPECT_GE(ssc.checkpointCounters().failed, 2);
    EXPECT_GT(disk.refusals(), 0);
    EXPECT_EQ(detail::readNewestCheckpoint(checkpoints(), false)->time, Time(5000)) << "older ones stay readable";

    disk.setFull(false);
    clock.advance(Seconds(2));
    EXPECT_TRUE(events->awaitWritten(Time(12000))) << "and they go on when there is space";
    EXPECT_EQ(ssc.getState(), StreamingContextState::ACTIVE);
    ssc.stop();
    EXPECT_THAT(temporaryFiles(), IsEmpty()) << "also of the writes that failed, now that nothing is being written";
    EXPECT_THAT(runOn(1, sums(11))[Time(13000)], ElementsAre(Count("a", 13)));
}

TEST_F(RecoveryRowsTest, Row12_AnyFailingCallOfACheckpointWriteLeavesTheOldOneOrTheNewOne) {
    std::filesystem::create_directories(checkpoints());
    const auto write = [&](Time time) {
        auto checkpoint = sample(time);
        checkpoint.operators.at(0).rdds.clear();
        detail::writeCheckpoint(checkpoints(), checkpoint);
    };
    write(Time(1000));
    for (const int error : {EIO, ENOSPC, EINTR, 0}) {
        FaultyFs fs;
        const Replaced replaced(fs);
        for (uint64_t call = 1;; ++call) {
            SCOPED_TRACE("error " + std::to_string(error) + " at call " + std::to_string(call));
            std::filesystem::remove(detail::checkpointPath(checkpoints(), Time(2000)));
            fs.failCall(call, error);
            bool failed = false;
            try {
                write(Time(2000));
            } catch (const FileSystemException&) {
                failed = true;
            }
            const bool fired = fs.fired();
            const std::string last = fs.calls().empty() ? "" : fs.calls().back();
            fs.failCall(0, 0);
            const auto newest = detail::readNewestCheckpoint(checkpoints(), false);
            ASSERT_TRUE(newest);
            if (!failed) {
                EXPECT_EQ(newest->time, Time(2000));
            } else {
                EXPECT_THAT(newest->time, AnyOf(Time(1000), Time(2000)));
            }
            if (error == EINTR || error == 0) {
                EXPECT_FALSE(failed) << "an interrupted or short call is continued; last call " << last;
            }
            EXPECT_THAT(temporaryFiles(), IsEmpty());
            if (!fired) break;
        }
    }
}

TEST_F(RecoveryRowsTest, Row12_AnyFailingCallOfAProgramLeavesACheckpointThatARestartGoesOnFrom) {
    runOn(3, sums());
    const std::string kept = directory_ / "kept";
    std::filesystem::copy(checkpoints(), kept, std::filesystem::copy_options::recursive);
    for (const char* name : {"checkpoint.before_write", "checkpoint.after_write", "checkpoint.write_block",
                             "checkpoint.rename_block", "checkpoint.cut_lineage", "checkpoint.remove_rdd"}) {
        for (const int error : {EIO, ENOSPC}) {
            for (uint64_t hit = 1; hit <= 2; ++hit) {
                SCOPED_TRACE(std::string(name) + " with " + std::to_string(error) + " at hit " + std::to_string(hit));
                std::filesystem::remove_all(checkpoints());
                std::filesystem::copy(kept, checkpoints(), std::filesystem::copy_options::recursive);
                setFailpoints({.failName = name, .failErrno = error, .failAt = hit});
                EXPECT_EQ(runOn(2, sums())[Time(5000)], Counts({Count("a", 5)}));
                setFailpoints({});
                EXPECT_EQ(runOn(2, sums())[Time(6000)], Counts({Count("a", 6)}));
            }
        }
    }
}

TEST_F(RecoveryRowsTest, Row13_NoCutAndNoFlippedBitOfACheckpointIsTakenForOne) {
    std::filesystem::create_directories(checkpoints());
    detail::writeCheckpoint(checkpoints(), sample(Time(1000)));
    const std::string path = detail::checkpointPath(checkpoints(), Time(1000));
    auto bytes = posixFs().readFile(path);
    EXPECT_EQ(detail::decodeCheckpoint(bytes, path).operators.size(), 1U);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_THROW(detail::decodeCheckpoint(std::span(bytes).first(size), path), FrameException) << size;
    }
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_THROW(detail::decodeCheckpoint(bytes, path), FrameException) << bit;
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
}

TEST_F(RecoveryRowsTest, Row13_DamagedCheckpointsAreSetAsideCountedAndTheOneBeforeIsUsed) {
    runStepwise(5, 2, sums());
    for (const Time time : {Time(5000), Time(4000)}) {
        std::filesystem::resize_file(detail::checkpointPath(checkpoints(), time), 77);
    }
    auto events = std::make_shared<CheckpointEvents>();
    auto [ssc, output] = open(sums());
    EXPECT_EQ(ssc.checkpointCounters().damaged, 2);
    ssc.addStreamingListener(events);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_TRUE(events->awaitDamaged(2));
    ssc.stop();
    EXPECT_THAT(events->damaged(), ElementsAre(HasSubstr("checkpoint-5000"), HasSubstr("checkpoint-4000")));
    EXPECT_EQ(output.batch(Time(4000)), Counts({Count("a", 4)}));
    for (const char* name : {"/checkpoint-5000.corrupt", "/checkpoint-4000.corrupt"}) {
        EXPECT_TRUE(std::filesystem::exists(checkpoints() + name)) << name;
    }
}

TEST_F(RecoveryRowsTest, Row13_ADamagedStateIsSetAsideAndTheOneBeforeUsed) {
    runStepwise(5, 2, sums());
    const auto checkpoint = detail::readNewestCheckpoint(checkpoints(), false);
    const std::string state = checkpoint->operators.at(1).rdds.at(Time(4000)).directory;
    const std::string part = state + "/part-00000";
    ASSERT_TRUE(std::filesystem::exists(part));
    auto bytes = posixFs().readFile(part);
    bytes.back() ^= std::byte{1};
    posixFs().writeFileAtomically(part, bytes);
    EXPECT_THAT(runOn(1, sums(2))[Time(6000)], ElementsAre(Count("a", 6))) << "from the state of 2 s";
    EXPECT_TRUE(std::filesystem::exists(state + ".corrupt"));
}

TEST_F(RecoveryRowsTest, Row13_WhenNoStateIsReadableTheStartIsRefused) {
    runStepwise(14, 2, sums());
    for (const auto& entry : std::filesystem::recursive_directory_iterator(checkpoints())) {
        if (entry.path().filename().string().starts_with("part-")) std::filesystem::resize_file(entry.path(), 20);
    }
    EXPECT_THAT(errorOf([&] { runOn(1, sums()); }),
                AllOf(HasSubstr("no checkpoint in"), HasSubstr("part-00000"), HasSubstr("createOnError")));
}

TEST_F(RecoveryRowsTest, Row14_TheFilesOfEveryReleasedFormatAreRead) {
    const auto first = detail::decodeCheckpoint(posixFs().readFile(testsupport::testData("checkpoint_schema_1")),
                                                "/d/checkpoint-12000");
    EXPECT_EQ(first.time, Time(12000));
    EXPECT_EQ(first.batchDuration, Seconds(1));
    EXPECT_THAT(first.pendingTimes, ElementsAre(Time(11000), Time(12000)));
    EXPECT_THAT(first.conf,
                ElementsAre(testing::Pair("spark.app.name", "golden"), testing::Pair("spark.master", "local[2]")));
    ASSERT_THAT(first.operators, SizeIs(3));
    EXPECT_TRUE(first.operators[0].input);
    EXPECT_EQ(first.operators[0].data.size(), 10U);
    const detail::OperatorCheckpoint& state = first.operators[1];
    EXPECT_EQ(state.id, "updateStateByKey(textFileStream())");
    EXPECT_TRUE(state.state);
    EXPECT_EQ(state.codecName + std::to_string(state.codecVersion), "pair<string,int32>3");
    EXPECT_EQ(state.rdds.at(Time(10000)).directory, "/checkpoints/run-1/rdd-42");
    EXPECT_EQ(state.rdds.at(Time(5000)).numPartitions, 3);
    EXPECT_FALSE(first.operators[2].restored());
    EXPECT_THAT(first.otherRdds, ElementsAre("/checkpoints/run-1/rdd-7"));
}

TEST_F(RecoveryRowsTest, Row14_ACheckpointOfAnotherProgramIsRefusedWithTheOperatorsThatDiffer) {
    runOn(3, sums());
    const auto other = [](const StreamingContext& ssc) {
        return ssc.textFileStream(std::filesystem::temp_directory_path().string())
            .map([](std::string_view line) { return Count(line, 1); })
            .mapWithState(StateSpec<std::string, int, int, Count>::function(countAgain));
    };
    EXPECT_THAT(errorOf([&] { runOn(1, other); }),
                AllOf(HasSubstr("does not fit its checkpoint of 3000 ms"), HasSubstr("new: textFileStream()"),
                      HasSubstr("new: mapWithState(textFileStream())"), HasSubstr("missing: batches()"),
                      HasSubstr("missing: updateStateByKey(batches())")));
}

TEST_F(RecoveryRowsTest, Row14_AFileOfANewerVersionIsRefusedWithBothVersions) {
    std::filesystem::create_directories(checkpoints());
    writeFrameFile(posixFs(), checkpoints() + "/checkpoint-1000", 5, 99, {});
    EXPECT_THAT(errorOf([&] { runOn(1, sums()); }),
                AllOf(HasSubstr("written by a newer version (99 > 2)"), HasSubstr("checkpoint-1000")));
}

}  // namespace

}  // namespace dstream
