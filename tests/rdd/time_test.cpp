#include "rdd/time.hpp"

#include "rdd/exceptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unordered_set>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(DurationTest, CalculatesAndCompares) {
    const Duration batch = Seconds(2);
    EXPECT_EQ(batch.milliseconds(), 2000);
    EXPECT_EQ(batch + Milliseconds(500), Duration(2500));
    EXPECT_EQ(batch - Seconds(3), Duration(-1000));
    EXPECT_EQ(batch * 3, Seconds(6));
    EXPECT_DOUBLE_EQ(batch / Milliseconds(500), 4.0);
    EXPECT_EQ(batch.plus(batch).minus(batch).times(2), Seconds(4));
    EXPECT_DOUBLE_EQ(Seconds(1).div(batch), 0.5);
    EXPECT_TRUE(batch.less(Seconds(3)) && batch.lessEq(batch) && batch.greaterEq(batch) && !batch.greater(batch));
    EXPECT_EQ(batch.min(Seconds(1)), Seconds(1));
    EXPECT_EQ(batch.max(Seconds(1)), batch);
    EXPECT_TRUE(Duration(0).isZero());
    EXPECT_EQ(Minutes(2), Durations::seconds(120));
    EXPECT_EQ(Durations::minutes(1), Durations::milliseconds(60000));
    EXPECT_EQ(std::unordered_set<Duration>({batch, Milliseconds(2000)}).size(), 1u);
}

TEST(DurationTest, TellsMultiplesAndRefusesZero) {
    EXPECT_TRUE(Seconds(2).isMultipleOf(Milliseconds(500)));
    EXPECT_FALSE(Seconds(2).isMultipleOf(Milliseconds(300)));
    EXPECT_THROW(Seconds(2).isMultipleOf(Duration(0)), IllegalArgumentException);
}

TEST(DurationTest, PrintsForMachinesAndForPeople) {
    EXPECT_EQ(Seconds(2).toString(), "2000 ms");
    EXPECT_EQ(Seconds(2).toFormattedString(), "2000");
    const std::pair<int64_t, const char*> cases[] = {
        {-5, "-5 ms"},         {0, "0 ms"},           {999, "999 ms"},       {1000, "1.0 s"},         {1250, "1.3 s"},
        {1249, "1.2 s"},       {59'949, "59.9 s"},    {59'999, "60.0 s"},    {60'000, "1.0 m"},       {90'000, "1.5 m"},
        {3'599'999, "60.0 m"}, {3'600'000, "1.00 h"}, {5'400'000, "1.50 h"}, {86'400'000, "24.00 h"},
    };
    for (const auto& [millis, text] : cases) EXPECT_EQ(Duration(millis).prettyPrint(), text);
}

TEST(TimeTest, CalculatesAndCompares) {
    const Time time(5000);
    EXPECT_EQ(time + Seconds(1), Time(6000));
    EXPECT_EQ(time - Seconds(1), Time(4000));
    EXPECT_EQ(time - Time(2000), Seconds(3));
    EXPECT_EQ(time.plus(Seconds(1)).minus(Seconds(2)).minus(Time(0)), Seconds(4));
    EXPECT_TRUE(time.less(Time(5001)) && time.greater(Time(4999)) && time.lessEq(time) && time.greaterEq(time));
    EXPECT_EQ(time.min(Time(1)), Time(1));
    EXPECT_EQ(time.max(Time(1)), time);
    EXPECT_EQ(time.toString(), "5000 ms");
    EXPECT_TRUE(time.isMultipleOf(Seconds(5)));
    EXPECT_FALSE(time.isMultipleOf(Seconds(3)));
}

TEST(TimeTest, FloorsTowardZeroTime) {
    EXPECT_EQ(Time(5999).floor(Seconds(2)), Time(4000));
    EXPECT_EQ(Time(-1).floor(Seconds(2)), Time(0));
    EXPECT_EQ(Time(5999).floor(Seconds(2), Time(1000)), Time(5000));
    EXPECT_EQ(Time(500).floor(Seconds(2), Time(1000)), Time(1000));
    EXPECT_THROW(Time(1).floor(Duration(0)), IllegalArgumentException);
    EXPECT_THROW(Time(1).isMultipleOf(Duration(0)), IllegalArgumentException);
}

TEST(TimeTest, ListsTheTimesUpToAnother) {
    EXPECT_THAT(Time(0).until(Time(3000), Seconds(1)), ElementsAre(Time(0), Time(1000), Time(2000)));
    EXPECT_THAT(Time(0).to(Time(3000), Seconds(1)), ElementsAre(Time(0), Time(1000), Time(2000), Time(3000)));
    EXPECT_THAT(Time(0).to(Time(2500), Seconds(1)), ElementsAre(Time(0), Time(1000), Time(2000)));
    EXPECT_THAT(Time(3000).until(Time(3000), Seconds(1)), IsEmpty());
    EXPECT_THAT(Time(4000).to(Time(3000), Seconds(1)), IsEmpty());
    EXPECT_THROW(Time(0).until(Time(1), Duration(0)), IllegalArgumentException);
}

TEST(IntervalTest, ShiftsAndOrdersByEnd) {
    const Interval interval(Time(1000), Time(3000));
    EXPECT_EQ(interval.duration(), Seconds(2));
    EXPECT_EQ(interval + Seconds(1), Interval(Time(2000), Time(4000)));
    EXPECT_EQ(interval - Seconds(1), Interval(Time(0), Time(2000)));
    EXPECT_TRUE(interval < interval + Seconds(1));
    EXPECT_TRUE(interval <= interval && interval >= interval && interval + Seconds(1) > interval);
    EXPECT_THROW((void)(interval < Interval(Time(0), Time(1))), IllegalArgumentException);
    EXPECT_EQ(interval.toString(), "[1000 ms, 3000 ms]");
    EXPECT_TRUE(Interval::currentInterval(Seconds(2)).beginTime().isMultipleOf(Seconds(2)));
}

}  // namespace
}  // namespace dstream
