#pragma once

#include "dstream/dstream_base.hpp"
#include "dstream/streaming_listener.hpp"

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

namespace dstream::detail {

class StreamingCore;

/// The jobs of one batch and how far they have come.
struct JobSet {
    std::vector<Job> jobs;
    BatchInfo info;
    std::size_t unfinished = 0;
};

/// Runs the jobs of the batches, in time order, on `spark.streaming.concurrentJobs` threads.
class JobScheduler {
public:
    explicit JobScheduler(StreamingCore& core) : core_(core) {}

    void start();
    /// Keeps a batch without jobs among the pending ones.
    void addFailed(Time time);
    /// Queues a batch. A batch without jobs is not announced and is settled at once; one that comes after `stop` stays
    /// pending.
    void submit(Time time, std::vector<Job> jobs, std::map<int, StreamInputInfo> inputInfo);
    /// Runs a job on the calling thread, unannounced.
    /// @throws SparkException  naming the job, with what it threw nested
    void runHere(const Job& job, Time time, std::size_t index) const;
    /// Stops taking jobs and joins the threads. Graceful: after all queued jobs; else those not begun are dropped.
    /// Running ones are cancelled after a while.
    void stop(bool graceful);
    /// Batches with a job that has not succeeded yet, in time order.
    std::vector<Time> pendingTimes() const;
    /// The oldest batch whose jobs have not all ended.
    std::optional<Time> oldestUnfinished() const;
    /// True on a thread that runs jobs of this scheduler.
    bool onJobThread() const;

private:
    struct Queued {
        std::shared_ptr<JobSet> set;
        std::size_t index;
    };
    void run(std::stop_token stop);
    void runJob(const Queued& queued);
    void jobStarted(JobSet& set, std::size_t index);
    void jobEnded(JobSet& set, std::size_t index, const std::exception_ptr& error);

    StreamingCore& core_;
    mutable std::mutex
        mutex_;  // guards the fields below and the job sets; events are posted under it to keep their order
    std::condition_variable_any changed_;
    std::deque<Queued> queue_;
    std::map<Time, std::shared_ptr<JobSet>> jobSets_;
    std::set<Time> failedTimes_;
    int running_ = 0;
    bool accepting_ = false;
    std::vector<std::jthread> threads_;
};

}  // namespace dstream::detail
