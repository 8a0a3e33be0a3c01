#pragma once

#include "rdd/clock.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace dstream {

/// Calls a function once for every period of a clock, on a thread of its own.
/// Targets are absolute, so there is no drift; a timer that is late fires at once for each period it missed.
///
///     RecurringTimer timer(clock, 1000, [](int64_t time) { tick(time); }, "ticks");
///     timer.start();      // first at the next full second of the clock
///     timer.stop(true);
///
/// start() and stop() may be called from any thread but the timer's own. The clock must outlive the timer.
class RecurringTimer {
public:
    /// @param callback  gets the target time in ms; an exception from it is logged and counted, the timer goes on
    /// @throws IllegalArgumentException  when `periodMs` is not positive
    RecurringTimer(Clock& clock, int64_t periodMs, std::function<void(int64_t)> callback, std::string name);
    /// Stops at once.
    ~RecurringTimer();
    RecurringTimer(const RecurringTimer&) = delete;
    RecurringTimer& operator=(const RecurringTimer&) = delete;

    /// The next multiple of the period since the epoch, strictly in the future.
    int64_t getStartTime() const;
    /// The next time, strictly in the future, of the grid that began at `originalStartTime`.
    int64_t getRestartTime(int64_t originalStartTime) const;

    /// Starts; the first call is for `startTime`. Returns it.
    /// @throws IllegalStateException  when started before
    int64_t start(int64_t startTime);
    int64_t start() { return start(getStartTime()); }

    /// Stops and waits for the thread to end.
    /// @param interrupt  true: the current wait is given up. False: it ends as usual and fires, then the timer fires
    ///                   once more; a later stop(true) from another thread cuts this short.
    /// @return the last time fired for, -1 if none
    int64_t stop(bool interrupt);

    /// Requested once a stop has been asked for, of either kind.
    std::stop_token stopRequested() const { return stopping_.get_token(); }
    /// Exceptions that came out of the callback.
    int64_t failures() const { return failures_; }

private:
    void run();
    bool fireNext();

    Clock& clock_;
    const int64_t periodMs_;
    const std::function<void(int64_t)> callback_;
    const std::string name_;
    int64_t nextTime_ = -1;
    std::atomic<int64_t> lastTime_ = -1;
    std::atomic<int64_t> failures_ = 0;
    std::stop_source stopping_;
    std::stop_source interruption_;
    std::mutex mutex_;  // guards thread_: start and stop come from different threads
    std::jthread thread_;
};

}  // namespace dstream
