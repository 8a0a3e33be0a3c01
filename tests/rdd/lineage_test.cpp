#include "rdd/spark_context.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace dstream {
namespace {

using ::testing::HasSubstr;

class LineageTest : public ::testing::Test {
protected:
    /// A chain of `length` operators, each stored as RDD<int>.
    RDD<int> chain(int length, int partitions = 2) {
        RDD<int> rdd = sc.parallelize(std::vector<int>{1, 2, 3, 4}, partitions);
        for (int i = 0; i < length; ++i) {
            rdd = rdd.map([calls = calls](int x) {
                ++*calls;
                return x + 1;
            });
        }
        return rdd;
    }
    SparkContext sc{SparkConf().setMaster("local[2]").setAppName("lineage test")};
    std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);
};

TEST_F(LineageTest, Row6AHundredThousandOperatorsOverflowNoStack) {
    constexpr int kLength = 100'000;
    const RDD<int> rdd = chain(kLength);
    EXPECT_EQ(rdd.getNumPartitions(), 2);
    EXPECT_EQ(rdd.collect(), (std::vector<int>{kLength + 1, kLength + 2, kLength + 3, kLength + 4}));
    EXPECT_EQ(*calls, 4 * kLength) << "each operator is computed once";
    EXPECT_FALSE(rdd.toDebugString().empty());
}

TEST_F(LineageTest, Row6AHundredThousandOperatorsAreCutByACheckpoint) {
    testsupport::TemporaryDirectory directory;
    sc.setCheckpointDir(directory.path());
    constexpr int kLength = 100'000;
    RDD<int> rdd = chain(kLength, 1);
    rdd.checkpoint();
    EXPECT_EQ(rdd.count(), 4);
    EXPECT_TRUE(rdd.isCheckpointed());
    const int before = *calls;
    EXPECT_EQ(rdd.map([](int x) { return x; }).first(), kLength + 1);
    EXPECT_EQ(*calls, before);
}

TEST_F(LineageTest, Row6ThousandsOfShufflesInARowOverflowNoStack) {
    RDD<std::pair<int, int>> rdd = sc.parallelize(std::vector<std::pair<int, int>>{{1, 1}, {2, 1}}, 1);
    for (int i = 0; i < 3000; ++i) {
        rdd = rdd.map([](const std::pair<int, int>& p) { return std::pair(p.first, p.second + 1); })
                  .reduceByKey(std::plus<>{}, 1);
    }
    EXPECT_THAT(rdd.collect(), ::testing::UnorderedElementsAre(std::pair(1, 3001), std::pair(2, 3001)));
}

TEST_F(LineageTest, ALongChainThatBranchesIsComputedOncePerOperator) {
    const RDD<int> trunk = chain(2000, 1);
    RDD<int> left = trunk, right = trunk;
    for (int i = 0; i < 600; ++i) {
        left = left.map([](int x) { return x; });
        right = right.map([](int x) { return -x; });
    }
    EXPECT_EQ(left.zip(right).count(), 4);
    EXPECT_LE(*calls, 2 * 4 * 2000);
}

TEST_F(LineageTest, TheDebugStringShowsShuffles) {
    auto rdd = sc.parallelize(std::vector<int>{1, 2, 3}, 2)
                   .setName("input")
                   .map([](int x) { return std::pair(x, 1); })
                   .reduceByKey(std::plus<>{}, 3);
    const std::string text = rdd.toDebugString();
    EXPECT_THAT(
        text, ::testing::MatchesRegex(
                  "\\(3\\) ShuffledRDD\\[[0-9]+\\] at reduceByKey at lineage_test.cpp:[0-9]+ \\[\\]\n"
                  " \\+-\\(2\\) MapPartitionsRDD\\[[0-9]+\\] at map at lineage_test.cpp:[0-9]+ \\[\\]\n"
                  "    \\|  input ParallelCollectionRDD\\[[0-9]+\\] at parallelize at lineage_test.cpp:[0-9]+ \\[\\]"));
}

}  // namespace
}  // namespace dstream
