#include "rdd/accumulator.hpp"

#include "rdd/spark_context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace dstream {
namespace {

using ::testing::UnorderedElementsAre;

class Longest : public AccumulatorV2<std::string, std::size_t> {
    bool doIsZero() const override { return size_ == 0; }
    std::unique_ptr<AccumulatorV2> doCopy() const override { return std::make_unique<Longest>(*this); }
    void doReset() override { size_ = 0; }
    void doAdd(const std::string& word) override { size_ = std::max(size_, word.size()); }
    void doMerge(const AccumulatorV2& other) override { size_ = std::max(size_, other.stateAs<Longest>().size_); }
    std::size_t doValue() const override { return size_; }
    std::size_t size_ = 0;
};

class AccumulatorTest : public ::testing::Test {
protected:
    SparkContext sc{SparkConf().setMaster("local[2,3]").setAppName("accumulator test")};
    RDD<int> numbers = sc.parallelize(std::vector<int>{1, 2, 3, 4, 5, 6}, 3);
};

TEST_F(AccumulatorTest, TasksAddAndTheDriverReads) {
    const auto sum = sc.longAccumulator("sum");
    const auto mean = sc.doubleAccumulator();
    const auto all = sc.collectionAccumulator<int>("all");
    EXPECT_TRUE(sum.isZero());
    EXPECT_TRUE(std::isnan(sum.avg()));
    numbers.foreach ([sum, mean, all](int x) {
        sum.add(x);
        mean.add(x / 2.0);
        all.add(x);
    });
    EXPECT_EQ(sum.value(), 21);
    EXPECT_EQ(sum.count(), 6);
    EXPECT_DOUBLE_EQ(sum.avg(), 3.5);
    EXPECT_DOUBLE_EQ(mean.sum(), 10.5);
    EXPECT_THAT(all.value(), UnorderedElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_EQ(sum.name(), "sum");
    EXPECT_NE(sum.id(), mean.id());
    sum.add(1);
    EXPECT_EQ(sum.value(), 22);
    sum.reset();
    EXPECT_TRUE(sum.isZero());
}

TEST_F(AccumulatorTest, AnActionCountsOncePerPartitionWhateverIsRetried) {
    const auto sum = sc.longAccumulator();
    numbers.foreach ([sum](int x) {
        sum.add(x);
        if (x % 2 == 0 && TaskContext::get()->attemptNumber() < 2) throw std::runtime_error("again");
    });
    EXPECT_EQ(sum.value(), 21);
}

TEST_F(AccumulatorTest, ATransformationCountsAgainWhenItIsComputedAgain) {
    const auto sum = sc.longAccumulator();
    auto mapped = numbers.map([sum](int x) {
        sum.add(1);
        return x;
    });
    mapped.count();
    mapped.count();
    EXPECT_EQ(sum.value(), 12);
}

TEST_F(AccumulatorTest, OnesOwnClassIsAHandleToo) {
    Longest longest;
    EXPECT_FALSE(longest.isRegistered());
    EXPECT_THROW(longest.id(), IllegalStateException);
    sc.registerAccumulator(longest, "longest");
    EXPECT_THROW(sc.registerAccumulator(longest), IllegalStateException);
    numbers.foreach ([longest](int x) { longest.add(std::string(static_cast<std::size_t>(x), 'x')); });
    EXPECT_EQ(longest.value(), 6U);
    EXPECT_TRUE(longest.copyAndReset()->isZero());
    EXPECT_FALSE(longest.copy()->isRegistered());
}

TEST_F(AccumulatorTest, WrongUseIsRefused) {
    Longest unregistered;
    unregistered.add("abc");
    EXPECT_EQ(unregistered.value(), 3U);
    EXPECT_THROW(numbers.foreach ([unregistered](int) { unregistered.add("x"); }), SparkException);
    const auto sum = sc.longAccumulator();
    EXPECT_THROW(numbers.foreach ([sum](int) { sum.value(); }), SparkException);
    class Other : public AccumulatorV2<int64_t, int64_t> {
        bool doIsZero() const override { return true; }
        std::unique_ptr<AccumulatorV2> doCopy() const override { return std::make_unique<Other>(*this); }
        void doReset() override {}
        void doAdd(const int64_t&) override {}
        void doMerge(const AccumulatorV2&) override {}
        int64_t doValue() const override { return 0; }
    };
    EXPECT_THROW(sum.merge(Other()), UnsupportedOperationException);
}

TEST_F(AccumulatorTest, ABroadcastIsReadByTasksUntilItIsDestroyed) {
    const auto factors = sc.broadcast(std::vector<int>{10, 20});
    EXPECT_EQ(numbers.map([factors](int x) { return x * factors.value()[1]; }).first(), 20);
    EXPECT_EQ(factors.toString(), "Broadcast(" + std::to_string(factors.id()) + ")");
    factors.unpersist();
    EXPECT_EQ(factors.value().size(), 2U);
    factors.destroy();
    EXPECT_THROW(factors.value(), SparkException);
    EXPECT_THROW(factors.destroy(), SparkException);
    EXPECT_THROW(sc.broadcast(numbers), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
