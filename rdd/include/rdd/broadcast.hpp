#pragma once

#include "rdd/exceptions.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace dstream {

/// A read-only value shared with all tasks, copied to none. A copyable handle; capture it by value.
///
///     auto stopWords = sc.broadcast(std::set<std::string>{"the", "a"});
///     words.filter([stopWords](const std::string& word) { return !stopWords.value().contains(word); });
template <class T>
class Broadcast {
public:
    Broadcast(int64_t id, T value) : state_(std::make_shared<State>(id, std::move(value))) {}

    int64_t id() const { return state_->id; }
    /// Valid as long as a handle of this broadcast lives.
    /// @throws SparkException  after destroy()
    const T& value() const {
        requireAlive("value()");
        return state_->value;
    }
    /// Drops copies that are made again on use; in one process there are none.
    void unpersist(bool /*blocking*/ = false) const { requireAlive("unpersist()"); }
    /// Makes every later use an error. The memory goes with the last handle, so that a task which still reads is safe.
    /// @throws SparkException  the second time
    void destroy() const {
        if (state_->destroyed.exchange(true)) fail("destroy()");
    }
    std::string toString() const { return "Broadcast(" + std::to_string(state_->id) + ")"; }

private:
    struct State {
        State(int64_t id_, T value_) : id(id_), value(std::move(value_)) {}
        const int64_t id;
        const T value;
        std::atomic<bool> destroyed{false};
    };

    void requireAlive(const char* what) const {
        if (state_->destroyed.load(std::memory_order_relaxed)) fail(what);
    }
    [[noreturn]] void fail(const char* what) const {
        throw SparkException(std::string(what) + " of " + toString() + " after it was destroyed");
    }

    std::shared_ptr<State> state_;
};

}  // namespace dstream
