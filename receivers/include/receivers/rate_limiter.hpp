#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <stop_token>

namespace dstream {

class Clock;

/// Spreads permits evenly over time. An idle limiter saves up at most one second's worth, which may then go at once.
/// A request waits for what the requests before it have used, so the first one never waits. Thread-safe; waits on the
/// clock.
///
///     RateLimiter limiter(clock, 100, 1000);
///     int64_t granted = limiter.acquire(5000, stop);  // some of them: as many as 10 ms bring
class RateLimiter {
public:
    static constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

    /// @param initialRate  permits per second until the first update, at most `maxRate`
    /// @param maxRate      permits per second that no update exceeds; kUnlimited for no limit
    RateLimiter(std::shared_ptr<Clock> clock, int64_t initialRate, int64_t maxRate);

    /// Waits until a permit is free and takes up to `wanted`, at most what 10 ms bring (but always one). Once `stop` is
    /// requested it neither waits nor limits.
    /// @return how many were taken
    /// @throws IllegalArgumentException  when the configured rate is not positive
    int64_t acquire(int64_t wanted, std::stop_token stop);

    /// Sets a new rate, capped by the maximum; one that is not positive is ignored.
    void updateRate(int64_t permitsPerSecond);
    int64_t currentRate() const { return rate_; }
    bool unlimited() const { return rate_ == kUnlimited; }

private:
    void refill(double nowMs);

    const std::shared_ptr<Clock> clock_;
    const int64_t maxRate_;
    std::atomic<int64_t> rate_;
    std::mutex mutex_;  // guards the fields below
    double savedPermits_ = 0;
    double nextFreeMs_;  // when what has been granted is paid for
};

}  // namespace dstream
