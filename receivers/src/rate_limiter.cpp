#include "receivers/rate_limiter.hpp"

#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace dstream {

RateLimiter::RateLimiter(std::shared_ptr<Clock> clock, int64_t initialRate, int64_t maxRate)
    : clock_(std::move(clock)),
      maxRate_(maxRate),
      rate_(std::min(initialRate, maxRate)),
      nextFreeMs_(static_cast<double>(clock_->getTimeMillis())) {}

int64_t RateLimiter::acquire(int64_t wanted, std::stop_token stop) {
    const int64_t rate = rate_;
    if (rate == kUnlimited || stop.stop_requested()) return wanted;
    if (rate <= 0) {
        throw IllegalArgumentException(
            "the rate of a receiver must be positive: " + std::to_string(rate) +
            "; set spark.streaming.receiver.maxRate and spark.streaming.backpressure.initialRate to at least 1");
    }
    const int64_t granted = std::min(wanted, std::max<int64_t>(1, rate / 100));
    int64_t freeMs;
    {
        std::lock_guard lock(mutex_);
        refill(static_cast<double>(clock_->getTimeMillis()));
        freeMs = static_cast<int64_t>(std::ceil(nextFreeMs_));
        const double saved = std::min(static_cast<double>(granted), savedPermits_);
        savedPermits_ -= saved;
        nextFreeMs_ += (static_cast<double>(granted) - saved) * 1000.0 / static_cast<double>(rate);
    }
    if (freeMs > clock_->getTimeMillis()) clock_->waitTillTime(freeMs, stop);
    return granted;
}

void RateLimiter::updateRate(int64_t permitsPerSecond) {
    if (permitsPerSecond <= 0) return;
    const int64_t rate = maxRate_ > 0 ? std::min(permitsPerSecond, maxRate_) : permitsPerSecond;
    std::lock_guard lock(mutex_);
    const int64_t before = rate_;
    if (before == rate) return;
    const auto nowMs = static_cast<double>(clock_->getTimeMillis());
    if (before == kUnlimited || before <= 0) {
        nextFreeMs_ = nowMs;
        savedPermits_ = 0;
    } else {
        refill(nowMs);
        savedPermits_ =
            rate == kUnlimited ? 0 : savedPermits_ * static_cast<double>(rate) / static_cast<double>(before);
    }
    rate_ = rate;
}

void RateLimiter::refill(double nowMs) {
    if (nowMs <= nextFreeMs_) return;
    const auto rate = static_cast<double>(rate_.load());
    savedPermits_ = std::min(rate, savedPermits_ + (nowMs - nextFreeMs_) * rate / 1000.0);
    nextFreeMs_ = nowMs;
}

}  // namespace dstream
