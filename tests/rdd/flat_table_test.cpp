#include "rdd/detail/flat_table.hpp"

#include "rdd/spark_context.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dstream {
namespace {

using detail::FlatTable;
using detail::ScratchTable;

template <class K>
void add(FlatTable<K, int64_t>& table, const K& key, int64_t value) {
    table.upsert(
        PlacementHash<K>{}(key), key, [&] { return value; }, [&](int64_t& sum) { sum += value; });
}

template <class K>
K keyOf(int64_t number) {
    if constexpr (std::is_same_v<K, std::string>) {
        return "key " + std::to_string(number);
    } else {
        return static_cast<K>(number);
    }
}

template <class K>
class FlatTableTest : public ::testing::Test {};

using KeyTypes = ::testing::Types<int64_t, double, std::string>;  // whose hashes are made again, and kept
TYPED_TEST_SUITE(FlatTableTest, KeyTypes);

TYPED_TEST(FlatTableTest, GrowsAndKeepsTheOrderInWhichKeysCame) {
    FlatTable<TypeParam, int64_t> table;
    for (int64_t round : {1, 2}) {
        for (int64_t i = 0; i < 10'000; ++i) add(table, keyOf<TypeParam>(i * 7919 % 10'007), round * i);
    }
    ASSERT_EQ(table.size(), 10'000u);
    for (int64_t i = 0; i < 10'000; ++i) {
        const auto key = keyOf<TypeParam>(i * 7919 % 10'007);
        const auto at = static_cast<std::size_t>(i);
        ASSERT_EQ(table.entries()[at], std::pair(key, 3 * i));
        ASSERT_EQ(table.hashAt(at), PlacementHash<TypeParam>{}(key));
    }
}

TYPED_TEST(FlatTableTest, AScratchTableIsEmptyWhateverTheLastOneHeld) {
    for (const bool movedOut : {false, true}) {
        for (const int64_t n : {20'000, 10, 300'000, 20'000}) {
            ScratchTable<TypeParam, int64_t> scratch;
            FlatTable<TypeParam, int64_t>& table = *scratch;
            ASSERT_TRUE(table.empty());
            for (int64_t i = n; i-- > 0;) add(table, keyOf<TypeParam>(i), i);
            for (int64_t i = 0; i < n; ++i) add(table, keyOf<TypeParam>(i), 1);
            ASSERT_EQ(table.size(), static_cast<std::size_t>(n));
            EXPECT_EQ(table.entries().front(), std::pair(keyOf<TypeParam>(n - 1), n));
            if (movedOut) {
                const auto entries = std::move(table.entries());
                EXPECT_EQ(entries.size(), static_cast<std::size_t>(n));
            }
        }
    }
}

TEST(ScratchTable, KeepsTheRoomOfATableThatWasWellUsedOnly) {
    const auto bytesAfter = [](int64_t reserved, int64_t used) {
        {
            ScratchTable<int64_t, int64_t> scratch;
            (*scratch).reserve(static_cast<std::size_t>(reserved));
            for (int64_t i = 0; i < used; ++i) add<int64_t>(*scratch, i, i);
        }
        ScratchTable<int64_t, int64_t> next;
        return (*next).memoryBytes();
    };
    EXPECT_GT(bytesAfter(10'000, 10'000), 100'000u);
    EXPECT_EQ(bytesAfter(100'000, 100), 0u);
    EXPECT_EQ(bytesAfter(2'000'000, 2'000'000), 0u);
}

TEST(CombiningNumbers, AddsUpEachRecordWhateverTheirNumber) {
    SparkContext sc(SparkConf().setMaster("local[2]").setAppName("combine"));
    for (const int n : {1, 31, 32, 33, 64, 5'000}) {
        std::vector<std::pair<int, int64_t>> pairs;
        std::map<int, int64_t> expected;
        for (int i = 0; i < n; ++i) {
            pairs.emplace_back(i * 31 % 1'000, i);
            expected[i * 31 % 1'000] += i;
        }
        for (const int partitions : {1, 2, 3}) {
            const auto sums = sc.parallelize(pairs, partitions).reduceByKey(std::plus<>{}, 3);
            const auto all = sums.persist().collect();
            EXPECT_EQ((std::map<int, int64_t>(all.begin(), all.end())), expected) << n << " in " << partitions;
            EXPECT_EQ(all.size(), expected.size());
            EXPECT_EQ(sums.collect(), all);  // from the blocks
        }
    }
}

TEST(CombiningNumbers, TakesZeroesForEqualAndNotANumberForItself) {
    SparkContext sc(SparkConf().setMaster("local[2]").setAppName("combine"));
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const std::vector<std::pair<double, int>> pairs{{0.0, 1}, {nan, 2}, {-0.0, 3}, {nan, 4}, {1.5, 5}, {-0.0, 6}};
    int zero = 0, notANumber = 0;
    const auto sums = sc.parallelize(pairs, 3).reduceByKey(std::plus<>{}, 2).collect();
    EXPECT_EQ(sums.size(), 3u);
    for (const auto& [key, sum] : sums) {
        if (key == 0) zero = sum;
        if (std::isnan(key)) notANumber = sum;
    }
    EXPECT_EQ(zero, 10);
    EXPECT_EQ(notANumber, 6);
}

TEST(CombiningNumbers, PassesOnWhatTheFunctionThrowsForTheLastFewRecords) {
    SparkContext sc(SparkConf().setMaster("local[2]").setAppName("combine"));
    const std::vector<std::pair<int, int>> pairs{{1, 1}, {2, 2}, {1, 3}};
    const auto sums =
        sc.parallelize(pairs, 1).reduceByKey([](int, int) -> int { throw std::runtime_error("no sums today"); }, 1);
    EXPECT_THROW(sums.collect(), SparkException);
}

}  // namespace
}  // namespace dstream
