#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>

namespace dstream {

/// Where the time of an application comes from, in milliseconds since the epoch. All methods from any thread.
class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    virtual int64_t getTimeMillis() const = 0;
    /// Blocks until the clock reaches `time` or stop is requested; returns the clock's time then.
    virtual int64_t waitTillTime(int64_t time, std::stop_token stop) = 0;
    /// Returns how far the machine's wall clock is ahead of this one (negative: behind), in milliseconds.
    virtual int64_t wallDistanceMillis() const { return 0; }
};

/// The machine's clock: the wall clock when it was made, moved on by the monotonic one, so that it never jumps.
class SystemClock : public Clock {
public:
    SystemClock();
    int64_t getTimeMillis() const override;
    int64_t waitTillTime(int64_t time, std::stop_token stop) override;
    int64_t wallDistanceMillis() const override;

private:
    std::chrono::steady_clock::time_point start_;
    std::chrono::nanoseconds wallAtStart_;
};

/// A clock that moves only when told to, for tests.
///
///     ManualClock clock;
///     std::jthread timer([&](std::stop_token stop) { clock.waitTillTime(1000, stop); });
///     clock.waitUntilWaiting(1000);
///     clock.advance(1000);  // wakes the timer
class ManualClock : public Clock {
public:
    explicit ManualClock(int64_t time = 0) : time_(time) {}

    int64_t getTimeMillis() const override;
    int64_t waitTillTime(int64_t time, std::stop_token stop) override;
    int64_t wallDistanceMillis() const override;

    /// Sets the time, forwards or back, and wakes those whose time has come.
    void setTime(int64_t time);
    void advance(int64_t millis);
    /// Pretends that the wall clock is that far ahead.
    void setWallDistance(int64_t millis);

    /// Tells whether some thread is blocked in waitTillTime(time).
    bool isWaiting(int64_t time) const;
    /// Blocks until some thread is blocked in waitTillTime(time); false when `deadline` passes first.
    bool waitUntilWaiting(int64_t time, std::chrono::milliseconds deadline = std::chrono::seconds(10));

private:
    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable_any timeMoved_;
    std::condition_variable waiterCame_;
    int64_t time_;
    int64_t wallDistance_ = 0;
    std::multiset<int64_t> waiting_;
};

using ClockFactory = std::function<std::shared_ptr<Clock>()>;

/// Makes the clock that the setting spark.streaming.clock names: "" or "system", "manual", the reference's class names
/// org.apache.spark.util.SystemClock and org.apache.spark.util.ManualClock, or a registered one.
/// @throws IllegalArgumentException  for an unknown name
std::shared_ptr<Clock> makeClock(const std::string& name);

/// Makes a clock available by name, process-wide; the last one registered under a name wins.
void registerClock(const std::string& name, ClockFactory factory);

}  // namespace dstream
