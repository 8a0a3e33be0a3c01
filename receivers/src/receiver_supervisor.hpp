#pragma once

#include "rdd/clock.hpp"
#include "rdd/spark_conf.hpp"
#include "receivers/block_generator.hpp"
#include "receivers/receiver.hpp"
#include "receivers/receiver_info.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace dstream::detail {

/// What a supervisor tells and asks; the tracker implements it. Any thread.
class SupervisorEndpoint {
public:
    virtual ~SupervisorEndpoint() = default;
    /// False when no receiver may start any more.
    virtual bool registerReceiver(int streamId, const std::string& name) = 0;
    virtual void deregisterReceiver(int streamId, const std::string& message, std::exception_ptr error) = 0;
    virtual void reportReceiverError(int streamId, const std::string& message, std::exception_ptr error) = 0;
    /// False when the block is refused.
    virtual bool addBlock(ReceivedBlockInfo info) = 0;
};

/// The settings that all supervisors of a tracker share.
struct SupervisorEnvironment {
    SparkConf conf;
    std::shared_ptr<Clock> clock;
    std::shared_ptr<ReceivedBlockStore> store;
    BlockGeneratorSettings generator;
    int restartDelayMs = 2000;
};

struct ReceiverCounters {
    std::atomic<int64_t> records = 0, bytes = 0, blocks = 0, failedBlocks = 0, restarts = 0, errors = 0, longLines = 0;
    ReceiverMetrics snapshot() const;
};

/// Runs one receiver: starts, restarts and relaunches it until it is told to end. The user's onStart and onStop are
/// called on one thread, the supervisor's own. It keeps itself alive until that thread has ended.
class ReceiverSupervisor final : public std::enable_shared_from_this<ReceiverSupervisor> {
public:
    ReceiverSupervisor(std::shared_ptr<ReceiverBase> receiver, int streamId,
                       std::shared_ptr<const SupervisorEnvironment> environment,
                       std::shared_ptr<SupervisorEndpoint> endpoint, std::shared_ptr<ReceiverCounters> counters);

    /// Makes itself known to the receiver, so that its store functions work once it has started.
    /// @throws IllegalStateException  when the receiver belongs to another stream already
    void attach();
    /// Undoes attach() when the receiver is not going to be launched.
    void detach();
    void launch();
    /// Has the receiver stop and not be relaunched. Returns at once.
    void end(const std::string& message);
    /// Requested when the receiver has ended and all its blocks are stored.
    std::stop_token ended() const { return ended_.get_token(); }
    void waitUntilEnded();
    /// Waits for the thread after it has ended; a thread that is stuck in the user's code is left alone for ever.
    void release();

    void requestStop(const std::string& message, std::exception_ptr error);
    void requestRestart(const std::string& message, std::exception_ptr error, std::optional<int> delayMs);
    void reportError(const std::string& message, std::exception_ptr error);
    void storeBlock(BlockPtr block, std::any metadata, std::optional<StreamBlockId> id);
    StreamBlockId nextBlockId(int64_t candidate);
    /// Before the launch: gives no number up to `latest`.
    void numberBlocksAfter(int64_t latest) { lastBlockId_ = latest; }
    void attachGenerator(std::shared_ptr<BlockGeneratorBase> generator);
    const std::string& name() const { return name_; }
    void updateRate(int64_t recordsPerSecond);
    /// Of records stored one by one, per second; -1: none. Not while attach() runs.
    int64_t rateLimit() const;

    bool isStarted() const { return state_ == State::kStarted; }
    bool isStopped() const { return state_ == State::kStopped; }
    BlockGeneratorBase& defaultGenerator() { return *defaultGenerator_; }
    const SupervisorEnvironment& environment() const { return *environment_; }
    ReceiverCounters& counters() { return *counters_; }

private:
    enum class State { kInitialized, kStarted, kStopped };
    struct Request {
        std::string message;
        std::exception_ptr error;
        std::optional<int> delayMs;
    };
    class DefaultGeneratorEvents;

    void run();
    void runGuarded();
    void runOnce();
    void startReceiver();
    void stopReceiver(const Request& why);
    template <class Action>
    void forEachGenerator(Action action);
    bool waitFor(int64_t delayMs, bool forRelaunch);

    std::shared_ptr<ReceiverBase> receiver_;  // let go when the receiver has ended: it keeps this object
    const int streamId_;
    const std::string name_;
    const StorageLevel storageLevel_;
    const std::shared_ptr<const SupervisorEnvironment> environment_;
    const std::shared_ptr<SupervisorEndpoint> endpoint_;
    const std::shared_ptr<ReceiverCounters> counters_;
    std::unique_ptr<BlockGeneratorBase> defaultGenerator_;
    std::atomic<State> state_ = State::kInitialized;
    std::atomic<int64_t> lastBlockId_;
    std::atomic<int64_t> rate_ = 0;  // published last; 0: none
    bool registered_ = false;        // these two: used by the supervisor's thread only
    bool running_ = false;           // onStart was called and onStop not yet

    mutable std::mutex mutex_;  // guards the fields below
    std::condition_variable requested_;
    std::optional<Request> stop_;
    std::optional<Request> restart_;
    bool ending_ = false;
    std::stop_source wake_;
    std::vector<std::shared_ptr<BlockGeneratorBase>> generators_;
    std::jthread thread_;

    std::stop_source ended_;
};

/// The text of an exception; "" for none.
std::string describe(const std::exception_ptr& error);

}  // namespace dstream::detail
