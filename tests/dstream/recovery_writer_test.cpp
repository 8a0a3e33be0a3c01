#include "rdd/clock.hpp"
#include "recovery_fixture.hpp"
#include "streaming_core.hpp"

#include <atomic>

namespace dstream {

namespace {

/// Lets others through as far as it has been opened.
class Gate {
public:
    /// Says that `place` has been reached and waits until it is open.
    void pass(int64_t place) {
        std::unique_lock lock(mutex_);
        reached_ = std::max(reached_, place);
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_ >= place; });
    }
    void openUpTo(int64_t place) {
        const std::lock_guard lock(mutex_);
        open_ = place;
        changed_.notify_all();
    }
    void close() {
        const std::lock_guard lock(mutex_);
        reached_ = open_ = 0;
    }
    bool awaitReached(int64_t place) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return reached_ >= place; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int64_t reached_ = 0;
    int64_t open_ = 0;
};

Gate stateWrites;  // all of them are place 1

/// A state whose checkpoints can be held up.
struct Held {
    int value = 0;
    template <class Archive>
    void serialize(Archive& archive, unsigned) {
        if constexpr (Archive::is_saving::value) stateWrites.pass(1);
        archive& value;
    }
};

/// The sums of a stream's keys, each batch's due to be written.
template <class Stream>
auto heldSums(const Stream& stream) {
    return stream
        .template updateStateByKey<Held>(
            [](const std::vector<int>& values, std::optional<Held> sum) {
                Held next = sum.value_or(Held{});
                for (int value : values) next.value += value;
                return std::optional(next);
            },
            1)
        .checkpoint(Seconds(1));
}

using RecoveryWriterTest = RecoveryTest;

TEST_F(RecoveryWriterTest, AStateThatWasWrittenWhileTheNextFileWaitedIsNamedByIt) {
    Gate batches;
    stateWrites.close();
    auto events = std::make_shared<CheckpointEvents>();
    auto ssc = makeContext();
    ssc.checkpoint(checkpoints());
    auto sums = heldSums(input(ssc));
    sums.foreachRDD([&](const auto& rdd, Time time) {
        rdd.count();
        batches.pass(time.milliseconds());
    });
    ssc.addStreamingListener(events);
    ssc.start();
    // Five batches wait for the first one, so that the files of their completions are all of the time of the last.
    dynamic_cast<ManualClock&>(*ssc.owner()->core()->clock).setTime(5000);
    EXPECT_TRUE(events->awaitWritten(Time(5000)));
    batches.openUpTo(1000);
    EXPECT_TRUE(stateWrites.awaitReached(1));
    // While the state of the first batch is being written, the second one completes: its file will wait.
    batches.openUpTo(2000);
    EXPECT_TRUE(batches.awaitReached(3000));
    sums.slice(Time(3000), Time(3000));  // comes when the generator's thread has seen to that completion
    stateWrites.openUpTo(1);
    const auto named = [&] {
        const std::string path = detail::checkpointPath(checkpoints(), Time(5000));
        if (posixFs().exists(path)) {
            for (const auto& op : detail::readCheckpoint(path).operators) {
                if (op.state) return op.rdds;
            }
        }
        return std::map<Time, detail::RddCheckpoint>();
    };
    EXPECT_TRUE(events->await([&] { return named().contains(Time(2000)); }));
    const auto states = named();
    EXPECT_TRUE(states.contains(Time(1000)));
    for (const auto& [time, state] : states) EXPECT_TRUE(posixFs().exists(state.directory)) << time.toString();
    batches.openUpTo(INT64_MAX);
    ssc.stop();
    for (const auto& directory : detail::readNewestCheckpoint(checkpoints(), false)->rddDirectories()) {
        EXPECT_TRUE(posixFs().exists(directory)) << directory;
    }
}

TEST_F(RecoveryWriterTest, WhatIsForgottenBeforeItsTurnToBeWrittenIsNotComputedAgain) {
    stateWrites.close();
    auto events = std::make_shared<CheckpointEvents>();
    std::atomic<int> calls = 0;
    auto ssc = makeContext();
    ssc.checkpoint(checkpoints());
    auto sums = heldSums(input(ssc));
    auto numbers = sums.map([&](const auto& sum) {
                           ++calls;
                           return sum.second.value;
                       })
                       .checkpoint(Seconds(1));
    numbers.foreachRDD([](const auto& rdd, Time) { rdd.count(); });
    ssc.addStreamingListener(events);
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    clock.advance(Seconds(1));
    EXPECT_TRUE(stateWrites.awaitReached(1));
    // The numbers of the first batch wait for its state to be written; the stream remembers them for two batches.
    clock.advance(Seconds(4));
    EXPECT_EQ(calls, 5);
    stateWrites.openUpTo(1);
    EXPECT_TRUE(events->awaitWritten(Time(5000)));
    ssc.stop();
    EXPECT_EQ(calls, 5);
}

TEST_F(RecoveryWriterTest, AStateIsNotComputedAgainForACheckpointThatIsWrittenLate) {
    constexpr int kKeys = 60'000;
    constexpr int kChanged = 18'000;  // too many to be written as changes
    std::atomic<int64_t> calls = 0;
    stateWrites.close();
    auto events = std::make_shared<CheckpointEvents>();
    auto ssc = makeContext();
    ssc.checkpoint(checkpoints());
    const auto held = [](const std::vector<int>&, std::optional<Held> state) {
        return std::optional(state.value_or(Held()));
    };
    input(ssc).updateStateByKey<Held>(held, 1).checkpoint(Seconds(2)).foreachRDD([](const auto& rdd) { rdd.count(); });
    const auto countUp = [&calls](int, std::optional<int> one, State<int>& count) {
        ++calls;
        count.update(count.getOption().value_or(0) + one.value_or(0));
        return one;
    };
    const auto wide =
        input(ssc)
            .transform([](const RDD<Count>& rdd, Time time) {
                return rdd.flatMap<std::pair<int, int>>(
                    [n = time == Time(1000) ? kKeys : kChanged](const Count&, auto&& emit) {
                        for (int i = 0; i < n; ++i) emit(std::pair(i, 1));
                    });
            })
            .mapWithState(StateSpec<int, int, int, std::optional<int>>::function(countUp).numPartitions(1));
    wide.checkpoint(Seconds(2));
    wide.foreachRDD([](const auto& rdd) { rdd.count(); });
    ssc.addStreamingListener(events);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_TRUE(stateWrites.awaitReached(1));  // that of the other stream comes behind it
    testkit::manualClock(ssc).advance(Seconds(2));
    stateWrites.openUpTo(1);
    EXPECT_TRUE(events->await([&] { return rddCheckpoints() >= 4; }));
    ssc.stop();
    EXPECT_EQ(calls, kKeys + 3 * kChanged);
}

}  // namespace
}  // namespace dstream
