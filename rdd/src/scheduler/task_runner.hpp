#pragma once

#include "rdd/task_context.hpp"

#include <exception>
#include <memory>
#include <vector>

namespace dstream {

/// Where and which attempt a task is.
struct TaskPlace {
    int64_t jobId = 0;
    int stageId = 0;
    int stageAttempt = 0;
    int partition = 0;
    int numPartitions = 0;
    int attempt = 0;
    int64_t taskId = 0;
    int cpus = 1;
};

/// Fills, runs and ends task contexts on behalf of the scheduler.
class TaskRunner {
public:
    static void place(TaskContext& context, const TaskPlace& place, std::size_t chunkSize);
    /// Runs `body` as the calling thread's task, then the listeners of its end. Returns what it failed with, or null.
    template <class Body>
    static std::exception_ptr run(TaskContext& context, Body&& body) {
        const Current current(context);
        try {
            body();
        } catch (...) {
            context.error_ = std::current_exception();
        }
        end(context);
        return context.error_;
    }
    /// A context for a part of a task that may run on another slot.
    static std::unique_ptr<TaskContext> partOf(TaskContext& task);
    /// Runs `body` with a part's context on the calling thread. Returns what it failed with, or null.
    template <class Body>
    static std::exception_ptr runPart(TaskContext& part, Body&& body) {
        const Current current(part);
        try {
            body();
            return nullptr;
        } catch (...) {
            return std::current_exception();
        }
    }
    /// Moves counts, accumulators' updates and listeners of an ended part to its task.
    static void absorb(TaskContext& task, TaskContext& part);
    static void interrupt(TaskContext& context) { context.interruption_.request_stop(); }
    /// Adds what the task added to accumulators to their values.
    static void mergeAccumulators(TaskContext& context);

private:
    struct Current {
        explicit Current(TaskContext& context);
        ~Current();
        TaskContext* before;
    };
    static void end(TaskContext& context);
};

}  // namespace dstream
