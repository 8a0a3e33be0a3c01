#pragma once

#include "rdd/detail/context_core.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <vector>

namespace dstream {

/// The result of an action that runs in the background. Copyable; all copies speak of the same job. Thread-safe.
template <class R>
class FutureAction {
public:
    FutureAction(std::shared_ptr<JobHandle> job, std::function<R()> result)
        : job_(std::move(job)), result_(std::move(result)) {}

    /// `get` fails with SparkException unless the job has ended before.
    void cancel() { job_->cancel("the FutureAction was cancelled"); }
    bool isCancelled() const { return job_->isDone() && job_->error() && job_->wasCancelled(); }
    bool isCompleted() const { return job_->isDone(); }
    /// Waits for the end; returns the result or throws what made the job fail.
    R get() const {
        job_->wait();
        return result_();
    }
    /// Calls `f(std::exception_ptr)` at the end; null: success.
    void onComplete(std::function<void(std::exception_ptr)> f) { job_->onEnd(std::move(f)); }
    std::vector<int> jobIds() const { return job_->jobIds(); }

private:
    std::shared_ptr<JobHandle> job_;
    std::function<R()> result_;
};

}  // namespace dstream
