#include "rdd/recurring_timer.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <exception>
#include <utility>

namespace dstream {

namespace {

int64_t floorDiv(int64_t value, int64_t divisor) {
    const int64_t quotient = value / divisor;
    return quotient * divisor > value ? quotient - 1 : quotient;
}

}  // namespace

RecurringTimer::RecurringTimer(Clock& clock, int64_t periodMs, std::function<void(int64_t)> callback, std::string name)
    : clock_(clock), periodMs_(periodMs), callback_(std::move(callback)), name_(std::move(name)) {
    if (periodMs_ <= 0) {
        throw IllegalArgumentException("period of timer " + name_ + " must be positive: " + std::to_string(periodMs_) +
                                       " ms");
    }
}

RecurringTimer::~RecurringTimer() {
    stop(true);
}

int64_t RecurringTimer::getStartTime() const {
    return getRestartTime(0);
}

int64_t RecurringTimer::getRestartTime(int64_t originalStartTime) const {
    const int64_t gap = clock_.getTimeMillis() - originalStartTime;
    return (floorDiv(gap, periodMs_) + 1) * periodMs_ + originalStartTime;
}

int64_t RecurringTimer::start(int64_t startTime) {
    std::lock_guard lock(mutex_);
    if (nextTime_ != -1) throw IllegalStateException("timer " + name_ + " has been started before; make a new one");
    nextTime_ = startTime;
    thread_ = std::jthread([this] { run(); });
    return startTime;
}

int64_t RecurringTimer::stop(bool interrupt) {
    stopping_.request_stop();
    if (interrupt) interruption_.request_stop();
    std::lock_guard lock(mutex_);
    if (thread_.joinable()) thread_.join();
    return lastTime_;
}

void RecurringTimer::run() {
    while (!stopping_.stop_requested()) {
        if (!fireNext()) return;
    }
    fireNext();
}

bool RecurringTimer::fireNext() {
    clock_.waitTillTime(nextTime_, interruption_.get_token());
    if (interruption_.stop_requested()) return false;
    try {
        callback_(nextTime_);
    } catch (const std::exception& error) {
        ++failures_;
        logMessage(LogLevel::kError, name_,
                   "callback for " + std::to_string(nextTime_) + " ms failed: " + error.what());
    } catch (...) {
        ++failures_;
        logMessage(LogLevel::kError, name_,
                   "callback for " + std::to_string(nextTime_) + " ms failed: unknown exception");
    }
    lastTime_ = nextTime_;
    nextTime_ += periodMs_;
    return true;
}

}  // namespace dstream
