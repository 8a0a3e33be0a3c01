#include "scheduler/strand.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <exception>
#include <utility>

namespace dstream {

void Strand::post(Event event) {
    {
        const std::lock_guard lock(mutex_);
        events_.push_back(std::move(event));
        if (draining_) return;
        draining_ = true;
    }
    drain();
}

void Strand::drain() {
    while (true) {
        Event event;
        {
            const std::lock_guard lock(mutex_);
            if (events_.empty()) {
                runner_.store(std::thread::id(), std::memory_order_relaxed);
                draining_ = false;
                return;
            }
            event = std::move(events_.front());
            events_.pop_front();
            runner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
        }
        try {
            event();
        } catch (...) {
            logMessage(LogLevel::kError, "scheduler",
                       "an event failed: " + describeException(std::current_exception()));
        }
    }
}

}  // namespace dstream
