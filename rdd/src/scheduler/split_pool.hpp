#pragma once

#include "rdd/task_context.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace dstream {

/// Lets idle slots take over splits of tasks that run on others. A task works through its own splits and waits only for
/// those that a helper has begun. Thread-safe.
class SplitPool {
public:
    using Body = std::function<void(int split, TaskContext& context)>;

    /// Runs `body` for every split, each with a context of its own whose counts and accumulators go to the task's in
    /// split order. `wakeSlots(n)` tells idle slots. Throws the error of the first split, by order, that failed.
    void run(TaskContext& task, int count, const Body& body, const std::function<void(int)>& wakeSlots);
    /// Runs one split of any task; false when there is none. Called by idle slots.
    bool help();

private:
    struct Work {
        const Body* body;
        std::vector<std::unique_ptr<TaskContext>> contexts;
        std::vector<std::exception_ptr> errors;
        std::size_t next = 0;     // the first split nobody has begun
        std::size_t running = 0;  // begun and not ended
        std::condition_variable ended;
    };
    /// Runs the next split of `work`, whose lock the caller holds and gets back.
    static void runNext(Work& work, std::unique_lock<std::mutex>& lock);

    std::mutex mutex_;                        // guards open_ and all works' counters
    std::deque<std::shared_ptr<Work>> open_;  // with splits nobody has begun
};

}  // namespace dstream
