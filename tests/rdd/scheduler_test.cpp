#include "context/console_progress.hpp"
#include "rdd/clock.hpp"
#include "rdd/spark_context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

SparkConf conf(const std::string& master) {
    return SparkConf().setMaster(master).setAppName("scheduler test");
}

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
}

/// The innermost exception of a chain.
std::exception_ptr innermost(std::exception_ptr error) {
    while (true) {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& known) {
            const auto* nested = dynamic_cast<const std::nested_exception*>(&known);
            if (nested == nullptr || !nested->nested_ptr()) return error;
            error = nested->nested_ptr();
        } catch (...) {
            return error;
        }
    }
}

struct UserError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class SchedulerTest : public ::testing::Test {
protected:
    template <class Action>
    static std::exception_ptr errorOf(Action action) {
        try {
            action();
        } catch (...) {
            return std::current_exception();
        }
        return nullptr;
    }
    static std::string messageOf(const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const SparkException& known) {
            return known.what();
        }
    }
};

TEST_F(SchedulerTest, Row1ATaskThatFailsThreeTimesPassesAtItsFourthAttempt) {
    SparkContext sc(conf("local[2,4]"));
    auto attempts = std::make_shared<std::atomic<int>>(0);
    auto counter = sc.longAccumulator("elements");
    auto rdd = sc.parallelize(numbers(10), 2).map([attempts, counter](int x) {
        if (x == 7 && TaskContext::get()->attemptNumber() < 3) {
            ++*attempts;
            throw UserError("not yet");
        }
        return x;
    });
    int64_t sum = 0;
    std::mutex mutex;
    rdd.foreach ([&, counter](int x) {
        counter.add(1);
        const std::lock_guard lock(mutex);
        sum += x;
    });
    EXPECT_EQ(*attempts, 3);
    EXPECT_EQ(counter.value(), 10) << "what failed attempts added does not count";
    EXPECT_EQ(sc.core()->counters().failedTasks, 3);
}

TEST_F(SchedulerTest, Row1ATaskThatFailsFourTimesFailsTheJobWithOperatorPartitionAndUserException) {
    SparkContext sc(conf("local[2,4]"));
    auto attempts = std::make_shared<std::atomic<int>>(0);
    auto rdd = sc.parallelize(numbers(10), 2).map([attempts](int x) {
        if (x == 7) {
            ++*attempts;
            throw UserError("never");
        }
        return x;
    });
    const auto error = errorOf([&] { rdd.count(); });
    ASSERT_TRUE(error);
    EXPECT_EQ(*attempts, 4);
    const std::string message = messageOf(error);
    EXPECT_THAT(message, HasSubstr("Job aborted: stage "));
    EXPECT_THAT(message, HasSubstr("partition 1 failed 4 times; last: map at scheduler_test.cpp:"));
    EXPECT_THAT(message, HasSubstr(": never"));
    EXPECT_THROW(std::rethrow_exception(innermost(error)), UserError);
    EXPECT_EQ(sc.parallelize(numbers(3), 2).count(), 3) << "the next job goes on";
}

TEST_F(SchedulerTest, Row1ALocalMasterWithoutALimitNeverRetries) {
    SparkContext sc(conf("local[2]"));
    auto attempts = std::make_shared<std::atomic<int>>(0);
    EXPECT_THROW(sc.parallelize(numbers(4), 2).foreach ([attempts](int x) {
        if (x == 0) {
            ++*attempts;
            throw UserError("once");
        }
    }),
                 SparkException);
    EXPECT_EQ(*attempts, 1);
}

TEST_F(SchedulerTest, Row2SomethingThatIsNoStdExceptionIsReportedAsUnknownException) {
    SparkContext sc(conf("local[2]"));
    const auto error =
        errorOf([&] { sc.parallelize(numbers(4), 2).map([](int x) { return x == 3 ? throw 42 : x; }).count(); });
    ASSERT_TRUE(error);
    EXPECT_THAT(messageOf(error), HasSubstr("unknown exception"));
    EXPECT_THROW(std::rethrow_exception(innermost(error)), int);
}

TEST_F(SchedulerTest, Row45RunningOutOfMemoryInATaskFailsTheJobAndNothingElse) {
    SparkContext sc(conf("local[2]"));
    const auto error = errorOf(
        [&] { sc.parallelize(numbers(4), 2).map([](int x) { return x == 3 ? throw std::bad_alloc() : x; }).count(); });
    ASSERT_TRUE(error);
    EXPECT_THROW(std::rethrow_exception(innermost(error)), std::bad_alloc);
    EXPECT_EQ(sc.parallelize(numbers(4), 2).count(), 4);
}

TEST_F(SchedulerTest, AFailedJobEndsOnlyWhenNoneOfItsTasksRuns) {
    SparkContext sc(conf("local[2]"));
    std::latch otherRuns(1), failed(1);
    std::atomic<bool> otherEnded{false};
    sc.addSparkListener([&] {
        struct Failure : SparkListener {
            explicit Failure(std::latch& latch_) : latch(latch_) {}
            void onTaskEnd(const SparkListenerTaskEnd& event) override {
                if (event.failureReason && !event.taskInfo.killed) latch.count_down();
            }
            std::latch& latch;
        };
        return std::make_shared<Failure>(failed);
    }());
    const auto error = errorOf([&] {
        sc.parallelize(numbers(2), 2).foreach ([&](int x) {
            if (x == 0) {
                otherRuns.wait();
                throw UserError("first");
            }
            otherRuns.count_down();
            failed.wait();
            otherEnded = true;
        });
    });
    EXPECT_TRUE(otherEnded);
    EXPECT_THROW(std::rethrow_exception(innermost(error)), UserError);
    sc.stop();
}

TEST_F(SchedulerTest, CancellingAGroupFailsItsJobsOnly) {
    SparkContext sc(conf("local[2]"));
    std::latch running(1), cancelled(1);
    sc.setJobGroup("doomed", "a job to cancel");
    auto future = sc.parallelize(numbers(2), 1)
                      .mapPartitions([&](Iterator<int> part) {
                          running.count_down();
                          cancelled.wait();
                          return std::vector<int>{part.next()};
                      })
                      .countAsync();
    sc.clearJobGroup();
    auto other = sc.parallelize(numbers(5), 1).countAsync();
    running.wait();
    EXPECT_THAT(sc.statusTracker().getJobIdsForGroup("doomed"), ElementsAre(future.jobIds().front()));
    sc.cancelJobGroup("doomed");
    cancelled.count_down();
    EXPECT_THROW(future.get(), SparkException);
    EXPECT_TRUE(future.isCancelled());
    EXPECT_EQ(other.get(), 5);
    sc.cancelJobGroup("unknown");
    sc.cancelJob(12345);
}

TEST_F(SchedulerTest, ACancelledTaskEndsAtItsNextChunk) {
    SparkContext sc(conf("local[2]").set("dstream.chunkSize", "1"));
    std::latch running(1), cancelled(1);
    std::atomic<int> seen{0};
    auto future = sc.parallelize(numbers(1000), 1).foreachAsync([&](int x) {
        ++seen;
        if (x == 0) {
            running.count_down();
            cancelled.wait();
        }
    });
    running.wait();
    future.cancel();
    cancelled.count_down();
    EXPECT_THROW(future.get(), SparkException);
    EXPECT_LE(seen, 2);
}

TEST_F(SchedulerTest, TwoJobsAtATimeShareTheStageOfTheirCommonShuffle) {
    SparkContext sc(conf("local[2]"));
    auto calls = std::make_shared<std::atomic<int>>(0);
    std::latch running(1), bothSubmitted(1);
    auto sums = sc.parallelize(numbers(4), 2)
                    .map([calls, &running, &bothSubmitted](int x) {
                        if (x == 0) {
                            running.count_down();
                            bothSubmitted.wait();
                        }
                        ++*calls;
                        return std::pair(x % 2, x);
                    })
                    .reduceByKey(std::plus<>{});
    auto first = sums.countAsync();
    running.wait();
    auto second = sums.countAsync();
    bothSubmitted.count_down();
    EXPECT_EQ(first.get(), 2);
    EXPECT_EQ(second.get(), 2);
    EXPECT_EQ(*calls, 4);
    EXPECT_EQ(sums.count(), 2) << "a later job finds the outputs";
    EXPECT_EQ(*calls, 4);
}

TEST_F(SchedulerTest, CancellingOneOfTwoJobsLeavesTheirCommonStageToTheOther) {
    SparkContext sc(conf("local[2]"));
    std::latch running(1), release(1);
    auto sums = sc.parallelize(numbers(4), 2)
                    .map([&](int x) {
                        if (x == 0) {
                            running.count_down();
                            release.wait();
                        }
                        return std::pair(x % 2, x);
                    })
                    .reduceByKey(std::plus<>{});
    auto first = sums.countAsync();
    running.wait();
    auto second = sums.countAsync();
    first.cancel();
    EXPECT_THROW(first.get(), SparkException);
    release.count_down();
    EXPECT_EQ(second.get(), 2);
}

TEST_F(SchedulerTest, JobsRunFromSeveralThreads) {
    SparkContext sc(conf("local[3]"));
    std::vector<std::jthread> threads;
    std::atomic<int64_t> total{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) {
                total += sc.parallelize(numbers(30), 3)
                             .map([](int x) { return std::pair(x % 3, 1); })
                             .reduceByKey(std::plus<>{})
                             .count();
            }
        });
    }
    threads.clear();
    EXPECT_EQ(total, 4 * 20 * 3);
}

TEST_F(SchedulerTest, ActionsAndTransformationsInATaskAreRefused) {
    SparkContext sc(conf("local[2]"));
    auto inner = sc.parallelize(numbers(3), 1);
    const auto action = errorOf([&] { sc.parallelize(numbers(2), 1).foreach ([inner](int) { inner.count(); }); });
    ASSERT_TRUE(action);
    EXPECT_THAT(messageOf(action), HasSubstr("in a task"));
}

TEST_F(SchedulerTest, WaitingForAJobInAResultHandlerIsRefused) {
    SparkContext sc(conf("local[2]"));
    auto rdd = sc.parallelize(numbers(3), 1);
    const auto error = errorOf([&] {
        sc.runJob(
            rdd, [](Iterator<int>) { return 1; }, std::vector<int>{0}, [&](int, int) { rdd.count(); });
    });
    ASSERT_TRUE(error);
    EXPECT_THAT(messageOf(error), HasSubstr("result"));
}

TEST_F(SchedulerTest, ResultsComeInTheOrderOfTheGivenPartitions) {
    SparkContext sc(conf("local[4]"));
    auto rdd = sc.parallelize(numbers(8), 4);
    auto first = [](Iterator<int> part) { return part.next(); };
    EXPECT_THAT(sc.runJob(rdd, first, std::vector<int>{3, 0, 2}), ElementsAre(6, 0, 4));
    EXPECT_THROW(sc.runJob(rdd, first, std::vector<int>{4}), IllegalArgumentException);
    EXPECT_TRUE(sc.runJob(rdd, first, std::vector<int>{}).empty());
}

TEST_F(SchedulerTest, LocalHasMoreSlotsThanCoresWhenAsked) {
    SparkContext sc(conf("local[6]"));
    std::latch all(6);
    sc.parallelize(numbers(6), 6).foreach ([&](int) { all.arrive_and_wait(); });
    EXPECT_TRUE(all.try_wait());
}

TEST_F(SchedulerTest, CallersThatRunTheirOwnTasksAddNoSlots) {
    SparkContext sc(conf("local[2]"));
    std::atomic<int> running = 0;
    std::atomic<bool> tooMany = false;
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&] {
            for (int job = 0; job < 50; ++job) {
                sc.parallelize(numbers(4), 4).foreachPartition([&](Iterator<int>) {
                    if (++running > 2) tooMany = true;
                    std::this_thread::yield();
                    --running;
                });
            }
        });
    }
    callers.clear();
    EXPECT_FALSE(tooMany);
}

TEST_F(SchedulerTest, TasksOfAJobThatWasTinySoFarMayWaitForEachOther) {
    SparkContext sc(conf("local[2]"));
    const auto pairs = sc.parallelize(numbers(4), 2).map([](int i) { return std::pair(i, i); });
    for (const bool meet : {false, true}) {
        for (int job = 0; job < (meet ? 3 : 300); ++job) {
            std::latch both(2);
            pairs.reduceByKey(std::plus<>(), 2).foreachPartition([&](Iterator<std::pair<int, int>>) {
                if (meet) both.arrive_and_wait();
            });
        }
    }
}

TEST_F(SchedulerTest, TaskContextTellsPlaceAttemptAndProperties) {
    SparkContext sc(conf("local[2]"));
    sc.setLocalProperty("colour", "blue");
    std::mutex mutex;
    std::set<int> partitions;
    std::vector<std::string> order;
    sc.parallelize(numbers(3), 3).foreach ([&](int) {
        TaskContext* task = TaskContext::get();
        const std::lock_guard lock(mutex);
        partitions.insert(task->partitionId());
        EXPECT_EQ(task->numPartitions(), 3);
        EXPECT_EQ(task->attemptNumber(), 0);
        EXPECT_EQ(task->getLocalProperty("colour"), "blue");
        EXPECT_EQ(task->batchTime(), std::nullopt);
        if (task->partitionId() == 0) {
            task->addTaskCompletionListener([&](TaskContext&) { order.push_back("first"); });
            task->addTaskCompletionListener([&](TaskContext&) { order.push_back("second"); });
        }
    });
    EXPECT_THAT(partitions, ElementsAre(0, 1, 2));
    EXPECT_THAT(order, ElementsAre("second", "first"));
    EXPECT_EQ(TaskContext::get(), nullptr);
    EXPECT_EQ(TaskContext::getPartitionId(), 0);
    sc.setLocalProperty("colour", std::nullopt);
    EXPECT_EQ(sc.getLocalProperty("colour"), std::nullopt);
    {
        const auto scope = sc.inheritProperties({{"colour", "red"}});
        EXPECT_EQ(sc.getLocalProperty("colour"), "red");
    }
    EXPECT_EQ(sc.getLocalProperty("colour"), std::nullopt);
}

TEST_F(SchedulerTest, ListenersHearOfJobsStagesAndTasksInOrder) {
    struct Recorder : SparkListener {
        void onJobStart(const SparkListenerJobStart& e) override {
            events.push_back("job " + std::to_string(e.stageInfos.size()));
        }
        void onStageSubmitted(const SparkListenerStageSubmitted& e) override {
            events.push_back("submit " + e.stageInfo.name.substr(0, 3));
        }
        void onTaskStart(const SparkListenerTaskStart&) override { events.push_back("start"); }
        void onTaskEnd(const SparkListenerTaskEnd& e) override {
            events.push_back(e.taskInfo.successful ? "end" : "failed");
        }
        void onStageCompleted(const SparkListenerStageCompleted&) override { events.push_back("completed"); }
        void onJobEnd(const SparkListenerJobEnd& e) override {
            events.push_back(e.failureReason ? "job failed" : "job end");
        }
        std::vector<std::string> events;
    };
    SparkContext sc(conf("local[1]"));
    auto recorder = std::make_shared<Recorder>();
    sc.addSparkListener(recorder);
    sc.parallelize(numbers(2), 1).map([](int x) { return std::pair(x, 1); }).reduceByKey(std::plus<>{}).count();
    sc.waitUntilListenersAreIdle();
    EXPECT_THAT(recorder->events, ElementsAre("job 2", "submit map", "start", "end", "completed", "submit cou", "start",
                                              "end", "completed", "job end"));
}

TEST_F(SchedulerTest, OneContextIsActiveAtATime) {
    SparkContext sc(conf("local"));
    EXPECT_THROW(SparkContext{conf("local")}, SparkException);
    EXPECT_TRUE(SparkContext::getOrCreate() == sc);
    sc.stop();
    sc.stop();
    EXPECT_TRUE(sc.isStopped());
    EXPECT_THROW(sc.parallelize(numbers(1)), IllegalStateException);
    SparkContext next(conf("local"));
    EXPECT_EQ(next.parallelize(numbers(1)).count(), 1);
}

TEST_F(SchedulerTest, TheContextStopsWithItsLastHandle) {
    std::optional<RDD<int>> rdd;
    {
        SparkContext sc(conf("local[2]"));
        rdd = sc.parallelize(numbers(3), 1);
        const SparkContext copy = sc;
        EXPECT_EQ(rdd->count(), 3);
    }
    EXPECT_THROW(rdd->count(), IllegalStateException);
    SparkContext next(conf("local[2]"));
}

TEST_F(SchedulerTest, StoppingCancelsWhatRuns) {
    SparkContext sc(conf("local[2]"));
    std::latch running(1), release(1);
    auto future = sc.parallelize(numbers(1), 1).foreachAsync([&](int) {
        running.count_down();
        release.wait();
    });
    running.wait();
    struct Cancelled : SparkListener {
        explicit Cancelled(std::latch& latch_) : latch(latch_) {}
        void onStageCompleted(const SparkListenerStageCompleted& event) override {
            if (event.stageInfo.failureReason) latch.count_down();
        }
        std::latch& latch;
    };
    sc.addSparkListener(std::make_shared<Cancelled>(release));
    sc.stop();
    EXPECT_THROW(future.get(), SparkException);
}

TEST_F(SchedulerTest, WrongMastersAndSettingsAreRefusedWithWhatWasExpected) {
    for (const char* master : {"local[0]", "local[-1]", "local[x]", "local[2", "yarn", "local[2,0]", ""}) {
        EXPECT_THROW(SparkContext{conf(master)}, SparkException) << master;
    }
    EXPECT_THROW(SparkContext{SparkConf().setMaster("local")}, SparkException);
    EXPECT_THROW(SparkContext{SparkConf().setAppName("x")}, SparkException);
    EXPECT_THROW(SparkContext{conf("local").set("dstream.memory.limit", "lots")}, IllegalArgumentException);
    EXPECT_THROW(SparkContext{conf("local").set("spark.scheduler.mode", "RANDOM")}, IllegalArgumentException);
    EXPECT_EQ(SparkContext(conf("local[3]")).defaultParallelism(), 3);
    EXPECT_EQ(SparkContext(conf("local[2, 4]").set("spark.default.parallelism", "7")).defaultParallelism(), 7);
}

TEST_F(SchedulerTest, Row3AStragglerGetsACopyTheFirstResultWinsAndCountsOnce) {
    SparkContext sc(conf("local[4]").set("spark.speculation", "true").set("spark.streaming.clock", "manual"));
    auto& clock = dynamic_cast<ManualClock&>(sc.core()->clock());
    std::latch stuck(1), release(1);
    std::promise<void> copyRuns;
    std::atomic<int> copies{0};
    const auto rows = sc.collectionAccumulator<int>("rows");
    auto future = sc.parallelize(numbers(4), 4).foreachAsync([&, rows](int x) {
        if (x == 3 && TaskContext::get()->attemptNumber() == 0) {
            stuck.count_down();
            release.wait();
        } else if (x == 3) {
            if (copies++ == 0) copyRuns.set_value();
        }
        rows.add(x);
    });
    stuck.wait();
    auto copy = copyRuns.get_future();
    for (int64_t time = 100; copy.wait_for(std::chrono::seconds(0)) != std::future_status::ready; time += 100) {
        ASSERT_LE(time, 100'000) << "no copy was started";
        ASSERT_TRUE(clock.waitUntilWaiting(time));
        clock.advance(100);
    }
    future.get();
    EXPECT_EQ(copies, 1);
    EXPECT_THAT(rows.value(), UnorderedElementsAre(0, 1, 2, 3));
    release.count_down();
    sc.stop();
    EXPECT_THAT(rows.value(), UnorderedElementsAre(0, 1, 2, 3));
}

TEST(ConsoleProgressTest, TheLineShowsWhatIsDoneAndWhatRuns) {
    StageStatus stage;
    stage.stageId = 7;
    stage.tasks = 10;
    stage.completed = 5;
    stage.active = 2;
    EXPECT_EQ(ConsoleProgress::line({stage}, 40), "[Stage 7:=========>        (5 + 2) / 10]");
    EXPECT_EQ(ConsoleProgress::line({}, 40), "");
    EXPECT_EQ(ConsoleProgress::line({stage}, 5), "[Stage 7:(5 + 2) / 10]");
}

}  // namespace
}  // namespace dstream
