#pragma once

#include "rdd/detail/event_queue.hpp"
#include "rdd/detail/unique_function.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

/// Delivers events to listeners in the order they were posted, on a thread of its own that the first listener starts.
/// Posting never blocks: when the queue is full the event is dropped, counted and logged; without a listener it costs
/// one load. An exception of a listener is logged and counted, and the others still get the event. All methods from
/// any thread, but the bus must not be stopped or destroyed by a listener.
///
///     ListenerBus<SparkListener> bus("jobs");
///     bus.addListener(listener);
///     bus.post([id](SparkListener& listener) { listener.onJobStart(id); });
template <class Listener>
class ListenerBus {
public:
    explicit ListenerBus(std::string name, size_t capacity = 10'000) : queue_(std::move(name), capacity) {}

    void addListener(std::shared_ptr<Listener> listener) {
        {
            const std::lock_guard lock(mutex_);
            auto next = std::make_shared<std::vector<std::shared_ptr<Listener>>>(*listeners_);
            next->push_back(std::move(listener));
            listeners_ = std::move(next);
        }
        queue_.start();
        active_.store(true);
    }

    /// Takes a listener off; it may still be in the middle of an event.
    void removeListener(const std::shared_ptr<Listener>& listener) {
        const std::lock_guard lock(mutex_);
        auto next = std::make_shared<std::vector<std::shared_ptr<Listener>>>(*listeners_);
        std::erase(*next, listener);
        active_.store(!next->empty());
        listeners_ = std::move(next);
    }

    void post(detail::UniqueFunction<void(Listener&)> event, Wake wake = Wake::kNow) {
        if (!active_.load(std::memory_order_relaxed)) return;
        auto deliver = [this, event = std::move(event)]() mutable {
            const Listeners current = listeners();
            for (const auto& listener : *current) {
                try {
                    event(*listener);
                } catch (...) {
                    queue_.reportFailure(std::current_exception());
                }
            }
        };
        queue_.post(std::move(deliver), wake);
    }

    /// Blocks until everything posted before has been delivered; false when `timeout` passes first.
    /// @throws IllegalStateException  on the listener thread
    bool waitUntilEmpty(std::chrono::milliseconds timeout = std::chrono::hours(24)) {
        return queue_.waitUntilEmpty(timeout);
    }

    /// Delivers what has been posted and ends the thread. Idempotent.
    /// @throws IllegalStateException  on the listener thread
    void stop() { queue_.stop(); }

    uint64_t droppedEvents() const { return queue_.dropped(); }
    uint64_t failedEvents() const { return queue_.failed(); }
    bool onListenerThread() const { return queue_.onThread(); }

private:
    using Listeners = std::shared_ptr<const std::vector<std::shared_ptr<Listener>>>;

    Listeners listeners() const {
        const std::lock_guard lock(mutex_);
        return listeners_;
    }

    std::atomic<bool> active_{false};
    mutable std::mutex mutex_;  // guards listeners_
    Listeners listeners_ = std::make_shared<const std::vector<std::shared_ptr<Listener>>>();
    detail::EventQueue queue_;  // last: its thread ends before the rest goes
};

}  // namespace dstream
