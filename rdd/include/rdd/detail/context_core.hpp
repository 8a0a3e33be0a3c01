#pragma once

#include "rdd/block.hpp"
#include "rdd/call_site.hpp"
#include "rdd/task_context.hpp"

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dstream {

class BlockManager;
class RddBase;
class ShuffleDependency;
class ShuffleManager;
class SparkConf;
class Clock;
class SparkListener;

/// What was done again or moved to disk since the context began.
struct EngineCounters {
    int64_t recomputedPartitions = 0;  // lost cached partitions and lost map outputs that were computed once more
    int64_t spills = 0;                // files written because memory was out
    int64_t spilledBytes = 0;
    int64_t failedTasks = 0;
    int64_t resubmittedStages = 0;  // stage attempts beyond the first, after lost shuffle outputs
};

/// One job as the typed layer asks for it.
struct JobRequest {
    std::shared_ptr<RddBase> rdd;
    std::vector<int> partitions;  // may be empty: nothing runs
    /// Runs in a task, once per attempt; the value of the winning attempt goes to `onResult`.
    std::function<std::shared_ptr<void>(TaskContext&)> task;
    /// Called once per partition in completion order, never two at a time; `index` counts in `partitions`.
    std::function<void(int index, std::shared_ptr<void>)> onResult;
    const char* action = "";
    CallSite callSite;
};

/// A running or ended job.
class JobHandle {
public:
    virtual ~JobHandle() = default;
    /// One id, or several for actions that take several jobs.
    virtual std::vector<int> jobIds() const = 0;
    virtual bool wasCancelled() const = 0;
    /// Waits for the end and throws what made the job fail.
    virtual void wait() = 0;
    virtual bool isDone() const = 0;
    /// Null unless the job has failed.
    virtual std::exception_ptr error() const = 0;
    /// The job fails with SparkException "…cancelled…" unless it has ended.
    virtual void cancel(const std::string& reason) = 0;
    /// Calls `f` once at the end (at once if it has ended), on a thread of the engine.
    virtual void onEnd(std::function<void(std::exception_ptr)> f) = 0;
};

/// The shared object behind SparkContext: everything that does not depend on element types.
class SparkContextCore : public std::enable_shared_from_this<SparkContextCore> {
public:
    virtual ~SparkContextCore() = default;

    /// A pointer that counts as a handle of the application: when the last one goes, the context stops.
    virtual std::shared_ptr<SparkContextCore> handle() = 0;
    virtual const SparkConf& conf() const = 0;
    virtual int newRddId() = 0;
    virtual int newShuffleId() = 0;
    virtual int64_t newId() = 0;  // broadcasts, accumulators
    virtual int defaultParallelism() const = 0;
    virtual std::size_t chunkSize() const = 0;
    virtual BlockManager& blockManager() = 0;
    virtual Clock& clock() = 0;
    /// @throws IllegalStateException when stopped, SparkException inside a task
    virtual void assertUsable(const char* what) const = 0;
    /// @throws SparkException  in a task or a result handler, where waiting for a job would never end
    virtual void assertMayWait(const char* what) const = 0;
    virtual bool isStopped() const = 0;

    /// Starts a job with the calling thread's local properties.
    virtual std::shared_ptr<JobHandle> submitJob(JobRequest request) = 0;
    /// Runs a job to its end, then writes pending RDD checkpoints.
    void runJob(JobRequest request);

    /// The blocks of all map outputs for a reduce partition, in map-partition and run order.
    /// @throws detail::FetchFailed  when one is missing or damaged
    virtual std::vector<BlockPtr> fetchShuffle(const ShuffleDependency& shuffle, int reducePartition,
                                               TaskContext& context) = 0;
    virtual void removeShuffle(int shuffleId) = 0;
    /// Runs `body(split, context)` for every split of a task's partition, on this slot and on idle ones; see SplitPool.
    virtual void runSplits(TaskContext& task, int count, const std::function<void(int, TaskContext&)>& body) = 0;
    /// The directory of setCheckpointDir, or nullopt.
    virtual std::optional<std::string> checkpointDirectory() const = 0;
    virtual EngineCounters counters() const = 0;
    /// Notes a persisted RDD for getPersistentRDDs, and takes it off with its stored partitions.
    virtual void notePersisted(const std::shared_ptr<RddBase>& rdd) = 0;
    virtual void forgetPersisted(int rddId) = 0;
    /// RDDs marked for a checkpoint that is not yet written; while there is one, jobs look for them at their end.
    virtual std::atomic<int>& pendingCheckpoints() = 0;
};

namespace detail {

/// Runs a job to its end and returns what `task` returned for each of the partitions, in their order.
std::vector<std::shared_ptr<void>> runJob(const std::shared_ptr<RddBase>& rdd, std::vector<int> partitions,
                                          const char* action, CallSite callSite,
                                          std::function<std::shared_ptr<void>(TaskContext&)> task);

}  // namespace detail

}  // namespace dstream
