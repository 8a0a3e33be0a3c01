#pragma once

#include "rdd/file_system.hpp"
#include "stream_test.hpp"
#include "streaming_checkpoint.hpp"
#include "support/test_files.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

using Count = std::pair<std::string, int>;
using Counts = std::vector<Count>;

inline std::optional<int> addUp(std::vector<int> values, std::optional<int> sum) {
    for (int value : values) sum = sum.value_or(0) + value;
    return sum;
}

inline constexpr auto countAgain = [](Time, const std::string& key, std::optional<int> value, State<int>& state) {
    state.update(state.getOption().value_or(0) + value.value_or(0));
    return std::optional(Count(key, state.get()));
};

/// Notes what becomes of the checkpoints.
class CheckpointEvents : public StreamingListener {
public:
    void onCheckpointWritten(const StreamingListenerCheckpointWritten& event) override {
        const std::lock_guard lock(mutex_);
        written_.push_back(event.batchTime);
        changed_.notify_all();
    }
    void onCheckpointFailed(const StreamingListenerCheckpointFailed& event) override {
        const std::lock_guard lock(mutex_);
        failures_.push_back(event.reason);
        changed_.notify_all();
    }
    void onCheckpointDamaged(const StreamingListenerCheckpointDamaged& event) override {
        const std::lock_guard lock(mutex_);
        damaged_.push_back(event.path);
        changed_.notify_all();
    }
    bool awaitWritten(Time time) {
        return await([&] { return !written_.empty() && written_.back() >= time; });
    }
    template <class Condition>
    bool await(Condition condition) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(20), condition);
    }
    bool awaitFailures(std::size_t count) {
        return await([&] { return failures_.size() >= count; });
    }
    bool awaitDamaged(std::size_t count) {
        return await([&] { return damaged_.size() >= count; });
    }
    std::vector<std::string> failures() {
        const std::lock_guard lock(mutex_);
        return failures_;
    }
    std::vector<std::string> damaged() {
        const std::lock_guard lock(mutex_);
        return damaged_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Time> written_;
    std::vector<std::string> failures_, damaged_;
};

/// Runs programs that are stopped, and go on from their checkpoint.
class RecoveryTest : public StreamTest {
protected:
    std::string checkpoints() const { return directory_ / "checkpoint"; }

    /// Makes a program anew or from its checkpoints, and what collects the output of the stream that `define(ssc)`
    /// returns.
    template <class Define>
    auto open(Define define, SparkConf conf = SparkConf()) {
        decltype(testkit::collect(define(std::declval<const StreamingContext&>()))) output;
        auto ssc = StreamingContext::getOrCreate(checkpoints(), [&] {
            auto made = makeContext(Seconds(1), conf);
            made.checkpoint(checkpoints());
            output = testkit::collect(define(made));
            return made;
        });
        return std::pair(std::move(ssc), std::move(output));
    }

    /// Starts the program, which `define(ssc)` makes and which puts out what it returns, lets `batches` batches come,
    /// stops at once, and returns the output by batch.
    template <class Define>
    auto runOn(int64_t batches, Define define, SparkConf conf = SparkConf()) {
        auto [ssc, output] = open(std::move(define), std::move(conf));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(batches));
        ssc.stop();
        return output.all();
    }

    /// One ("a", 1) in each batch but those up to `wrongUpTo`, whose recomputation would show.
    static InputDStream<Count> input(const StreamingContext& ssc, int wrongUpTo = 0) {
        std::vector<Counts> batches;
        for (int i = 1; i <= 40; ++i) batches.push_back(i <= wrongUpTo ? Counts{{"wrong", 100}} : Counts{{"a", 1}});
        return testkit::batches<Count>(ssc, std::move(batches));
    }

    static auto sums(int wrongUpTo = 0, int partitions = 2) {
        return [=](const StreamingContext& ssc) {
            return input(ssc, wrongUpTo).updateStateByKey<int>(addUp, partitions).checkpoint(Seconds(2));
        };
    }

    /// As runOn, but batch by batch: the next one comes when the checkpoint after the one before is there, with the
    /// states that are due every `interval` batches.
    template <class Define>
    auto runStepwise(int64_t batches, int64_t interval, Define define, SparkConf conf = SparkConf()) {
        auto events = std::make_shared<CheckpointEvents>();
        auto [ssc, output] = open(std::move(define), std::move(conf));
        ssc.addStreamingListener(events);
        ssc.start();
        auto& clock = testkit::manualClock(ssc);
        for (; batches > 0; --batches) {
            clock.advance(Seconds(1));
            const Time time = clock.now();
            EXPECT_TRUE(events->await([&] { return isComplete(time, interval); })) << time.toString();
        }
        ssc.stop();
        return output.all();
    }
    bool isComplete(Time time, int64_t interval) const {
        const std::string path = detail::checkpointPath(checkpoints(), time);
        if (!posixFs().exists(path)) return false;
        const auto checkpoint = detail::readCheckpoint(path);
        if (!checkpoint.pendingTimes.empty()) return false;
        if (time.milliseconds() / 1000 % interval != 0) return true;
        return std::ranges::all_of(checkpoint.operators,
                                   [&](const auto& op) { return !op.state || op.rdds.contains(time); });
    }

    std::string newestFile() const {
        return detail::checkpointPath(checkpoints(), detail::listCheckpoints(checkpoints()).back());
    }
    std::size_t rddCheckpoints() const {
        std::size_t count = 0;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(checkpoints())) {
            count += entry.is_directory() && entry.path().filename().string().starts_with("rdd-");
        }
        return count;
    }

    testsupport::TemporaryDirectory directory_;
};

}  // namespace dstream
