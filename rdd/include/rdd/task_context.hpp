#pragma once

#include "rdd/time.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace dstream {

class Block;
class RddBase;
class SparkContextCore;

/// Thread-local key-value settings that travel with a job to its tasks.
using Properties = std::map<std::string, std::string>;

/// What one task attempt did. Counted by the task's own thread, read after its end.
struct TaskMetrics {
    int64_t runTimeMicros = 0;
    int64_t recordsRead = 0;  // of files
    int64_t bytesRead = 0;
    int64_t recordsWritten = 0;  // to files
    int64_t bytesWritten = 0;
    int64_t shuffleRecordsRead = 0;
    int64_t shuffleBytesRead = 0;  // in memory
    int64_t shuffleRecordsWritten = 0;
    int64_t shuffleBytesWritten = 0;
    int64_t spills = 0;
    int64_t spilledBytes = 0;
    int64_t recomputedPartitions = 0;

    void merge(const TaskMetrics& other);
};

namespace detail {
class AccumulatorBase;

/// Ends a task that was cancelled; no operator wraps it.
struct TaskCancelled {};
}  // namespace detail

/// The task that the calling thread runs: its place in the job, its attempt, and what to do at its end.
/// One object per task attempt; it belongs to the task's thread.
///
///     rdd.foreachPartition([](auto&& part) {
///         int partition = TaskContext::get()->partitionId();
///         …
///     });
class TaskContext {
public:
    /// The calling thread's task, or null outside of tasks.
    static TaskContext* get();
    /// The calling thread's partition, or 0 outside of tasks.
    static int getPartitionId();

    int stageId() const { return stageId_; }
    int stageAttemptNumber() const { return stageAttemptNumber_; }
    int partitionId() const { return partitionId_; }
    int numPartitions() const { return numPartitions_; }
    /// 0 for the first attempt of this partition in this stage attempt.
    int attemptNumber() const { return attemptNumber_; }
    /// Unique within the SparkContext.
    int64_t taskAttemptId() const { return taskAttemptId_; }
    int64_t jobId() const { return jobId_; }
    /// Slots that the task takes: spark.task.cpus.
    int cpus() const { return cpus_; }
    bool isCompleted() const { return completed_; }
    bool isFailed() const { return failed_; }
    /// True when the job was cancelled or another attempt of the task has won.
    bool isInterrupted() const { return interruption_.stop_requested(); }
    /// Requested when isInterrupted() becomes true: for code that waits for something outside of the engine. Callbacks
    /// run on the thread that cancels.
    std::stop_token interruption() const { return interruption_.get_token(); }
    /// Set in tasks of streaming jobs: the time of the batch.
    std::optional<Time> batchTime() const;
    /// A property of the thread that started the job; absent: nullopt.
    std::optional<std::string> getLocalProperty(const std::string& key) const;
    TaskMetrics& taskMetrics() { return metrics_; }

    /// Runs `f` when the task ends, however it ends; last registered first. On a finished task: at once.
    void addTaskCompletionListener(std::function<void(TaskContext&)> f);
    /// Runs `f` when the task fails, before the completion listeners; last registered first. On a failed task: at once.
    void addTaskFailureListener(std::function<void(TaskContext&, std::exception_ptr)> f);

    /// Elements per chunk at the edges between operators.
    std::size_t chunkSize() const { return chunkSize_; }
    /// Lowers the chunk size for the rest of the task, where only a few elements are wanted.
    void limitChunkSize(std::size_t size) { chunkSize_ = std::max<std::size_t>(1, std::min(size, fullChunkSize_)); }
    /// Ends the task here when its job was cancelled. Called once a chunk.
    void checkCancelled() const {
        recordsSoFar_.store(metrics_.recordsRead + metrics_.shuffleRecordsRead, std::memory_order_relaxed);
        if (isInterrupted()) throw detail::TaskCancelled{};
    }
    /// Records read up to the last chunk's beginning. Any thread.
    int64_t recordsSoFar() const { return recordsSoFar_.load(std::memory_order_relaxed); }
    SparkContextCore& core() const { return *core_; }

    /// The property that carries the time of the batch, in ms since the epoch, to the tasks of streaming jobs.
    static constexpr const char* kBatchTimeProperty = "spark.streaming.internal.batchTime";

    TaskContext(SparkContextCore& core, const Properties& properties, std::stop_source interruption = {});
    ~TaskContext();
    TaskContext(const TaskContext&) = delete;
    TaskContext& operator=(const TaskContext&) = delete;

private:
    friend class TaskRunner;
    friend class detail::AccumulatorBase;
    friend class RddBase;

    SparkContextCore* core_;
    const Properties* properties_;
    int stageId_ = 0;
    int stageAttemptNumber_ = 0;
    int partitionId_ = 0;
    int numPartitions_ = 0;
    int attemptNumber_ = 0;
    int64_t taskAttemptId_ = 0;
    int64_t jobId_ = 0;
    int cpus_ = 1;
    std::size_t fullChunkSize_ = 1024;
    std::size_t chunkSize_ = 1024;
    bool completed_ = false;
    bool failed_ = false;
    std::exception_ptr error_;
    std::stop_source interruption_;  // of the whole task, in a part of it
    TaskMetrics metrics_;
    mutable std::atomic<int64_t> recordsSoFar_{0};
    std::vector<std::function<void(TaskContext&)>> completionListeners_;
    std::vector<std::function<void(TaskContext&, std::exception_ptr)>> failureListeners_;
    std::map<int64_t, std::shared_ptr<detail::AccumulatorBase>> accumulators_;
    // Partitions that a deep lineage is computed through, bottom up, so that no recursion runs over all of it.
    std::map<std::pair<int, int>, std::shared_ptr<const Block>> localBlocks_;
};

}  // namespace dstream
