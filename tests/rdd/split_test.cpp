#include "rdd/rdd.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <latch>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

// A large partition is cut into splits that idle slots take over; the result is as if one task had gone through it.

namespace dstream {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kCount = 6'600'000;  // 53 MB: three splits of 16 MB

std::vector<int64_t> numbers() {
    std::vector<int64_t> all(kCount);
    std::iota(all.begin(), all.end(), 0);
    return all;
}

SparkContext contextOf(const std::string& master) {
    return SparkContext(master, "splits");
}

TEST(SplitTest, OneLargePartitionOccupiesSeveralSlots) {
    SparkContext sc = contextOf("local[2]");
    // Both must be inside of a split at once to get past the latch.
    auto bothAreHere = std::make_shared<std::latch>(2);
    auto seen = sc.parallelize(numbers(), 1).map([bothAreHere, first = true](int64_t x) mutable {
        if (std::exchange(first, false) && (x == 0 || x == kCount / 3 || x == kCount / 3 * 2)) {
            if (x != kCount / 3 * 2) bothAreHere->arrive_and_wait();
        }
        return x;
    });
    EXPECT_EQ(seen.count(), kCount);
    sc.stop();
}

TEST(SplitTest, ResultsAreInOrderAndTheSameAtAnyNumberOfThreads) {
    std::vector<int64_t> expected(kCount);
    std::iota(expected.begin(), expected.end(), 1);
    std::vector<std::pair<int64_t, int64_t>> sums;
    std::vector<double> floats;
    for (const char* master : {"local[1]", "local[2]", "local[4]"}) {
        SparkContext sc = contextOf(master);
        auto all = sc.parallelize(numbers(), 1);
        const auto collected = all.map([](int64_t x) { return x + 1; }).collect();
        ASSERT_TRUE(collected == expected);  // millions: one by one would be most of the time with a sanitizer
        const auto summed = all.map([](int64_t x) { return std::pair(x * 7 % 1000, x); })
                                .reduceByKey(HashPartitioner(3), std::plus<>{})
                                .collect();
        if (sums.empty()) sums = summed;
        EXPECT_EQ(summed, sums);  // in the same order
        // Floating point sums depend on how they are associated.
        std::vector<double> means;
        for (const auto& [key, sum] :
             all.map([](int64_t x) { return std::pair(x % 3, 1.0 / static_cast<double>(x + 1)); })
                 .reduceByKey(HashPartitioner(2), std::plus<>{})
                 .collect()) {
            means.push_back(sum);
        }
        if (floats.empty()) floats = means;
        EXPECT_EQ(means, floats);
        sc.stop();
    }
}

TEST(SplitTest, AccumulatorsCountEachSplitOnce) {
    SparkContext sc = contextOf("local[2]");
    auto sum = sc.longAccumulator("sum");
    sc.parallelize(numbers(), 1).foreach ([sum](int64_t x) { sum.add(x); });
    EXPECT_EQ(sum.value(), kCount * (kCount - 1) / 2);
    EXPECT_EQ(sum.count(), kCount);
    sc.stop();
}

TEST(SplitTest, AFailingSplitFailsTheTaskOnce) {
    SparkContext sc = contextOf("local[2]");
    auto failing = sc.parallelize(numbers(), 1).map([](int64_t x) {
        if (x == kCount - 5) throw std::runtime_error("near the end");
        return x;
    });
    try {
        failing.count();
        FAIL() << "expected an error";
    } catch (const SparkException& error) {
        EXPECT_THAT(error.what(), HasSubstr("near the end"));
        EXPECT_THAT(error.what(), HasSubstr("map at split_test.cpp"));
    }
    sc.stop();
}

TEST(SplitTest, APartitionSeenAsAWholeIsOneTask) {
    SparkContext sc = contextOf("local[2]");
    const auto calls = sc.parallelize(numbers(), 1)
                           .mapPartitions([](Iterator<int64_t> part) {
                               int64_t n = 0;
                               for ([[maybe_unused]] const int64_t x : part) ++n;
                               return std::vector{n};
                           })
                           .collect();
    EXPECT_EQ(calls, std::vector<int64_t>{kCount});
    sc.stop();
}

}  // namespace
}  // namespace dstream
