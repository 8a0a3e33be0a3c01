#include "rdd/spark_context.hpp"

#include "rdd/log.hpp"
#include "rdd/range_partitioner.hpp"
#include "support/spark_context_test.hpp"

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What a SparkContext offers besides the operators: ways to make RDDs, jobs of one's own, information, partitioners.

namespace dstream {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using testsupport::errorOf;
using IntPairs = std::vector<std::pair<int, int>>;

class SparkContextTest : public testsupport::SparkContextTest {
protected:
    using testsupport::SparkContextTest::SparkContextTest;
};

// ---- RDDs

TEST_F(SparkContextTest, MakeRddGivesEachElementWithHostsAPartition) {
    const auto rdd = sc.makeRDD<int>({{7, {"here", "there"}}, {8, {}}});
    EXPECT_THAT(rdd.glom().collect(), ElementsAre(ElementsAre(7), ElementsAre(8)));
    EXPECT_THAT(rdd.preferredLocations({0}), ElementsAre("here", "there"));
    EXPECT_THAT(rdd.preferredLocations({1}), IsEmpty());
    EXPECT_EQ(sc.makeRDD(std::vector<std::pair<int, std::vector<std::string>>>{}).getNumPartitions(), 1);
    EXPECT_THAT(sc.makeRDD(std::vector{1, 2, 3}, 2).glom().collect(), ElementsAre(ElementsAre(1), ElementsAre(2, 3)));
}

TEST_F(SparkContextTest, SlicesAreCutEvenlyAndEmptyInputGivesEmptyPartitions) {
    EXPECT_THAT(sc.parallelize(std::vector{0, 1, 2, 3, 4}, 3).glom().collect(),
                ElementsAre(ElementsAre(0), ElementsAre(1, 2), ElementsAre(3, 4)));
    EXPECT_EQ(sc.parallelize(std::vector<int>{}, 4).getNumPartitions(), 4);
    EXPECT_EQ(sc.emptyRDD<int>().getNumPartitions(), 0);
    EXPECT_TRUE(sc.emptyRDD<int>().isEmpty());
    const RDD<int> none = sc.parallelize(std::vector{1}, 0);
    EXPECT_THROW(none.getNumPartitions(), IllegalArgumentException);
    EXPECT_THROW(sc.range(0, 10, 0), IllegalArgumentException);
}

TEST_F(SparkContextTest, AnEmptyHandleIsRefusedWithWhatToDo) {
    EXPECT_THAT(errorOf([] { RDD<int>().count(); }), HasSubstr("this RDD handle is empty"));
}

// ---- jobs

TEST_F(SparkContextTest, SubmitJobHandsOverResultsAndThenMakesItsOwn) {
    std::mutex mutex;
    std::vector<std::pair<int, int>> handled;
    auto future = sc.submitJob(
        sc.fromPartitions<int>({{1, 2}, {3}, {4, 5, 6}}),
        [](Iterator<int> part) {
            int n = 0;
            for (; part.hasNext(); part.next()) ++n;
            return n;
        },
        {2, 0},
        [&](int index, int n) {
            const std::lock_guard lock(mutex);
            handled.emplace_back(index, n);
        },
        [&] { return static_cast<int>(handled.size()); });
    EXPECT_EQ(future.get(), 2);
    EXPECT_TRUE(future.isCompleted());
    EXPECT_FALSE(future.isCancelled());
    EXPECT_THAT(handled, UnorderedElementsAre(Pair(0, 3), Pair(1, 2)));
    std::optional<bool> failed;
    future.onComplete([&](const std::exception_ptr& error) { failed = error != nullptr; });
    EXPECT_EQ(failed, false) << "on an ended job the callback is called at once";
    EXPECT_THROW(sc.submitJob(
                     sc.emptyRDD<int>(), [](Iterator<int>) { return 0; }, {0}, [](int, int) {}, [] { return 0; }),
                 IllegalArgumentException);
}

TEST_F(SparkContextTest, RunJobAfterStopIsRefused) {
    const RDD<int> rdd = sc.parallelize(std::vector{1, 2}, 1);
    EXPECT_THAT(sc.runJob(rdd, [](TaskContext& task, Iterator<int> part) { return task.partitionId() + part.next(); }),
                ElementsAre(1));
    sc.stop();
    EXPECT_THROW(sc.runJob(rdd, [](Iterator<int>) { return 1; }), IllegalStateException);
    EXPECT_THROW(rdd.count(), IllegalStateException);
    EXPECT_THROW(sc.broadcast(1), IllegalStateException);
}

/// A job that runs until it is cancelled.
class CancelTest : public SparkContextTest {
protected:
    FutureAction<void> begin() {
        auto running = std::make_shared<std::latch>(1);
        auto job = sc.parallelize(std::vector{1}, 1).foreachAsync([running](int) {
            std::mutex mutex;
            std::condition_variable_any never;
            std::unique_lock lock(mutex);
            running->count_down();
            never.wait(lock, TaskContext::get()->interruption(), [] { return false; });
        });
        running->wait();
        return job;
    }
};

TEST_F(CancelTest, AllJobsAStageOrAJobAreCancelledWithTheirReasons) {
    auto first = begin();
    auto second = begin();
    sc.cancelAllJobs();
    for (auto* job : {&first, &second}) {
        EXPECT_THAT(errorOf([&] { job->get(); }), HasSubstr("all jobs were cancelled"));
    }
    auto third = begin();
    const auto info = sc.statusTracker().getJobInfo(third.jobIds().at(0));
    ASSERT_TRUE(info);
    EXPECT_EQ(info->status, SparkJobInfo::Status::kRunning);
    sc.cancelStage(info->stageIds.at(0), "too slow");
    EXPECT_THAT(errorOf([&] { third.get(); }), AllOf(HasSubstr("was cancelled"), HasSubstr("too slow")));
    EXPECT_EQ(sc.statusTracker().getJobInfo(third.jobIds().at(0))->status, SparkJobInfo::Status::kFailed);
    auto fourth = begin();
    sc.cancelJob(fourth.jobIds().at(0), "not wanted");
    EXPECT_THAT(errorOf([&] { fourth.get(); }), HasSubstr("not wanted"));
    sc.cancelStage(12345);
    EXPECT_THAT(sc.statusTracker().getActiveJobIds(), IsEmpty());
    EXPECT_THAT(sc.statusTracker().getActiveStageIds(), IsEmpty());
    EXPECT_EQ(sc.statusTracker().getStageInfo(12345), std::nullopt);
}

TEST_F(SparkContextTest, TheJobDescriptionIsAPropertyThatTasksSee) {
    sc.setJobDescription("counting");
    const auto description = [&] {
        return sc.runJob(sc.parallelize(std::vector{1}, 1), [](TaskContext& task, Iterator<int>) {
            return task.getLocalProperty("spark.job.description").value_or("none");
        })[0];
    };
    EXPECT_EQ(description(), "counting");
    sc.setJobGroup("group", "of the group");
    EXPECT_EQ(description(), "of the group");
    sc.clearJobGroup();
    EXPECT_EQ(description(), "none");
    EXPECT_EQ(sc.getLocalProperty("spark.jobGroup.id"), std::nullopt);
}

// ---- information

TEST_F(SparkContextTest, TellsWhatItIs) {
    EXPECT_EQ(sc.appName(), "test");
    EXPECT_EQ(sc.master(), "local[2]");
    EXPECT_TRUE(sc.isLocal());
    EXPECT_FALSE(sc.isStopped());
    EXPECT_EQ(sc.applicationId(), "local-" + std::to_string(sc.startTime()));
    EXPECT_EQ(sc.uiWebUrl(), std::nullopt);
    EXPECT_FALSE(SparkContext::version().empty());
    EXPECT_EQ(sc.defaultParallelism(), 2);
    EXPECT_EQ(sc.defaultMinPartitions(), 2);
    SparkConf copy = sc.getConf();
    copy.set("spark.app.name", "another");
    EXPECT_EQ(sc.appName(), "test");
    EXPECT_EQ(sc.getCheckpointDir(), std::nullopt);
    sc.setCheckpointDir(directory / "checkpoints");
    ASSERT_TRUE(sc.getCheckpointDir());
    EXPECT_THAT(*sc.getCheckpointDir(), HasSubstr(directory / "checkpoints/"));
    EXPECT_TRUE(std::filesystem::is_directory(*sc.getCheckpointDir()));
}

TEST_F(SparkContextTest, FilesAreAddedOnceAndDirectoriesOnRequestOnly) {
    sc.addFile("/etc/passwd");
    sc.addFile("/etc/passwd");
    EXPECT_THAT(sc.listFiles(), ElementsAre("/etc/passwd"));
    EXPECT_THROW(sc.addFile(directory.path()), SparkException);
    sc.addFile(directory.path(), true);
    EXPECT_THROW(sc.addFile(directory / "missing"), SparkException);
    EXPECT_THAT(sc.listFiles(), ElementsAre("/etc/passwd", directory.path()));
}

TEST_F(SparkContextTest, StorageInfoListsWhatIsKept) {
    auto rdd = sc.parallelize(std::vector{1, 2, 3}, 3).setName("kept").cache();
    EXPECT_EQ(sc.getPersistentRDDs().size(), 1U);
    EXPECT_THAT(sc.getRDDStorageInfo(), IsEmpty()) << "nothing is computed yet";
    rdd.count();
    const auto infos = sc.getRDDStorageInfo();
    ASSERT_EQ(infos.size(), 1U);
    EXPECT_EQ(infos[0].name, "kept");
    EXPECT_EQ(infos[0].numCachedPartitions, 3);
    EXPECT_EQ(infos[0].numPartitions, 3);
    rdd.unpersist();
    EXPECT_THAT(sc.getPersistentRDDs(), IsEmpty());
    EXPECT_EQ(rdd.getStorageLevel(), StorageLevel::NONE);
}

TEST_F(SparkContextTest, AListenerHearsOfTheApplicationAndNothingAfterItsRemoval) {
    struct Recorder : SparkListener {
        void onApplicationStart(const SparkListenerApplicationStart& event) override { started = event.appName; }
        void onJobEnd(const SparkListenerJobEnd&) override { ++jobs; }
        void onApplicationEnd(const SparkListenerApplicationEnd&) override { ended = true; }
        std::string started;
        int jobs = 0;
        bool ended = false;
    };
    const auto leaves = std::make_shared<Recorder>();
    const auto stays = std::make_shared<Recorder>();
    sc.addSparkListener(leaves);
    sc.addSparkListener(stays);
    sc.parallelize(std::vector{1}, 1).count();
    sc.waitUntilListenersAreIdle();
    sc.removeSparkListener(leaves);
    sc.parallelize(std::vector{1}, 1).count();
    sc.stop();
    EXPECT_EQ(leaves->started, "test");
    EXPECT_EQ(leaves->jobs, 1);
    EXPECT_FALSE(leaves->ended);
    EXPECT_EQ(stays->jobs, 2);
    EXPECT_TRUE(stays->ended);
}

TEST(SettingsTest, ThoseWithoutMeaningHereAreNamedInOneWarning) {
    std::vector<std::string> warnings;
    setLogSink([&](LogLevel level, std::string_view, std::string_view text) {
        if (level == LogLevel::kWarn) warnings.emplace_back(text);
    });
    {
        const SparkContext sc(SparkConf()
                                  .setMaster("local")
                                  .setAppName("settings")
                                  .set("spark.executor.memory", "4g")
                                  .set("spark.locality.wait", "0s")
                                  .set("spark.task.maxFailures", "8")
                                  .set("spark.task.cpus", "1")
                                  .set("spark.speculation.efficiency.enabled", "true"));
    }
    setLogSink({});
    EXPECT_THAT(warnings, ElementsAre("these settings have no meaning in one process and are ignored: "
                                      "spark.executor.memory, spark.locality.wait, spark.task.maxFailures"));
}

// ---- tasks

TEST_F(SparkContextTest, ListenersOfAFailedTaskRunInReverseOrderFailureFirst) {
    std::mutex mutex;
    std::vector<std::string> order;
    const auto note = [&](const std::string& what) {
        const std::lock_guard lock(mutex);
        order.push_back(what);
    };
    EXPECT_THROW(sc.parallelize(std::vector{1}, 1).foreach ([&](int) {
        TaskContext& task = *TaskContext::get();
        EXPECT_FALSE(task.isCompleted());
        EXPECT_FALSE(task.isFailed());
        EXPECT_FALSE(task.isInterrupted());
        EXPECT_EQ(task.stageAttemptNumber(), 0);
        EXPECT_EQ(task.cpus(), 1);
        EXPECT_EQ(TaskContext::getPartitionId(), 0);
        task.addTaskCompletionListener([&](TaskContext& ended) {
            note(ended.isCompleted() && ended.isFailed() ? "completion 1" : "?");
            ended.addTaskCompletionListener([&](TaskContext&) { note("late, at once"); });
        });
        task.addTaskCompletionListener([&](TaskContext&) { note("completion 2"); });
        task.addTaskFailureListener([&](TaskContext& failed, const std::exception_ptr& error) {
            note(failed.isFailed() && !failed.isCompleted() && error ? "failure 1" : "?");
        });
        task.addTaskFailureListener([&](TaskContext&, const std::exception_ptr&) { note("failure 2"); });
        throw std::runtime_error("on purpose");
    }),
                 SparkException);
    EXPECT_THAT(order, ElementsAre("failure 2", "failure 1", "completion 2", "completion 1", "late, at once"));
}

// ---- operators that no conformance case has

TEST_F(SparkContextTest, TheOtherNamesOfOperatorsDoTheSame) {
    const RDD<std::pair<int, int>> pairs = sc.parallelize(IntPairs{{1, 10}, {2, 20}, {1, 30}}, 2);
    const auto plus = std::plus<>{};
    EXPECT_THAT(pairs.combineByKeyWithClassTag([](int v) { return v; }, plus, plus).collect(),
                UnorderedElementsAre(Pair(1, 40), Pair(2, 20)));
    EXPECT_EQ(pairs.groupWith(pairs).count(), 2);
    EXPECT_EQ(pairs.groupWith(pairs, pairs, pairs).count(), 2);
    const auto here = std::source_location::current();
    for (const unsigned line :
         {pairs.groupWith(pairs).node()->callSite().line, pairs.groupWith(pairs, pairs).node()->callSite().line,
          pairs.groupWith(pairs, pairs, pairs).node()->callSite().line}) {
        EXPECT_GT(line, here.line());
        EXPECT_LE(line, here.line() + 3) << "the call site is the line of the program";
    }
    const auto values = sc.parallelize(std::vector{1.0, 2.0, 3.0, 4.0}, 2);
    EXPECT_DOUBLE_EQ(values.popVariance(), 1.25);
    EXPECT_DOUBLE_EQ(values.popStdev(), std::sqrt(1.25));
    EXPECT_DOUBLE_EQ(values.sampleVariance(), 5.0 / 3);
    EXPECT_DOUBLE_EQ(values.sampleStdev(), std::sqrt(5.0 / 3));
    EXPECT_TRUE(std::isnan(sc.parallelize(std::vector{1.0}, 1).sampleStdev()));
    EXPECT_THROW(sc.emptyRDD<double>().stats(), EmptyCollectionException);
    EXPECT_THROW((sc.emptyRDD<std::pair<int, int>>().reduceByKeyLocally(plus)), EmptyCollectionException);
    const auto counts = pairs.countByKeyApprox(60'000).getFinalValue();
    EXPECT_EQ(counts.at(1).mean, 2);
    EXPECT_EQ(counts.at(2).mean, 1);
}

TEST_F(SparkContextTest, DistinctValuesOfKeysAreEstimatedByErrorOrPrecision) {
    IntPairs all;
    for (int i = 0; i < 3000; ++i) all.emplace_back(i % 3, i % 300);
    const auto pairs = sc.parallelize(all, 3);
    for (const auto& estimate : {pairs.countApproxDistinctByKey(0.02), pairs.countApproxDistinctByKey(0.02, 4),
                                 pairs.countApproxDistinctByKey(14, 0, HashPartitioner(2)),
                                 pairs.countApproxDistinctByKey(12, 25, HashPartitioner(1))}) {
        const auto counts = estimate.collectAsMap();
        ASSERT_EQ(counts.size(), 3U);
        for (const auto& [key, n] : counts) EXPECT_NEAR(static_cast<double>(n), 100, 6) << key;
    }
    EXPECT_EQ(pairs.countApproxDistinctByKey(14, 0, HashPartitioner(2)).getNumPartitions(), 2);
    EXPECT_THROW(pairs.countApproxDistinctByKey(3, 0, HashPartitioner(1)), IllegalArgumentException);
    EXPECT_THROW(pairs.countApproxDistinctByKey(10, 9, HashPartitioner(1)), IllegalArgumentException);
    EXPECT_THROW(pairs.countApproxDistinctByKey(4, 33, HashPartitioner(1)), IllegalArgumentException);
    EXPECT_THROW(pairs.countApproxDistinctByKey(0.00001), IllegalArgumentException);
}

// ---- partitioners

TEST_F(SparkContextTest, TheDefaultPartitionerIsTheLargestNearEnoughOrByHash) {
    const auto pairs = [&](int partitions, std::optional<int> placed = std::nullopt) {
        const RDD<std::pair<int, int>> rdd = sc.parallelize(IntPairs{{1, 1}}, partitions);
        return placed ? rdd.partitionBy(HashPartitioner(*placed)) : rdd;
    };
    const auto chosen = [](const std::vector<RDD<std::pair<int, int>>>& rdds) {
        std::vector<const RddBase*> bases;
        for (const auto& rdd : rdds) bases.push_back(rdd.node().get());
        return defaultPartitioner(bases).numPartitions();
    };
    EXPECT_EQ(chosen({pairs(3), pairs(7)}), 7);
    EXPECT_EQ(chosen({pairs(3), pairs(1, 2)}), 2) << "within a factor of ten";
    EXPECT_EQ(chosen({pairs(19), pairs(1, 2)}), 2);
    EXPECT_EQ(chosen({pairs(20), pairs(1, 2)}), 20);
    EXPECT_EQ(chosen({pairs(1, 4), pairs(1, 5)}), 5);
    EXPECT_EQ(chosen({pairs(1, 0), pairs(3)}), 3) << "one without partitions does not count";
}

class ParallelismTest : public testsupport::SparkContextTest {
protected:
    ParallelismTest() : SparkContextTest(SparkConf().set("spark.default.parallelism", "5")) {}
};

TEST_F(ParallelismTest, TheSettingIsTheNumberOfPartitionsUnlessThereAreEnoughAlready) {
    const RDD<std::pair<int, int>> pairs = sc.parallelize(IntPairs{{1, 1}}, 60);
    EXPECT_EQ(pairs.reduceByKey(std::plus<>{}).getNumPartitions(), 5);
    const auto placed = pairs.partitionBy(HashPartitioner(5));
    EXPECT_EQ(placed.join(pairs).getNumPartitions(), 5) << "5 of 60 are not near enough, but 5 are wanted";
    EXPECT_EQ(pairs.partitionBy(HashPartitioner(4)).join(pairs).getNumPartitions(), 5);
    EXPECT_EQ(sc.parallelize(std::vector{1}).getNumPartitions(), 5);
    EXPECT_EQ(sc.defaultMinPartitions(), 2);
}

TEST_F(SparkContextTest, EveryLevelOfATreeAggregateUsesItsZero) {
    const auto plus = std::plus<>{};
    const std::vector<int> ones(11, 1);
    // Each of 11 partitions, each of 11 sums of a level of two, each of these two, the result.
    EXPECT_EQ(sc.parallelize(ones, 11).treeAggregate(3, plus, plus), 11 + 3 * (11 + 11 + 2 + 1));
    // The sums of four partitions are not worth a level.
    EXPECT_EQ(sc.parallelize(ones, 4).treeAggregate(3, plus, plus), 11 + 3 * (4 + 4 + 1));
    EXPECT_EQ(sc.parallelize(ones, 4).treeAggregate(3, plus, plus, 2, true), 11 + 3 * (4 + 4 + 1 + 1));
    EXPECT_EQ(sc.emptyRDD<int>().treeAggregate(3, plus, plus), 3);
}

TEST_F(SparkContextTest, ANegativeCountOfOrderedElementsIsAnError) {
    const auto rdd = sc.parallelize(std::vector{2, 1}, 2);
    EXPECT_THROW(rdd.takeOrdered(-1), IllegalArgumentException);
    EXPECT_THROW(rdd.top(-1), IllegalArgumentException);
    EXPECT_THAT(sc.emptyRDD<int>().top(-1), IsEmpty());
    // As in the reference, a partition without elements does not look at the count.
    const auto nothing = sc.parallelize(std::vector<int>{}, 2);
    EXPECT_THAT(nothing.top(-1), IsEmpty());
    EXPECT_THAT(nothing.takeOrdered(-1), IsEmpty());
    EXPECT_THROW(sc.fromPartitions(std::vector<std::vector<int>>{{}, {1}}).top(-1), IllegalArgumentException);
    EXPECT_THAT(rdd.take(-1), IsEmpty());
}

TEST_F(SparkContextTest, ASortHasNoMorePartitionsThanElements) {
    EXPECT_EQ(sc.parallelize(std::vector{7}, 1).sortBy([](int x) { return x; }, true, 3).getNumPartitions(), 1);
    EXPECT_EQ(sc.parallelize(std::vector{-5, 0, -8, -3}, 2).sortBy([](int x) { return x; }, true, 20).glom().collect(),
              (std::vector<std::vector<int>>{{-8}, {-5}, {-3}, {0}}));
}

TEST_F(SparkContextTest, AHistogramPutsAValueOnABoundIntoTheBucketThatBeginsThere) {
    const auto values = sc.parallelize(std::vector{0.0, 0.3, 0.6, 0.7, 1.0}, 2);
    EXPECT_THAT(values.histogram(10).second, ElementsAre(1, 0, 0, 1, 0, 0, 1, 1, 0, 1));
    EXPECT_THAT(values.histogram({0.0, 0.3, 1.0}), ElementsAre(1, 4));
    EXPECT_THAT(values.histogram({1.0, 0.0}), ElementsAre(1)) << "bounds that fall find their first one";
    EXPECT_THROW(values.histogram(0), IllegalArgumentException);
    EXPECT_THAT(sc.parallelize(std::vector{2.0, 2.0}, 1).histogram(0).second, ElementsAre(2)) << "of one value";
}

TEST_F(SparkContextTest, ARangePartitionerPutsABoundsKeyBelow) {
    IntPairs all;
    for (int i = 0; i < 1000; ++i) all.emplace_back(i, i);
    const RDD<std::pair<int, int>> rdd = sc.parallelize(all, 4);
    const RangePartitioner<int> up(4, rdd);
    const RangePartitioner<int> down(4, rdd, false);
    EXPECT_EQ(up.numPartitions(), 4);
    EXPECT_EQ(up.getPartition(-1), 0);
    EXPECT_EQ(up.getPartition(5000), 3);
    EXPECT_EQ(down.getPartition(-1), 3);
    int last = 0;
    for (int key = 0; key < 1000; ++key) {
        const int at = up.getPartition(key);
        EXPECT_TRUE(at == last || at == last + 1) << key;
        last = at;
        EXPECT_EQ(down.getPartition(key), 3 - at) << "the same bounds, from the other side";
    }
    EXPECT_TRUE(Partitioner(up) == Partitioner(RangePartitioner<int>(4, rdd))) << "the sample depends on the RDD only";
    EXPECT_FALSE(Partitioner(up) == Partitioner(down));
    EXPECT_FALSE(Partitioner(up) == Partitioner(HashPartitioner(4)));
    EXPECT_EQ(RangePartitioner<int>(4, sc.emptyRDD<std::pair<int, int>>()).numPartitions(), 1);
    EXPECT_LE(RangePartitioner<int>(9, sc.parallelize(IntPairs(50, {1, 1}), 2)).numPartitions(), 2);
    EXPECT_THROW(RangePartitioner<int>(-1, rdd), IllegalArgumentException);
    EXPECT_THROW(RangePartitioner<int>(4, rdd, true, 0), IllegalArgumentException);
    EXPECT_THROW(HashPartitioner(-1), IllegalArgumentException);
    EXPECT_EQ(HashPartitioner(0).numPartitions(), 0);
}

}  // namespace
}  // namespace dstream
