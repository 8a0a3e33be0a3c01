#include "job_scheduler.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "streaming_core.hpp"

#include <algorithm>
#include <chrono>

namespace dstream::detail {

namespace {

constexpr auto kGracefulWait = std::chrono::hours(1);
constexpr auto kImmediateWait = std::chrono::seconds(2);

thread_local const JobScheduler* currentScheduler = nullptr;

}  // namespace

void JobScheduler::start() {
    int threads = core_.conf.getInt("spark.streaming.concurrentJobs", 1);
    if (threads < 1) {
        throw IllegalArgumentException("spark.streaming.concurrentJobs must be at least 1: " + std::to_string(threads));
    }
    std::lock_guard lock(mutex_);
    accepting_ = true;
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this](std::stop_token stop) { run(stop); });
}

void JobScheduler::submit(Time time, std::vector<Job> jobs, std::map<int, StreamInputInfo> inputInfo) {
    if (jobs.empty()) {
        core_.jobGenerator.settle(time);
        return;
    }
    auto set = std::make_shared<JobSet>();
    set->info.batchTime = time;
    set->info.streamIdToInputInfo = std::move(inputInfo);
    set->info.submissionTime = core_.clock->getTimeMillis();
    set->unfinished = jobs.size();
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        int id = static_cast<int>(i);
        OutputOperationInfo& operation = set->info.outputOperationInfos[id];
        operation.batchTime = time;
        operation.id = id;
        operation.name = jobs[i].name;
        operation.description = jobs[i].description;
    }
    set->jobs = std::move(jobs);
    {
        std::lock_guard lock(mutex_);
        if (!accepting_) {
            failedTimes_.insert(time);  // stays pending
            return;
        }
        const bool startsNow = queue_.empty() && static_cast<std::size_t>(running_) < threads_.size();
        jobSets_[time] = set;
        for (std::size_t i = 0; i < set->jobs.size(); ++i) queue_.push_back({set, i});
        core_.post(&StreamingListener::onBatchSubmitted, StreamingListenerBatchSubmitted{set->info},
                   startsNow ? Wake::kLater : Wake::kNow);
    }
    if (set->jobs.size() == 1) {
        changed_.notify_one();
    } else {
        changed_.notify_all();
    }
}

void JobScheduler::addFailed(Time time) {
    std::lock_guard lock(mutex_);
    failedTimes_.insert(time);
}

void JobScheduler::run(std::stop_token stop) {
    currentScheduler = this;
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, stop, [&] { return !queue_.empty() || !accepting_; });
        if (stop.stop_requested() || queue_.empty()) return;
        Queued queued = std::move(queue_.front());
        queue_.pop_front();
        ++running_;
        lock.unlock();
        runJob(queued);
        queued = {};
        lock.lock();
        --running_;
        if (!accepting_) changed_.notify_all();
    }
}

void JobScheduler::runJob(const Queued& queued) {
    JobSet& set = *queued.set;
    Job& job = set.jobs[queued.index];
    const Time time = set.info.batchTime;
    std::exception_ptr error;
    jobStarted(set, queued.index);
    try {
        runHere(job, time, queued.index);
    } catch (...) {
        error = std::current_exception();
    }
    job.body = nullptr;  // lets go of the batch's RDDs on this thread
    jobEnded(set, queued.index, error);
}

void JobScheduler::runHere(const Job& job, Time time, std::size_t index) const {
    Properties properties = core_.localProperties;
    properties["spark.streaming.internal.batchTime"] = std::to_string(time.milliseconds());
    properties["spark.streaming.internal.outputOpId"] = std::to_string(index);
    properties["spark.job.description"] =
        "output operation " + std::to_string(index) + " (" + job.name + "), batch time " + time.toString();
    auto scope = core_.sparkContext.inheritProperties(std::move(properties));
    try {
        DSTREAM_FAILPOINT("batch.before_output");
        job.body();
        DSTREAM_FAILPOINT("batch.after_output");
    } catch (...) {
        std::throw_with_nested(SparkException("streaming job " + time.toString() + "." + std::to_string(index) + ", " +
                                              job.name + ", failed"));
    }
}

void JobScheduler::jobStarted(JobSet& set, std::size_t index) {
    const int64_t now = core_.clock->getTimeMillis();
    std::lock_guard lock(mutex_);
    if (!set.info.processingStartTime) {
        set.info.processingStartTime = now;
        core_.post(&StreamingListener::onBatchStarted, StreamingListenerBatchStarted{set.info}, Wake::kLater);
    }
    OutputOperationInfo& operation = set.info.outputOperationInfos.at(static_cast<int>(index));
    operation.startTime = now;
    core_.post(&StreamingListener::onOutputOperationStarted, StreamingListenerOutputOperationStarted{operation});
}

void JobScheduler::jobEnded(JobSet& set, std::size_t index, const std::exception_ptr& error) {
    const int64_t now = core_.clock->getTimeMillis();
    const Time time = set.info.batchTime;
    std::optional<std::string> failure;
    if (error) failure = describeException(error);
    bool last = false;
    {
        std::lock_guard lock(mutex_);
        OutputOperationInfo& operation = set.info.outputOperationInfos.at(static_cast<int>(index));
        operation.endTime = now;
        operation.failureReason = failure;
        last = --set.unfinished == 0;
        core_.post(&StreamingListener::onOutputOperationCompleted, StreamingListenerOutputOperationCompleted{operation},
                   last ? Wake::kLater : Wake::kNow);
        if (error) failedTimes_.insert(time);
        if (last) {
            set.info.processingEndTime = now;
            jobSets_.erase(time);
            core_.post(&StreamingListener::onBatchCompleted, StreamingListenerBatchCompleted{set.info});
        }
    }
    if (error) core_.reportError("batch " + time.toString(), error);
    if (last) core_.jobGenerator.onBatchCompleted(time, set.info);
}

void JobScheduler::stop(bool graceful) {
    const auto patience = graceful ? std::chrono::milliseconds(kGracefulWait)
                                   : std::min(std::chrono::milliseconds(kImmediateWait), core_.stopTimeout);
    std::vector<std::jthread> threads;
    std::unique_lock lock(mutex_);
    accepting_ = false;
    if (!graceful) queue_.clear();
    changed_.notify_all();
    const bool idle = changed_.wait_for(lock, patience, [&] { return queue_.empty() && running_ == 0; });
    queue_.clear();
    threads.swap(threads_);
    for (std::jthread& thread : threads) thread.request_stop();
    if (idle) return;  // and join, unlocked
    lock.unlock();
    logMessage(LogLevel::kWarn, "JobScheduler", "jobs are still running at stop and are being cancelled");
    core_.sparkContext.cancelAllJobs();
    lock.lock();
    if (changed_.wait_for(lock, core_.stopTimeout, [&] { return running_ == 0; })) return;
    std::string batches;
    for (const auto& [time, set] : jobSets_) batches += (batches.empty() ? "" : ", ") + time.toString();
    lock.unlock();
    logMessage(LogLevel::kError, "JobScheduler",
               "an output operation of a batch (" + batches +
                   ") does not return; its thread is left behind and the batch counts as pending");
    core_.leaveBehind(std::move(threads), [this] {
        const std::lock_guard guard(mutex_);
        return running_ == 0;
    });
}

std::vector<Time> JobScheduler::pendingTimes() const {
    std::lock_guard lock(mutex_);
    std::set<Time> times = failedTimes_;
    for (const auto& [time, set] : jobSets_) times.insert(time);
    return {times.begin(), times.end()};
}

std::optional<Time> JobScheduler::oldestUnfinished() const {
    std::lock_guard lock(mutex_);
    return jobSets_.empty() ? std::nullopt : std::optional(jobSets_.begin()->first);
}

bool JobScheduler::onJobThread() const {
    return currentScheduler == this;
}

}  // namespace dstream::detail
