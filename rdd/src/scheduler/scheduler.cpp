#include "scheduler/scheduler.hpp"

#include "rdd/block_manager.hpp"
#include "rdd/detail/stage.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"
#include "scheduler/task_runner.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

namespace dstream {
namespace {

std::string property(const Properties& properties, const char* key, const char* otherwise = "") {
    const auto found = properties.find(key);
    return found == properties.end() ? otherwise : found->second;
}

/// What a task failed with, in one line.
std::string whatOf(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& known) {
        return known.what();
    } catch (const detail::TaskCancelled&) {
        return "the task was cancelled";
    } catch (const detail::FetchFailed& failed) {
        return failed.why;
    } catch (...) {
        return "unknown exception";
    }
}

/// A SparkException with `cause` nested, unless that is null.
std::exception_ptr makeError(const std::string& message, const std::exception_ptr& cause = nullptr) {
    if (!cause) return std::make_exception_ptr(SparkException(message));
    try {
        try {
            std::rethrow_exception(cause);
        } catch (...) {
            std::throw_with_nested(SparkException(message));
        }
    } catch (...) {
        return std::current_exception();
    }
}

bool isA(const std::exception_ptr& error, detail::FetchFailed* failed) {
    try {
        std::rethrow_exception(error);
    } catch (const detail::FetchFailed& found) {
        *failed = found;
        return true;
    } catch (...) {
        return false;
    }
}

TaskInfo infoOf(const TaskRun& run) {
    TaskInfo info;
    info.taskId = run.taskId;
    info.index = run.context.partitionId();
    info.attemptNumber = run.attempt;
    info.speculative = run.speculative;
    info.launchTime = run.launchTime;
    return info;
}

}  // namespace

// ---- Job

bool Job::wasCancelled() const {
    const std::lock_guard lock(mutex_);
    return wasCancelled_;
}

void Job::wait() {
    if (const auto owner = scheduler.lock(); owner && !isDone() && owner->onEngineThread()) {
        throw SparkException("job " + std::to_string(id) +
                             " cannot be waited for in a task or in a result handler: the wait would never end");
    }
    std::unique_lock lock(mutex_);
    endedOrNot_.wait(lock, [this] { return ended_; });
    if (error_) std::rethrow_exception(error_);
}

bool Job::isDone() const {
    const std::lock_guard lock(mutex_);
    return ended_;
}

std::exception_ptr Job::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

void Job::cancel(const std::string& reason) {
    if (const auto owner = scheduler.lock()) owner->cancelJob(id, reason);
}

void Job::onEnd(std::function<void(std::exception_ptr)> f) {
    {
        const std::lock_guard lock(mutex_);
        if (!ended_) {
            callbacks_.push_back(std::move(f));
            return;
        }
    }
    f(error_);
}

void Job::finish(std::exception_ptr error, bool cancelled) {
    std::vector<std::function<void(std::exception_ptr)>> callbacks;
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        error_ = std::move(error);
        wasCancelled_ = cancelled;
        callbacks.swap(callbacks_);
    }
    endedOrNot_.notify_all();
    for (const auto& callback : callbacks) {
        try {
            callback(error_);
        } catch (...) {
            logMessage(LogLevel::kError, "scheduler",
                       "a callback at the end of job " + std::to_string(id) +
                           " failed: " + describeException(std::current_exception()));
        }
    }
}

// ---- a thread that runs its own job

namespace {

/// What tasks may take together until another thread, which has to wake up and to fall asleep again, is worth it.
constexpr std::chrono::microseconds kTiny{100};
constexpr std::size_t kOriginsKept = 1000;

}  // namespace

/// The calling thread in the place of a slot, for one job.
struct Scheduler::Guest {
    Guest(Scheduler& scheduler_, const Job& job_) : scheduler(scheduler_), job(job_) { current = this; }
    ~Guest() {
        current = nullptr;
        scheduler.executor_->giveBack();
        if (const int others = scheduler.queue_.size(); others > 0) scheduler.executor_->wake(others);
    }

    /// Wakes slots for the tasks of a stage; for those of a tiny one only when it turns out not to be.
    void wakeOthers(int pieces, bool tiny) {
        if (!std::exchange(takesNext, true)) --pieces;
        if (pieces == 0) return;
        if (tiny) {
            heldBack = pieces;
            since = std::chrono::steady_clock::now();
            scheduler.executor_->wakeLater(pieces);
        } else {
            scheduler.executor_->wake(pieces);
        }
    }
    void ranTask() {
        takesNext = false;
        if (heldBack > 0 && std::chrono::steady_clock::now() - since > kTiny)
            scheduler.executor_->wake(std::exchange(heldBack, 0));
    }

    Scheduler& scheduler;
    const Job& job;
    bool takesNext = false;  // one of the tasks that are ready
    int heldBack = 0;        // tasks that nobody was woken for
    std::chrono::steady_clock::time_point since;

    static thread_local Guest* current;
};

thread_local Scheduler::Guest* Scheduler::Guest::current = nullptr;

Scheduler::StageOrigin Scheduler::originOf(const Stage& stage) {
    const CallSite& site = stage.shuffle ? stage.rdd->callSite() : stage.job->request_.callSite;
    return {site.file, site.line, site.function, stage.shuffle != nullptr, stage.numTasks};
}

/// Remembers of a stage that is done whether another thread was worth waking for it.
void Scheduler::noteSize(const Stage& stage) {
    const TaskMetrics& metrics = stage.info.metrics;
    const bool hasRecords = metrics.recordsRead + metrics.shuffleRecordsRead + metrics.shuffleRecordsWritten > 0;
    if (hasRecords && metrics.runTimeMicros < kTiny.count()) {
        if (tiny_.size() < kOriginsKept) tiny_.insert(originOf(stage));
    } else if (!tiny_.empty()) {
        tiny_.erase(originOf(stage));
    }
}

// ---- from outside

Scheduler::Scheduler(SparkContextCore& core, ShuffleManager& shuffles, StatusStore& status,
                     ListenerBus<SparkListener>& bus, SchedulerOptions options)
    : core_(core),
      shuffles_(shuffles),
      status_(status),
      bus_(bus),
      options_(std::move(options)),
      queue_(options_.fair, options_.pools, options_.seed),
      executor_(makeExecutor(options_.executor, options_.seed ? 1 : options_.slots, [this] { return runNext(); })) {
    if (!options_.speculation.enabled) return;
    speculator_ = std::jthread([this](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            core_.clock().waitTillTime(now() + options_.speculation.intervalMs, stop);
            if (!stop.stop_requested()) strand_.post([this] { speculate(); });
        }
    });
}

Scheduler::~Scheduler() = default;

std::shared_ptr<JobHandle> Scheduler::submit(JobRequest request, std::shared_ptr<const Properties> properties) {
    auto job = makeJob(std::move(request), std::move(properties));
    submit(job);
    return job;
}

void Scheduler::run(JobRequest request, std::shared_ptr<const Properties> properties) {
    const auto alive = shared_from_this();
    const JobPtr job = makeJob(std::move(request), std::move(properties));
    // A copy of a slow task may win, and tests give tasks an order of their own: then the tasks are for the slots.
    if (options_.seed || options_.speculation.enabled || !executor_->borrow()) {
        submit(job);
    } else {
        Guest guest(*this, *job);
        submit(job);
        while (runNext(&guest)) {
        }
    }
    job->wait();
}

std::shared_ptr<Job> Scheduler::makeJob(JobRequest request, std::shared_ptr<const Properties> properties) {
    const int count = request.rdd->numPartitions();
    for (const int partition : request.partitions) {
        require(partition >= 0 && partition < count, "partition " + std::to_string(partition) + " of " +
                                                         request.rdd->toString() + " does not exist; it has " +
                                                         std::to_string(count) + " partitions");
    }
    auto job = std::make_shared<Job>();
    job->id = nextJobId_++;
    job->scheduler = weak_from_this();
    job->group = property(*properties, "spark.jobGroup.id");
    job->properties = std::move(properties);
    job->action_ = std::make_shared<const std::function<std::shared_ptr<void>(TaskContext&)>>(std::move(request.task));
    job->done_.resize(request.partitions.size());
    job->remaining_ = request.partitions.size();
    job->request_ = std::move(request);
    return job;
}

void Scheduler::submit(const std::shared_ptr<Job>& job) {
    std::vector<StagePlan> plan;
    if (job->remaining_ > 0) plan = planStages(job->request_.rdd, nullptr, core_.blockManager(), shuffles_);
    {
        const std::lock_guard lock(idleMutex_);
        ++activeJobs_;
    }
    strand_.post([this, job, plan = std::move(plan)]() mutable {
        start(job, std::move(plan));
        submitReady();
    });
}

void Scheduler::cancelJobs(const std::function<bool(const Job&)>& which,
                           const std::function<std::string(const Job&)>& message) {
    std::vector<JobPtr> found;
    for (const auto& [id, job] : jobs_) {
        if (which(*job)) found.push_back(job);
    }
    for (const JobPtr& job : found) fail({job}, makeError(message(*job)), true);
}

void Scheduler::cancelJob(int jobId, const std::string& reason) {
    strand_.post([this, jobId, reason] {
        cancelJobs([&](const Job& job) { return job.id == jobId; },
                   [&](const Job& job) {
                       return "Job " + std::to_string(job.id) + " cancelled" + (reason.empty() ? "" : ": " + reason);
                   });
    });
}

void Scheduler::cancelGroup(const std::string& group) {
    strand_.post([this, group] {
        cancelJobs([&](const Job& job) { return job.group == group; },
                   [&](const Job& job) {
                       return "Job " + std::to_string(job.id) + " cancelled as part of job group " + group;
                   });
    });
}

void Scheduler::cancelAll(const std::string& reason) {
    strand_.post([this, reason] {
        cancelJobs([](const Job&) { return true; },
                   [&](const Job& job) { return "Job " + std::to_string(job.id) + " cancelled: " + reason; });
    });
}

void Scheduler::cancelStage(int stageId, const std::string& reason) {
    strand_.post([this, stageId, reason] {
        cancelJobs(
            [&](const Job& job) {
                return std::ranges::any_of(
                    job.stages_, [&](const StagePtr& stage) { return stage->id == stageId && !stage->complete; });
            },
            [&](const Job& job) {
                return "Job " + std::to_string(job.id) + " cancelled because its stage " + std::to_string(stageId) +
                       " was cancelled" + (reason.empty() ? "" : ": " + reason);
            });
    });
}

bool Scheduler::stop(std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    strand_.post([this] { refusing_ = true; });
    cancelAll("the SparkContext was stopped");
    {
        std::unique_lock lock(idleMutex_);
        idle_.wait_until(lock, deadline, [this] { return activeJobs_ == 0; });
    }
    speculator_ = {};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (executor_->stop(std::max(left, std::chrono::milliseconds(0)))) return true;
    strand_.post([this] { reportRunning(); });
    return false;
}

// ---- tasks

bool Scheduler::runNext(Guest* guest) {
    RunPtr run = queue_.take(core_, now(), guest ? std::optional<int64_t>(guest->job.id) : std::nullopt);
    if (!run) return !guest && splits_.help();
    execute(*run);
    if (guest) guest->ranTask();
    strand_.post([this, run = std::move(run)]() mutable {
        onTaskEnd(run);
        submitReady();
    });
    return true;
}

void Scheduler::execute(TaskRun& run) {
    const TaskSet& set = *run.set;
    const Stage& stage = *set.stage;
    run.taskId = nextTaskId_++;
    const int partition = set.tasks[static_cast<std::size_t>(run.index)].partition;
    TaskRunner::place(
        run.context,
        {set.jobId, stage.id, set.attempt, partition, stage.numTasks, run.attempt, run.taskId, options_.cpusPerTask},
        core_.chunkSize());
    status_.taskStarted(stage.id);
    post([stageId = stage.id, attempt = set.attempt, info = infoOf(run)](SparkListener& listener) {
        listener.onTaskStart({stageId, attempt, info});
    });
    const auto begin = std::chrono::steady_clock::now();
    run.error = TaskRunner::run(run.context, [&] {
        run.context.checkCancelled();
        stage.rdd->prepareLongLineage(partition, run.context);
        if (stage.shuffle) {
            run.output = shuffles_.makeOutput();
            const auto sink = shuffles_.makeSink(*stage.shuffle, run.output, run.context);
            stage.shuffle->writeMap(partition, run.context, *sink);
        } else {
            run.result = (*set.action)(run.context);
        }
    });
    if (run.error) {
        run.output = nullptr;
        run.result = nullptr;
    }
    run.context.taskMetrics().runTimeMicros =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
}

// ---- the strand

void Scheduler::start(const JobPtr& job, std::vector<StagePlan> plan) {
    jobs_[job->id] = job;
    if (refusing_) {
        fail({job}, makeError("Job " + std::to_string(job->id) + " cancelled: the SparkContext was stopped"), true);
        return;
    }
    StagePtr last;
    if (!plan.empty()) {
        last = makeStage(plan[0]);
        last->job = job;
        last->info.name = std::string(job->request_.action) + " at " + job->request_.callSite.toString();
        adopt(job, last);
        link(last, plan);
    }
    JobStatus status;
    status.jobId = job->id;
    status.group = job->group;
    for (const StagePtr& stage : job->stages_) status.stageIds.push_back(stage->id);
    status_.jobStarted(std::move(status));
    if (listening_.load(std::memory_order_relaxed)) {
        SparkListenerJobStart event{job->id, now(), {}, *job->properties};
        for (const StagePtr& stage : job->stages_) event.stageInfos.push_back(stage->info);
        bus_.post([event = std::move(event)](SparkListener& listener) { listener.onJobStart(event); });
    }
    if (!last) succeed(job);
}

Scheduler::StagePtr Scheduler::makeStage(StagePlan& plan) {
    auto stage = std::make_shared<Stage>();
    stage->id = nextStageId_++;
    stage->rdd = plan.rdd;
    stage->shuffle = plan.shuffle;
    stage->numTasks = plan.numTasks;
    stage->lineage = std::move(plan.lineage);
    stage->info.stageId = stage->id;
    stage->info.name = plan.rdd->scopeText();
    stage->info.numTasks = plan.numTasks;
    return stage;
}

/// Finds or makes the stages that `root` waits for, plan[0] being its own, and queues those that wait for nothing.
void Scheduler::link(const StagePtr& root, std::vector<StagePlan>& plan) {
    // Only what a new stage waits for: the parents of a live or a complete one, lost meanwhile, would be nobody's
    // stages.
    std::vector<StagePtr> stages(plan.size());
    std::vector<bool> looked(plan.size());
    std::vector<std::size_t> fresh{0};
    stages[0] = root;
    looked[0] = true;
    for (std::size_t next = 0; next < fresh.size(); ++next) {
        const StagePtr stage = stages[fresh[next]];
        for (const std::size_t parent : plan[fresh[next]].parents) {
            if (!looked[parent]) {
                looked[parent] = true;
                const int shuffleId = plan[parent].shuffle->shuffleId();
                if (const auto live = shuffleStages_.find(shuffleId); live != shuffleStages_.end()) {
                    stages[parent] = live->second;
                } else if (!shuffles_.isComplete(shuffleId, plan[parent].numTasks)) {
                    stages[parent] = makeStage(plan[parent]);
                    shuffleStages_[shuffleId] = stages[parent];
                    fresh.push_back(parent);
                }
            }
            if (!stages[parent]) continue;
            stage->waitingFor.insert(stages[parent]);
            stages[parent]->children.push_back(stage);
        }
        if (stage->waitingFor.empty()) ready_.push_back(stage);
    }
    for (const JobPtr& job : std::vector(root->jobs)) adopt(job, root);
}

/// Makes a job need a stage and all that the stage waits for.
void Scheduler::adopt(const JobPtr& job, const StagePtr& stage) {
    std::vector<StagePtr> open{stage};
    std::set<StagePtr> seen{stage};
    while (!open.empty()) {
        const StagePtr current = std::move(open.back());
        open.pop_back();
        if (std::ranges::find(current->jobs, job) == current->jobs.end()) {
            current->jobs.push_back(job);
            job->stages_.push_back(current);
        }
        for (const StagePtr& parent : current->waitingFor) {
            if (seen.insert(parent).second) open.push_back(parent);
        }
    }
}

void Scheduler::submitReady() {
    while (!ready_.empty()) {
        const StagePtr stage = std::move(ready_.front());
        ready_.pop_front();
        if (!stage->jobs.empty()) submitTasks(stage);
    }
}

void Scheduler::submitTasks(const StagePtr& stage) {
    auto set = std::make_shared<TaskSet>();
    if (stage->shuffle) {
        for (const int map : shuffles_.missing(stage->shuffle->shuffleId(), stage->numTasks))
            set->tasks.push_back({map, map});
    } else {
        const Job& job = *stage->job;
        for (std::size_t i = 0; i < job.done_.size(); ++i) {
            if (!job.done_[i]) set->tasks.push_back({static_cast<int>(i), job.request_.partitions[i]});
        }
        set->action = job.action_;
    }
    const Job& first = *stage->jobs.front();
    set->stage = stage;
    set->attempt = stage->attempts++;
    set->properties = first.properties;
    set->jobId = first.id;
    if (options_.fair) set->pool = property(*first.properties, "spark.scheduler.pool", "default");
    set->remaining = set->tasks.size();
    stage->running = set;
    stage->info.attemptNumber = set->attempt;
    stage->info.numTasks = static_cast<int>(set->tasks.size());
    stage->info.submissionTime = now();
    stage->info.completionTime = 0;
    stage->info.failureReason.reset();
    status_.stageStarted({stage->id, set->attempt, stage->info.name, stage->info.numTasks});
    post([info = stage->info, properties = set->properties](SparkListener& listener) {
        listener.onStageSubmitted({info, *properties});
    });
    if (set->tasks.empty()) {
        completeStage(stage);
        return;
    }
    std::vector<std::size_t> all(set->tasks.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    queue_.add(set, all);
    const auto pieces = static_cast<int>(std::min(all.size(), static_cast<std::size_t>(options_.slots) + 1));
    if (Guest* const guest = Guest::current; guest != nullptr && guest->job.id == set->jobId) {
        guest->wakeOthers(pieces, tiny_.contains(originOf(*stage)));
    } else {
        executor_->wake(pieces);
    }
}

void Scheduler::onTaskEnd(const RunPtr& run) {
    const SetPtr& set = run->set;
    TaskSet::Task& task = set->tasks[static_cast<std::size_t>(run->index)];
    const bool closed = queue_.isClosed(*set);
    const bool last = queue_.ended(*run);
    const StagePtr stage = set->stage;
    status_.taskEnded(stage->id, !run->error);
    if (listening_.load(std::memory_order_relaxed)) {
        SparkListenerTaskEnd event{stage->id, set->attempt, infoOf(*run), {}, run->context.taskMetrics()};
        event.taskInfo.finishTime = now();
        event.taskInfo.successful = !run->error;
        event.taskInfo.killed = run->error && run->context.isInterrupted();
        if (run->error) event.failureReason = whatOf(run->error);
        bus_.post([event = std::move(event)](SparkListener& listener) { listener.onTaskEnd(event); });
    }
    if (closed) {
        if (last) {
            for (const JobPtr& job : std::exchange(set->waiters, {})) {
                if (--job->draining_ == 0) end(job);
            }
        }
        return;
    }
    if (!task.done) {
        if (run->error) {
            onFailure(run, task);
        } else {
            onSuccess(*run, task);
        }
    }
    // Asked anew whether a task runs: a slot may have taken one after this task had ended and before launching stopped.
    if (!set->fetchFailure.empty() && stage->running == set && !queue_.isClosed(*set) && queue_.stopLaunching(*set))
        retryStage(stage, set->fetchFailure);
}

void Scheduler::onSuccess(TaskRun& run, TaskSet::Task& task) {
    TaskSet& set = *run.set;
    const StagePtr stage = set.stage;
    task.done = true;
    --set.remaining;
    if (options_.speculation.enabled) {
        set.durations.push_back(now() - run.launchTime);
        set.records += run.context.taskMetrics().recordsRead + run.context.taskMetrics().shuffleRecordsRead;
    }
    if (task.failures > 0 || run.speculative || run.attempt > 0) queue_.interruptOthers(run);
    try {
        TaskRunner::mergeAccumulators(run.context);
        if (stage->shuffle) {
            if (shuffles_.add(stage->shuffle->shuffleId(), task.index, stage->numTasks, std::move(run.output))) {
                ++run.context.taskMetrics().recomputedPartitions;
            }
        } else {
            Job& job = *stage->job;
            job.done_[static_cast<std::size_t>(task.index)] = true;
            --job.remaining_;
            if (job.request_.onResult) job.request_.onResult(task.index, std::move(run.result));
        }
    } catch (...) {
        const std::exception_ptr error = std::current_exception();
        fail(std::vector(stage->jobs),
             makeError("Job aborted: stage " + std::to_string(stage->id) + " (" + stage->info.name +
                           "), the result of partition " + std::to_string(task.partition) +
                           " could not be taken: " + whatOf(error),
                       error));
        return;
    }
    stage->info.metrics.merge(run.context.taskMetrics());
    if (set.remaining == 0) completeStage(stage);
}

void Scheduler::onFailure(const RunPtr& run, TaskSet::Task& task) {
    TaskSet& set = *run->set;
    const StagePtr stage = set.stage;
    if (run->context.isInterrupted()) return;  // another run of the task has won or is on its way
    ++failedTasks_;
    detail::FetchFailed missing;
    if (isA(run->error, &missing)) {
        if (set.fetchFailure.empty()) set.fetchFailure = missing.why;
        queue_.stopLaunching(set);
        return;
    }
    if (++task.failures < options_.maxTaskFailures) {
        if (!set.fetchFailure.empty()) return;  // comes again with the next attempt of the stage
        if (queue_.hasCopy(*run)) return;       // which may still succeed
        logMessage(LogLevel::kWarn, "scheduler",
                   "stage " + std::to_string(stage->id) + " (" + stage->info.name + "), partition " +
                       std::to_string(task.partition) + " failed and is tried again: " + whatOf(run->error));
        queue_.add(run->set, {static_cast<std::size_t>(run->index)});
        executor_->wake(1);
        return;
    }
    const std::string message = "Job aborted: stage " + std::to_string(stage->id) + " (" + stage->info.name +
                                "), partition " + std::to_string(task.partition) + " failed " +
                                std::to_string(task.failures) + (task.failures == 1 ? " time" : " times") +
                                "; last: " + whatOf(run->error);
    fail(std::vector(stage->jobs), makeError(message, run->error));
}

void Scheduler::completeStage(const StagePtr& stage) {
    if (stage->shuffle && !shuffles_.isComplete(stage->shuffle->shuffleId(), stage->numTasks)) {
        ready_.push_back(stage);  // an output got lost while others were made
        return;
    }
    stage->complete = true;
    stage->running = nullptr;
    stage->info.completionTime = now();
    noteSize(*stage);
    status_.stageEnded(stage->id);
    post([info = stage->info](SparkListener& listener) { listener.onStageCompleted({info}); });
    if (!stage->shuffle) {
        succeed(stage->job);
        return;
    }
    shuffleStages_.erase(stage->shuffle->shuffleId());
    for (const auto& weak : std::exchange(stage->children, {})) {
        const StagePtr child = weak.lock();
        if (child && child->waitingFor.erase(stage) > 0 && child->waitingFor.empty()) ready_.push_back(child);
    }
}

void Scheduler::retryStage(const StagePtr& stage, const std::string& why) {
    stage->running = nullptr;
    stage->info.completionTime = now();
    stage->info.failureReason = why;
    status_.stageEnded(stage->id);
    post([info = stage->info](SparkListener& listener) { listener.onStageCompleted({info}); });
    if (++stage->failedAttempts >= options_.maxStageAttempts) {
        fail(std::vector(stage->jobs),
             makeError("Job aborted: stage " + std::to_string(stage->id) + " (" + stage->info.name +
                       ") lost its input " + std::to_string(stage->failedAttempts) + " times in a row; last: " + why));
        return;
    }
    ++resubmittedStages_;
    logMessage(LogLevel::kWarn, "scheduler",
               "stage " + std::to_string(stage->id) + " (" + stage->info.name + ") is run again: " + why);
    try {
        std::vector<StagePlan> plan = planStages(stage->rdd, stage->shuffle, core_.blockManager(), shuffles_);
        for (auto& lineage : plan[0].lineage) stage->lineage.push_back(std::move(lineage));
        link(stage, plan);
    } catch (...) {
        const std::exception_ptr error = std::current_exception();
        fail(std::vector(stage->jobs), makeError("Job aborted: stage " + std::to_string(stage->id) + " (" +
                                                     stage->info.name + ") could not be run again: " + whatOf(error),
                                                 error));
    }
}

void Scheduler::succeed(JobPtr job) {
    for (const StagePtr& stage : job->stages_) {
        std::erase(stage->jobs, job);
        if (stage->jobs.empty() && !stage->complete) dropStage(stage);
    }
    end(job);
}

void Scheduler::fail(std::vector<JobPtr> jobs, std::exception_ptr error, bool cancelled) {
    std::erase_if(jobs, [](const JobPtr& job) { return job->failing_; });
    std::vector<StagePtr> orphans;
    for (const JobPtr& job : jobs) {
        job->failing_ = true;
        job->failure_ = error;
        job->cancelled_ = cancelled;
        for (const StagePtr& stage : job->stages_) {
            std::erase(stage->jobs, job);
            if (stage->jobs.empty() && !stage->complete) orphans.push_back(stage);
        }
    }
    for (const StagePtr& stage : orphans) {
        const SetPtr set = stage->running;
        if (set) {
            stage->info.completionTime = now();
            stage->info.failureReason = whatOf(error);
            post([info = stage->info](SparkListener& listener) { listener.onStageCompleted({info}); });
        }
        const bool idle = !set || queue_.close(*set);
        dropStage(stage);
        if (idle) continue;
        // A failed job ends when none of its tasks runs any more: they may use what the caller's stack holds.
        for (const JobPtr& job : jobs) {
            if (std::ranges::find(job->stages_, stage) == job->stages_.end()) continue;
            set->waiters.push_back(job);
            ++job->draining_;
        }
    }
    for (const JobPtr& job : jobs) {
        if (job->draining_ == 0) end(job);
    }
}

/// Forgets a stage that nobody needs any more.
void Scheduler::dropStage(const StagePtr& stage) {
    if (const SetPtr set = std::exchange(stage->running, nullptr)) queue_.close(*set);
    status_.stageEnded(stage->id);
    stage->complete = true;
    stage->waitingFor.clear();
    if (!stage->shuffle) return;
    const auto found = shuffleStages_.find(stage->shuffle->shuffleId());
    if (found != shuffleStages_.end() && found->second == stage) shuffleStages_.erase(found);
}

/// Gives second copies to tasks that run much longer than those of their stage that are done.
void Scheduler::speculate() {
    const SpeculationOptions& options = options_.speculation;
    std::set<SetPtr> running;
    for (const auto& [id, job] : jobs_) {
        for (const StagePtr& stage : job->stages_) {
            if (stage->running && stage->running->fetchFailure.empty()) running.insert(stage->running);
        }
    }
    for (const SetPtr& set : running) {
        const std::size_t tasks = set->tasks.size();
        std::vector<int64_t>& done = set->durations;
        SlowTasks slow;
        if (tasks > 1 && static_cast<double>(done.size()) >=
                             std::max(std::floor(options.quantile * static_cast<double>(tasks)), 1.0)) {
            const auto middle = done.begin() + static_cast<std::ptrdiff_t>(done.size() / 2);
            std::nth_element(done.begin(), middle, done.end());
            slow.thresholdMs =
                std::max(options.multiplier * static_cast<double>(*middle), static_cast<double>(options.minRuntimeMs));
            const int64_t sum = std::accumulate(done.begin(), done.end(), int64_t{0});
            // Without a rate to compare with, every task over the threshold is slow.
            if (options.byRate && set->records > 0 && sum > 0) {
                slow.certainMs = options.longRunFactor * slow.thresholdMs;
                slow.recordsPerMs =
                    options.rateMultiplier * static_cast<double>(set->records) / static_cast<double>(sum);
            }
        } else if (options.thresholdMs && tasks <= static_cast<std::size_t>(options_.slots)) {
            slow.thresholdMs = static_cast<double>(*options.thresholdMs);
        } else {
            continue;
        }
        const int copies = queue_.speculate(set, now(), slow);
        if (copies > 0) executor_->wake(copies);
    }
}

/// Names what a stop waits for in vain.
void Scheduler::reportRunning() const {
    for (const auto& [id, job] : jobs_) {
        logMessage(LogLevel::kError, "scheduler",
                   "job " + std::to_string(id) + ", " + job->request_.action + " at " +
                       job->request_.callSite.toString() +
                       ", was cancelled and a task of it still runs: its function neither returns nor looks at "
                       "TaskContext::interruption(); its thread is left behind");
    }
}

void Scheduler::end(JobPtr job) {
    jobs_.erase(job->id);
    status_.jobEnded(job->id, !job->failure_);
    if (listening_.load(std::memory_order_relaxed)) {
        SparkListenerJobEnd event{job->id, now(), {}};
        if (job->failure_) event.failureReason = whatOf(job->failure_);
        bus_.post([event = std::move(event)](SparkListener& listener) { listener.onJobEnd(event); });
    }
    for (const StagePtr& stage : std::exchange(job->stages_, {})) {
        if (!stage->shuffle) stage->job = nullptr;
    }
    // In an event of its own: what the current one still holds of the user's is gone by then.
    strand_.post([this, job] {
        job->action_ = nullptr;
        job->request_ = {};
        job->finish(job->failure_, job->cancelled_);
        const std::lock_guard lock(idleMutex_);
        if (--activeJobs_ == 0) idle_.notify_all();
    });
}

}  // namespace dstream
