#include "streaming_core.hpp"

#include "preflight.hpp"
#include "rdd/detail/left_behind.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace dstream::detail {

namespace {

// The context that is starting or has been started, one in the process.
std::mutex activeMutex;
std::weak_ptr<StreamingCore> activeCore;

/// Ends contexts whose stop was asked for by one of their own threads.
class BackgroundStopper {
public:
    static void run(std::function<void()> stop) {
        static BackgroundStopper stopper;
        std::lock_guard lock(stopper.mutex_);
        std::erase_if(stopper.stops_, [](const Stop& s) { return s.done->load(); });
        auto done = std::make_shared<std::atomic<bool>>(false);
        stopper.stops_.push_back({done, std::jthread([done, stop = std::move(stop)]() mutable {
                                      try {
                                          stop();
                                      } catch (...) {
                                          logMessage(LogLevel::kError, "StreamingContext",
                                                     "stop failed: " + describeException(std::current_exception()));
                                      }
                                      stop = nullptr;
                                      *done = true;
                                  })});
    }

private:
    struct Stop {
        std::shared_ptr<std::atomic<bool>> done;
        std::jthread thread;
    };
    std::mutex mutex_;
    std::vector<Stop> stops_;
};

void logFailure(const char* step, const std::exception_ptr& error) {
    logMessage(LogLevel::kError, "StreamingContext",
               std::string("stopping the ") + step + " failed: " + describeException(error));
}

template <class Step>
void attempt(const char* name, Step&& step) {
    try {
        step();
    } catch (...) {
        logFailure(name, std::current_exception());
    }
}

std::chrono::milliseconds timeoutOf(const SparkConf& conf, const std::string& key, Duration otherwise) {
    const std::chrono::milliseconds timeout(conf.getTimeAsMs(key, std::to_string(otherwise.milliseconds()) + "ms"));
    require(timeout.count() >= 0 || !conf.contains(key),
            key + " must not be negative: " + std::to_string(timeout.count()) + " ms");
    return timeout;
}

/// Tells the rate controllers of each completed batch.
class RateListener final : public StreamingListener {
public:
    explicit RateListener(std::map<int, std::shared_ptr<RateController>> controllers)
        : controllers_(std::move(controllers)) {}

    void onBatchCompleted(const StreamingListenerBatchCompleted& event) override {
        const BatchInfo& batch = event.batchInfo;
        for (const auto& [id, controller] : controllers_) {
            auto info = batch.streamIdToInputInfo.find(id);
            if (info == batch.streamIdToInputInfo.end() || !batch.processingDelay()) continue;
            controller->batchCompleted(*batch.processingEndTime, info->second.numRecords, *batch.processingDelay(),
                                       *batch.schedulingDelay());
        }
    }

private:
    const std::map<int, std::shared_ptr<RateController>> controllers_;
};

}  // namespace

void ContextWaiter::notifyStop() {
    {
        std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    changed_.notify_all();
}

void ContextWaiter::notifyError(std::exception_ptr error) {
    {
        std::lock_guard lock(mutex_);
        error_ = std::move(error);
        reported_ = false;
    }
    changed_.notify_all();
}

bool ContextWaiter::waitForStopOrError(int64_t timeoutMs) {
    std::unique_lock lock(mutex_);
    auto over = [&] { return stopped_ || error_ != nullptr; };
    if (timeoutMs < 0) {
        changed_.wait(lock, over);
    } else {
        changed_.wait_for(lock, std::chrono::milliseconds(timeoutMs), over);
    }
    if (error_) {
        reported_ = true;
        std::rethrow_exception(error_);
    }
    return stopped_;
}

std::exception_ptr ContextWaiter::takeUnreportedError() {
    std::lock_guard lock(mutex_);
    if (reported_) return nullptr;
    reported_ = true;
    return error_;
}

StreamingCore::StreamingCore(SparkContext context, Duration batch)
    : sparkContext(std::move(context)),
      conf(sparkContext.getConf()),
      batchDuration(batch),
      unpersist(conf.getBoolean("spark.streaming.unpersist", true)),
      stopTimeout(timeoutOf(conf, "dstream.stop.timeout", Seconds(10))),
      gracefulStopTimeout(timeoutOf(conf, "spark.streaming.gracefulStopTimeout", batch * 10)),
      stopsSparkContext(conf.getBoolean("spark.streaming.stopSparkContextByDefault", true)),
      stopsOnSignals(conf.getBoolean("spark.streaming.stopGracefullyOnShutdown", false)),
      clock(makeClock(conf.get("spark.streaming.clock", ""))),
      listenerBus("streaming-listeners",
                  static_cast<std::size_t>(
                      std::max<int64_t>(1, conf.getLong("spark.scheduler.listenerbus.eventqueue.capacity", 10'000)))),
      graph(batch),
      receiverTracker(conf, clock, std::shared_ptr<ReceiverEvents>(std::shared_ptr<void>(), this),
                      memoryBlockStore(conf, batchDuration)),
      jobScheduler(*this),
      jobGenerator(*this) {
    if (batch <= Duration(0)) {
        throw IllegalArgumentException("the batch duration must be positive: " + batch.toString());
    }
    if (auto directory = conf.getOption("spark.streaming.checkpoint.directory")) setCheckpointDir(*directory);
}

StreamingCore::~StreamingCore() = default;

std::shared_ptr<StreamingOwner> StreamingCore::active() {
    std::shared_ptr<StreamingCore> core;
    {
        std::lock_guard lock(activeMutex);
        core = activeCore.lock();
    }
    if (!core || core->state() != StreamingContextState::ACTIVE) return nullptr;
    return core->owner_.lock();
}

void StreamingCore::start() {
    std::lock_guard lifecycle(lifecycleMutex_);
    switch (state()) {
        case StreamingContextState::ACTIVE:
            logMessage(LogLevel::kWarn, "StreamingContext", "StreamingContext has already been started");
            return;
        case StreamingContextState::STOPPED:
            throw IllegalStateException("StreamingContext has already been stopped; make a new one");
        case StreamingContextState::INITIALIZED:
            break;
    }
    {
        std::lock_guard lock(activeMutex);
        if (auto active = activeCore.lock(); active && active.get() != this) {
            throw IllegalStateException(
                "Only one StreamingContext may be started in this process; stop the active one first");
        }
        activeCore = weak_from_this();
    }
    try {
        graph.validate();
        if (!preflightFile().empty()) endInPreflight(*this);
        setLocalProperties();
        std::map<int, std::shared_ptr<RateController>> controllers;
        for (const auto& input : graph.inputs()) {
            if (auto controller = input->input()->rateController())
                controllers.emplace(input->input()->id(), std::move(controller));
        }
        if (!controllers.empty()) listenerBus.addListener(std::make_shared<RateListener>(std::move(controllers)));
        warnOfSettingsWithoutEffect();
        jobScheduler.start();
        jobGenerator.start();
    } catch (...) {
        stopServices(false);
        {
            std::lock_guard lock(stateMutex_);
            state_ = StreamingContextState::STOPPED;
        }
        std::lock_guard lock(activeMutex);
        activeCore.reset();
        throw;
    }
    {
        std::lock_guard lock(stateMutex_);
        state_ = StreamingContextState::ACTIVE;
    }
    if (stopsOnSignals) {
        signals_ = std::make_unique<ShutdownSignals>([weak = weak_from_this()] {
            if (auto core = weak.lock()) {
                BackgroundStopper::run([core] { core->stop(false, true); });
            }
        });
    }
    post(&StreamingListener::onStreamingStarted, StreamingListenerStreamingStarted{clock->getTimeMillis()});
    for (DamagedCheckpoint& file : damaged_) {
        post(&StreamingListener::onCheckpointDamaged,
             StreamingListenerCheckpointDamaged{std::move(file.path), std::move(file.reason)});
    }
    damaged_.clear();
}

void StreamingCore::setLocalProperties() {
    localProperties = sparkContext.getLocalProperties();
    for (const char* key : {"spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"}) {
        localProperties.erase(key);
    }
    localProperties["spark.checkpoint.checkpointAllMarkedAncestors"] = "true";
}

void StreamingCore::warnOfSettingsWithoutEffect() const {
    if (conf.getBoolean("spark.streaming.dynamicAllocation.enabled", false) &&
        conf.getBoolean("spark.dynamicAllocation.enabled", false)) {
        throw IllegalArgumentException(
            "spark.dynamicAllocation.enabled and spark.streaming.dynamicAllocation.enabled are both true; set at most "
            "one");
    }
    std::string found;
    for (const char* prefix : {"spark.streaming.dynamicAllocation.", "spark.dynamicAllocation.", "spark.locality.wait",
                               "spark.executor.", "spark.excludeOnFailure."}) {
        for (const auto& [rest, value] : conf.getAllWithPrefix(prefix))
            found += (found.empty() ? "" : ", ") + (prefix + rest);
    }
    if (!found.empty()) {
        logMessage(LogLevel::kWarn, "StreamingContext", "settings without effect in one process: " + found);
    }
}

void StreamingCore::stop(bool stopSparkContext, bool graceful) {
    if (listenerBus.onListenerThread()) {
        throw SparkException("Cannot stop StreamingContext within listener bus thread; stop it from another thread");
    }
    if (onOwnThread()) {
        BackgroundStopper::run(
            [self = shared_from_this(), stopSparkContext, graceful] { self->stop(stopSparkContext, graceful); });
        return;
    }
    std::lock_guard lifecycle(lifecycleMutex_);
    switch (state()) {
        case StreamingContextState::INITIALIZED:
            logMessage(LogLevel::kWarn, "StreamingContext", "StreamingContext has not been started yet");
            break;
        case StreamingContextState::STOPPED:
            logMessage(LogLevel::kWarn, "StreamingContext", "StreamingContext has already been stopped");
            break;
        case StreamingContextState::ACTIVE:
            stopServices(graceful);
            attempt("signal handler", [&] { signals_.reset(); });
            break;
    }
    {
        std::lock_guard lock(activeMutex);
        if (activeCore.lock().get() == this) activeCore.reset();
    }
    if (stopSparkContext) attempt("SparkContext", [&] { sparkContext.stop(); });
    {
        std::lock_guard lock(stateMutex_);
        state_ = StreamingContextState::STOPPED;
    }
    waiter.notifyStop();
}

void StreamingCore::stopServices(bool graceful) {
    attempt("receivers", [&] { receiverTracker.stop(graceful); });
    // The inputs are told of the end of each batch that is queued, and serve its jobs, before they are stopped.
    if (graceful) {
        attempt("batches", [&] { jobGenerator.finishBatches(); });
        attempt("job scheduler", [&] { jobScheduler.stop(true); });
    }
    attempt("job generator", [&] { jobGenerator.stop(graceful); });
    attempt("checkpoint writer", [&] {
        if (checkpoints) checkpoints->stop();
    });
    if (!graceful) attempt("job scheduler", [&] { jobScheduler.stop(false); });
    attempt("write-ahead logs", [&] { receiverTracker.closeLogs(); });
    attempt("listener bus", [&] { listenerBus.stop(); });
}

StreamingContextState StreamingCore::state() const {
    std::lock_guard lock(stateMutex_);
    return state_;
}

void StreamingCore::checkCanAddStreams() const {
    const char* when = nullptr;
    switch (state()) {
        case StreamingContextState::INITIALIZED:
            return;
        case StreamingContextState::ACTIVE:
            when = "starting";
            break;
        case StreamingContextState::STOPPED:
            when = "stopping";
            break;
    }
    throw IllegalStateException(std::string("Adding new inputs, transformations, and output operations after ") + when +
                                " a context is not supported");
}

void StreamingCore::setCheckpointDir(std::optional<std::string> directory) {
    if (directory && preflightFile().empty()) {
        directory = std::filesystem::weakly_canonical(std::filesystem::absolute(*directory)).string();
        posixFs().makeDurableDirectories(*directory);
        sparkContext.setCheckpointDir(*directory);
    }
    std::lock_guard lock(stateMutex_);
    checkpointDir_ = std::move(directory);
}

void StreamingCore::noteDamaged(std::vector<DamagedCheckpoint> damaged) {
    checkpointCounts.damaged += static_cast<int64_t>(damaged.size());
    damaged_ = std::move(damaged);
}

void StreamingCore::replay(Time batchTime) {
    std::lock_guard lifecycle(lifecycleMutex_);
    if (state() != StreamingContextState::INITIALIZED || !recovered) {
        throw IllegalStateException(
            "replay needs a context from getOrCreate that found a checkpoint and has not been started; this one " +
            std::string(state() == StreamingContextState::INITIALIZED ? "has no checkpoint" : "has been started"));
    }
    graph.validate();
    setLocalProperties();
    jobGenerator.replay(*recovered, batchTime);
}

void StreamingCore::recover(StreamingCheckpoint checkpoint, const std::string& directory,
                            std::vector<DamagedCheckpoint> damaged) {
    checkCanAddStreams();
    noteDamaged(std::move(damaged));
    if (checkpoint.batchDuration != batchDuration) {
        throw SparkException("the checkpoint in " + directory + " was written with batches of " +
                             checkpoint.batchDuration.toString() + ", and the program makes some of " +
                             batchDuration.toString() + "; use the same, or start in an empty directory");
    }
    std::error_code error;
    if (const auto given = checkpointDir(); !given || !std::filesystem::equivalent(*given, directory, error))
        setCheckpointDir(directory);
    if (auto* manual = dynamic_cast<ManualClock*>(clock.get())) {
        manual->setTime(checkpoint.time.milliseconds() + conf.getLong("spark.streaming.manualClock.jump", 0));
    }
    recovered = std::make_unique<StreamingCheckpoint>(std::move(checkpoint));
}

std::optional<std::string> StreamingCore::checkpointDir() const {
    std::lock_guard lock(stateMutex_);
    return checkpointDir_;
}

void StreamingCore::reportError(const std::string& what, std::exception_ptr error) {
    logMessage(LogLevel::kError, "StreamingContext", what + ": " + describeException(error));
    waiter.notifyError(std::move(error));
}

bool StreamingCore::onOwnThread() const {
    return jobScheduler.onJobThread() || jobGenerator.onLoopThread();
}

void StreamingCore::leaveBehind(std::vector<std::jthread> threads, std::function<bool()> haveEnded) {
    struct LeftBehind {
        std::shared_ptr<StreamingCore> core;
        std::vector<std::jthread> threads;  // joined before their core may go
    };
    detail::leaveBehind(std::make_shared<LeftBehind>(LeftBehind{shared_from_this(), std::move(threads)}),
                        std::move(haveEnded));
}

void StreamingCore::receiverStarted(const ReceiverInfo& info) {
    post(&StreamingListener::onReceiverStarted, StreamingListenerReceiverStarted{info});
}

void StreamingCore::receiverError(const ReceiverInfo& info) {
    post(&StreamingListener::onReceiverError, StreamingListenerReceiverError{info});
}

void StreamingCore::receiverStopped(const ReceiverInfo& info) {
    post(&StreamingListener::onReceiverStopped, StreamingListenerReceiverStopped{info});
}

StreamingOwner::~StreamingOwner() {
    try {
        auto end = [](const std::shared_ptr<StreamingCore>& core) {
            if (core->state() != StreamingContextState::STOPPED) core->stop(false, false);
            if (auto error = core->waiter.takeUnreportedError()) {
                logMessage(LogLevel::kError, "StreamingContext",
                           "the context has gone with a failure that nobody asked for: " + describeException(error));
            }
        };
        if (core_->onOwnThread() || core_->listenerBus.onListenerThread()) {
            BackgroundStopper::run([end, core = core_] { end(core); });
        } else {
            end(core_);
        }
    } catch (...) {
        logFailure("context", std::current_exception());
    }
}

}  // namespace dstream::detail
