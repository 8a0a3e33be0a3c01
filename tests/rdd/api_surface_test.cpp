// One call of every form that the compatibility inventory lists for contexts, RDDs, partitioners, shared variables and
// tasks, with the names, argument orders and defaults given there: a form that is missing does not compile.

#include "rdd/portable_data_stream.hpp"
#include "rdd/range_partitioner.hpp"
#include "rdd/rdd.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using Strings = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, int>>;

class ApiSurfaceTest : public ::testing::Test {
protected:
    SparkContext sc_{SparkConf().setMaster("local[2]").setAppName("api")};
    testsupport::TemporaryDirectory directory_;

    RDD<int> numbers() { return sc_.parallelize(std::vector<int>{3, 1, 2, 3}, 2); }
    RDD<std::pair<std::string, int>> pairs() { return sc_.parallelize(Pairs{{"a", 1}, {"b", 2}, {"a", 3}}, 2); }
    RDD<std::pair<std::string, double>> others() {
        return sc_.parallelize(std::vector<std::pair<std::string, double>>{{"a", 0.5}, {"c", 1.5}}, 2);
    }
    std::string path(const std::string& name) const { return directory_ / name; }

    void TearDown() override { sc_.stop(); }
};

struct SumOf {
    int64_t sum = 0;
    void merge(int64_t part) { sum += part; }
    int64_t estimate(int /*merged*/, int /*total*/) const { return sum; }
};

struct InOneGroup : PartitionCoalescer {
    std::vector<std::vector<int>> coalesce(int, const RddBase& parent) const override {
        std::vector<int> all;
        for (int i = 0; i < parent.numPartitions(); ++i) all.push_back(i);
        return {all};
    }
};

struct ByFirstLetter : KeyPartitioner<std::string> {
    int numPartitions() const override { return 2; }
    int getPartition(const std::string& key) const override { return key < "b" ? 0 : 1; }
    bool equals(const PartitionerBase& other) const override {
        return dynamic_cast<const ByFirstLetter*>(&other) != nullptr;
    }
};

struct Longest : AccumulatorV2<std::string, int64_t> {
    bool doIsZero() const override { return size == 0; }
    std::unique_ptr<AccumulatorV2> doCopy() const override { return std::make_unique<Longest>(*this); }
    void doReset() override { size = 0; }
    void doAdd(const std::string& word) override { size = std::max(size, static_cast<int64_t>(word.size())); }
    void doMerge(const AccumulatorV2& other) override { size = std::max(size, other.stateAs<Longest>().size); }
    int64_t doValue() const override { return size; }
    int64_t size = 0;
};

TEST_F(ApiSurfaceTest, SettingsHaveEveryForm) {
    SparkConf conf;
    conf.set("a", "1").setIfMissing("b", "true").setAppName("app").setMaster("local").setAll({{"c", "2.5"}});
    conf.set("time", "2s").set("size", "1k").remove("missing");
    EXPECT_EQ(conf.get("a"), "1");
    EXPECT_EQ(conf.get("z", "otherwise"), "otherwise");
    EXPECT_EQ(conf.getOption("z"), std::nullopt);
    EXPECT_EQ(conf.getInt("a", 0), 1);
    EXPECT_EQ(conf.getLong("a", 0), 1);
    EXPECT_EQ(conf.getDouble("c", 0), 2.5);
    EXPECT_TRUE(conf.getBoolean("b", false));
    EXPECT_EQ(conf.getTimeAsMs("time"), 2000);
    EXPECT_EQ(conf.getTimeAsMs("z", "1s"), 1000);
    EXPECT_EQ(conf.getTimeAsSeconds("time"), 2);
    EXPECT_EQ(conf.getTimeAsSeconds("z", "3s"), 3);
    EXPECT_EQ(conf.getSizeAsBytes("size"), 1024);
    EXPECT_EQ(conf.getSizeAsBytes("z", "2k"), 2048);
    EXPECT_TRUE(conf.contains("a"));
    EXPECT_EQ(conf.getAll(), conf.clone().getAll());
    EXPECT_FALSE(conf.toDebugString().empty());
    EXPECT_THROW(conf.get("z"), NoSuchElementException);
}

TEST_F(ApiSurfaceTest, AContextMakesRdds) {
    EXPECT_EQ(SparkContext::getOrCreate(), sc_);
    EXPECT_EQ(SparkContext::getOrCreate(SparkConf()), sc_);
    EXPECT_EQ(sc_.parallelize(std::vector{1, 2}).getNumPartitions(), sc_.defaultParallelism());
    EXPECT_EQ(sc_.makeRDD(std::vector{1, 2}).count() + sc_.makeRDD(std::vector{1, 2}, 1).count(), 4);
    const std::vector<std::pair<int, Strings>> placed{{1, {"host"}}, {2, {}}};
    EXPECT_THAT(sc_.makeRDD(placed).collect(), ElementsAre(1, 2));
    EXPECT_THAT(sc_.range(0, 3).collect(), ElementsAre(0, 1, 2));
    EXPECT_THAT(sc_.range(4, 0, -2).collect(), ElementsAre(4, 2));
    EXPECT_EQ(sc_.range(0, 9, 1, 3).getNumPartitions(), 3);
    EXPECT_EQ(sc_.emptyRDD<int>().getNumPartitions(), 0);
    EXPECT_THAT(sc_.unionAll(std::vector{numbers(), numbers()}).collect(), SizeIs(8));
    EXPECT_THAT(sc_.unionAll(numbers(), numbers(), numbers()).collect(), SizeIs(12));

    std::ofstream(path("lines")) << "one\ntwo\n";
    EXPECT_THAT(sc_.textFile(path("lines")).collect(), ElementsAre("one", "two"));
    EXPECT_EQ(sc_.textFile(path("lines"), 2).count(), 2);
    EXPECT_EQ(sc_.wholeTextFiles(path("lines")).count() + sc_.wholeTextFiles(path("lines"), 2).count(), 2);
    EXPECT_EQ(sc_.binaryFiles(path("lines"), 1).collect().front().second.size(), 8U);
    EXPECT_EQ(sc_.binaryFiles(path("lines")).count(), 1);
    EXPECT_THAT(sc_.binaryRecords(path("lines"), 4).collect(), ElementsAre("one\n", "two\n"));
    numbers().saveAsObjectFile(path("objects"));
    EXPECT_EQ(sc_.objectFile<int>(path("objects")).count() + sc_.objectFile<int>(path("objects"), 1).count(), 8);
}

TEST_F(ApiSurfaceTest, AContextRunsJobs) {
    const auto size = [](TaskContext&, Iterator<int> part) {
        int64_t n = 0;
        for (; part.hasNext(); part.next()) ++n;
        return n;
    };
    const auto first = [](Iterator<int> part) { return part.next(); };
    EXPECT_THAT(sc_.runJob(numbers(), size), ElementsAre(2, 2));
    EXPECT_THAT(sc_.runJob(numbers(), first, std::vector{1, 0}), ElementsAre(2, 3));
    std::map<int, int64_t> handled;
    sc_.runJob(numbers(), size, std::vector{0, 1}, [&](int index, int64_t n) { handled[index] = n; });
    EXPECT_THAT(handled, ElementsAre(Pair(0, 2), Pair(1, 2)));
    auto future = sc_.submitJob(
        numbers(), size, std::vector{0}, [&](int, int64_t n) { handled[2] = n; }, [&] { return handled[2]; });
    EXPECT_EQ(future.get(), 2);
    EXPECT_EQ(sc_.runApproximateJob(numbers(), size, SumOf(), 20000).getFinalValue(), 4);

    sc_.setJobGroup("group", "description");
    sc_.setJobGroup("group", "description", true);
    sc_.setJobDescription("other");
    sc_.setJobDescription(std::nullopt);
    sc_.setLocalProperty("key", "value");
    EXPECT_EQ(sc_.getLocalProperty("key"), "value");
    { auto scope = sc_.inheritProperties(sc_.getLocalProperties()); }
    sc_.setLocalProperty("key", std::nullopt);
    sc_.clearJobGroup();
    sc_.cancelJobGroup("group");
    sc_.cancelAllJobs();
    sc_.cancelJob(9999);
    sc_.cancelJob(9999, "reason");
    sc_.cancelStage(9999);
    sc_.cancelStage(9999, "reason");
}

TEST_F(ApiSurfaceTest, AContextTellsAboutItself) {
    sc_.setCheckpointDir(path("checkpoints"));
    EXPECT_TRUE(sc_.getCheckpointDir());
    EXPECT_EQ(sc_.defaultParallelism(), 2);
    EXPECT_EQ(sc_.defaultMinPartitions(), 2);
    std::ofstream(path("file")) << "text";
    sc_.addFile(path("file"));
    sc_.addFile(directory_.path(), true);
    EXPECT_THAT(sc_.listFiles(), SizeIs(2));
    const auto kept = numbers().cache();
    kept.count();
    EXPECT_THAT(sc_.getPersistentRDDs(), SizeIs(1));
    EXPECT_THAT(sc_.getRDDStorageInfo(), SizeIs(1));
    EXPECT_THAT(sc_.statusTracker().getActiveJobIds(), IsEmpty());
    EXPECT_THAT(sc_.statusTracker().getActiveStageIds(), IsEmpty());
    EXPECT_THAT(sc_.statusTracker().getJobIdsForGroup("none"), IsEmpty());
    EXPECT_FALSE(sc_.statusTracker().getJobInfo(9999));
    EXPECT_FALSE(sc_.statusTracker().getStageInfo(9999));
    sc_.setLogLevel("WARN");
    EXPECT_FALSE(sc_.applicationId().empty());
    EXPECT_GT(sc_.startTime(), 0);
    EXPECT_FALSE(SparkContext::version().empty());
    EXPECT_FALSE(sc_.uiWebUrl());
    EXPECT_TRUE(sc_.isLocal());
    EXPECT_FALSE(sc_.isStopped());
    EXPECT_EQ(sc_.getConf().get("spark.app.name"), sc_.appName());
    EXPECT_EQ(sc_.master(), "local[2]");
    auto listener = std::make_shared<SparkListener>();
    sc_.addSparkListener(listener);
    sc_.removeSparkListener(listener);
    sc_.stop();
    EXPECT_TRUE(sc_.isStopped());
    const SparkContext again("local", "app", SparkConf());
    again.stop();
    const SparkContext third("local", "app");
    third.stop();
}

TEST_F(ApiSurfaceTest, RddsHaveIdentityAndStorage) {
    sc_.setCheckpointDir(path("checkpoints"));
    const RDD<int> rdd = numbers().setName("named");
    EXPECT_EQ(rdd.name(), "named");
    EXPECT_GE(rdd.id(), 0);
    EXPECT_EQ(rdd.context(), rdd.sparkContext());
    EXPECT_THAT(rdd.partitions(), SizeIs(rdd.getNumPartitions()));
    EXPECT_FALSE(rdd.partitioner());
    EXPECT_THAT(rdd.dependencies(), IsEmpty());
    EXPECT_THAT(rdd.preferredLocations(rdd.partitions()[0]), IsEmpty());
    EXPECT_THAT(sc_.runJob(rdd, [rdd](TaskContext& context,
                                      Iterator<int>) { return rdd.iterator(rdd.partitions()[0], context).next(); }),
                ElementsAre(3, 3));
    EXPECT_EQ(numbers().persist().getStorageLevel(), StorageLevel::MEMORY_ONLY);
    EXPECT_EQ(numbers().cache().getStorageLevel(), StorageLevel::MEMORY_ONLY);
    const RDD<int> kept = numbers().persist(StorageLevel::DISK_ONLY);
    kept.unpersist();
    kept.unpersist(true);
    EXPECT_EQ(kept.getStorageLevel(), StorageLevel::NONE);
    rdd.checkpoint();
    EXPECT_FALSE(rdd.isCheckpointed());
    EXPECT_FALSE(rdd.getCheckpointFile());
    EXPECT_EQ(numbers().localCheckpoint().count(), 4);
    EXPECT_FALSE(rdd.toDebugString().empty());
    EXPECT_FALSE(rdd.toString().empty());
}

TEST_F(ApiSurfaceTest, RddsAreTransformed) {
    const auto n = numbers();
    const auto twice = [](int x) { return std::vector{x, x}; };
    const auto emitTwice = [](int x, auto&& emit) {
        emit(x);
        emit(x);
    };
    const auto big = [](int x) { return x > 1; };
    const auto modulo = [](int x) { return x % 2; };
    const auto all = [](Iterator<int> part) { return part; };
    const auto allOf = [](int, Iterator<int> part) { return part; };
    EXPECT_EQ(n.map([](int x) { return x + 1; }).count() + n.flatMap(twice).count() + n.flatMap<int>(emitTwice).count(),
              20);
    EXPECT_THAT(n.filter(big).collect(), ElementsAre(3, 2, 3));
    EXPECT_EQ(n.mapPartitions(all).count() + n.mapPartitions(all, true).count(), 8);
    EXPECT_EQ(n.mapPartitionsWithIndex(allOf).count() + n.mapPartitionsWithIndex(allOf, true).count(), 8);
    EXPECT_THAT(n.glom().collect(), ElementsAre(ElementsAre(3, 1), ElementsAre(2, 3)));
    EXPECT_EQ(n.distinct().count() + n.distinct(3).count(), 6);
    EXPECT_EQ(n.unionWith(n).count() + (n + n).count(), 16);
    EXPECT_EQ(n.intersection(n).count() + n.intersection(n, HashPartitioner(2)).count() + n.intersection(n, 2).count(),
              9);
    EXPECT_EQ(n.subtract(n).count() + n.subtract(n, HashPartitioner(2)).count() + n.subtract(n, 2).count(), 0);
    EXPECT_EQ(n.cartesian(pairs()).count(), 12);
    EXPECT_EQ(n.groupBy(modulo).count() + n.groupBy(modulo, 2).count() + n.groupBy(modulo, HashPartitioner(2)).count(),
              6);
    EXPECT_THAT(n.keyBy(modulo).collect(), ElementsAre(Pair(1, 3), Pair(1, 1), Pair(0, 2), Pair(1, 3)));
    const auto negative = [](int x) { return -x; };
    EXPECT_THAT(n.sortBy(negative).collect(), ElementsAre(3, 3, 2, 1));
    EXPECT_THAT(n.sortBy(negative, false).collect(), ElementsAre(1, 2, 3, 3));
    EXPECT_THAT(n.sortBy(negative, true, 1).collect(), ElementsAre(3, 3, 2, 1));
    EXPECT_EQ(n.coalesce(1).getNumPartitions() + n.coalesce(4, true).getNumPartitions(), 5);
    EXPECT_EQ(n.coalesce(2, false, std::make_shared<InOneGroup>()).getNumPartitions(), 1);
    EXPECT_EQ(n.repartition(3).getNumPartitions(), 3);
    EXPECT_EQ(n.sample(false, 1.0).count() + n.sample(false, 1.0, 7).count(), 8);
    EXPECT_EQ(n.randomSplit({1.0}).front().count() + n.randomSplit({1.0}, 7).front().count(), 8);
    EXPECT_EQ(n.zip(n).count(), 4);
    const auto none2 = [](auto&&, auto&&) { return std::vector<int>(); };
    const auto none3 = [](auto&&, auto&&, auto&&) { return std::vector<int>(); };
    const auto none4 = [](auto&&, auto&&, auto&&, auto&&) { return std::vector<int>(); };
    EXPECT_EQ(n.zipPartitions(n, none2).count() + n.zipPartitions(n, true, none2).count() +
                  n.zipPartitions(n, n, false, none3).count() + n.zipPartitions(n, n, n, false, none4).count(),
              0);
    EXPECT_THAT(n.zipWithIndex().collect(), ElementsAre(Pair(3, 0), Pair(1, 1), Pair(2, 2), Pair(3, 3)));
    EXPECT_THAT(n.zipWithUniqueId().collect(), ElementsAre(Pair(3, 0), Pair(1, 2), Pair(2, 1), Pair(3, 3)));
    EXPECT_EQ(n.pipe("cat").count() + n.pipe("cat", {{"KEY", "value"}}).count(), 8);
    const auto write = [](const int& x, const std::function<void(std::string_view)>& line) { line(std::to_string(x)); };
    EXPECT_EQ(n.pipe(Strings{"cat"}).count(), 4);
    EXPECT_EQ(n.pipe(
                   Strings{"cat"}, {}, [](const auto& line) { line("head"); }, write, false, 100, "UTF-8")
                  .count(),
              6);
    EXPECT_THAT(n.collect([](int x) { return x > 2 ? std::optional(x) : std::nullopt; }).collect(), ElementsAre(3, 3));
}

TEST_F(ApiSurfaceTest, ActionsHaveEveryForm) {
    const auto n = numbers();
    const auto seen = sc_.longAccumulator();
    n.foreach ([seen](int x) { seen.add(x); });
    n.foreachPartition([seen](auto&& part) {
        for (const int x : part) seen.add(x);
    });
    EXPECT_EQ(seen.value(), 18);
    EXPECT_THAT(n.collect(), ElementsAre(3, 1, 2, 3));
    EXPECT_EQ(n.toLocalIterator().next(), 3);
    EXPECT_EQ(n.count(), 4);
    EXPECT_THAT(n.countByValue(), ElementsAre(Pair(1, 1), Pair(2, 1), Pair(3, 2)));
    EXPECT_EQ(n.countApprox(20000).getFinalValue().mean + n.countApprox(20000, 0.9).getFinalValue().mean, 8);
    EXPECT_THAT(n.countByValueApprox(20000).getFinalValue(), SizeIs(3));
    EXPECT_THAT(n.countByValueApprox(20000, 0.9).getFinalValue(), SizeIs(3));
    EXPECT_EQ(n.countApproxDistinct() + n.countApproxDistinct(0.1) + n.countApproxDistinct(12, 0), 9);
    const auto plus = [](int a, int b) { return a + b; };
    EXPECT_EQ(n.reduce(plus) + n.treeReduce(plus) + n.treeReduce(plus, 3), 27);
    EXPECT_EQ(n.fold(0, plus) + n.aggregate(0, plus, plus), 18);
    EXPECT_EQ(
        n.treeAggregate(0, plus, plus) + n.treeAggregate(0, plus, plus, 3) + n.treeAggregate(0, plus, plus, 2, true),
        27);
    EXPECT_THAT(n.take(2), ElementsAre(3, 1));
    EXPECT_EQ(n.first(), 3);
    EXPECT_THAT(n.takeOrdered(2), ElementsAre(1, 2));
    EXPECT_THAT(n.takeOrdered(2, std::greater<>()), ElementsAre(3, 3));
    EXPECT_THAT(n.top(2), ElementsAre(3, 3));
    EXPECT_THAT(n.top(1, std::greater<>()), ElementsAre(1));
    EXPECT_THAT(n.takeSample(false, 2), SizeIs(2));
    EXPECT_THAT(n.takeSample(true, 2, 7), SizeIs(2));
    EXPECT_EQ(n.max() + n.max(std::greater<>()) + n.min() + n.min(std::greater<>()), 8);
    EXPECT_FALSE(n.isEmpty());
    n.saveAsTextFile(path("text"));
    n.saveAsTextFile(path("zipped"), "gzip");
    n.saveAsObjectFile(path("objects"));
    EXPECT_EQ(sc_.textFile(path("zipped")).count(), 4);
}

TEST_F(ApiSurfaceTest, ActionsRunInTheBackgroundAndApproximately) {
    const auto n = numbers();
    auto count = n.countAsync();
    EXPECT_EQ(count.get(), 4);
    EXPECT_TRUE(count.isCompleted());
    EXPECT_FALSE(count.isCancelled());
    EXPECT_THAT(count.jobIds(), SizeIs(1));
    bool ended = false;
    count.onComplete([&](std::exception_ptr error) { ended = error == nullptr; });
    EXPECT_TRUE(ended);
    count.cancel();
    EXPECT_THAT(n.collectAsync().get(), SizeIs(4));
    EXPECT_THAT(n.takeAsync(3).get(), SizeIs(3));
    n.foreachAsync([](int) {}).get();
    n.foreachPartitionAsync([](auto&&) {}).get();

    auto approximate = n.countApprox(20000);
    EXPECT_EQ(approximate.initialValue().low, 4);
    EXPECT_EQ(approximate.initialValue().high, 4);
    EXPECT_EQ(approximate.initialValue().confidence, 1);
    EXPECT_TRUE(approximate.isInitialValueFinal());
    double seen = 0;
    approximate.onComplete([&](const BoundedDouble& value) { seen = value.mean; });
    approximate.onFail([](std::exception_ptr) {});
    EXPECT_EQ(seen, 4);
    EXPECT_EQ(n.countApprox(20000).map([](const BoundedDouble& value) { return value.toString(); }).getFinalValue(),
              "[4.000, 4.000]");
}

TEST_F(ApiSurfaceTest, PairsCombine) {
    const auto p = pairs();
    const HashPartitioner two(2);
    const auto create = [](int v) { return v; };
    const auto plus = [](int a, int b) { return a + b; };
    EXPECT_EQ(p.combineByKey(create, plus, plus).count() + p.combineByKey(create, plus, plus, 2).count() +
                  p.combineByKey(create, plus, plus, two).count() +
                  p.combineByKey(create, plus, plus, two, false).count() +
                  p.combineByKeyWithClassTag(create, plus, plus).count(),
              10);
    EXPECT_EQ(p.aggregateByKey(0, plus, plus).count() + p.aggregateByKey(0, 2, plus, plus).count() +
                  p.aggregateByKey(0, two, plus, plus).count(),
              6);
    EXPECT_EQ(p.foldByKey(0, plus).count() + p.foldByKey(0, 2, plus).count() + p.foldByKey(0, two, plus).count(), 6);
    EXPECT_THAT(p.reduceByKey(plus).collect(), UnorderedElementsAre(Pair("a", 4), Pair("b", 2)));
    EXPECT_EQ(p.reduceByKey(plus, 2).count() + p.reduceByKey(two, plus).count(), 4);
    EXPECT_THAT(p.reduceByKeyLocally(plus), ElementsAre(Pair("a", 4), Pair("b", 2)));
    EXPECT_EQ(p.groupByKey().count() + p.groupByKey(2).count() + p.groupByKey(two).count(), 6);
    EXPECT_THAT(p.countByKey(), ElementsAre(Pair("a", 2), Pair("b", 1)));
    EXPECT_THAT(p.countByKeyApprox(20000).getFinalValue(), SizeIs(2));
    EXPECT_THAT(p.countByKeyApprox(20000, 0.9).getFinalValue(), SizeIs(2));
    EXPECT_EQ(p.countApproxDistinctByKey().count() + p.countApproxDistinctByKey(0.1).count() +
                  p.countApproxDistinctByKey(0.1, 2).count() + p.countApproxDistinctByKey(0.1, two).count() +
                  p.countApproxDistinctByKey(12, 0, two).count(),
              10);
    const std::map<std::string, double> fractions{{"a", 1.0}};
    EXPECT_EQ(p.sampleByKey(false, fractions).count() + p.sampleByKey(false, fractions, 7).count(), 4);
    EXPECT_EQ(p.sampleByKeyExact(false, fractions).count() + p.sampleByKeyExact(false, fractions, 7).count(), 4);
    EXPECT_EQ(p.partitionBy(two).partitioner(), two);
}

TEST_F(ApiSurfaceTest, PairsMeetOthers) {
    const auto p = pairs();
    const auto o = others();
    const HashPartitioner two(2);
    EXPECT_EQ(p.join(o).count() + p.join(o, 2).count() + p.join(o, two).count(), 6);
    EXPECT_EQ(p.leftOuterJoin(o).count() + p.leftOuterJoin(o, 2).count() + p.leftOuterJoin(o, two).count(), 9);
    EXPECT_EQ(p.rightOuterJoin(o).count() + p.rightOuterJoin(o, 2).count() + p.rightOuterJoin(o, two).count(), 9);
    EXPECT_EQ(p.fullOuterJoin(o).count() + p.fullOuterJoin(o, 2).count() + p.fullOuterJoin(o, two).count(), 12);
    EXPECT_EQ(p.cogroup(o).count() + p.cogroup(o, 2).count() + p.cogroup(o, two).count(), 9);
    EXPECT_EQ(p.cogroup(o, o).count() + p.cogroup(o, o, 2).count() + p.cogroup(o, o, two).count(), 9);
    EXPECT_EQ(p.cogroup(o, o, o).count() + p.cogroup(o, o, o, 2).count() + p.cogroup(o, o, o, two).count(), 9);
    EXPECT_EQ(p.groupWith(o).count() + p.groupWith(o, o).count() + p.groupWith(o, o, o).count(), 9);
    EXPECT_EQ(p.subtractByKey(o).count() + p.subtractByKey(o, 2).count() + p.subtractByKey(o, two).count(), 3);
    EXPECT_THAT(p.mapValues([](int v) { return v + 1; }).values().collect(), ElementsAre(2, 3, 4));
    EXPECT_EQ(p.flatMapValues([](int v) { return std::vector{v, v}; }).count(), 6);
    EXPECT_THAT(p.keys().collect(), ElementsAre("a", "b", "a"));
    EXPECT_THAT(p.lookup("a"), ElementsAre(1, 3));
    EXPECT_THAT(p.collectAsMap(), ElementsAre(Pair("a", 3), Pair("b", 2)));
}

TEST_F(ApiSurfaceTest, KeysAreSortedAndNumbersSummedUp) {
    const auto p = pairs();
    const HashPartitioner two(2);
    EXPECT_EQ(p.sortByKey().first().first, "a");
    EXPECT_EQ(p.sortByKey(false).first().first, "b");
    EXPECT_EQ(p.sortByKey(true, 1).getNumPartitions(), 1);
    EXPECT_EQ(p.repartitionAndSortWithinPartitions(two).count(), 3);
    EXPECT_THAT(p.filterByRange("a", "a").values().collect(), ElementsAre(1, 3));

    const auto n = numbers();
    EXPECT_EQ(n.sum(), 9);
    EXPECT_EQ(n.stats().count(), 4);
    EXPECT_EQ(n.mean(), 2.25);
    EXPECT_DOUBLE_EQ(n.variance(), n.popVariance());
    EXPECT_DOUBLE_EQ(n.stdev(), n.popStdev());
    EXPECT_GT(n.sampleVariance(), n.variance());
    EXPECT_GT(n.sampleStdev(), n.stdev());
    EXPECT_THAT(n.histogram(2).second, ElementsAre(1, 3));
    EXPECT_THAT(n.histogram(std::vector<double>{0, 2, 4}), ElementsAre(1, 3));
    EXPECT_THAT(n.histogram(std::vector<double>{0, 2, 4}, true), ElementsAre(1, 3));
    EXPECT_EQ(n.meanApprox(20000).getFinalValue().mean + n.meanApprox(20000, 0.9).getFinalValue().mean, 4.5);
    EXPECT_EQ(n.sumApprox(20000).getFinalValue().mean + n.sumApprox(20000, 0.9).getFinalValue().mean, 18);
    StatCounter counter(std::vector<double>{1, 3});
    counter.merge(2.0).merge(StatCounter(std::vector<double>{2})).merge(std::vector<double>{2});
    EXPECT_EQ(counter.count() + counter.mean() + counter.sum() + counter.max() + counter.min(), 5 + 2 + 10 + 3 + 1);
    EXPECT_EQ(counter.copy().toString(), "(count: 5, mean: 2.000000, stdev: 0.632456, max: 3.000000, min: 1.000000)");
    EXPECT_DOUBLE_EQ(counter.variance(), counter.popVariance());
    EXPECT_DOUBLE_EQ(counter.stdev(), counter.popStdev());
    EXPECT_GT(counter.sampleVariance() + counter.sampleStdev(), 0);
}

TEST_F(ApiSurfaceTest, PartitionersHaveEveryForm) {
    const HashPartitioner hash(3);
    EXPECT_EQ(hash.numPartitions(), 3);
    EXPECT_EQ(hash, HashPartitioner(3));
    EXPECT_LT(hash.getPartition(std::string("key")), 3);
    const RangePartitioner<std::string> range(2, pairs());
    const RangePartitioner<std::string> descending(2, pairs(), false);
    const RangePartitioner<std::string> sampled(2, pairs(), true, 10);
    EXPECT_EQ(range.getPartition(std::string("a")), 0);
    EXPECT_EQ(descending.getPartition(std::string("b")), 0);
    EXPECT_EQ(sampled, range);
    const Partitioner own(std::make_shared<ByFirstLetter>());
    EXPECT_EQ(pairs().partitionBy(own).glom().collect().at(1), (Pairs{{"b", 2}}));
    EXPECT_EQ(defaultPartitioner(pairs()), HashPartitioner(2));
    EXPECT_EQ(defaultPartitioner(pairs().partitionBy(own), others()), own);
}

TEST_F(ApiSurfaceTest, StorageLevelsHaveEveryForm) {
    for (const StorageLevel& level :
         {StorageLevel::NONE, StorageLevel::DISK_ONLY, StorageLevel::DISK_ONLY_2, StorageLevel::DISK_ONLY_3,
          StorageLevel::MEMORY_ONLY, StorageLevel::MEMORY_ONLY_2, StorageLevel::MEMORY_ONLY_SER,
          StorageLevel::MEMORY_ONLY_SER_2, StorageLevel::MEMORY_AND_DISK, StorageLevel::MEMORY_AND_DISK_2,
          StorageLevel::MEMORY_AND_DISK_SER, StorageLevel::MEMORY_AND_DISK_SER_2, StorageLevel::OFF_HEAP}) {
        EXPECT_EQ(level.toInt(), level.useDisk() * 8 + level.useMemory() * 4 + level.useOffHeap() * 2 +
                                     static_cast<int>(level.deserialized()));
        EXPECT_EQ(level.isValid(), level != StorageLevel::NONE);
        EXPECT_GE(level.replication(), 1);
        EXPECT_FALSE(level.description().empty());
        EXPECT_FALSE(level.toString().empty());
    }
    EXPECT_EQ(StorageLevel::fromString("MEMORY_AND_DISK"), StorageLevel::MEMORY_AND_DISK);
}

TEST_F(ApiSurfaceTest, VariablesAreShared) {
    const Broadcast<int> shared = sc_.broadcast(7);
    EXPECT_EQ(shared.value(), 7);
    EXPECT_EQ(shared.toString(), "Broadcast(" + std::to_string(shared.id()) + ")");
    shared.unpersist();
    shared.unpersist(true);
    shared.destroy();
    EXPECT_THROW(shared.value(), SparkException);

    const auto whole = sc_.longAccumulator();
    const auto real = sc_.doubleAccumulator("real");
    const auto list = sc_.collectionAccumulator<int>();
    const auto named = sc_.collectionAccumulator<int>("named");
    Longest longest, second;
    sc_.registerAccumulator(longest, "longest");
    sc_.registerAccumulator(second);
    numbers().foreach ([=](int x) {
        whole.add(x);
        real.add(x);
        list.add(x);
        longest.add(std::string(static_cast<std::size_t>(x), 'x'));
    });
    EXPECT_EQ(whole.sum() + whole.count() + whole.value(), 9 + 4 + 9);
    EXPECT_EQ(whole.avg(), 2.25);
    EXPECT_EQ(real.sum() + static_cast<double>(real.count()) + real.avg() + real.value(), 9 + 4 + 2.25 + 9);
    EXPECT_THAT(list.value(), UnorderedElementsAre(1, 2, 3, 3));
    EXPECT_EQ(longest.value(), 3);
    EXPECT_EQ(real.name(), "real");
    EXPECT_NE(whole.id(), real.id());
    EXPECT_TRUE(named.isRegistered() && named.isZero());
    const auto copied = longest.copy();
    EXPECT_EQ(copied->value(), 3);
    second.merge(longest);
    EXPECT_EQ(second.value(), 3);
    EXPECT_TRUE(longest.copyAndReset()->isZero());
    longest.reset();
    EXPECT_TRUE(longest.isZero());
}

TEST_F(ApiSurfaceTest, ATaskKnowsItsContext) {
    EXPECT_EQ(TaskContext::get(), nullptr);
    EXPECT_EQ(TaskContext::getPartitionId(), 0);
    sc_.setLocalProperty("key", "value");
    const auto ends = sc_.longAccumulator();
    numbers().foreachPartition([ends](auto&&) {
        TaskContext& task = *TaskContext::get();
        const bool fine = task.stageId() >= 0 && task.stageAttemptNumber() == 0 && task.attemptNumber() == 0 &&
                          task.partitionId() == TaskContext::getPartitionId() && task.numPartitions() == 2 &&
                          task.taskAttemptId() >= 0 && task.cpus() == 1 && !task.isCompleted() && !task.isFailed() &&
                          !task.isInterrupted() && task.getLocalProperty("key") == "value" && !task.batchTime() &&
                          task.taskMetrics().spills == 0;
        task.addTaskCompletionListener([](TaskContext&) {});
        task.addTaskFailureListener([](TaskContext&, std::exception_ptr) {});
        ends.add(fine ? 1 : 0);
    });
    EXPECT_EQ(ends.value(), 2);
}

}  // namespace
}  // namespace dstream
