#pragma once

#include "rdd/clock.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/listener_bus.hpp"
#include "rdd/spark_listener.hpp"
#include "scheduler/executor.hpp"
#include "scheduler/fair_pools.hpp"
#include "scheduler/split_pool.hpp"
#include "scheduler/stage.hpp"
#include "scheduler/stage_plan.hpp"
#include "scheduler/status_store.hpp"
#include "scheduler/strand.hpp"
#include "scheduler/task_queue.hpp"
#include "shuffle/shuffle_manager.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace dstream {

/// When a slow task gets a second copy; see spark.speculation.
struct SpeculationOptions {
    bool enabled = false;
    int64_t intervalMs = 100;
    double multiplier = 1.5;
    double quantile = 0.75;
    int64_t minRuntimeMs = 100;
    std::optional<int64_t> thresholdMs;  // for stages with no more tasks than slots
    bool byRate = true;                  // a slow task must be slow by its records too, see the next two
    double rateMultiplier = 0.75;
    double longRunFactor = 2.0;
};

struct SchedulerOptions {
    int slots = 1;
    int cpusPerTask = 1;  // only told to tasks: the slots are for tasks
    int maxTaskFailures = 1;
    int maxStageAttempts = 4;
    bool fair = false;
    std::vector<PoolSettings> pools;
    std::string executor = "threads";
    std::optional<uint64_t> seed;  // for tests: one slot, which takes ready tasks in an order that depends on it
    SpeculationOptions speculation;
};

/// One job, from its submission to its end.
class Job final : public JobHandle, public std::enable_shared_from_this<Job> {
public:
    std::vector<int> jobIds() const override { return {id}; }
    bool wasCancelled() const override;
    void wait() override;
    bool isDone() const override;
    std::exception_ptr error() const override;
    void cancel(const std::string& reason) override;
    void onEnd(std::function<void(std::exception_ptr)> f) override;

    int id = 0;
    std::weak_ptr<class Scheduler> scheduler;
    std::string group;
    std::shared_ptr<const Properties> properties;

private:
    friend class Scheduler;

    /// Tells everybody who waits. In the strand, after all else.
    void finish(std::exception_ptr error, bool cancelled);

    // Belong to the strand, and go at the end.
    JobRequest request_;
    std::shared_ptr<const std::function<std::shared_ptr<void>(TaskContext&)>> action_;
    std::vector<std::shared_ptr<Stage>> stages_;
    std::vector<bool> done_;
    std::size_t remaining_ = 0;
    int draining_ = 0;  // task sets whose last tasks are still ending
    std::exception_ptr failure_;
    bool cancelled_ = false;
    bool failing_ = false;

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable endedOrNot_;
    bool ended_ = false;
    bool wasCancelled_ = false;
    std::exception_ptr error_;
    std::vector<std::function<void(std::exception_ptr)>> callbacks_;
};

/// Turns jobs into stages and stages into tasks, and sees them through failures. All of its state belongs to a strand
/// that whoever brings news drains: no thread of its own, and users' callbacks run without a lock.
class Scheduler : public std::enable_shared_from_this<Scheduler> {
public:
    Scheduler(SparkContextCore& core, ShuffleManager& shuffles, StatusStore& status, ListenerBus<SparkListener>& bus,
              SchedulerOptions options);
    ~Scheduler();

    std::shared_ptr<JobHandle> submit(JobRequest request, std::shared_ptr<const Properties> properties);
    /// Runs a job to its end and throws what made it fail. The calling thread, which would only wait, runs its tasks
    /// in the place of a slot that sleeps, and begins alone with stages that were tiny the last time: waking another
    /// thread costs more than they do.
    void run(JobRequest request, std::shared_ptr<const Properties> properties);
    void cancelJob(int jobId, const std::string& reason);
    void cancelGroup(const std::string& group);
    void cancelStage(int stageId, const std::string& reason);
    void cancelAll(const std::string& reason);
    /// Refuses new jobs, cancels the others, waits for their ends and joins the slots. False when a task has not ended
    /// after `patience`; then call it again before this object goes.
    bool stop(std::chrono::milliseconds patience);
    /// Runs the splits of a task's partition, with the help of idle slots.
    void runSplits(TaskContext& task, int count, const SplitPool::Body& body) {
        // A slot that wakes others is taken to run one piece itself; this one runs a split that is not counted here.
        splits_.run(task, count, body, [this](int pieces) { executor_->wake(pieces + 1); });
    }
    /// True in a task and in a callback of a job: here waiting for a job would wait for ever.
    bool onEngineThread() const { return strand_.isCurrent() || executor_->onSlot(); }
    void setListening(bool listening) { listening_.store(listening); }

    int64_t failedTasks() const { return failedTasks_.load(); }
    int64_t resubmittedStages() const { return resubmittedStages_.load(); }

private:
    struct Guest;
    using JobPtr = std::shared_ptr<Job>;
    using StagePtr = std::shared_ptr<Stage>;
    /// What the stages of the same line of the program have in common, from job to job.
    using StageOrigin = std::tuple<const char*, unsigned, const char*, bool, int>;
    using SetPtr = std::shared_ptr<TaskSet>;
    using RunPtr = std::shared_ptr<TaskRun>;

    // On a slot.
    bool runNext(Guest* guest = nullptr);
    void execute(TaskRun& run);

    std::shared_ptr<Job> makeJob(JobRequest request, std::shared_ptr<const Properties> properties);
    void submit(const std::shared_ptr<Job>& job);

    // In the strand.
    void start(const JobPtr& job, std::vector<StagePlan> plan);
    StagePtr makeStage(StagePlan& plan);
    void link(const StagePtr& root, std::vector<StagePlan>& plan);
    void adopt(const JobPtr& job, const StagePtr& stage);
    void submitReady();
    void submitTasks(const StagePtr& stage);
    static StageOrigin originOf(const Stage& stage);
    void noteSize(const Stage& stage);
    void onTaskEnd(const RunPtr& run);
    void onSuccess(TaskRun& run, TaskSet::Task& task);
    void onFailure(const RunPtr& run, TaskSet::Task& task);
    void completeStage(const StagePtr& stage);
    void retryStage(const StagePtr& stage, const std::string& why);
    void succeed(JobPtr job);
    void fail(std::vector<JobPtr> jobs, std::exception_ptr error, bool cancelled = false);
    void cancelJobs(const std::function<bool(const Job&)>& which,
                    const std::function<std::string(const Job&)>& message);
    void dropStage(const StagePtr& stage);
    void speculate();
    void reportRunning() const;
    void end(JobPtr job);

    template <class Event>
    void post(Event event) {
        if (listening_.load(std::memory_order_relaxed)) bus_.post(std::move(event));
    }
    int64_t now() const { return core_.clock().getTimeMillis(); }

    SparkContextCore& core_;
    ShuffleManager& shuffles_;
    StatusStore& status_;
    ListenerBus<SparkListener>& bus_;
    const SchedulerOptions options_;
    std::atomic<bool> listening_{false};
    std::atomic<int> nextJobId_{0};
    std::atomic<int64_t> nextTaskId_{0};
    std::atomic<int64_t> failedTasks_{0};
    std::atomic<int64_t> resubmittedStages_{0};

    TaskQueue queue_;
    SplitPool splits_;
    Strand strand_;

    // Belong to the strand.
    int nextStageId_ = 0;
    bool refusing_ = false;
    std::map<int, JobPtr> jobs_;
    std::map<int, StagePtr> shuffleStages_;  // not complete, by shuffle
    std::deque<StagePtr> ready_;             // wait for nothing, to be submitted
    std::set<StageOrigin> tiny_;             // of stages that took no time worth another thread

    std::mutex idleMutex_;  // guards activeJobs_
    std::condition_variable idle_;
    int activeJobs_ = 0;

    // Last: their threads use all of the above.
    std::unique_ptr<Executor> executor_;
    std::jthread speculator_;
};

}  // namespace dstream
