#include "rdd/spark_context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace dstream {
namespace {

/// Against a sequential model, for sizes below and above those where integer sorts and clustered joins begin.
class SortAndJoinTest : public ::testing::TestWithParam<int> {
protected:
    SortAndJoinTest()
        : sc(SparkConf()
                 .setMaster("local[2]")
                 .setAppName("test")
                 .set("dstream.chunkSize", std::to_string(GetParam() % 3 == 0 ? 7 : 1024))) {}

    template <class K>
    std::vector<std::pair<K, int>> randomPairs(int size, K low, K high, uint64_t seed) {
        std::mt19937_64 random(seed);
        using Wide = std::conditional_t<std::is_signed_v<K>, int64_t, uint64_t>;
        std::uniform_int_distribution<Wide> key(low, high);
        std::vector<std::pair<K, int>> pairs;
        for (int i = 0; i < size; ++i) pairs.emplace_back(static_cast<K>(key(random)), i);
        return pairs;
    }

    template <class K>
    void expectSorted(K low, K high) {
        SCOPED_TRACE(std::to_string(low) + " to " + std::to_string(high));
        auto expected = randomPairs<K>(GetParam(), low, high, 1);
        const auto input = sc.parallelize(expected, 3);
        std::ranges::stable_sort(expected, std::less<>{}, &std::pair<K, int>::first);
        EXPECT_EQ(input.sortByKey(true, 2).collect(), expected);
        auto texts = input.mapValues([](int value) { return std::to_string(value); }).sortByKey(true, 1).collect();
        ASSERT_EQ(texts.size(), expected.size());
        for (std::size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(texts[i].second, std::to_string(expected[i].second));
        std::ranges::stable_sort(expected, std::greater<>{}, &std::pair<K, int>::first);
        EXPECT_EQ(input.sortByKey(false, 2).collect(), expected);
    }

    template <class K, class V, class W>
    void expectJoined(const std::vector<std::pair<K, V>>& left, const std::vector<std::pair<K, W>>& right) {
        std::multimap<K, V> lefts(left.begin(), left.end());
        std::multimap<K, W> rights(right.begin(), right.end());
        std::vector<std::pair<K, std::pair<std::optional<V>, std::optional<W>>>> inner, onlyLeft, onlyRight;
        for (const auto& [key, value] : left) {
            const auto [from, to] = rights.equal_range(key);
            for (auto at = from; at != to; ++at) inner.push_back({key, {value, at->second}});
            if (from == to) onlyLeft.push_back({key, {value, std::nullopt}});
        }
        for (const auto& [key, value] : right) {
            if (!lefts.contains(key)) onlyRight.push_back({key, {std::nullopt, value}});
        }
        const auto sorted = [](auto rows) {
            std::ranges::sort(rows);
            return rows;
        };
        const auto with = [&](auto rows, const auto& more) {
            rows.insert(rows.end(), more.begin(), more.end());
            return sorted(std::move(rows));
        };
        const auto optional = [&](const auto& rdd) {
            return sorted(rdd.mapValues([](const auto& values) {
                                 return std::pair<std::optional<V>, std::optional<W>>(values.first, values.second);
                             })
                              .collect());
        };
        const auto a = sc.parallelize(left, 3);
        const auto b = sc.parallelize(right, 2);
        EXPECT_EQ(optional(a.join(b, 2)), sorted(inner));
        EXPECT_EQ(optional(a.leftOuterJoin(b, 2)), with(inner, onlyLeft));
        EXPECT_EQ(optional(a.rightOuterJoin(b, 2)), with(inner, onlyRight));
        EXPECT_EQ(optional(a.fullOuterJoin(b, 2)), with(with(inner, onlyLeft), onlyRight));
        const auto placed = a.partitionBy(HashPartitioner(2));
        EXPECT_EQ(optional(placed.fullOuterJoin(b.partitionBy(HashPartitioner(2)))),
                  with(with(inner, onlyLeft), onlyRight));
    }

    SparkContext sc;
};

TEST_P(SortAndJoinTest, SortsIntegerKeysStablyInBothDirections) {
    expectSorted<int32_t>(-1000, 1000);
    expectSorted<int64_t>(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
    expectSorted<uint64_t>(0, std::numeric_limits<uint64_t>::max());
    expectSorted<int16_t>(-300, 5);
    expectSorted<int32_t>(7, 7);
}

TEST_P(SortAndJoinTest, JoinsIntegersAsTheModelDoes) {
    const int size = GetParam();
    expectJoined(randomPairs<int64_t>(size, 0, size, 1), randomPairs<int64_t>(size, 0, size, 2));
    expectJoined(randomPairs<int64_t>(size, 0, 2 * size, 1), randomPairs<int64_t>(10, 0, size, 2));
    expectJoined(randomPairs<int64_t>(10, 0, size, 1), randomPairs<int64_t>(size, 0, 2 * size, 2));
}

TEST_P(SortAndJoinTest, JoinsTextAsTheModelDoes) {
    std::vector<std::pair<std::string, std::string>> left, right;
    for (const auto& [key, value] : randomPairs<int>(GetParam(), 0, GetParam(), 1)) {
        left.emplace_back("a key that owns memory " + std::to_string(key), std::to_string(value));
    }
    for (const auto& [key, value] : randomPairs<int>(GetParam() / 2, 0, GetParam(), 2)) {
        right.emplace_back("a key that owns memory " + std::to_string(key), std::to_string(value));
    }
    expectJoined(left, right);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SortAndJoinTest, ::testing::Values(0, 1, 300, 60000));

TEST(JoinTest, HotKeysGiveEveryCombinationInOrder) {
    SparkContext sc(SparkConf().setMaster("local[2]").setAppName("test"));
    std::vector<std::pair<int, int>> left, right;
    for (int i = 0; i < 3000; ++i) left.emplace_back(i % 2, i);
    for (int i = 0; i < 4; ++i) right.emplace_back(1, i);
    const auto rows = sc.parallelize(left, 2).join(sc.parallelize(right, 2), 1).collect();
    ASSERT_EQ(rows.size(), 1500U * 4);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        ASSERT_EQ(rows[i], (std::pair(1, std::pair(static_cast<int>(i % 1500) * 2 + 1, static_cast<int>(i / 1500)))));
    }
}

}  // namespace
}  // namespace dstream
