#include "job_generator.hpp"

#include "checkpoint_writer.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "streaming_core.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <limits>
#include <vector>

namespace dstream::detail {

/// The first tick after now, of those that are whole batches away from `zeroTime`.
Time JobGenerator::nextTickAfter(Time zeroTime) const {
    const Time now(core_.clock->getTimeMillis());
    const Time tick = now.floor(core_.batchDuration, zeroTime);
    return tick > now ? tick : tick + core_.batchDuration;
}

void JobGenerator::start() {
    const StreamingCheckpoint* const recovered = core_.recovered.get();
    const Time zeroTime = recovered ? recovered->zeroTime : nextTickAfter(Time(0)) - core_.batchDuration;
    if (recovered) {
        DSTREAM_FAILPOINT("recovery.restore");
        restoreGraph(*recovered);
    } else {
        core_.graph.initialize(zeroTime);
    }
    replayLock_ = File();
    if (auto directory = core_.checkpointDir()) {
        core_.checkpoints = std::make_unique<CheckpointWriter>(core_, *directory);
        if (std::string streams = core_.graph.unrecoverable(); !streams.empty()) {
            logMessage(LogLevel::kWarn, "JobGenerator",
                       "this context writes checkpoints, but a restart cannot bring back " + streams);
        }
    }
    {
        std::lock_guard lock(mutex_);
        looping_ = true;
        generatedUpTo_ = zeroTime;
    }
    loop_ = std::jthread([this] { runLoop(); });
    core_.graph.startInputs();
    openReceiverLogs();
    core_.receiverTracker.start();
    Time firstTick = zeroTime + core_.batchDuration;
    if (recovered) {
        firstTick = nextTickAfter(zeroTime);
        runOnLoop([&] { rerun(*recovered, firstTick); });
        core_.recovered.reset();
    }
    std::unique_lock lock(mutex_);
    generatedUpTo_ = firstTick - core_.batchDuration;
    nextTick_ = firstTick;
    wakeLoop(std::move(lock));
}

void JobGenerator::openReceiverLogs() {
    const auto directory = core_.checkpointDir();
    const bool recovering = core_.recovered != nullptr;
    if (!directory || !core_.receiverTracker.openLogs(*directory + "/wal", recovering) || recovering) return;
    // A restart must find a checkpoint from the first block on that is acknowledged, or it would not look for blocks.
    core_.checkpoints->write(*core_.graph.zeroTime(), false);
    if (!core_.checkpoints->flush()) {
        throw SparkException("no checkpoint can be written to " + *directory +
                             ", so what is received would be lost with the process; mend that, or start without a "
                             "checkpoint directory");
    }
}

void JobGenerator::restoreGraph(const StreamingCheckpoint& recovered) {
    core_.inputInfoTracker.cleanup(Time(std::numeric_limits<int64_t>::max()));  // what a replay has reported
    core_.graph.initialize(recovered.zeroTime);
    core_.graph.restore(recovered, core_.allowDroppedState(), core_.allowNewState());
}

void JobGenerator::replay(const StreamingCheckpoint& recovered, Time time) {
    restoreGraph(recovered);
    prepareReplay(core_.graph.checkReplayable(recovered.time, time), time);
    std::vector<Job> jobs;
    {
        auto scope = core_.sparkContext.inheritProperties(propertiesOf(time));
        core_.graph.catchUp(time);
        jobs = core_.graph.generateJobs(time);
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) core_.jobScheduler.runHere(jobs[i], time, i);
    // The start begins with what the checkpoint holds, not with what was computed here.
    core_.graph.forgetRdds();
}

void JobGenerator::prepareReplay(Time first, Time last) {
    bool receives = false;
    for (const auto& input : core_.graph.inputs()) receives = input->input()->prepareReplay() || receives;
    if (!receives) return;
    // A log is mended when it is opened, so nobody may be writing it.
    const std::string directory = core_.checkpointDir().value();
    if (!replayLock_.isOpen()) replayLock_ = lockCheckpoints(directory);
    core_.receiverTracker.openLogs(directory + "/wal", true);
    core_.receiverTracker.checkReadable(first, last);
}

void JobGenerator::finishBatches() {
    stopTicksGracefully(std::chrono::steady_clock::now() + core_.gracefulStopTimeout);
    endTicks(true);
    awaitIdle();
}

void JobGenerator::stop(bool graceful) {
    if (graceful) {
        awaitIdle();  // for what the last jobs have posted
    } else {
        endTicks(false);
    }
    core_.graph.stopInputs();
    {
        std::unique_lock lock(mutex_);
        looping_ = false;
        dropTicks_ = !graceful;
        wakeLoop(std::move(lock));
    }
    settledChanged_.notify_all();
    if (loop_.joinable()) endLoop();
}

void JobGenerator::awaitIdle() {
    std::unique_lock lock(mutex_);
    ticksEnd_ = true;
    const auto idle = [&] { return !looping_ || (!nextTick_ && !busy_ && events_.empty()); };
    for (int64_t before = -1; before != eventsDone_ && !idle();) {
        before = eventsDone_;
        settledChanged_.wait_for(lock, core_.stopTimeout, [&] { return idle() || eventsDone_ != before; });
    }
}

void JobGenerator::endLoop() {
    std::unique_lock lock(mutex_);
    while (!loopEnded_) {
        const int64_t before = eventsDone_;
        if (settledChanged_.wait_for(lock, core_.stopTimeout, [&] { return loopEnded_ || eventsDone_ != before; }))
            continue;
        const Time batch = generatedUpTo_;
        lock.unlock();
        logMessage(LogLevel::kError, "JobGenerator",
                   "the generation of batch " + batch.toString() +
                       " does not return from the program's code; its thread is left behind");
        std::vector<std::jthread> threads;
        threads.push_back(std::move(loop_));
        core_.leaveBehind(std::move(threads), [this] {
            const std::lock_guard guard(mutex_);
            return loopEnded_;
        });
        return;
    }
    lock.unlock();
    loop_.join();
}

void JobGenerator::stopTicksGracefully(std::chrono::steady_clock::time_point deadline) {
    // One more thread ends the waits when time is up.
    std::mutex mutex;
    std::condition_variable_any over;
    std::stop_source timeUp;
    std::jthread watch([&](std::stop_token done) {
        std::unique_lock lock(mutex);
        over.wait_until(lock, done, deadline, [] { return false; });
        if (done.stop_requested()) return;
        logMessage(LogLevel::kWarn, "JobGenerator",
                   "graceful stop took longer than spark.streaming.gracefulStopTimeout; going on");
        timeUp.request_stop();
        { const std::lock_guard guard(mutex_); }  // whoever has not seen it waits by now
        settledChanged_.notify_all();
    });
    core_.receiverTracker.waitUntilAllAllocated(timeUp.get_token());
    std::unique_lock lock(mutex_);
    if (!nextTick_) return;
    ticksEnd_ = true;
    settledChanged_.wait(lock, [&] { return timeUp.stop_requested() || (!nextTick_ && !busy_ && unsettled_.empty()); });
}

/// Lets no tick come any more, but for those whose time has come, when these are wanted.
void JobGenerator::endTicks(bool withThoseDue) {
    const Time now(core_.clock->getTimeMillis());
    std::unique_lock lock(mutex_);
    if (!nextTick_) return;
    lastTick_ = withThoseDue ? now : Time(std::numeric_limits<int64_t>::min());
    if (*nextTick_ > lastTick_) nextTick_.reset();
    wakeLoop(std::move(lock));
}

/// Makes the loop look for what it is to do next.
void JobGenerator::wakeLoop(std::unique_lock<std::mutex> lock) {
    std::stop_source wait = inClock_ ? clockWait_ : std::stop_source(std::nostopstate);
    lock.unlock();
    eventsChanged_.notify_one();
    wait.request_stop();
}

void JobGenerator::post(std::function<void()> event) {
    std::unique_lock lock(mutex_);
    if (!looping_) return;
    events_.push_back(std::move(event));
    if (!busy_) wakeLoop(std::move(lock));  // who is busy looks again
}

void JobGenerator::runOrPost(std::function<void()> event) {
    {
        std::lock_guard lock(mutex_);
        if (!looping_) return;
        if (busy_ || !events_.empty()) {
            events_.push_back(std::move(event));
            return;
        }
        busy_ = true;
    }
    handle(std::move(event));
}

void JobGenerator::handle(std::function<void()> event) {
    handler_ = std::this_thread::get_id();
    try {
        event();
    } catch (...) {
        core_.reportError("job generator", std::current_exception());
    }
    event = nullptr;
    handler_ = std::thread::id();
    std::unique_lock lock(mutex_);
    busy_ = false;
    if (ticksEnd_) settledChanged_.notify_all();
    if (!inClock_ || !events_.empty() || !looping_) wakeLoop(std::move(lock));
}

void JobGenerator::runLoop() {
    auto properties = core_.sparkContext.inheritProperties(core_.localProperties);
    while (std::function<void()> event = nextEvent()) handle(std::move(event));
    {
        const std::lock_guard lock(mutex_);
        loopEnded_ = true;
    }
    settledChanged_.notify_all();
}

/// Waits for an event or the time of a tick; null at the end of the loop.
std::function<void()> JobGenerator::nextEvent() {
    std::unique_lock lock(mutex_);
    while (true) {
        eventsChanged_.wait(lock, [&] { return !busy_ && (!events_.empty() || nextTick_ || !looping_); });
        std::function<void()> event;
        if (!events_.empty()) {
            event = std::move(events_.front());
            events_.pop_front();
        } else if (nextTick_) {
            const Time tick = *nextTick_;
            if (!awaitTick(tick, lock)) continue;
            event = [this, tick] { generateJobs(tick); };
        }
        ++eventsDone_;
        if (!looping_) settledChanged_.notify_all();
        busy_ = event != nullptr;
        return event;
    }
}

/// Waits on the clock; false when there is something else to do before or the tick is not wanted any more.
bool JobGenerator::awaitTick(Time tick, std::unique_lock<std::mutex>& lock) {
    if (clockWait_.stop_requested()) clockWait_ = std::stop_source();
    const std::stop_token interrupted = clockWait_.get_token();
    inClock_ = true;
    lock.unlock();
    core_.clock->waitTillTime(tick.milliseconds(), interrupted);
    lock.lock();
    inClock_ = false;
    if (interrupted.stop_requested() || busy_ || !events_.empty() || nextTick_ != tick) return false;
    const Time next = tick + core_.batchDuration;
    nextTick_ = next <= lastTick_ ? std::optional(next) : std::nullopt;
    if (ticksEnd_) lastTick_ = std::min(lastTick_, next);
    return true;
}

void JobGenerator::checkWallClock() {
    const int64_t distance = core_.clock->wallDistanceMillis();
    if (wallClockReported_ || std::abs(distance) < core_.batchDuration.milliseconds()) return;
    wallClockReported_ = true;
    logMessage(
        LogLevel::kWarn, "JobGenerator",
        "the wall clock has moved " + std::to_string(distance) +
            " ms away from the monotonic clock that the batch times follow; they keep their pace until a restart");
}

bool JobGenerator::begin(Time time) {
    std::lock_guard lock(mutex_);
    if (dropTicks_) return false;
    unsettled_.insert(time);
    generatedUpTo_ = time;
    return true;
}

Properties JobGenerator::propertiesOf(Time time) const {
    Properties properties = core_.localProperties;
    properties["spark.streaming.internal.batchTime"] = std::to_string(time.milliseconds());
    return properties;
}

void JobGenerator::submit(Time time, bool again) {
    auto scope = core_.sparkContext.inheritProperties(propertiesOf(time));
    DSTREAM_FAILPOINT("batch.generate");
    core_.receiverTracker.allocateBlocksToBatch(time);
    std::vector<Job> jobs = core_.graph.generateJobs(time);
    core_.jobScheduler.submit(time, std::move(jobs),
                              again ? std::map<int, StreamInputInfo>() : core_.inputInfoTracker.getInfo(time));
}

void JobGenerator::rerun(const StreamingCheckpoint& recovered, Time restartTime) {
    const std::vector<Time> missed = recovered.time.until(restartTime, core_.batchDuration);
    std::set<Time> times(missed.begin(), missed.end());
    times.insert(recovered.pendingTimes.begin(), recovered.pendingTimes.end());
    times.erase(times.lower_bound(restartTime), times.end());
    times.erase(times.begin(), times.upper_bound(recovered.zeroTime));  // no batch, but the start
    if (times.empty()) return;
    logMessage(LogLevel::kInfo, "JobGenerator",
               "recovered the checkpoint of " + recovered.time.toString() + "; running " +
                   std::to_string(times.size()) + " batches from " + times.begin()->toString() +
                   " again, ticks go on at " + restartTime.toString());
    for (Time time : times) {
        if (!begin(time)) return;
        trySubmit(time, true);
    }
}

void JobGenerator::generateJobs(Time time) {
    checkWallClock();
    if (!begin(time)) return;
    trySubmit(time, false);
    doCheckpoint(time, false);
}

void JobGenerator::trySubmit(Time time, bool again) {
    try {
        if (again) {
            DSTREAM_FAILPOINT("recovery.rerun");
            core_.graph.catchUp(time);
        }
        submit(time, again);
    } catch (...) {
        try {
            std::throw_with_nested(SparkException("generating the jobs of batch " + time.toString() + " failed"));
        } catch (...) {
            core_.reportError("batch " + time.toString(), std::current_exception());
        }
        core_.jobScheduler.addFailed(time);
        settle(time);
    }
}

void JobGenerator::onBatchCompleted(Time time, const BatchInfo& info) {
    const bool succeeded = std::none_of(info.outputOperationInfos.begin(), info.outputOperationInfos.end(),
                                        [](const auto& operation) { return operation.second.failureReason; });
    auto event = [this, time, succeeded] {
        core_.graph.batchEnded(time, succeeded);
        clearMetadata(time);
        settle(time);
        DSTREAM_FAILPOINT("batch.completed");
    };
    // Writing down the whole graph would hold up the thread that runs jobs; without that, waking the loop costs more.
    if (core_.checkpoints) {
        post(std::move(event));
    } else {
        runOrPost(std::move(event));
    }
}

void JobGenerator::settle(Time time) {
    {
        std::lock_guard lock(mutex_);
        unsettled_.erase(time);
    }
    settledChanged_.notify_all();
}

bool JobGenerator::awaitSettled(Time time) {
    std::unique_lock lock(mutex_);
    auto settled = [&] { return generatedUpTo_ >= time && (unsettled_.empty() || *unsettled_.begin() > time); };
    settledChanged_.wait(lock, [&] { return settled() || !looping_; });
    return settled();
}

void JobGenerator::clearMetadata(Time time) {
    core_.graph.clearMetadata(time);
    if (core_.checkpoints) {
        doCheckpoint(time, true);
    } else {
        const Duration remember = core_.graph.maxInputRememberDuration();
        core_.receiverTracker.cleanupOldBlocksAndBatches(time - remember, {}, remember);
        core_.inputInfoTracker.cleanup(time - remember);
    }
}

void JobGenerator::onCheckpointWritten(CheckpointNeeds newest, std::optional<CheckpointNeeds> oldest) {
    post([this, newest = std::move(newest), oldest = std::move(oldest)] {
        const Duration remember = core_.graph.maxInputRememberDuration();
        core_.receiverTracker.releaseOldBlocks(newest.completed - remember, newest.pending, remember);
        if (oldest) {
            core_.receiverTracker.cleanupOldBlocksAndBatches(oldest->completed - remember, oldest->pending, remember);
        }
        core_.inputInfoTracker.cleanup(newest.completed - remember);
    });
}

void JobGenerator::doCheckpoint(Time time, bool clearLater) {
    if (core_.checkpoints) core_.checkpoints->write(time, clearLater);
}

void JobGenerator::runOnLoop(const std::function<void()>& task) {
    if (onLoopThread()) return task();
    std::packaged_task<void()> packaged(task);
    std::future<void> done = packaged.get_future();
    std::unique_lock lock(mutex_);
    if (looping_) {
        events_.push_back([&packaged] { packaged(); });
        wakeLoop(std::move(lock));
    } else {
        lock.unlock();
        const std::lock_guard turn(inlineMutex_);
        packaged();
    }
    done.get();
}

}  // namespace dstream::detail
