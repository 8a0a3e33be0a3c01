#include "rdd/detail/event_queue.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <bit>
#include <utility>

namespace dstream::detail {

namespace {

/// How long events gather while they keep coming.
constexpr std::chrono::milliseconds kGather{4};

}  // namespace

EventQueue::EventQueue(std::string name, size_t capacity) : name_(std::move(name)), capacity_(capacity) {}

EventQueue::~EventQueue() {
    if (onThread()) std::terminate();  // would wait for itself
    end();
}

void EventQueue::start() {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kNew) return;
    phase_ = Phase::kRunning;
    worker_ = std::jthread([this] { run(); });
}

void EventQueue::post(UniqueFunction<void()> event, Wake wake) {
    uint64_t dropped = 0;
    bool wakeWorker = false;
    {
        const std::lock_guard lock(mutex_);
        if (phase_ != Phase::kRunning) return;
        if (events_.size() < capacity_) {
            events_.push_back(std::move(event));
            if (events_.size() == capacity_ / 2) posted_.notify_one();  // no time to gather more
            wakeWorker = wake == Wake::kNow && std::exchange(asleep_, false);
        } else {
            dropped = ++dropped_;
        }
    }
    if (wakeWorker) posted_.notify_one();  // without the lock, which the worker needs first of all
    if (std::has_single_bit(dropped)) {    // the 1st, 2nd, 4th, 8th …: a flood must not flood the log too
        logMessage(LogLevel::kError, name_,
                   std::to_string(dropped) +
                       " events dropped so far: a listener is slower than the events come; the queue holds " +
                       std::to_string(capacity_));
    }
}

bool EventQueue::waitUntilEmpty(std::chrono::milliseconds timeout) {
    if (onThread()) throw IllegalStateException(name_ + ": a listener must not wait for its own events");
    std::unique_lock lock(mutex_);
    asleep_ = true;        // as far as gathering goes
    posted_.notify_one();  // for events that gather, or were posted for later
    return emptied_.wait_for(lock, timeout, [this] { return events_.empty() && !busy_; });
}

void EventQueue::stop() {
    if (onThread()) throw IllegalStateException(name_ + ": cannot be stopped by a listener");
    end();
}

void EventQueue::end() {
    std::jthread worker;
    std::unique_lock lock(mutex_);
    if (phase_ == Phase::kNew) phase_ = Phase::kEnded;
    if (phase_ == Phase::kRunning) phase_ = Phase::kStopping;
    posted_.notify_one();
    emptied_.wait(lock, [this] { return phase_ == Phase::kEnded; });
    worker = std::move(worker_);
    lock.unlock();
}

void EventQueue::reportFailure(std::exception_ptr error) {
    ++failed_;
    logMessage(LogLevel::kError, name_, "a listener failed: " + describeException(std::move(error)));
}

void EventQueue::run() {
    thread_.store(std::this_thread::get_id());
    std::unique_lock lock(mutex_);
    bool gathers = false;
    // While events keep coming they are handled together: waking this thread for each costs more than they do.
    const auto gather = [&] {
        if (gathers && !asleep_ && phase_ != Phase::kStopping) posted_.wait_for(lock, kGather);
    };
    for (;;) {
        if (events_.empty()) gather();
        if (events_.empty()) {
            const auto begin = std::chrono::steady_clock::now();
            while (events_.empty() && phase_ != Phase::kStopping) {
                asleep_ = true;
                posted_.wait(lock);
            }
            gathers = std::chrono::steady_clock::now() - begin < kGather;
            gather();
            asleep_ = false;
        }
        if (events_.empty()) break;
        UniqueFunction<void()> event = std::move(events_.front());
        events_.pop_front();
        busy_ = true;
        lock.unlock();
        event();  // guards each listener itself
        event = {};
        lock.lock();
        busy_ = false;
        if (events_.empty()) emptied_.notify_all();
    }
    thread_.store({});
    phase_ = Phase::kEnded;
    emptied_.notify_all();
}

}  // namespace dstream::detail
