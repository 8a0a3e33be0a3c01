#include "rdd/recurring_timer.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <vector>

namespace dstream {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

/// The times a timer has fired for.
class Firings {
public:
    void add(int64_t time) {
        std::lock_guard lock(mutex_);
        times_.push_back(time);
        changed_.notify_all();
    }
    std::vector<int64_t> atLeast(size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, 10s, [&] { return times_.size() >= count; });
        return times_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<int64_t> times_;
};

class RecurringTimerTest : public testing::Test {
protected:
    ManualClock clock_{0};
    Firings firings_;
    RecurringTimer timer_{clock_, 100, [this](int64_t time) { firings_.add(time); }, "test timer"};
};

TEST_F(RecurringTimerTest, StartsAtTheNextMultipleOfThePeriodStrictlyInTheFuture) {
    EXPECT_EQ(timer_.getStartTime(), 100);
    clock_.setTime(100);
    EXPECT_EQ(timer_.getStartTime(), 200);
    clock_.setTime(399);
    EXPECT_EQ(timer_.getStartTime(), 400);
}

TEST_F(RecurringTimerTest, RestartsOnTheGridOfTheFirstStart) {
    clock_.setTime(1234);
    EXPECT_EQ(timer_.getRestartTime(70), 1270);
    EXPECT_EQ(timer_.getRestartTime(34), 1334);
    EXPECT_EQ(timer_.getRestartTime(2000), 1300);
}

TEST_F(RecurringTimerTest, FiresOnceForEveryPeriodAndAtOnceForMissedOnes) {
    EXPECT_EQ(timer_.start(), 100);
    clock_.advance(99);
    ASSERT_TRUE(clock_.waitUntilWaiting(100));
    clock_.advance(1);
    EXPECT_THAT(firings_.atLeast(1), ElementsAre(100));
    ASSERT_TRUE(clock_.waitUntilWaiting(200));
    clock_.setTime(450);
    EXPECT_THAT(firings_.atLeast(4), ElementsAre(100, 200, 300, 400));
    ASSERT_TRUE(clock_.waitUntilWaiting(500));
    EXPECT_EQ(timer_.stop(true), 400);
}

TEST_F(RecurringTimerTest, StopWithInterruptFiresNoMore) {
    timer_.start(1000);
    ASSERT_TRUE(clock_.waitUntilWaiting(1000));
    EXPECT_EQ(timer_.stop(true), -1);
    EXPECT_EQ(timer_.stop(true), -1);
    EXPECT_THAT(firings_.atLeast(0), ElementsAre());
}

TEST_F(RecurringTimerTest, StopWithoutInterruptLetsTheWaitEndAndFiresOnceMore) {
    timer_.start(100);
    ASSERT_TRUE(clock_.waitUntilWaiting(100));
    std::promise<void> requested;
    const std::stop_callback onRequest(timer_.stopRequested(), [&] { requested.set_value(); });
    auto stopped = std::async(std::launch::async, [this] { return timer_.stop(false); });
    requested.get_future().wait();
    clock_.advance(1000);
    EXPECT_EQ(stopped.get(), 200);
    EXPECT_THAT(firings_.atLeast(2), ElementsAre(100, 200));
}

TEST_F(RecurringTimerTest, GoesOnAfterAnExceptionAndCountsIt) {
    setLogLevel(LogLevel::kOff);
    RecurringTimer timer(
        clock_, 100,
        [this](int64_t time) {
            firings_.add(time);
            if (time == 100) throw std::runtime_error("first");
            if (time == 200) throw 7;
        },
        "failing timer");
    timer.start();
    clock_.advance(300);
    EXPECT_THAT(firings_.atLeast(3), ElementsAre(100, 200, 300));
    ASSERT_TRUE(clock_.waitUntilWaiting(400));
    EXPECT_EQ(timer.failures(), 2);
    timer.stop(true);
    setLogLevel(LogLevel::kWarn);
}

TEST_F(RecurringTimerTest, Row21RepeatsNoTimeAndMissesNoneWhenTheClockJumps) {
    constexpr int64_t kHourMs = 3'600'000;
    clock_.setTime(kHourMs);
    timer_.start();
    clock_.advance(100);
    firings_.atLeast(1);
    clock_.setTime(100);
    ASSERT_TRUE(clock_.waitUntilWaiting(kHourMs + 200));
    clock_.setTime(2 * kHourMs);
    const std::vector<int64_t> times = firings_.atLeast(36'000);
    ASSERT_EQ(times.size(), 36'000U);
    for (size_t i = 0; i < times.size(); ++i) {
        ASSERT_EQ(times[i], kHourMs + 100 * (static_cast<int64_t>(i) + 1));
    }
}

TEST_F(RecurringTimerTest, RefusesAPeriodThatIsNotPositiveAndASecondStart) {
    EXPECT_THROW(RecurringTimer(
                     clock_, 0, [](int64_t) {}, "zero"),
                 IllegalArgumentException);
    timer_.start();
    EXPECT_THROW(timer_.start(), IllegalStateException);
}

TEST(RecurringTimerOnTheSystemClockTest, Row21MissesNoTickOfAMillisecond) {
    SystemClock clock;
    std::vector<int64_t> times;
    std::promise<void> enough;
    RecurringTimer timer(
        clock, 1,
        [&](int64_t time) {
            times.push_back(time);
            if (times.size() == 100) enough.set_value();
        },
        "1 ms timer");
    const int64_t start = timer.start();
    ASSERT_EQ(enough.get_future().wait_for(10s), std::future_status::ready);
    timer.stop(true);
    for (size_t i = 0; i < 100; ++i) EXPECT_EQ(times[i], start + static_cast<int64_t>(i));
}

}  // namespace
}  // namespace dstream
