#include "rdd/task_context.hpp"

#include "rdd/accumulator.hpp"
#include "rdd/block.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"
#include "scheduler/task_runner.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

namespace dstream {
namespace {

thread_local TaskContext* currentTask = nullptr;

}  // namespace

void TaskMetrics::merge(const TaskMetrics& other) {
    runTimeMicros += other.runTimeMicros;
    recordsRead += other.recordsRead;
    bytesRead += other.bytesRead;
    recordsWritten += other.recordsWritten;
    bytesWritten += other.bytesWritten;
    shuffleRecordsRead += other.shuffleRecordsRead;
    shuffleBytesRead += other.shuffleBytesRead;
    shuffleRecordsWritten += other.shuffleRecordsWritten;
    shuffleBytesWritten += other.shuffleBytesWritten;
    spills += other.spills;
    spilledBytes += other.spilledBytes;
    recomputedPartitions += other.recomputedPartitions;
}

TaskContext::TaskContext(SparkContextCore& core, const Properties& properties, std::stop_source interruption)
    : core_(&core), properties_(&properties), interruption_(std::move(interruption)) {}

TaskContext::~TaskContext() = default;

TaskContext* TaskContext::get() {
    return currentTask;
}

int TaskContext::getPartitionId() {
    return currentTask != nullptr ? currentTask->partitionId_ : 0;
}

std::optional<std::string> TaskContext::getLocalProperty(const std::string& key) const {
    const auto found = properties_->find(key);
    if (found == properties_->end()) return std::nullopt;
    return found->second;
}

std::optional<Time> TaskContext::batchTime() const {
    const auto found = properties_->find(kBatchTimeProperty);
    if (found == properties_->end()) return std::nullopt;
    const std::string& text = found->second;
    int64_t millis = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), millis);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw IllegalStateException(std::string("property ") + kBatchTimeProperty + " should be a time in ms, found '" +
                                    text + "'");
    }
    return Time(millis);
}

void TaskContext::addTaskCompletionListener(std::function<void(TaskContext&)> f) {
    if (completed_) {
        f(*this);
    } else {
        completionListeners_.push_back(std::move(f));
    }
}

void TaskContext::addTaskFailureListener(std::function<void(TaskContext&, std::exception_ptr)> f) {
    if (failed_) {
        f(*this, error_);
    } else if (!completed_) {
        failureListeners_.push_back(std::move(f));
    }
}

TaskRunner::Current::Current(TaskContext& context) : before(std::exchange(currentTask, &context)) {}

TaskRunner::Current::~Current() {
    currentTask = before;
}

void TaskRunner::place(TaskContext& context, const TaskPlace& place, std::size_t chunkSize) {
    context.jobId_ = place.jobId;
    context.stageId_ = place.stageId;
    context.stageAttemptNumber_ = place.stageAttempt;
    context.partitionId_ = place.partition;
    context.numPartitions_ = place.numPartitions;
    context.attemptNumber_ = place.attempt;
    context.taskAttemptId_ = place.taskId;
    context.cpus_ = place.cpus;
    context.fullChunkSize_ = chunkSize;
    context.chunkSize_ = chunkSize;
}

std::unique_ptr<TaskContext> TaskRunner::partOf(TaskContext& task) {
    auto part = std::make_unique<TaskContext>(*task.core_, *task.properties_, task.interruption_);
    place(*part,
          {task.jobId_, task.stageId_, task.stageAttemptNumber_, task.partitionId_, task.numPartitions_,
           task.attemptNumber_, task.taskAttemptId_, task.cpus_},
          task.fullChunkSize_);
    return part;
}

void TaskRunner::absorb(TaskContext& task, TaskContext& part) {
    task.metrics_.merge(part.metrics_);
    for (auto& [id, update] : part.accumulators_) {
        auto [at, isNew] = task.accumulators_.try_emplace(id, update);
        if (!isNew) at->second->mergeUpdates(*update);
    }
    std::move(part.completionListeners_.begin(), part.completionListeners_.end(),
              std::back_inserter(task.completionListeners_));
    std::move(part.failureListeners_.begin(), part.failureListeners_.end(), std::back_inserter(task.failureListeners_));
}

void TaskRunner::end(TaskContext& context) {
    // A listener that throws fails the task, unless it has failed already; the others run all the same.
    const auto callAll = [&](auto& listeners, auto&&... arguments) {
        while (!listeners.empty()) {
            auto listener = std::move(listeners.back());
            listeners.pop_back();
            try {
                listener(context, arguments...);
            } catch (...) {
                if (context.error_) {
                    logMessage(
                        LogLevel::kError, "task",
                        "a listener of a failed task failed too: " + describeException(std::current_exception()));
                } else {
                    context.error_ = std::current_exception();
                }
            }
        }
    };
    if (context.error_) {
        context.failed_ = true;
        callAll(context.failureListeners_, context.error_);
    }
    context.completed_ = true;
    const bool failedBefore = context.failed_;
    callAll(context.completionListeners_);
    if (context.error_ && !failedBefore) {
        context.failed_ = true;
        callAll(context.failureListeners_, context.error_);
    }
    context.failureListeners_.clear();
    context.localBlocks_.clear();
}

void TaskRunner::mergeAccumulators(TaskContext& context) {
    for (auto& [id, update] : context.accumulators_) update->mergeIntoOrigin();
    context.accumulators_.clear();
}

}  // namespace dstream
