#include "rdd/clock.hpp"

#include "rdd/exceptions.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace dstream {
namespace {

TEST(ManualClockTest, MovesOnlyWhenTold) {
    ManualClock clock(100);
    EXPECT_EQ(clock.getTimeMillis(), 100);
    clock.advance(50);
    EXPECT_EQ(clock.getTimeMillis(), 150);
    clock.setTime(20);
    EXPECT_EQ(clock.getTimeMillis(), 20);
    EXPECT_EQ(clock.waitTillTime(20, {}), 20);
    clock.setWallDistance(-3600);
    EXPECT_EQ(clock.wallDistanceMillis(), -3600);
}

TEST(ManualClockTest, WakesAWaiterWhenItsTimeHasCome) {
    ManualClock clock;
    std::promise<int64_t> woken;
    std::jthread waiter([&](const std::stop_token& stop) { woken.set_value(clock.waitTillTime(1000, stop)); });
    ASSERT_TRUE(clock.waitUntilWaiting(1000));
    clock.advance(999);
    EXPECT_TRUE(clock.isWaiting(1000));
    EXPECT_FALSE(clock.isWaiting(2000));
    clock.advance(201);
    EXPECT_FALSE(clock.isWaiting(1000));
    EXPECT_EQ(woken.get_future().get(), 1200);
}

TEST(ManualClockTest, AStopRequestEndsTheWait) {
    ManualClock clock;
    std::promise<int64_t> woken;
    std::jthread waiter([&](const std::stop_token& stop) { woken.set_value(clock.waitTillTime(1000, stop)); });
    ASSERT_TRUE(clock.waitUntilWaiting(1000));
    waiter.request_stop();
    EXPECT_EQ(woken.get_future().get(), 0);
    EXPECT_FALSE(clock.isWaiting(1000));
    EXPECT_FALSE(clock.waitUntilWaiting(1000, std::chrono::milliseconds(0)));
}

TEST(SystemClockTest, WaitsForATimeAndNeverPastAStop) {
    SystemClock clock;
    const int64_t start = clock.getTimeMillis();
    EXPECT_GE(clock.waitTillTime(start + 5, {}), start + 5);
    EXPECT_GE(clock.waitTillTime(0, {}), start + 5);
    EXPECT_LT(std::abs(clock.wallDistanceMillis()), 60'000);

    std::promise<void> woken;
    std::jthread waiter([&](const std::stop_token& stop) {
        clock.waitTillTime(INT64_MAX, stop);
        woken.set_value();
    });
    waiter.request_stop();
    woken.get_future().get();
}

TEST(ClockRegistryTest, MakesClocksByName) {
    const auto isManual = [](const std::string& name) {
        return std::dynamic_pointer_cast<ManualClock>(makeClock(name)) != nullptr;
    };
    for (const char* name : {"manual", "ManualClock", "org.apache.spark.util.ManualClock",
                             "org.apache.spark.streaming.util.ManualClock"}) {
        EXPECT_TRUE(isManual(name)) << name;
    }
    for (const char* name : {"", "system", "org.apache.spark.util.SystemClock"}) {
        EXPECT_NE(std::dynamic_pointer_cast<SystemClock>(makeClock(name)), nullptr) << name;
    }
    EXPECT_THROW(makeClock("hourglass"), IllegalArgumentException);
    registerClock("sundial", [] { return std::make_shared<ManualClock>(42); });
    EXPECT_EQ(makeClock("sundial")->getTimeMillis(), 42);
    EXPECT_THROW(registerClock("none", nullptr), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
