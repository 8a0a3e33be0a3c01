#pragma once

#include "rdd/detail/unique_function.hpp"

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>

namespace dstream {

/// Runs events one after the other, in the order they were posted, on the threads that post them: who posts to an idle
/// strand runs what there is until it is idle again. No thread of its own, no lock while an event runs.
class Strand {
public:
    using Event = detail::UniqueFunction<void()>;

    /// Events must not throw; what they throw is logged.
    void post(Event event);
    /// True inside of an event.
    bool isCurrent() const { return runner_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

private:
    void drain();

    std::mutex mutex_;  // guards events_ and draining_
    std::deque<Event> events_;
    bool draining_ = false;
    std::atomic<std::thread::id> runner_{};
};

}  // namespace dstream
