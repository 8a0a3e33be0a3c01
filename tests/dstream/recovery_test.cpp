#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/frame.hpp"
#include "recovery_fixture.hpp"

#include <fcntl.h>
#include <sys/stat.h>

namespace dstream {

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST_F(RecoveryTest, UpdateStateByKeyGoesOnFromTheStateThatWasCheckpointedLast) {
    EXPECT_THAT(runOn(5, sums())[Time(5000)], ElementsAre(Count("a", 5)));
    auto again = runOn(2, sums(4));
    EXPECT_THAT(again, SizeIs(3)) << "the checkpointed batch runs again, no other";
    EXPECT_THAT(again[Time(5000)], ElementsAre(Count("a", 5)));
    EXPECT_THAT(again[Time(7000)], ElementsAre(Count("a", 7)));
    auto third = runOn(1, sums(6));
    EXPECT_THAT(
        third, ElementsAre(Pair(Time(7000), ElementsAre(Count("a", 7))), Pair(Time(8000), ElementsAre(Count("a", 8)))));
}

TEST_F(RecoveryTest, StateWithoutRddCheckpointIsComputedFromTheFirstBatch) {
    auto define = [](const StreamingContext& ssc) { return input(ssc).updateStateByKey<int>(addUp); };
    runOn(3, define);
    EXPECT_THAT(runOn(1, define)[Time(4000)], ElementsAre(Count("a", 4)));
}

TEST_F(RecoveryTest, StateIsPlacedAnewWhenTheNumberOfPartitionsChanges) {
    runOn(5, sums());
    EXPECT_THAT(runOn(1, sums(4, 5))[Time(6000)], ElementsAre(Count("a", 6)));
}

TEST_F(RecoveryTest, MapWithStateGoesOnFromItsState) {
    auto define = [](int wrongUpTo, int partitions) {
        return [=](const StreamingContext& ssc) {
            auto counted =
                input(ssc, wrongUpTo)
                    .mapWithState(
                        StateSpec<std::string, int, int, Count>::function(countAgain).numPartitions(partitions));
            counted.checkpoint(Seconds(2));
            return counted.stateSnapshots();
        };
    };
    runOn(4, define(0, 2));
    EXPECT_THAT(runOn(1, define(4, 2)), ElementsAre(Pair(Time(4000), ElementsAre(Count("a", 4))),
                                                    Pair(Time(5000), ElementsAre(Count("a", 5)))));
    EXPECT_THAT(runOn(1, define(4, 3))[Time(6000)], ElementsAre(Count("a", 6))) << "with another number of partitions";
}

TEST_F(RecoveryTest, WindowsWithAnInverseGoOnFromTheWindowBefore) {
    auto define = [](int wrongUpTo, int partitions) {
        return [=](const StreamingContext& ssc) {
            return input(ssc, wrongUpTo)
                .reduceByKeyAndWindow(std::plus<int>(), std::minus<int>(), Seconds(3), Seconds(1), partitions)
                .checkpoint(Seconds(2));
        };
    };
    runOn(5, define(0, 2));
    auto again = runOn(2, define(1, 2));
    EXPECT_THAT(again[Time(5000)], ElementsAre(Count("a", 3)));
    EXPECT_THAT(again[Time(7000)], ElementsAre(Count("a", 3)));
    EXPECT_THAT(runOn(1, define(1, 3))[Time(8000)], ElementsAre(Count("a", 3))) << "with another number of partitions";
}

TEST_F(RecoveryTest, BatchesMissedWhileDownAreRunInOrder) {
    runOn(2, sums());
    SparkConf conf;
    conf.set("spark.streaming.manualClock.jump", "3000");
    auto again = runOn(1, sums(), conf);
    EXPECT_THAT(again, SizeIs(5));
    EXPECT_THAT(again[Time(2000)], ElementsAre(Count("a", 2)));
    EXPECT_THAT(again[Time(6000)], ElementsAre(Count("a", 6)));
}

TEST_F(RecoveryTest, BatchesThatFailedRunAgain) {
    bool fails = true;
    std::vector<int64_t> ran;
    auto define = [&](const StreamingContext& ssc) {
        auto stream = input(ssc);
        stream.foreachRDD([&](const RDD<Count>&, Time time) {
            if (fails && time == Time(2000)) throw SparkException("on purpose");
            ran.push_back(time.milliseconds());
        });
        return stream;
    };
    runOn(4, define);
    fails = false;
    ran.clear();
    runOn(1, define);
    EXPECT_THAT(ran, ElementsAre(2000, 4000, 5000));
}

TEST_F(RecoveryTest, BatchesWhoseJobsCouldNotBeMadeAreTriedAgain) {
    bool fails = true;
    std::vector<int64_t> ran;
    auto define = [&](const StreamingContext& ssc) {
        auto stream = input(ssc).transform([&](const RDD<Count>& rdd, Time time) {
            if (fails && time == Time(2000)) throw SparkException("on purpose");
            return rdd;
        });
        stream.foreachRDD([&](const RDD<Count>&, Time time) { ran.push_back(time.milliseconds()); });
        return stream;
    };
    setLogLevel(LogLevel::kOff);
    runOn(4, define);
    EXPECT_THAT(ran, ElementsAre(1000, 3000, 4000));
    ran.clear();
    runOn(1, define);
    EXPECT_THAT(ran, ElementsAre(4000, 5000)) << "while it fails, the other batches run";
    fails = false;
    ran.clear();
    runOn(1, define);
    setLogLevel(LogLevel::kWarn);
    EXPECT_THAT(ran, ElementsAre(2000, 5000, 6000));
}

TEST_F(RecoveryTest, ADamagedCheckpointIsSetAsideAndTheOneBeforeUsed) {
    runStepwise(5, 2, sums());
    const std::string newest = newestFile();
    std::filesystem::resize_file(newest, std::filesystem::file_size(newest) / 2);
    setLogLevel(LogLevel::kOff);
    auto again = runOn(1, sums(2));
    setLogLevel(LogLevel::kWarn);
    EXPECT_THAT(again[Time(4000)], ElementsAre(Count("a", 4)));
    EXPECT_THAT(again[Time(5000)], ElementsAre(Count("a", 5)));
    EXPECT_TRUE(std::filesystem::exists(newest + ".corrupt"));
}

TEST_F(RecoveryTest, NoCutOfACheckpointFileIsTakenForOne) {
    setLogLevel(LogLevel::kOff);
    detail::StreamingCheckpoint checkpoint;
    checkpoint.conf = {{"key", "value"}};
    detail::OperatorCheckpoint& op = checkpoint.operators.emplace_back();
    op.id = "batches()";
    std::filesystem::create_directories(checkpoints());
    for (int64_t time = 1; time <= 2; ++time) {
        checkpoint.time = Time(time);
        detail::writeCheckpoint(checkpoints(), checkpoint);
    }
    const std::string path = detail::checkpointPath(checkpoints(), Time(2));
    const auto bytes = posixFs().readFile(path);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        posixFs().writeFileAtomically(path, std::span(bytes).first(size));
        ASSERT_EQ(detail::readNewestCheckpoint(checkpoints(), false)->time, Time(1)) << size;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        auto flipped = bytes;
        flipped[i] ^= std::byte{16};
        posixFs().writeFileAtomically(path, flipped);
        ASSERT_EQ(detail::readNewestCheckpoint(checkpoints(), false)->time, Time(1)) << i;
    }
    posixFs().writeFileAtomically(path, bytes);
    EXPECT_EQ(detail::readNewestCheckpoint(checkpoints(), false)->time, Time(2));
    setLogLevel(LogLevel::kWarn);
}

TEST_F(RecoveryTest, WithoutAReadableCheckpointOnlyCreateOnErrorStartsAnew) {
    runOn(1, sums());
    std::filesystem::resize_file(newestFile(), 10);
    EXPECT_THAT(errorOf([&] { runOn(1, sums()); }), AllOf(HasSubstr("no checkpoint in"), HasSubstr("createOnError")));
    EXPECT_THAT(errorOf([&] { runOn(1, sums()); }), HasSubstr("no checkpoint in")) << "the file must stay";
    setLogLevel(LogLevel::kOff);
    auto ssc = StreamingContext::getOrCreate(
        checkpoints(), [] { return makeContext(); }, true);
    setLogLevel(LogLevel::kWarn);
    EXPECT_EQ(testkit::manualClock(ssc).now(), Time(0));
    ssc.stop();
}

TEST_F(RecoveryTest, ACheckpointOfANewerVersionIsRefusedAndNotSetAside) {
    std::filesystem::create_directories(checkpoints());
    writeFrameFile(posixFs(), checkpoints() + "/checkpoint-1000", 5, 99, {});
    EXPECT_THAT(errorOf([&] { runOn(1, sums()); }), HasSubstr("newer"));
    EXPECT_TRUE(std::filesystem::exists(checkpoints() + "/checkpoint-1000"));
}

TEST_F(RecoveryTest, AProgramThatDoesNotFitIsRefusedWithEachOperatorNamed) {
    runOn(3, sums());
    auto other = [](const StreamingContext& ssc) {
        return input(ssc).mapWithState(StateSpec<std::string, int, int, Count>::function(countAgain));
    };
    EXPECT_THAT(errorOf([&] { runOn(1, other); }),
                AllOf(HasSubstr("does not fit"), HasSubstr("missing: updateStateByKey(batches())"),
                      HasSubstr("new: mapWithState(batches())"), HasSubstr("uid")));
    SparkConf conf;
    conf.set("dstream.checkpoint.allowDroppedState", "true").set("dstream.checkpoint.allowNewState", "true");
    EXPECT_THAT(runOn(1, other, conf)[Time(4000)], ElementsAre(Count("a", 2))) << "it begins empty at the batch of 3 s";
}

TEST_F(RecoveryTest, StateOfAnotherTypeIsRefused) {
    runOn(3, sums());
    auto other = [](const StreamingContext& ssc) {
        return input(ssc).updateStateByKey<double>(
            [](const std::vector<int>&, std::optional<double>) { return std::optional(1.0); });
    };
    EXPECT_THAT(errorOf([&] { runOn(1, other); }), HasSubstr("changed: the state of updateStateByKey"));
}

TEST_F(RecoveryTest, StatelessOperatorsComeAndGoWithoutMovingTheState) {
    runOn(5, sums());
    auto more = [](const StreamingContext& ssc) {
        auto mapped = input(ssc, 4).filter([](const Count&) { return true; }).map([](const Count& c) { return c; });
        testkit::collect(mapped);
        return mapped.updateStateByKey<int>(addUp).checkpoint(Seconds(2)).map([](const Count& c) { return c; });
    };
    EXPECT_THAT(runOn(1, more)[Time(6000)], ElementsAre(Count("a", 6)));
}

TEST_F(RecoveryTest, AUidKeepsTheStateOfAnOperatorThatMoves) {
    auto define = [](bool moved) {
        return [=](const StreamingContext& ssc) {
            DStream<Count> from = input(ssc, moved ? 4 : 0);
            if (moved) from = from.window(Seconds(1));
            return from.updateStateByKey<int>(addUp).checkpoint(Seconds(2)).uid("sums");
        };
    };
    runOn(5, define(false));
    EXPECT_THAT(runOn(1, define(true))[Time(6000)], ElementsAre(Count("a", 6)));
}

TEST_F(RecoveryTest, AnotherBatchDurationIsRefused) {
    runOn(1, sums());
    EXPECT_THAT(errorOf([&] { StreamingContext::getOrCreate(checkpoints(), [] { return makeContext(Seconds(2)); }); }),
                AllOf(HasSubstr("1000 ms"), HasSubstr("2000 ms")));
}

TEST_F(RecoveryTest, TheNewestTenCheckpointsAreKeptWithWhatTheyReferTo) {
    runStepwise(30, 2, sums());
    const auto times = detail::listCheckpoints(checkpoints());
    EXPECT_EQ(times.back(), Time(30000));
    EXPECT_THAT(times, SizeIs(10));
    // A file refers to the RDD checkpoints that are remembered, two at most: twice the interval.
    EXPECT_LE(rddCheckpoints(), 20U);
    EXPECT_THAT(runOn(2, sums(29))[Time(32000)], ElementsAre(Count("a", 32)));
    EXPECT_THAT(detail::listCheckpoints(checkpoints()), SizeIs(10));
    EXPECT_LE(rddCheckpoints(), 20U);
}

TEST_F(RecoveryTest, AQueueStreamCannotBeRecovered) {
    auto define = [](const StreamingContext& ssc) { return ssc.queueStream(std::make_shared<RDDQueue<int>>()); };
    setLogLevel(LogLevel::kOff);
    runOn(1, define);
    EXPECT_THROW(runOn(1, define), NotSerializableException);
    setLogLevel(LogLevel::kWarn);
}

TEST_F(RecoveryTest, FileStreamsReadTheRecordedFilesOfABatchAgain) {
    const std::string incoming = directory_ / "incoming";
    std::filesystem::create_directories(incoming);
    auto write = [&](const std::string& name, int64_t modifiedMs) {
        std::ofstream(incoming + "/" + name) << name;
        const timespec time{modifiedMs / 1000, modifiedMs % 1000 * 1'000'000};
        const timespec times[2] = {time, time};
        ASSERT_EQ(::utimensat(AT_FDCWD, (incoming + "/" + name).c_str(), times, 0), 0);
    };
    auto define = [&](const StreamingContext& ssc) {
        return ssc.textFileStream(incoming).map([](std::string_view line) { return std::string(line); });
    };
    write("first", 500);
    write("second", 1500);
    EXPECT_THAT(runOn(2, define)[Time(2000)], ElementsAre("second"));
    write("late", 1600);
    auto again = runOn(1, define);
    EXPECT_THAT(again[Time(2000)], ElementsAre("second"));
    EXPECT_THAT(again[Time(3000)], ElementsAre("late"));
}

TEST_F(RecoveryTest, TwoContextsCannotWriteToOneDirectory) {
    std::filesystem::create_directories(checkpoints());
    File other = posixFs().open(checkpoints() + "/.lock", Fs::Mode::kReadWrite);
    ASSERT_TRUE(other.tryLock());
    EXPECT_THAT(errorOf([&] { runOn(1, sums()); }), HasSubstr("another context writes its checkpoints"));
}

TEST_F(RecoveryTest, AWriteThatFailsIsTriedAgainAndThenGivenUp) {
    setLogLevel(LogLevel::kOff);
    setFailpoints({.failName = "checkpoint.before_write", .failErrno = EIO, .failAt = 1});
    runOn(1, sums());
    setFailpoints({});
    setLogLevel(LogLevel::kWarn);
    EXPECT_THAT(detail::listCheckpoints(checkpoints()), ElementsAre(Time(1000)));
}

}  // namespace

}  // namespace dstream
