#include "recovery_fixture.hpp"

namespace dstream {

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// Computes past batches again from a checkpoint.
class RecoveryReplayTest : public RecoveryTest {
protected:
    /// Words that come and go, counted by state, by a window and by mapWithState, and saved as files below `output`.
    static auto program(std::string output) {
        return [=](const StreamingContext& ssc) {
            std::vector<Counts> batches;
            for (int i = 1; i <= 40; ++i) {
                Counts& batch = batches.emplace_back();
                for (int word = 0; word < 200; ++word) {
                    if ((word + i) % 3 != 0) batch.emplace_back("word" + std::to_string(word % (40 + i)), word + i);
                }
            }
            auto words = testkit::batches<Count>(ssc, std::move(batches));
            auto sums = words.updateStateByKey<int>(addUp).checkpoint(Seconds(5));
            auto window = words.reduceByKeyAndWindow(std::plus<int>(), std::minus<int>(), Seconds(3), Seconds(1))
                              .checkpoint(Seconds(5));
            auto mapped = words.mapWithState(StateSpec<std::string, int, int, Count>::function(countAgain));
            mapped.checkpoint(Seconds(5));
            sums.map(textOf).saveAsTextFiles(output + "/sums");
            window.map(textOf).saveAsTextFiles(output + "/window");
            mapped.map(textOf).saveAsTextFiles(output + "/mapped");
            return sums;
        };
    }
    static std::string textOf(const Count& count) { return count.first + " " + std::to_string(count.second); }

    StreamingContext recover(const std::string& output, const std::string& master) const {
        return StreamingContext::getOrCreate(checkpoints(), [&] {
            SparkConf conf;
            conf.set("spark.master", master);
            auto made = makeContext(Seconds(1), conf);
            made.checkpoint(checkpoints());
            program(output)(made);
            return made;
        });
    }

    /// The files below a directory, by path, with their bytes.
    static std::map<std::string, std::string> filesBelow(const std::string& directory) {
        std::map<std::string, std::string> files;
        if (!std::filesystem::exists(directory)) return files;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
            if (!entry.is_regular_file()) continue;
            const auto bytes = posixFs().readFile(entry.path().string());
            files[std::filesystem::relative(entry.path(), directory).string()] =
                std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        }
        return files;
    }
    /// Those of one batch.
    static std::map<std::string, std::string> filesOf(const std::string& directory, Time time) {
        auto files = filesBelow(directory);
        const std::string batch = "-" + std::to_string(time.milliseconds()) + "/";
        std::erase_if(files, [&](const auto& file) { return file.first.find(batch) == std::string::npos; });
        return files;
    }
};

TEST_F(RecoveryReplayTest, APastBatchGivesTheSameBytesAtAnyNumberOfThreads) {
    const std::string original = directory_ / "original";
    runOn(14, program(original));
    const auto before = filesBelow(checkpoints());
    for (const int64_t seconds : {8, 10, 12, 14}) {
        const Time batch(seconds * 1000);
        const auto expected = filesOf(original, batch);
        ASSERT_THAT(expected, Not(IsEmpty()));
        for (const std::string master : {"local[1]", "local[2]", "local[4]"}) {
            const std::string output = directory_ / (master + std::to_string(seconds));
            auto ssc = recover(output, master);
            ssc.replay(batch);
            EXPECT_TRUE(filesBelow(output) == expected) << master << ", batch " << batch.toString();
            ssc.stop();
        }
    }
    EXPECT_TRUE(filesBelow(checkpoints()) == before) << "the checkpoint stays as it is";
}

TEST_F(RecoveryReplayTest, AContextStartsAfterReplaysAsWithoutThem) {
    runOn(12, program(directory_ / "original"));
    auto ssc = recover(directory_ / "replayed", "local[2]");
    ssc.replay(Time(9000));
    ssc.replay(Time(11000));
    ssc.replay(Time(9000));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    ssc.stop();
    const std::string straight = directory_ / "straight";
    std::filesystem::remove_all(checkpoints());
    runOn(14, program(straight));
    EXPECT_TRUE(filesOf(directory_ / "replayed", Time(14000)) == filesOf(straight, Time(14000)));
}

TEST_F(RecoveryReplayTest, ABatchThatTheCheckpointDoesNotReachIsRefusedWithTheReason) {
    runOn(30, program(directory_ / "original"));
    auto ssc = recover(directory_ / "replayed", "local[2]");
    EXPECT_THAT(errorOf([&] { ssc.replay(Time(2000)); }),
                AllOf(HasSubstr("replay of the batch of 2000 ms"), HasSubstr("is recorded from ")));
    EXPECT_THAT(errorOf([&] { ssc.replay(Time(31000)); }), HasSubstr("batches from 1000 ms to 30000 ms"));
    EXPECT_THAT(errorOf([&] { ssc.replay(Time(28500)); }), HasSubstr("every 1000 ms"));
    EXPECT_THAT(filesBelow(directory_ / "replayed"), IsEmpty());
    ssc.stop();
}

TEST_F(RecoveryReplayTest, OnlyARecoveredContextThatHasNotStartedReplays) {
    auto fresh = makeContext();
    fresh.checkpoint(checkpoints());
    testkit::collect(input(fresh));
    EXPECT_THAT(errorOf([&] { fresh.replay(Time(1000)); }), HasSubstr("has no checkpoint"));
    fresh.stop();
    runOn(2, sums());
    auto ssc = StreamingContext::getOrCreate(checkpoints(), [&] {
        auto made = makeContext();
        testkit::collect(sums()(made));
        return made;
    });
    ssc.start();
    EXPECT_THAT(errorOf([&] { ssc.replay(Time(1000)); }), HasSubstr("has been started"));
    ssc.stop();
}

TEST_F(RecoveryReplayTest, WhatABatchThrowsComesOutOfReplay) {
    bool fails = false;
    const auto define = [&fails](const StreamingContext& ssc) {
        auto stream = input(ssc);
        stream.foreachRDD([&fails](const RDD<Count>&) {
            if (fails) throw SparkException("on purpose");
        });
        return stream;
    };
    runOn(3, define);
    fails = true;
    auto ssc = StreamingContext::getOrCreate(checkpoints(), [&] {
        auto made = makeContext();
        define(made);
        return made;
    });
    EXPECT_THAT(errorOf([&] { ssc.replay(Time(3000)); }),
                AllOf(HasSubstr("streaming job 3000 ms.0, foreachRDD at"), HasSubstr("on purpose")));
    ssc.stop();
}

TEST_F(RecoveryReplayTest, AContextIsMadeFromACheckpointPathAndAFunction) {
    runOn(5, sums());
    testkit::Collected<Count> output;
    StreamingContext ssc(checkpoints(),
                         [&](const StreamingContext& made) { output = testkit::collect(sums(4)(made)); });
    EXPECT_EQ(ssc.batchDuration(), Seconds(1));
    EXPECT_EQ(ssc.sparkContext().getConf().get("spark.app.name"), "test") << "the settings are those of the checkpoint";
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_THAT(output.batch(Time(6000)), ElementsAre(Count("a", 6)));
}

TEST_F(RecoveryReplayTest, ACheckpointPathAloneIsRefusedWithWhatToDo) {
    EXPECT_THROW(StreamingContext(checkpoints(), nullptr), IllegalArgumentException);
    runOn(1, sums());
    EXPECT_THAT(errorOf([&] { StreamingContext ssc(checkpoints()); }),
                AllOf(HasSubstr("holds no functions"), HasSubstr("StreamingContext::getOrCreate")));
    std::filesystem::resize_file(newestFile(), 10);
    EXPECT_THROW(StreamingContext(checkpoints(), [](const StreamingContext&) {}), SparkException);
}

}  // namespace

}  // namespace dstream
