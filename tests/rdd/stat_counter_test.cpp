#include "rdd/stat_counter.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace dstream {
namespace {

TEST(StatCounterTest, StartsWithNothing) {
    const StatCounter counter;
    EXPECT_EQ(counter.count(), 0);
    EXPECT_EQ(counter.mean(), 0.0);
    EXPECT_EQ(counter.sum(), 0.0);
    EXPECT_TRUE(std::isnan(counter.variance()) && std::isnan(counter.sampleVariance()) && std::isnan(counter.stdev()));
    EXPECT_EQ(counter.toString(), "(count: 0, mean: 0.000000, stdev: NaN, max: -Infinity, min: Infinity)");
}

TEST(StatCounterTest, CountsNumbers) {
    const StatCounter counter(std::vector<double>{1, 2, 3, 4});
    EXPECT_EQ(counter.count(), 4);
    EXPECT_DOUBLE_EQ(counter.mean(), 2.5);
    EXPECT_DOUBLE_EQ(counter.sum(), 10);
    EXPECT_DOUBLE_EQ(counter.variance(), 1.25);
    EXPECT_DOUBLE_EQ(counter.sampleVariance(), 5.0 / 3);
    EXPECT_DOUBLE_EQ(counter.popStdev(), std::sqrt(1.25));
    EXPECT_DOUBLE_EQ(counter.sampleStdev(), std::sqrt(5.0 / 3));
    EXPECT_EQ(counter.max(), 4);
    EXPECT_EQ(counter.min(), 1);
    EXPECT_EQ(counter.toString(), "(count: 4, mean: 2.500000, stdev: 1.118034, max: 4.000000, min: 1.000000)");
    EXPECT_TRUE(std::isnan(StatCounter().merge(1.0).sampleVariance()));
}

TEST(StatCounterTest, MergesPartsOfAnySizes) {
    std::vector<double> values;
    values.reserve(1000);
    for (int i = 0; i < 1000; ++i) values.push_back(std::sin(i) * 1000 + i);
    const StatCounter whole(values);
    for (const size_t split : {0u, 1u, 50u, 500u, 999u, 1000u}) {
        StatCounter left(std::vector<double>(values.begin(), values.begin() + static_cast<ptrdiff_t>(split)));
        const StatCounter right(std::vector<double>(values.begin() + static_cast<ptrdiff_t>(split), values.end()));
        left.merge(right);
        EXPECT_EQ(left.count(), whole.count());
        EXPECT_NEAR(left.mean(), whole.mean(), 1e-9);
        EXPECT_NEAR(left.variance(), whole.variance(), 1e-6);
        EXPECT_EQ(left.max(), whole.max());
        EXPECT_EQ(left.min(), whole.min());
    }
}

TEST(StatCounterTest, MergesWithItself) {
    StatCounter counter(std::vector<double>{1, 5});
    counter.merge(counter);
    EXPECT_EQ(counter.count(), 4);
    EXPECT_DOUBLE_EQ(counter.mean(), 3);
    EXPECT_DOUBLE_EQ(counter.variance(), 4);
}

TEST(StatCounterTest, IsNotANumberOnceOneIsNot) {
    StatCounter counter(std::vector<double>{1, std::nan("")});
    counter.merge(2.0);
    EXPECT_TRUE(std::isnan(counter.mean()) && std::isnan(counter.max()) && std::isnan(counter.min()));
}

}  // namespace
}  // namespace dstream
