#pragma once

#include "context/console_progress.hpp"
#include "rdd/block_manager.hpp"
#include "rdd/clock.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/listener_bus.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_listener.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/status_store.hpp"
#include "shuffle/shuffle_manager.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace dstream {

/// What spark.master asks for.
struct Master {
    int slots = 1;
    int maxTaskFailures = 1;
};

/// @throws SparkException  for an unknown form or numbers that are not positive
Master parseMaster(const std::string& text);

/// The calling thread's properties; never null.
std::shared_ptr<const Properties> localProperties();
void setLocalProperties(std::shared_ptr<const Properties> properties);

/// The engine of one application.
class Context final : public SparkContextCore {
public:
    /// Makes the process's active context and returns a handle of it.
    static std::shared_ptr<SparkContextCore> start(const SparkConf& conf);
    /// A handle of the active context, or null.
    static std::shared_ptr<SparkContextCore> active();
    static Context& of(const std::shared_ptr<SparkContextCore>& core) { return static_cast<Context&>(*core); }

    explicit Context(SparkConf conf);
    ~Context() override;

    std::shared_ptr<SparkContextCore> handle() override;
    const SparkConf& conf() const override { return conf_; }
    int newRddId() override { return nextRddId_++; }
    int newShuffleId() override { return nextShuffleId_++; }
    int64_t newId() override { return nextId_++; }
    int defaultParallelism() const override { return defaultParallelism_; }
    std::size_t chunkSize() const override { return chunkSize_; }
    BlockManager& blockManager() override { return blocks_; }
    Clock& clock() override { return *clock_; }
    void assertUsable(const char* what) const override;
    void assertMayWait(const char* what) const override;
    bool isStopped() const override { return stopped_.load(); }
    std::shared_ptr<JobHandle> submitJob(JobRequest request) override;
    std::vector<BlockPtr> fetchShuffle(const ShuffleDependency& shuffle, int reducePartition,
                                       TaskContext& context) override;
    void runSplits(TaskContext& task, int count, const std::function<void(int, TaskContext&)>& body) override {
        scheduler_->runSplits(task, count, body);
    }
    void removeShuffle(int shuffleId) override { shuffles_.remove(shuffleId); }
    std::optional<std::string> checkpointDirectory() const override;
    EngineCounters counters() const override;
    void notePersisted(const std::shared_ptr<RddBase>& rdd) override;
    void forgetPersisted(int rddId) override;
    std::atomic<int>& pendingCheckpoints() override { return pendingCheckpoints_; }

    void setCheckpointDirectory(const std::string& directory);
    void addFile(const std::string& path, bool recursive);
    std::vector<std::string> files() const;
    std::map<int, std::shared_ptr<RddBase>> persisted() const;
    void addListener(std::shared_ptr<SparkListener> listener);
    void removeListener(const std::shared_ptr<SparkListener>& listener);
    ListenerBus<SparkListener>& bus() { return bus_; }
    Scheduler& scheduler() { return *scheduler_; }
    ShuffleManager& shuffles() { return shuffles_; }
    const StatusStore& status() const { return status_; }
    const std::string& applicationId() const { return applicationId_; }
    int64_t startTime() const { return startTime_; }

    /// @throws SparkException  on one of the engine's own threads
    void stop();

private:
    struct Handle;

    const SparkConf conf_;
    const Master master_;
    const std::size_t chunkSize_;
    const int defaultParallelism_;
    const std::chrono::milliseconds stopTimeout_;
    const std::shared_ptr<Clock> clock_;
    const int64_t startTime_;
    const std::string applicationId_;
    std::atomic<int> nextRddId_{0};
    std::atomic<int> nextShuffleId_{0};
    std::atomic<int64_t> nextId_{0};
    std::atomic<int> pendingCheckpoints_{0};
    std::atomic<bool> stopped_{false};

    mutable std::mutex mutex_;  // guards what follows
    std::weak_ptr<Handle> handle_;
    std::optional<std::string> checkpointDirectory_;
    std::vector<std::string> files_;
    std::map<int, std::weak_ptr<RddBase>> persisted_;

    BlockManager blocks_;
    ShuffleManager shuffles_;
    StatusStore status_;
    ListenerBus<SparkListener> bus_;
    std::shared_ptr<Scheduler> scheduler_;
    std::optional<ConsoleProgress> progress_;
};

}  // namespace dstream
