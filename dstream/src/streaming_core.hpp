#pragma once

#include "dstream/streaming_context.hpp"
#include "dstream/streaming_listener.hpp"
#include "dstream/testkit.hpp"
#include "dstream_graph.hpp"
#include "input_info_tracker.hpp"
#include "job_generator.hpp"
#include "job_scheduler.hpp"
#include "rdd/clock.hpp"
#include "rdd/listener_bus.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_context.hpp"
#include "receivers/rate_controller.hpp"
#include "receivers/receiver_tracker.hpp"
#include "shutdown_signals.hpp"
#include "streaming_checkpoint.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace dstream::detail {

class StreamingOwner;

/// Lets threads wait until the context has stopped or something has failed. Thread-safe.
class ContextWaiter {
public:
    void notifyStop();
    void notifyError(std::exception_ptr error);
    /// True once stopped; throws the latest error; false when `timeoutMs` (negative: for ever) has passed.
    bool waitForStopOrError(int64_t timeoutMs);
    /// The latest error if nobody has been told of it.
    std::exception_ptr takeUnreportedError();

private:
    std::mutex mutex_;  // guards the fields below
    std::condition_variable changed_;
    std::exception_ptr error_;
    bool reported_ = false;
    bool stopped_ = false;
};

/// Writes and clears metadata checkpoints; a context without checkpoint directory has none.
class CheckpointService {
public:
    virtual ~CheckpointService() = default;
    /// Called on the generator's thread after a batch was generated (`clearLater` false) and after it has completed.
    virtual void write(Time batchTime, bool clearLater) = 0;
    /// Waits until what was asked for is written; false when that failed.
    virtual bool flush() = 0;
    virtual void stop() = 0;
};

/// The inside of a StreamingContext: everything its handles share.
/// Locks, in this order: lifecycleMutex_ (held through start and stop), the process-wide mutex of the active context,
/// stateMutex_ and those of the members (held for a few lines).
class StreamingCore : public std::enable_shared_from_this<StreamingCore>, private ReceiverEvents {
public:
    StreamingCore(SparkContext sparkContext, Duration batchDuration);
    ~StreamingCore() override;

    /// The owner of the context that has been started and not stopped; null when there is none.
    static std::shared_ptr<StreamingOwner> active();
    void setOwner(const std::shared_ptr<StreamingOwner>& owner) { owner_ = owner; }

    void start();
    void stop(bool stopSparkContext, bool graceful);
    StreamingContextState state() const;
    /// @throws IllegalStateException  unless nothing has been started
    void checkCanAddStreams() const;

    void setCheckpointDir(std::optional<std::string> directory);
    std::optional<std::string> checkpointDir() const;

    /// Makes `start` go on from a checkpoint of `directory`, where checkpoints are written from now on too.
    /// @throws SparkException  when its batch duration is another one
    /// @throws IllegalStateException  when the context has been started
    void recover(StreamingCheckpoint checkpoint, const std::string& directory, std::vector<DamagedCheckpoint> damaged);
    /// Counts checkpoints that were set aside; listeners hear of them once the context has started.
    void noteDamaged(std::vector<DamagedCheckpoint> damaged);
    /// See StreamingContext::replay.
    void replay(Time batchTime);

    /// dstream.checkpoint.allowDroppedState and dstream.checkpoint.allowNewState
    bool allowDroppedState() const { return conf.getBoolean("dstream.checkpoint.allowDroppedState", false); }
    bool allowNewState() const { return conf.getBoolean("dstream.checkpoint.allowNewState", false); }

    /// Keeps `error` for awaitTermination and logs it.
    void reportError(const std::string& what, std::exception_ptr error);
    /// Posts an event to the listeners. kLater: another one follows in a moment and will wake the listeners' thread.
    template <class Event>
    void post(void (StreamingListener::*callback)(const Event&), Event event, Wake wake = Wake::kNow) {
        listenerBus.post(
            [callback, event = std::move(event)](StreamingListener& listener) { (listener.*callback)(event); }, wake);
    }
    /// True on the threads that run the context's work, which therefore cannot wait for its end.
    bool onOwnThread() const;
    /// Keeps threads that user code does not give back, and this object with them, until they `haveEnded`.
    void leaveBehind(std::vector<std::jthread> threads, std::function<bool()> haveEnded);

    SparkContext sparkContext;
    const SparkConf conf;
    const Duration batchDuration;
    const bool unpersist;                                 // spark.streaming.unpersist
    const std::chrono::milliseconds stopTimeout;          // dstream.stop.timeout
    const std::chrono::milliseconds gracefulStopTimeout;  // spark.streaming.gracefulStopTimeout
    const bool stopsSparkContext;                         // spark.streaming.stopSparkContextByDefault
    const bool stopsOnSignals;                            // spark.streaming.stopGracefullyOnShutdown
    const std::shared_ptr<Clock> clock;
    ListenerBus<StreamingListener> listenerBus;
    ContextWaiter waiter;
    DStreamGraph graph;
    InputInfoTracker inputInfoTracker;
    ReceiverTracker receiverTracker;
    std::unique_ptr<CheckpointService> checkpoints;
    /// What start goes on from; null on a first start and once started.
    std::unique_ptr<StreamingCheckpoint> recovered;
    /// Behind CheckpointCounters.
    struct {
        std::atomic<int64_t> written{0}, failed{0}, damaged{0};
    } checkpointCounts;
    JobScheduler jobScheduler;
    JobGenerator jobGenerator;
    testkit::ManualClock testClock{*this};
    /// The local properties of the thread that called start, without its job group.
    Properties localProperties;

private:
    void receiverStarted(const ReceiverInfo& info) override;
    void receiverError(const ReceiverInfo& info) override;
    void receiverStopped(const ReceiverInfo& info) override;
    void stopServices(bool graceful);
    void warnOfSettingsWithoutEffect() const;
    void setLocalProperties();

    std::weak_ptr<StreamingOwner> owner_;
    std::unique_ptr<ShutdownSignals> signals_;
    std::vector<DamagedCheckpoint> damaged_;  // until they are posted
    std::mutex lifecycleMutex_;
    mutable std::mutex stateMutex_;  // guards the fields below
    StreamingContextState state_ = StreamingContextState::INITIALIZED;
    std::optional<std::string> checkpointDir_;
};

/// Shared by the copies of a StreamingContext; its end ends the context.
class StreamingOwner {
public:
    explicit StreamingOwner(std::shared_ptr<StreamingCore> core) : core_(std::move(core)) {}
    ~StreamingOwner();
    StreamingOwner(const StreamingOwner&) = delete;
    StreamingOwner& operator=(const StreamingOwner&) = delete;
    const std::shared_ptr<StreamingCore>& core() const { return core_; }

private:
    std::shared_ptr<StreamingCore> core_;
};

}  // namespace dstream::detail
