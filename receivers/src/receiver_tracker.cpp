#include "receivers/receiver_tracker.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "received_block_tracker.hpp"
#include "receiver_supervisor.hpp"
#include "wal_block_store.hpp"
#include "wal_registry.hpp"

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace dstream {

namespace {

constexpr const char* kComponent = "receivers";
constexpr int64_t kStopTimeoutMs = 10'000;

constexpr const char* kLogEnableKey = "spark.streaming.receiver.writeAheadLog.enable";

std::shared_ptr<detail::SupervisorEnvironment> makeEnvironment(const SparkConf& conf, std::shared_ptr<Clock> clock,
                                                               std::shared_ptr<ReceivedBlockStore> store) {
    auto environment = std::make_shared<detail::SupervisorEnvironment>();
    environment->conf = conf;
    environment->clock = std::move(clock);
    environment->store = store ? std::move(store) : memoryBlockStore(conf, Seconds(1));
    environment->generator = detail::BlockGeneratorSettings::from(conf);
    environment->restartDelayMs = conf.getInt("spark.streaming.receiverRestartDelay", 2000);
    if (environment->restartDelayMs < 0) {
        throw IllegalArgumentException("spark.streaming.receiverRestartDelay must be 0 ms or more: " +
                                       std::to_string(environment->restartDelayMs));
    }
    return environment;
}

/// Renames a log that is not gone on with, so that it neither mixes with the new one nor gets lost.
void setAside(const std::string& directory) {
    std::string name;
    for (int i = 1; name.empty() || posixFs().exists(name); ++i) name = directory + ".old-" + std::to_string(i);
    logMessage(
        LogLevel::kWarn, kComponent,
        "this start does not go on from a checkpoint, so the write-ahead log of an earlier one is set aside as " +
            name + "; remove it when it is not needed");
    posixFs().rename(directory, name);
}

}  // namespace

/// Outlives the tracker while a receiver's thread still refers to it.
class ReceiverTracker::Core final : public detail::SupervisorEndpoint, public std::enable_shared_from_this<Core> {
public:
    Core(std::shared_ptr<detail::SupervisorEnvironment> environment, std::shared_ptr<ReceiverEvents> events,
         std::shared_ptr<BlockTrackerLog> log)
        : environment_(std::move(environment)), events_(std::move(events)), blocks_(std::move(log)) {}

    void addReceiver(int streamId, std::shared_ptr<ReceiverBase> receiver) {
        if (phase_ != Phase::kInitialized) {
            throw IllegalStateException("receivers must be added before the tracker is started: stream " +
                                        std::to_string(streamId));
        }
        if (!receiver) throw IllegalArgumentException("stream " + std::to_string(streamId) + " has no receiver: null");
        receiver->streamId_ = streamId;
        const Storing storing{receiver->className(), receiver->blockCodec(), receiver->canReplay()};
        auto counters = std::make_shared<detail::ReceiverCounters>();
        auto supervisor = std::make_shared<detail::ReceiverSupervisor>(std::move(receiver), streamId, environment_,
                                                                       shared_from_this(), counters);
        std::lock_guard lock(mutex_);
        if (!streams_.try_emplace(streamId, Stream{std::move(supervisor), std::move(counters), {}, storing}).second) {
            throw IllegalStateException("stream " + std::to_string(streamId) + " has a receiver already");
        }
    }

    bool openLogs(const std::string& directory, bool recover) {
        if (store_) return true;  // by a replay
        std::map<int, Stream> streams;
        {
            std::lock_guard lock(mutex_);
            streams = streams_;
        }
        if (streams.empty()) return false;
        const SparkConf& conf = environment_->conf;
        const std::shared_ptr<Clock>& clock = environment_->clock;
        if (!recover && posixFs().exists(directory)) setAside(directory);
        const detail::WalReport report = [weak = weak_from_this()](int streamId, const std::string& message,
                                                                   std::exception_ptr error) {
            if (const auto core = weak.lock()) core->reportLogFailure(streamId, message, error);
        };
        auto store = std::make_shared<detail::WalBlockStore>(environment_->store, clock, logStop_, report);
        for (const auto& [streamId, stream] : streams) {
            const std::string path = directory + "/" + std::to_string(streamId);
            const bool writes = wantsLog(stream.storing);
            if (writes || posixFs().exists(path)) {
                store->addStream(streamId, detail::makeReceiverLog(conf, path, clock), stream.storing.codec, writes);
            }
        }
        auto log = std::make_shared<detail::WalTrackerLog>(detail::makeDriverLog(conf, directory + "/tracker", clock),
                                                           clock, logStop_, report);
        detail::RecoveredBlocks recovered = log->recover(*store);
        for (const auto& [streamId, latest] : recovered.latestIds) {
            if (const auto stream = streams.find(streamId); stream != streams.end()) {
                stream->second.supervisor->numberBlocksAfter(latest);
            }
        }
        blocks_.restore(log, std::move(recovered));
        environment_->store = store;
        store_ = std::move(store);
        log_ = std::move(log);
        return true;
    }

    void closeLogs() {
        if (!store_) return;
        log_->close();
        store_->close();
    }

    void release(Time threshold, const std::vector<Time>& needed, Duration remember) {
        blocks_.release(threshold, needed, remember);
    }
    void cleanup(Time threshold, const std::vector<Time>& needed, Duration remember) {
        blocks_.cleanup(threshold, needed, remember);
        if (store_) store_->clean();
    }

    void start() {
        if (!store_ && !supervisors().empty() && environment_->conf.getBoolean(kLogEnableKey, false)) {
            throw SparkException(std::string(kLogEnableKey) +
                                 " needs a checkpoint directory; set one by checkpoint(directory) before start");
        }
        if (phase_ != Phase::kInitialized) throw IllegalStateException("the receivers have been started before");
        std::vector<std::shared_ptr<detail::ReceiverSupervisor>> attached;
        try {
            for (const auto& supervisor : supervisors()) {
                supervisor->attach();
                attached.push_back(supervisor);
            }
        } catch (...) {
            for (const auto& supervisor : attached) supervisor->detach();
            throw;
        }
        phase_ = Phase::kStarted;
        for (const auto& supervisor : attached) supervisor->launch();
    }

    void stop(bool graceful) {
        Phase before = Phase::kStarted;
        if (!phase_.compare_exchange_strong(before, Phase::kStopping) && before != Phase::kInitialized) return;
        const auto running = before == Phase::kStarted ? supervisors() : decltype(supervisors()){};
        environment_->store->stopWaiting();
        logStop_.request_stop();
        for (const auto& supervisor : running) supervisor->end("Stopped by driver");
        Clock& clock = *environment_->clock;
        const int64_t until = clock.getTimeMillis() + kStopTimeoutMs;
        for (const auto& supervisor : running) clock.waitTillTime(until, supervisor->ended());
        for (const auto& supervisor : running) {
            if (graceful) supervisor->waitUntilEnded();
            supervisor->release();
        }
        phase_ = Phase::kStopped;
        {
            std::lock_guard lock(eventsMutex_);
            events_.reset();
        }
        std::lock_guard lock(mutex_);
        for (auto& entry : streams_) entry.second.supervisor.reset();
    }

    bool registerReceiver(int streamId, const std::string& name) override {
        if (phase_ != Phase::kStarted) return false;
        notify(streamId, &ReceiverEvents::receiverStarted,
               [&](ReceiverInfo& info) { info = {streamId, name, true, "localhost", "driver", "", "", -1}; });
        return true;
    }

    void deregisterReceiver(int streamId, const std::string& message, std::exception_ptr error) override {
        const std::string text = detail::describe(error);
        logMessage(error ? LogLevel::kError : LogLevel::kInfo, kComponent,
                   "Deregistered receiver for stream " + std::to_string(streamId) + ": " + message +
                       (error ? " - " + text : ""));
        notify(streamId, &ReceiverEvents::receiverStopped, [&](ReceiverInfo& info) {
            info.active = false;
            info.lastErrorMessage = message;
            info.lastError = text;
            info.lastErrorTime = error ? environment_->clock->getTimeMillis() : -1;
        });
    }

    void reportReceiverError(int streamId, const std::string& message, std::exception_ptr error) override {
        const std::string text = detail::describe(error);
        logMessage(LogLevel::kWarn, kComponent,
                   "Error reported by receiver for stream " + std::to_string(streamId) + ": " + message +
                       (error ? " - " + text : ""));
        notify(streamId, &ReceiverEvents::receiverError, [&](ReceiverInfo& info) {
            info.streamId = streamId;
            info.lastErrorMessage = message;
            info.lastError = text;
            info.lastErrorTime = environment_->clock->getTimeMillis();
        });
    }

    /// @param streamId  negative: batches wait for the log, and with them what every receiver has received
    void reportLogFailure(int streamId, const std::string& message, const std::exception_ptr& error) {
        std::vector<int> concerned;
        {
            std::lock_guard lock(mutex_);
            for (const auto& [id, stream] : streams_) {
                if (streamId >= 0 && id != streamId) continue;
                ++stream.counters->errors;
                concerned.push_back(id);
            }
        }
        for (const int id : concerned) reportReceiverError(id, message, error);
    }

    bool addBlock(ReceivedBlockInfo info) override {
        const Phase phase = phase_;
        return (phase == Phase::kStarted || phase == Phase::kStopping) && blocks_.addBlock(std::move(info));
    }

    void sendRateUpdate(int streamId, int64_t recordsPerSecond) {
        std::shared_ptr<detail::ReceiverSupervisor> supervisor;
        {
            std::lock_guard lock(mutex_);
            if (const auto stream = streams_.find(streamId); stream != streams_.end()) {
                supervisor = stream->second.supervisor;
            }
        }
        if (supervisor && phase_ == Phase::kStarted) supervisor->updateRate(recordsPerSecond);
    }

    std::vector<ReceiverInfo> receivers() const {
        std::lock_guard lock(mutex_);
        std::vector<ReceiverInfo> infos;
        for (const auto& entry : streams_) {
            if (entry.second.info.streamId >= 0) infos.push_back(entry.second.info);
        }
        return infos;
    }

    ReceiverMetrics metrics(int streamId) const {
        ReceiverMetrics metrics;
        {
            std::lock_guard lock(mutex_);
            const auto stream = streams_.find(streamId);
            if (stream == streams_.end()) return metrics;
            metrics = stream->second.counters->snapshot();
            if (stream->second.supervisor) metrics.rateLimit = stream->second.supervisor->rateLimit();
        }
        if (store_) metrics.log = store_->stats(streamId);
        if (log_) metrics.trackerLog = log_->stats();
        return metrics;
    }

    detail::ReceivedBlockTracker& blocks() { return blocks_; }
    int64_t now() const { return environment_->clock->getTimeMillis(); }

private:
    enum class Phase { kInitialized, kStarted, kStopping, kStopped };
    /// How blocks of a stream can be kept.
    struct Storing {
        std::string className;
        const BlockCodec* codec = nullptr;
        bool canReplay = false;
    };
    struct Stream {
        std::shared_ptr<detail::ReceiverSupervisor> supervisor;  // refers back to this object until the stop
        std::shared_ptr<detail::ReceiverCounters> counters;
        ReceiverInfo info;
        Storing storing;
    };

    bool wantsLog(const Storing& storing) const {
        const bool given = environment_->conf.contains(kLogEnableKey);
        const bool wanted = given ? environment_->conf.getBoolean(kLogEnableKey, false) : !storing.canReplay;
        if (!wanted || storing.codec) return wanted;
        const std::string what = "the records of " + storing.className + " have no Codec, so they cannot be logged";
        if (given) throw NotSerializableException(what + "; declare one");
        logMessage(LogLevel::kWarn, kComponent,
                   what + ": what it has received is lost when the process dies; declare one");
        return false;
    }

    std::vector<std::shared_ptr<detail::ReceiverSupervisor>> supervisors() const {
        std::lock_guard lock(mutex_);
        std::vector<std::shared_ptr<detail::ReceiverSupervisor>> all;
        for (const auto& entry : streams_) all.push_back(entry.second.supervisor);
        return all;
    }

    template <class Change>
    void notify(int streamId, void (ReceiverEvents::*event)(const ReceiverInfo&), Change change) {
        ReceiverInfo info;
        {
            std::lock_guard lock(mutex_);
            change(streams_.at(streamId).info);
            info = streams_.at(streamId).info;
        }
        std::shared_lock lock(eventsMutex_);
        if (!events_) return;
        try {
            ((*events_).*event)(info);
        } catch (...) {
            logMessage(LogLevel::kError, kComponent,
                       "a receiver event could not be delivered: " + detail::describe(std::current_exception()));
        }
    }

    const std::shared_ptr<detail::SupervisorEnvironment> environment_;  // not changed after the start
    std::stop_source logStop_;
    std::shared_ptr<detail::WalBlockStore> store_;  // these two: null without checkpoint directory
    std::shared_ptr<detail::WalTrackerLog> log_;
    std::shared_mutex eventsMutex_;  // guards events_: no event is delivered after the stop
    std::shared_ptr<ReceiverEvents> events_;
    detail::ReceivedBlockTracker blocks_;
    std::atomic<Phase> phase_ = Phase::kInitialized;
    mutable std::mutex mutex_;  // guards streams_
    std::map<int, Stream> streams_;
};

ReceiverTracker::ReceiverTracker(const SparkConf& conf, std::shared_ptr<Clock> clock,
                                 std::shared_ptr<ReceiverEvents> events, std::shared_ptr<ReceivedBlockStore> store,
                                 std::shared_ptr<BlockTrackerLog> log)
    : core_(std::make_shared<Core>(makeEnvironment(conf, std::move(clock), std::move(store)), std::move(events),
                                   std::move(log))) {}

ReceiverTracker::~ReceiverTracker() {
    stop(false);
}

void ReceiverTracker::addReceiver(int streamId, std::shared_ptr<ReceiverBase> receiver) {
    core_->addReceiver(streamId, std::move(receiver));
}
bool ReceiverTracker::openLogs(const std::string& directory, bool recover) {
    return core_->openLogs(directory, recover);
}
void ReceiverTracker::closeLogs() {
    core_->closeLogs();
}
void ReceiverTracker::start() {
    core_->start();
}
void ReceiverTracker::stop(bool graceful) {
    core_->stop(graceful);
}

void ReceiverTracker::allocateBlocksToBatch(Time batchTime) {
    core_->blocks().allocateBlocksToBatch(batchTime);
}
std::vector<ReceivedBlockInfo> ReceiverTracker::blocksOfBatch(Time batchTime, int streamId) const {
    return core_->blocks().blocksOfBatch(batchTime, streamId);
}
BlocksByStream ReceiverTracker::blocksOfBatch(Time batchTime) const {
    return core_->blocks().blocksOfBatch(batchTime);
}
void ReceiverTracker::checkReadable(Time first, Time last) const {
    core_->blocks().checkReadable(first, last);
}
bool ReceiverTracker::hasUnallocatedBlocks() const {
    return core_->blocks().hasUnallocatedBlocks();
}
bool ReceiverTracker::waitUntilAllAllocated(std::stop_token stop) const {
    return core_->blocks().waitUntilAllAllocated(std::move(stop));
}
void ReceiverTracker::cleanupOldBlocksAndBatches(Time threshold, const std::vector<Time>& needed, Duration remember) {
    if (threshold.milliseconds() >= core_->now()) {
        throw IllegalArgumentException("batches can be forgotten only up to a time in the past: " +
                                       threshold.toString() + ", it is " + Time(core_->now()).toString());
    }
    core_->cleanup(threshold, needed, remember);
}
void ReceiverTracker::releaseOldBlocks(Time threshold, const std::vector<Time>& needed, Duration remember) {
    core_->release(threshold, needed, remember);
}

void ReceiverTracker::sendRateUpdate(int streamId, int64_t recordsPerSecond) {
    core_->sendRateUpdate(streamId, recordsPerSecond);
}
std::vector<ReceiverInfo> ReceiverTracker::receivers() const {
    return core_->receivers();
}
ReceiverMetrics ReceiverTracker::metrics(int streamId) const {
    return core_->metrics(streamId);
}

}  // namespace dstream
