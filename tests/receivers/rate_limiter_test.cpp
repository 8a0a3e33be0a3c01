#include "receivers/rate_limiter.hpp"

#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"

#include <gtest/gtest.h>

#include <future>
#include <stop_token>

namespace dstream {
namespace {

class RateLimiterTest : public testing::Test {
protected:
    /// Takes `wanted` permits on another thread; the clock moves on to each moment that is waited for.
    int64_t acquireAt(RateLimiter& limiter, int64_t wanted, int64_t expectedMs) {
        auto granted = std::async(std::launch::async, [&] { return limiter.acquire(wanted, stop_.get_token()); });
        if (expectedMs > clock_->getTimeMillis()) {
            EXPECT_TRUE(clock_->waitUntilWaiting(expectedMs)) << "nobody waits for " << expectedMs;
            clock_->setTime(expectedMs);
        }
        return granted.get();
    }

    std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>(5000);
    std::stop_source stop_;
};

TEST_F(RateLimiterTest, SpreadsPermitsEvenly) {
    RateLimiter limiter(clock_, 10, RateLimiter::kUnlimited);
    EXPECT_EQ(acquireAt(limiter, 1, 5000), 1);
    EXPECT_EQ(acquireAt(limiter, 1, 5100), 1);
    EXPECT_EQ(acquireAt(limiter, 5, 5200), 1);
    EXPECT_EQ(acquireAt(limiter, 1, 5300), 1);
}

TEST_F(RateLimiterTest, SavesAtMostOneSecond) {
    RateLimiter limiter(clock_, 10, RateLimiter::kUnlimited);
    clock_->advance(60'000);
    for (int i = 0; i < 11; ++i) EXPECT_EQ(acquireAt(limiter, 1, 65'000), 1);
    EXPECT_EQ(acquireAt(limiter, 1, 65'100), 1);
}

TEST_F(RateLimiterTest, GrantsTenMillisecondsAtOnce) {
    RateLimiter limiter(clock_, 5000, RateLimiter::kUnlimited);
    EXPECT_EQ(acquireAt(limiter, 1000, 5000), 50);
    EXPECT_EQ(acquireAt(limiter, 20, 5010), 20);
    EXPECT_EQ(acquireAt(limiter, 1000, 5014), 50);
}

TEST_F(RateLimiterTest, KeepsTheMeanAboveAThousandPerSecond) {
    RateLimiter limiter(clock_, 4000, RateLimiter::kUnlimited);
    for (int64_t i = 0; i < 400; ++i) ASSERT_EQ(acquireAt(limiter, 1, 5000 + (i + 3) / 4), 1);
}

TEST_F(RateLimiterTest, NeverExceedsTheMaximumAndIgnoresUpdatesThatAreNotPositive) {
    RateLimiter limiter(clock_, 500, 100);
    EXPECT_EQ(limiter.currentRate(), 100);
    limiter.updateRate(1000);
    EXPECT_EQ(limiter.currentRate(), 100);
    limiter.updateRate(50);
    EXPECT_EQ(limiter.currentRate(), 50);
    limiter.updateRate(0);
    limiter.updateRate(-3);
    EXPECT_EQ(limiter.currentRate(), 50);
}

TEST_F(RateLimiterTest, WithoutALimitGrantsAllAtOnceUntilOneIsSet) {
    RateLimiter limiter(clock_, RateLimiter::kUnlimited, RateLimiter::kUnlimited);
    EXPECT_EQ(acquireAt(limiter, 1'000'000, 5000), 1'000'000);
    clock_->advance(10'000);
    limiter.updateRate(10);
    EXPECT_EQ(acquireAt(limiter, 100, 15'000), 1);
    EXPECT_EQ(acquireAt(limiter, 100, 15'100), 1);
}

TEST_F(RateLimiterTest, DoesNotHoldUpAfterAStopRequest) {
    RateLimiter limiter(clock_, 1, RateLimiter::kUnlimited);
    EXPECT_EQ(acquireAt(limiter, 1, 5000), 1);
    auto granted = std::async(std::launch::async, [&] { return limiter.acquire(1, stop_.get_token()); });
    ASSERT_TRUE(clock_->waitUntilWaiting(6000));
    stop_.request_stop();
    EXPECT_EQ(granted.get(), 1);
    EXPECT_EQ(limiter.acquire(7, stop_.get_token()), 7);
}

TEST_F(RateLimiterTest, RefusesARateThatIsNotPositiveWhenTheFirstPermitIsTaken) {
    RateLimiter limiter(clock_, 10, 0);
    EXPECT_THROW(limiter.acquire(1, {}), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
