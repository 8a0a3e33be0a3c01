#pragma once

#include "rdd/task_context.hpp"
#include "scheduler/fair_pools.hpp"

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

class Job;
class MapOutput;
struct Stage;
struct TaskSet;

/// One attempt of one task, from its launch until the scheduler has seen its end.
struct TaskRun {
    TaskRun(SparkContextCore& core, std::shared_ptr<TaskSet> set);

    const std::shared_ptr<TaskSet> set;
    int index = 0;  // of the task in its set
    int attempt = 0;
    bool speculative = false;
    int64_t taskId = 0;
    int64_t launchTime = 0;  // epoch ms
    std::size_t place = 0;   // among its set's running ones; guarded by the queue's mutex
    TaskContext context;
    // How it ended.
    std::exception_ptr error;
    std::shared_ptr<void> result;       // of an action's task
    std::shared_ptr<MapOutput> output;  // of a map task
};

/// One attempt of a stage: the tasks that it still needs.
struct TaskSet {
    struct Task {
        int index = 0;  // what the stage calls it: its partition, for the last stage its place in the job's list
        int partition = 0;
        int failures = 0;
        bool done = false;
    };
    std::shared_ptr<Stage> stage;
    int attempt = 0;
    std::vector<Task> tasks;  // belongs to the strand, but for index and partition, which do not change
    std::shared_ptr<const Properties> properties;
    std::shared_ptr<const std::function<std::shared_ptr<void>(TaskContext&)>> action;  // of the last stage
    int64_t jobId = 0;
    std::string pool;

    // Belong to the strand.
    std::size_t remaining = 0;
    std::vector<int64_t> durations;             // of successful tasks, in ms of the application's clock
    int64_t records = 0;                        // that these have read
    std::string fetchFailure;                   // why shuffle outputs were missing; "" when they were not
    std::vector<std::shared_ptr<Job>> waiters;  // failed jobs that end with the last running task

    // Guarded by the queue's mutex.
    std::size_t poolIndex = 0;  // in the queue's list, when fair
    std::deque<std::size_t> pending;
    std::vector<int> attempts;     // launched so far, by task
    std::vector<bool> speculated;  // has got a second copy, by task
    std::vector<std::shared_ptr<TaskRun>> running;
    bool closed = false;
};

/// Which running tasks are slow.
struct SlowTasks {
    double thresholdMs = 0;   // run longer than this
    double certainMs = 0;     // and either longer than this
    double recordsPerMs = 0;  // or have read less
};

/// The tasks that wait for a slot, in the order they get one: FIFO by job and stage, or FAIR by pools. Thread-safe.
class TaskQueue {
public:
    /// @param pools  those with settings of their own, when fair
    /// @param seed   for tests: takes ready tasks in an order that depends on it
    TaskQueue(bool fair, const std::vector<PoolSettings>& pools, std::optional<uint64_t> seed) : fair_(fair) {
        for (const PoolSettings& settings : pools) pools_.push_back({settings});
        if (seed) random_.emplace(*seed);
    }

    /// Makes tasks of a set ready.
    void add(const std::shared_ptr<TaskSet>& set, const std::vector<std::size_t>& tasks);
    /// The next task as a run, or null: when there is none, or when it is not one of `onlyJob`.
    std::shared_ptr<TaskRun> take(SparkContextCore& core, int64_t nowMs, std::optional<int64_t> onlyJob = {});
    /// How many tasks wait.
    int size() const;
    /// Notes the end of a run; true when its set has no other running.
    bool ended(const TaskRun& run);
    /// Launches no more of the set; true when nothing of it runs.
    bool stopLaunching(TaskSet& set);
    /// The same, and interrupts what runs; what ends later is of no interest.
    bool close(TaskSet& set);
    bool isClosed(const TaskSet& set) const;
    /// True when another run of the same task has not ended.
    bool hasCopy(const TaskRun& run) const;
    /// Makes a second copy ready of every slow task that runs alone; returns how many.
    int speculate(const std::shared_ptr<TaskSet>& set, int64_t nowMs, const SlowTasks& slow);
    /// Interrupts the other runs of a task that one of them has done.
    void interruptOthers(const TaskRun& winner);

private:
    struct Pool {
        PoolSettings settings;
        int running = 0;  // tasks
    };
    /// True when a task of `a` gets the next slot before one of `b`.
    bool isBefore(const TaskSet& a, const TaskSet& b) const;
    static bool isBefore(const Pool& a, const Pool& b);

    const bool fair_;
    mutable std::mutex mutex_;  // guards what follows and the sets' fields named above
    std::optional<std::mt19937_64> random_;
    std::vector<std::shared_ptr<TaskSet>> ready_;  // with tasks pending
    std::vector<Pool> pools_;                      // when fair; only grows
};

}  // namespace dstream
