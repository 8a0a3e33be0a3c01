#include "rdd/detail/completion.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace dstream::detail {

struct Completion::State {
    std::mutex mutex;  // guards `happened`
    std::condition_variable changed;
    bool happened = false;
};

Completion::Completion() : state_(std::make_unique<State>()) {}
Completion::~Completion() = default;

void Completion::set() {
    const std::lock_guard lock(state_->mutex);
    state_->happened = true;
    state_->changed.notify_all();  // under the lock: a waiter may end the object's life as soon as it goes on
}

void Completion::wait() const {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->happened; });
}

bool Completion::waitFor(int64_t timeoutMs) const {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, std::chrono::milliseconds(timeoutMs), [&] { return state_->happened; });
}

}  // namespace dstream::detail
