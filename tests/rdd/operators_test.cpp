#include "rdd/rdd.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

// What the recorded answers of the reference do not cover: randomness, user partitioners, views as keys, background and
// approximate actions.

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class OperatorsTest : public ::testing::TestWithParam<std::size_t> {
protected:
    SparkContext sc_{
        SparkConf().setMaster("local[2]").setAppName("operators").set("dstream.chunkSize", std::to_string(GetParam()))};

    RDD<int> numbers(int n, int slices = 3) {
        std::vector<int> all(static_cast<std::size_t>(n));
        std::iota(all.begin(), all.end(), 0);
        return sc_.parallelize(all, slices);
    }
    void TearDown() override { sc_.stop(); }
};

TEST_P(OperatorsTest, ASampleIsTheSameForTheSameSeedAndAboutAsLargeAsAskedFor) {
    const auto once = numbers(2000).sample(false, 0.3, 7).collect();
    EXPECT_EQ(once, numbers(2000).sample(false, 0.3, 7).collect());
    EXPECT_NEAR(static_cast<double>(once.size()), 600, 120);
    EXPECT_TRUE(std::is_sorted(once.begin(), once.end()));
    EXPECT_NEAR(static_cast<double>(numbers(2000).sample(true, 2.0, 7).count()), 4000, 400);
    EXPECT_THROW(numbers(10).sample(false, -0.1), IllegalArgumentException);
    EXPECT_THROW(numbers(10).sample(false, 1.5), IllegalArgumentException);
}

TEST_P(OperatorsTest, RandomSplitsAreDisjointAndComplete) {
    const auto parts = numbers(1000).randomSplit({1, 2, 1}, 3);
    ASSERT_EQ(parts.size(), 3U);
    std::vector<int> all;
    for (const auto& part : parts) {
        const auto elements = part.collect();
        all.insert(all.end(), elements.begin(), elements.end());
    }
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, numbers(1000).collect());
    EXPECT_THROW(numbers(10).randomSplit({0, 0}), IllegalArgumentException);
    EXPECT_THROW(numbers(10).randomSplit({1, -1}), IllegalArgumentException);
}

TEST_P(OperatorsTest, TakeSampleGivesThatManyDifferentElements) {
    const auto some = numbers(100).takeSample(false, 20, 5);
    EXPECT_EQ(some.size(), 20U);
    EXPECT_EQ(std::set<int>(some.begin(), some.end()).size(), 20U);
    EXPECT_EQ(some, numbers(100).takeSample(false, 20, 5));
    EXPECT_EQ(numbers(5).takeSample(false, 20).size(), 5U);
    EXPECT_EQ(numbers(5).takeSample(true, 20).size(), 20U);
    EXPECT_THROW(numbers(5).takeSample(false, -1), IllegalArgumentException);
}

TEST_P(OperatorsTest, SampleByKeyExactTakesExactlyTheCeilingOfEachShare) {
    auto pairs = numbers(300).map([](int x) { return std::pair(x % 3, x); });
    const auto kept = pairs.sampleByKeyExact(false, {{0, 0.1}, {1, 0.333}}, 11).countByKey();
    EXPECT_THAT(kept, ElementsAre(Pair(0, 10), Pair(1, 34)));
    const auto drawn = pairs.sampleByKeyExact(true, {{2, 2.0}}, 11);
    EXPECT_THAT(drawn.countByKey(), ElementsAre(Pair(2, 200)));
    EXPECT_THROW(pairs.sampleByKeyExact(false, {{0, 1.5}}), IllegalArgumentException);
    EXPECT_THROW(pairs.sampleByKey(false, {{0, -1.0}}), IllegalArgumentException);
}

struct ByLength : KeyPartitioner<std::string> {
    int numPartitions() const override { return 3; }
    int getPartition(const std::string& key) const override { return static_cast<int>(key.size()) % 3; }
    bool equals(const PartitionerBase& other) const override {
        return dynamic_cast<const ByLength*>(&other) != nullptr;
    }
};

TEST_P(OperatorsTest, AUserPartitionerPlacesKeysAndIsRecognised) {
    const Partitioner byLength(std::make_shared<ByLength>());
    auto words =
        sc_.parallelize(std::vector<std::string>{"a", "bb", "ccc", "dd", "a"}, 2).map([](const std::string& word) {
            return std::pair(word, 1);
        });
    auto placed = words.partitionBy(byLength);
    EXPECT_THAT(placed.keys().glom().collect(),
                ElementsAre(ElementsAre("ccc"), ElementsAre("a", "a"), ElementsAre("bb", "dd")));
    // Partitioned alike already: no shuffle.
    auto counts = placed.reduceByKey(Partitioner(std::make_shared<ByLength>()), std::plus<>{});
    EXPECT_EQ(counts.dependencies().front()->shuffle(), nullptr);
    EXPECT_EQ(counts.collectAsMap().at("a"), 2);
    EXPECT_THAT(counts.lookup("a"), ElementsAre(2));
    auto wrongKeys = numbers(3).keyBy([](int x) { return x; });
    EXPECT_THROW(wrongKeys.partitionBy(byLength).count(), SparkException);
}

TEST_P(OperatorsTest, SortingSpreadsRangesAndKeepsEqualKeysInOrder) {
    std::vector<std::pair<int, int>> pairs;
    for (int i = 0; i < 500; ++i) pairs.emplace_back((i * 37) % 100, i);
    auto sorted = sc_.parallelize(pairs, 4).sortByKey(true, 3);
    const auto all = sorted.collect();
    std::stable_sort(pairs.begin(), pairs.end(), [](auto& a, auto& b) { return a.first < b.first; });
    EXPECT_EQ(all, pairs);
    EXPECT_GT(sorted.getNumPartitions(), 1);
    EXPECT_EQ(sorted.filterByRange(10, 12).count(), 15);
    auto falling = sc_.parallelize(pairs, 4).sortByKey(false, 3).keys().collect();
    EXPECT_TRUE(std::is_sorted(falling.rbegin(), falling.rend()));
}

TEST_P(OperatorsTest, ZipNeedsEqualPartitionsAndElements) {
    auto a = numbers(6, 2), b = numbers(6, 3), c = numbers(4, 2);
    EXPECT_THROW(a.zip(b).getNumPartitions(), IllegalArgumentException);
    EXPECT_THROW(a.zip(c).collect(), SparkException);
    EXPECT_THAT(a.zip(a.map([](int x) { return x * x; })).take(3), ElementsAre(Pair(0, 0), Pair(1, 1), Pair(2, 4)));
}

TEST_P(OperatorsTest, ViewsAsKeysJoinAndGroupAsStrings) {
    auto lines = sc_.parallelize(std::vector<std::string>{"k1 a", "k2 b", "k1 c"}, 2);
    auto pairs = lines.map([](const std::string& line) {
        return std::pair(std::string_view(line).substr(0, 2), std::string_view(line).substr(3));
    });
    EXPECT_THAT(pairs.groupByKey().collectAsMap(),
                ElementsAre(Pair("k1", ElementsAre("a", "c")), Pair("k2", ElementsAre("b"))));
    EXPECT_THAT(pairs.join(pairs).count(), 5);
    EXPECT_THAT(pairs.leftOuterJoin(pairs.filter([](const auto& pair) { return pair.first == "k1"; })).collect(),
                UnorderedElementsAre(Pair("k1", Pair("a", std::optional<std::string>("a"))),
                                     Pair("k1", Pair("a", std::optional<std::string>("c"))),
                                     Pair("k1", Pair("c", std::optional<std::string>("a"))),
                                     Pair("k1", Pair("c", std::optional<std::string>("c"))),
                                     Pair("k2", Pair("b", std::nullopt))));
    EXPECT_EQ(pairs.values().max(), "c");
    EXPECT_EQ(pairs.keys().reduce([](std::string_view a, std::string_view b) { return std::max(a, b); }), "k2");
}

TEST_P(OperatorsTest, BackgroundActionsGiveWhatTheForegroundOnesDo) {
    auto rdd = numbers(100);
    EXPECT_EQ(rdd.countAsync().get(), 100);
    EXPECT_EQ(rdd.collectAsync().get(), rdd.collect());
    EXPECT_EQ(rdd.takeAsync(40).get(), rdd.take(40));
    auto sum = sc_.longAccumulator();
    rdd.foreachAsync([sum](int x) { sum.add(x); }).get();
    rdd.foreachPartitionAsync([sum](Iterator<int> part) {
           for (const int x : part) sum.add(x);
       })
        .get();
    EXPECT_EQ(sum.value(), 9900);
    auto failing = rdd.map([](int x) -> int {
                          if (x == 50) throw std::runtime_error("no fifty");
                          return x;
                      })
                       .countAsync();
    EXPECT_THROW(failing.get(), SparkException);
    EXPECT_FALSE(failing.isCancelled());
}

TEST_P(OperatorsTest, ApproximateActionsAreExactWhenTheJobIsDoneInTime) {
    const auto count = numbers(100).countApprox(60'000);
    EXPECT_TRUE(count.isInitialValueFinal());
    EXPECT_EQ(count.getFinalValue(), (BoundedDouble{100, 1.0, 100, 100}));
    EXPECT_EQ(count.initialValue().toString(), "[100.000, 100.000]");
    EXPECT_DOUBLE_EQ(numbers(101).meanApprox(60'000).getFinalValue().mean, 50);
    EXPECT_DOUBLE_EQ(numbers(101).sumApprox(60'000).getFinalValue().mean, 5050);
    EXPECT_EQ(numbers(100).map([](int x) { return x % 4; }).countByValueApprox(60'000).getFinalValue().at(2).mean, 25);
    EXPECT_THROW(numbers(1).countApprox(1, 1.5), IllegalArgumentException);
}

TEST_P(OperatorsTest, AnApproximateJobTakesAnEvaluatorOfOnesOwn) {
    struct Largest {
        int value = -1;
        void merge(int part) { value = std::max(value, part); }
        std::pair<int, bool> estimate(int merged, int total) const { return {value, merged == total}; }
    };
    auto result = sc_.runApproximateJob(
        numbers(10),
        [](TaskContext&, Iterator<int> part) {
            int largest = -1;
            for (const int x : part) largest = std::max(largest, x);
            return largest;
        },
        Largest{}, 60'000);
    EXPECT_EQ(result.getFinalValue(), std::pair(9, true));
}

TEST_P(OperatorsTest, ACoalescerOfOnesOwnDecidesWhatComesTogether) {
    struct Halves : PartitionCoalescer {
        std::vector<std::vector<int>> coalesce(int, const RddBase& parent) const override {
            std::vector<std::vector<int>> groups(2);
            for (int p = 0; p < parent.numPartitions(); ++p) groups[static_cast<std::size_t>(p) % 2].push_back(p);
            return groups;
        }
    };
    EXPECT_THAT(numbers(4, 4).coalesce(2, false, std::make_shared<Halves>()).glom().collect(),
                ElementsAre(ElementsAre(0, 2), ElementsAre(1, 3)));
    const auto shuffled = numbers(8, 2).coalesce(4, true, std::make_shared<Halves>());
    EXPECT_EQ(shuffled.getNumPartitions(), 2) << "it brings together what was shuffled to four";
    EXPECT_THAT(shuffled.collect(), UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST_P(OperatorsTest, ALineageIsAsLongAsThatOfTheReferenceAfterRepartition) {
    int depth = 0;
    const auto repartitioned = numbers(4, 2).repartition(3);
    for (const RddBase* rdd = repartitioned.node().get(); rdd != nullptr; ++depth) {
        const auto lineage = rdd->lineage();
        rdd = lineage->empty() ? nullptr : &lineage->front()->rdd();
    }
    EXPECT_EQ(depth, 5);
}

TEST(ApproximateEstimateTest, CoversTheTruthWithWiderIntervalsForFewerPartitions) {
    const BoundedDouble half = detail::estimateCount(500, 5, 10, 0.95);
    EXPECT_NEAR(half.mean, 1000, 1);
    EXPECT_LT(half.low, 1000);
    EXPECT_GT(half.high, 1000);
    const BoundedDouble most = detail::estimateCount(900, 9, 10, 0.95);
    EXPECT_LT(most.high - most.low, half.high - half.low);
    EXPECT_EQ(detail::estimateCount(0, 0, 10, 0.95).high, std::numeric_limits<double>::infinity());
    const BoundedDouble mean = detail::estimateMean({100, 5.0, 4.0}, 1, 2, 0.95);
    EXPECT_NEAR(mean.high - mean.mean, 1.96 * 0.2, 0.02);
}

TEST_P(OperatorsTest, DistinctEstimatesAreNearTheTruth) {
    auto values = numbers(20'000).map([](int x) { return x % 5'000; });
    EXPECT_NEAR(static_cast<double>(values.countApproxDistinct(0.02)), 5'000, 400);
    EXPECT_EQ(numbers(10).countApproxDistinct(), 10);
    const auto byKey =
        values.map([](int x) { return std::pair(x % 2, x); }).countApproxDistinctByKey(0.02).collectAsMap();
    EXPECT_NEAR(static_cast<double>(byKey.at(0)), 2'500, 200);
    EXPECT_THROW(values.countApproxDistinct(0.00001), IllegalArgumentException);
    EXPECT_THROW(values.countApproxDistinct(3, 0), IllegalArgumentException);
    EXPECT_THROW(values.countApproxDistinct(10, 5), IllegalArgumentException);
}

TEST_P(OperatorsTest, ALocalIteratorRunsOneJobPerPartitionAsItIsRead) {
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto counted = numbers(30, 3).map([calls](int x) {
        ++*calls;
        return x;
    });
    auto iterator = counted.toLocalIterator();
    EXPECT_EQ(*calls, 0);
    EXPECT_EQ(iterator.next(), 0);
    EXPECT_EQ(*calls, 10);
    int sum = 0;
    for (const int x : iterator) sum += x;
    EXPECT_EQ(sum, 435);
    EXPECT_EQ(*calls, 30);
}

TEST_P(OperatorsTest, RangeIsSafeAgainstOverflow) {
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max(), kMin = std::numeric_limits<int64_t>::min();
    EXPECT_THAT(sc_.range(kMax - 3, kMax, 2).collect(), ElementsAre(kMax - 3, kMax - 1));
    EXPECT_THAT(sc_.range(kMin, kMax, kMax).collect(), ElementsAre(kMin, -1, kMax - 1));
    EXPECT_THAT(sc_.range(3, 0, -1).collect(), ElementsAre(3, 2, 1));
    EXPECT_THAT(sc_.range(0, 0).collect(), IsEmpty());
    EXPECT_THROW(sc_.range(0, 1, 0), IllegalArgumentException);
}

TEST_P(OperatorsTest, UnionsOfAlikePartitionedRddsKeepThePartitioner) {
    auto pairs = numbers(20).map([](int x) { return std::pair(x % 5, x); });
    auto a = pairs.reduceByKey(std::plus<>{}, 2), b = pairs.reduceByKey(std::plus<>{}, 2);
    auto both = a.unionWith(b);
    EXPECT_EQ(both.getNumPartitions(), 2);
    EXPECT_EQ(both.partitioner(), a.partitioner());
    EXPECT_EQ(a.unionWith(pairs).getNumPartitions(), 5);
    EXPECT_FALSE(a.unionWith(pairs).partitioner());
    EXPECT_EQ(both.reduceByKey(HashPartitioner(2), std::plus<>{}).count(), 5);
}

INSTANTIATE_TEST_SUITE_P(ChunkSizes, OperatorsTest, ::testing::Values(1, 7, 1024),
                         [](const auto& suite) { return "Chunk" + std::to_string(suite.param); });

}  // namespace
}  // namespace dstream
