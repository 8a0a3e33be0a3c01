#pragma once

#include "dstream/streaming_listener.hpp"
#include "rdd/file_system.hpp"
#include "rdd/task_context.hpp"
#include "rdd/time.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

namespace dstream::detail {

class StreamingCore;
struct StreamingCheckpoint;

/// What a restart from a checkpoint reads of received data: everything after a batch, and the pending batches.
struct CheckpointNeeds {
    Time completed;  // the latest batch whose metadata was cleared
    std::vector<Time> pending;
};

/// Turns ticks of the clock into batches. One loop waits for the ticks, generates jobs, clears metadata and writes
/// checkpoints, strictly one after the other. Ticks are absolute times: a loop that is late, held up by user code,
/// makes the batch of each tick it missed.
class JobGenerator {
public:
    explicit JobGenerator(StreamingCore& core) : core_(core) {}

    /// Sets the streams' times, starts the inputs and the ticks. On a recovered context the batches that were pending
    /// or missed are made first, and the ticks stay on the grid of the first start.
    void start();
    /// Waits, within `spark.streaming.gracefulStopTimeout`, until received data is in batches and these are done. No
    /// batch is generated any more then, but those that are queued still end as always.
    void finishBatches();
    /// Stops the inputs and the loop. Graceful: after `finishBatches` and the last job.
    void stop(bool graceful);

    /// Makes the jobs of one past batch from a checkpoint and runs them here, before any start.
    void replay(const StreamingCheckpoint& recovered, Time time);

    /// The jobs of a batch have all ended.
    void onBatchCompleted(Time time, const BatchInfo& info);
    /// A checkpoint is durable: what a restart from it does without may leave the memory.
    /// @param oldest  of the checkpoints that are kept: what it does without may go for good; absent while that is
    /// unknown
    void onCheckpointWritten(CheckpointNeeds newest, std::optional<CheckpointNeeds> oldest);
    /// A batch that needs no jobs, or that failed to make them, is over.
    void settle(Time time);
    /// Waits until every batch up to `time` is over, whatever came of it; false when the generator stopped before.
    bool awaitSettled(Time time);

    /// Runs `task` on the loop, or here when there is no loop; what it throws comes out here.
    void runOnLoop(const std::function<void()>& task);
    /// True inside of an event.
    bool onLoopThread() const { return std::this_thread::get_id() == handler_; }

private:
    void restoreGraph(const StreamingCheckpoint& recovered);
    /// Makes what receivers stored for these batches readable.
    void prepareReplay(Time first, Time last);
    Properties propertiesOf(Time time) const;
    void post(std::function<void()> event);
    /// Handles an event without user code here when the loop is idle, for waking it costs more; else posts it.
    void runOrPost(std::function<void()> event);
    /// Handles an event on the thread that has made the loop busy.
    void handle(std::function<void()> event);
    void wakeLoop(std::unique_lock<std::mutex> lock);
    void runLoop();
    std::function<void()> nextEvent();
    bool awaitTick(Time tick, std::unique_lock<std::mutex>& lock);
    Time nextTickAfter(Time zeroTime) const;
    void checkWallClock();
    void generateJobs(Time time);
    bool begin(Time time);
    void submit(Time time, bool again);
    /// A failure is reported, and the batch stays among the pending ones.
    void trySubmit(Time time, bool again);
    void rerun(const StreamingCheckpoint& recovered, Time restartTime);
    void clearMetadata(Time time);
    void doCheckpoint(Time time, bool clearLater);
    void openReceiverLogs();
    void stopTicksGracefully(std::chrono::steady_clock::time_point deadline);
    void endTicks(bool withThoseDue);
    /// Waits until no tick is due and no event is left, or no event ends for as long as a stop waits.
    void awaitIdle();
    void endLoop();

    StreamingCore& core_;
    File replayLock_;  // of the checkpoint directory, from a replay that reads logs to the start
    bool wallClockReported_ = false;

    mutable std::mutex mutex_;  // guards the fields below
    std::condition_variable eventsChanged_;
    std::condition_variable settledChanged_;
    std::deque<std::function<void()>> events_;
    bool looping_ = false;
    bool busy_ = false;  // some thread handles an event
    bool dropTicks_ = false;
    std::optional<Time> nextTick_;  // while ticks come
    Time lastTick_{std::numeric_limits<int64_t>::max()};
    bool ticksEnd_ = false;  // when the next tick has come, the one after it is the last
    bool inClock_ = false;   // the loop waits for a tick, until this is requested to stop
    std::stop_source clockWait_;
    Time generatedUpTo_{-1};
    std::set<Time> unsettled_;
    int64_t eventsDone_ = 0;
    bool loopEnded_ = false;
    std::mutex inlineMutex_;                  // one evaluation at a time when there is no loop
    std::atomic<std::thread::id> handler_{};  // the thread that handles an event
    std::jthread loop_;
};

}  // namespace dstream::detail
