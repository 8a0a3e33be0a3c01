#include "rdd/clock.hpp"
#include "rdd/spark_context.hpp"
#include "scheduler/fair_pools.hpp"
#include "support/captured_log.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <future>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

// Which task gets a slot, which one a second copy, and what a stop waits for.

namespace dstream {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using testsupport::errorOf;
using testsupport::TemporaryDirectory;

SparkConf conf(const std::string& master) {
    return SparkConf().setMaster(master).setAppName("policy");
}

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
}

// ---- the allocation file

TEST(FairPoolsTest, PoolsAreReadWithTheirDefaults) {
    const auto pools = parseFairPools(R"(<?xml version="1.0"?>
<!-- who gets what -->
<allocations>
  <pool name="production">
    <schedulingMode>FAIR</schedulingMode>
    <weight> 3 </weight>
    <minShare>2</minShare>
    <unknown attribute='x'>is left alone</unknown>
  </pool>
  <pool name='a &amp; "b"'/>
</allocations>
)",
                                      "pools.xml");
    ASSERT_EQ(pools.size(), 2U);
    EXPECT_EQ(pools[0].name, "production");
    EXPECT_TRUE(pools[0].fair);
    EXPECT_EQ(pools[0].weight, 3);
    EXPECT_EQ(pools[0].minShare, 2);
    EXPECT_EQ(pools[1].name, "a & \"b\"");
    EXPECT_FALSE(pools[1].fair);
    EXPECT_EQ(pools[1].weight, 1);
    EXPECT_EQ(pools[1].minShare, 0);
}

TEST(FairPoolsTest, AValueWithoutSenseStaysAtItsDefaultWithAWarning) {
    const testsupport::CapturedLog log;
    const auto pools = parseFairPools(
        "<allocations><pool name=\"p\"><schedulingMode>LIFO</schedulingMode><weight>0</weight><minShare>two</minShare>"
        "</pool></allocations>",
        "pools.xml");
    ASSERT_EQ(pools.size(), 1U);
    EXPECT_FALSE(pools[0].fair);
    EXPECT_EQ(pools[0].weight, 1);
    EXPECT_EQ(pools[0].minShare, 0);
    EXPECT_THAT(
        log.text(),
        AllOf(HasSubstr("pools.xml: schedulingMode of pool 'p' should be FIFO or FAIR, found 'LIFO'; it is FIFO"),
              HasSubstr("weight of pool 'p' should be a number from 1 on, found '0'; it is 1"),
              HasSubstr("minShare of pool 'p' should be a number from 0 on, found 'two'; it is 0")));
}

TEST(FairPoolsTest, WhatIsNoSuchFileIsRefusedWithItsLine) {
    const auto errorFor = [](const std::string& xml) { return errorOf([&] { parseFairPools(xml, "pools.xml"); }); };
    EXPECT_THAT(errorFor("<allocations>\n<pool name=\"a\">\n</allocations>"),
                HasSubstr("pools.xml, line 3, has </allocations> at the wrong place"));
    EXPECT_THAT(errorFor("<allocations><pool weight=\"1\"/></allocations>"), HasSubstr("without a name"));
    EXPECT_THAT(errorFor("<allocations>"), HasSubstr("ends inside of <allocations>"));
    EXPECT_THAT(errorFor("<allocations"), HasSubstr("has no '>' any more"));
    EXPECT_THAT(errorFor("<a/><b/>"), HasSubstr("second element <b>"));
    EXPECT_THAT(errorFor("weight = 3"), HasSubstr("has no element"));
    EXPECT_THAT(errorFor(""), HasSubstr("has no element"));
    EXPECT_THROW(
        SparkContext(
            conf("local").set("spark.scheduler.mode", "FAIR").set("spark.scheduler.allocation.file", "/no/such/file")),
        IllegalArgumentException);
}

// ---- slots

class FairPoolsOnSlotsTest : public testing::Test {
protected:
    /// Lets jobs of many tasks in the given pools compete for four slots, and says which job has how many of them.
    std::map<std::string, int> slotsOf(const std::string& pools,
                                       const std::vector<std::pair<std::string, std::string>>& jobs) {
        const std::string file = directory_ / "pools.xml";
        std::ofstream(file) << "<allocations>" << pools << "</allocations>";
        SparkContext sc(conf("local[4]")
                            .set("spark.scheduler.mode", "FAIR")
                            .set("spark.scheduler.allocation.file", "file://" + file));
        std::latch allHeld(4), release(1), end(1);
        sc.setLocalProperty("spark.scheduler.pool", "of who holds all slots first");
        auto holder = sc.parallelize(numbers(4), 4).foreachAsync([&](int) {
            allHeld.count_down();
            release.wait();
        });
        allHeld.wait();
        std::mutex mutex;
        std::map<std::string, int> slots;
        std::counting_semaphore started(0);
        std::vector<FutureAction<void>> running;
        for (const auto& [pool, job] : jobs) {
            sc.setLocalProperty("spark.scheduler.pool", pool);
            running.push_back(sc.parallelize(numbers(8), 8).foreachAsync([&, job = job](int) {
                {
                    const std::lock_guard lock(mutex);
                    ++slots[job];
                }
                started.release();
                end.wait();
            }));
        }
        release.count_down();
        for (int i = 0; i < 4; ++i) started.acquire();
        std::map<std::string, int> result;
        {
            const std::lock_guard lock(mutex);
            result = slots;
        }
        end.count_down();
        holder.get();
        for (auto& job : running) job.get();
        sc.setLocalProperty("spark.scheduler.pool", std::nullopt);
        return result;
    }

private:
    TemporaryDirectory directory_;
};

TEST_F(FairPoolsOnSlotsTest, PoolsWithoutSettingsShareEvenlyWhoeverCameFirst) {
    EXPECT_THAT(slotsOf("", {{"a", "a"}, {"b", "b"}}), ElementsAre(Pair("a", 2), Pair("b", 2)));
}

TEST_F(FairPoolsOnSlotsTest, AWeightMultipliesAPoolsPart) {
    EXPECT_THAT(slotsOf("<pool name='b'><weight>3</weight></pool>", {{"a", "a"}, {"b", "b"}}),
                ElementsAre(Pair("a", 1), Pair("b", 3)));
}

TEST_F(FairPoolsOnSlotsTest, AMinimumShareGoesBeforeWeights) {
    EXPECT_THAT(slotsOf("<pool name='a'><weight>100</weight></pool><pool name='b'><minShare>3</minShare></pool>",
                        {{"a", "a"}, {"b", "b"}}),
                ElementsAre(Pair("a", 1), Pair("b", 3)));
}

TEST_F(FairPoolsOnSlotsTest, TwoNeedyPoolsGetTheSamePartOfTheirMinimum) {
    EXPECT_THAT(slotsOf("<pool name='a'><minShare>9</minShare></pool><pool name='b'><minShare>3</minShare></pool>",
                        {{"a", "a"}, {"b", "b"}}),
                ElementsAre(Pair("a", 3), Pair("b", 1)));
}

TEST_F(FairPoolsOnSlotsTest, InsideAPoolTheOldestJobComesFirstUnlessItIsFair) {
    EXPECT_THAT(slotsOf("", {{"p", "first"}, {"p", "second"}}), ElementsAre(Pair("first", 4)));
    EXPECT_THAT(
        slotsOf("<pool name='p'><schedulingMode>FAIR</schedulingMode></pool>", {{"p", "first"}, {"p", "second"}}),
        ElementsAre(Pair("first", 2), Pair("second", 2)));
}

TEST(TaskCpusTest, ATaskOfTwoCpusTakesTwoSlots) {
    SparkContext sc(conf("local[4]").set("spark.task.cpus", "2"));
    EXPECT_EQ(sc.defaultParallelism(), 4);
    std::latch two(2);
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    sc.parallelize(numbers(8), 8).foreach ([&](int x) {
        EXPECT_EQ(TaskContext::get()->cpus(), 2);
        const int now = ++running;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        if (x < 2) two.arrive_and_wait();
        --running;
    });
    EXPECT_EQ(most, 2);
}

TEST(TaskCpusTest, MoreCpusThanThereAreSlotsAreRefused) {
    EXPECT_THAT(errorOf([] { SparkContext{conf("local[2]").set("spark.task.cpus", "3")}; }),
                HasSubstr("the master has 2 slots and a task takes 3 (spark.task.cpus)"));
    EXPECT_THROW(SparkContext{conf("local[2]").set("spark.task.cpus", "0")}, IllegalArgumentException);
    EXPECT_THROW(SparkContext{conf("local[2]").set("spark.task.cpus", "many")}, IllegalArgumentException);
}

// ---- second copies

/// A stage of four tasks of which three take 100 ms for 100 records each, and one stays.
class SpeculationTest : public testing::Test {
protected:
    struct Launches : SparkListener {
        void onTaskStart(const SparkListenerTaskStart& event) override {
            if (event.taskInfo.speculative) copyLaunched = event.taskInfo.launchTime;
        }
        std::atomic<int64_t> copyLaunched{-1};
    };

    /// The time at which the straggler, which has read that many records so far, gets its copy, when the clock goes on
    /// until `until`.
    int64_t copyLaunchedAt(SparkConf settings, int64_t records, int64_t until) {
        SparkContext sc(settings.setMaster("local[4]")
                            .setAppName("speculation")
                            .set("spark.speculation", "true")
                            .set("spark.streaming.clock", "manual"));
        const auto launches = std::make_shared<Launches>();
        sc.addSparkListener(launches);
        auto& clock = dynamic_cast<ManualClock&>(sc.core()->clock());
        std::latch running(4), others(1), straggler(1);
        std::latch othersDone(3);
        std::promise<void> copyRuns;
        const auto work = [&](TaskContext& task, Iterator<int> part) {
            const int x = part.next();
            if (task.attemptNumber() > 0) {
                copyRuns.set_value();
                return x;
            }
            task.taskMetrics().recordsRead = x == 3 ? records : 100;
            task.checkCancelled();
            running.count_down();
            (x == 3 ? straggler : others).wait();
            return x;
        };
        const auto take = [&](int, int x) {
            if (x != 3) othersDone.count_down();
        };
        auto job = sc.submitJob(sc.parallelize(numbers(4), 4), work, {0, 1, 2, 3}, take, [] { return 0; });
        running.wait();
        EXPECT_TRUE(clock.waitUntilWaiting(100));
        clock.advance(100);
        EXPECT_TRUE(clock.waitUntilWaiting(200));
        others.count_down();
        othersDone.wait();
        for (int64_t time = 200; time <= until; time += 100) {
            EXPECT_TRUE(clock.waitUntilWaiting(time));
            clock.setTime(time);
        }
        auto copy = copyRuns.get_future();
        EXPECT_EQ(copy.wait_for(std::chrono::seconds(20)), std::future_status::ready);
        job.get();
        straggler.count_down();
        sc.waitUntilListenersAreIdle();
        return launches->copyLaunched;
    }
};

TEST_F(SpeculationTest, Row3AStragglerThatReadsSlowlyGetsItsCopyAboveTheThreshold) {
    EXPECT_EQ(copyLaunchedAt(SparkConf(), 10, 200), 200);
}

TEST_F(SpeculationTest, Row3AStragglerThatReadsFastGetsItsCopyOnlyAboveTheLongRunFactor) {
    // Threshold 150 ms, one record a millisecond: at 300 ms it has read enough, above 300 ms that does not count.
    EXPECT_EQ(copyLaunchedAt(SparkConf(), 1000, 400), 400);
    EXPECT_EQ(copyLaunchedAt(SparkConf().set("spark.speculation.efficiency.longRunTaskFactor", "3"), 1000, 500), 500);
}

TEST_F(SpeculationTest, Row3WithoutEfficiencyRecordsDoNotCount) {
    EXPECT_EQ(copyLaunchedAt(SparkConf().set("spark.speculation.efficiency.enabled", "false"), 1000, 200), 200);
    EXPECT_EQ(copyLaunchedAt(SparkConf().set("spark.speculation.efficiency.processRateMultiplier", "1"), 190, 200),
              200);
}

TEST_F(SpeculationTest, WrongSettingsAreRefused) {
    for (const auto& [key, value] :
         {std::pair("spark.speculation.efficiency.processRateMultiplier", "0"),
          std::pair("spark.speculation.efficiency.processRateMultiplier", "1.5"),
          std::pair("spark.speculation.efficiency.longRunTaskFactor", "0.5"),
          std::pair("spark.speculation.efficiency.enabled", "perhaps"), std::pair("spark.speculation.interval", "0")}) {
        EXPECT_THROW(SparkContext{conf("local").set(key, value)}, IllegalArgumentException) << key;
    }
}

// ---- the end

TEST(StopTest, ATaskThatWaitsForItsInterruptionEndsWithItsJob) {
    SparkContext sc(conf("local[2]"));
    std::latch running(1);
    auto job = sc.parallelize(numbers(1), 1).foreachAsync([&](int) {
        std::mutex mutex;
        std::condition_variable_any never;
        std::unique_lock lock(mutex);
        running.count_down();
        never.wait(lock, TaskContext::get()->interruption(), [] { return false; });
        EXPECT_TRUE(TaskContext::get()->isInterrupted());
    });
    running.wait();
    job.cancel();
    EXPECT_THROW(job.get(), SparkException);
    sc.stop();
}

TEST(StopTest, ATaskThatDoesNotEndIsNamedAndLeftBehind) {
    const testsupport::CapturedLog log;
    auto release = std::make_shared<std::latch>(1);
    auto running = std::make_shared<std::latch>(1);
    std::optional<FutureAction<void>> job;
    {
        SparkContext sc(conf("local[2]").set("dstream.stop.timeout", "1ms"));
        job = sc.parallelize(numbers(1), 1).foreachAsync([release, running](int) {
            running->count_down();
            release->wait();
        });
        running->wait();
        sc.stop();
        EXPECT_TRUE(sc.isStopped());
    }
    EXPECT_THAT(log.text(),
                AllOf(HasSubstr("job 0, foreachAsync at scheduling_policy_test.cpp:"), HasSubstr("is left behind")));
    {
        SparkContext next(conf("local[2]"));
        EXPECT_EQ(next.parallelize(numbers(10), 4).count(), 10);
    }
    EXPECT_FALSE(job->isCompleted()) << "a job ends only with its last task";
    release->count_down();
    EXPECT_THROW(job->get(), SparkException);
    const SparkContext last(conf("local[2]"));
}

TEST(StopTest, AWrongTimeoutIsRefused) {
    EXPECT_THROW(SparkContext{conf("local").set("dstream.stop.timeout", "soon")}, IllegalArgumentException);
    EXPECT_THROW(SparkContext{conf("local").set("dstream.stop.timeout", "-1")}, IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
