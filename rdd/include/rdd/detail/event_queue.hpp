#pragma once

#include "rdd/detail/unique_function.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

namespace dstream {

/// When the listeners' thread is to look at an event: at once, or together with one that follows in a moment.
enum class Wake { kNow, kLater };

namespace detail {

/// A bounded queue of events and the one thread that handles them in order; the untyped part of ListenerBus.
class EventQueue {
public:
    EventQueue(std::string name, size_t capacity);
    EventQueue(const EventQueue&) = delete;
    EventQueue& operator=(const EventQueue&) = delete;
    ~EventQueue();

    void start();
    /// Adds an event, or drops and counts it when the queue is full. Nothing before start() or after stop().
    void post(UniqueFunction<void()> event, Wake wake = Wake::kNow);
    bool waitUntilEmpty(std::chrono::milliseconds timeout);
    void stop();

    bool onThread() const { return thread_.load() == std::this_thread::get_id(); }
    uint64_t dropped() const { return dropped_.load(); }
    uint64_t failed() const { return failed_.load(); }
    /// Logs and counts an exception of a listener.
    void reportFailure(std::exception_ptr error);

private:
    enum class Phase { kNew, kRunning, kStopping, kEnded };

    void run();
    void end();

    const std::string name_;
    const size_t capacity_;
    std::atomic<std::thread::id> thread_{};
    std::atomic<uint64_t> dropped_{0};
    std::atomic<uint64_t> failed_{0};

    std::mutex mutex_;  // guards what follows
    std::condition_variable posted_;
    std::condition_variable emptied_;  // or the thread has ended
    std::deque<UniqueFunction<void()>> events_;
    Phase phase_ = Phase::kNew;
    bool asleep_ = false;
    bool busy_ = false;

    std::jthread worker_;
};

}  // namespace detail
}  // namespace dstream
