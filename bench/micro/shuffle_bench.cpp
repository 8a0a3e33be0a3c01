// Sorting and joining pairs of integers, against what one would write by hand. Items are input pairs.
#include <rdd/rdd.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace dstream;

using Pair = std::pair<int64_t, int64_t>;
constexpr int64_t kPairs = 500000;

std::vector<Pair> randomPairs(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<Pair> pairs;
    for (int64_t i = 0; i < kPairs; ++i) pairs.emplace_back(static_cast<int64_t>(random() % kPairs), i);
    return pairs;
}

void sortByKey(benchmark::State& state) {
    SparkContext sc(SparkConf().setMaster("local[1]").setAppName("micro"));
    const auto input = sc.parallelize(randomPairs(1), 2);
    for (auto _ : state) benchmark::DoNotOptimize(input.sortByKey().count());
    state.SetItemsProcessed(state.iterations() * kPairs);
}
BENCHMARK(sortByKey)->MeasureProcessCPUTime();

void sortByKeyByHand(benchmark::State& state) {
    const auto input = randomPairs(1);
    for (auto _ : state) {
        auto pairs = input;
        std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.first < b.first; });
        benchmark::DoNotOptimize(pairs.data());
    }
    state.SetItemsProcessed(state.iterations() * kPairs);
}
BENCHMARK(sortByKeyByHand)->MeasureProcessCPUTime();

void join(benchmark::State& state) {
    SparkContext sc(SparkConf().setMaster("local[1]").setAppName("micro"));
    const auto left = sc.parallelize(randomPairs(1), 2), right = sc.parallelize(randomPairs(2), 2);
    for (auto _ : state) benchmark::DoNotOptimize(left.join(right).count());
    state.SetItemsProcessed(state.iterations() * 2 * kPairs);
}
BENCHMARK(join)->MeasureProcessCPUTime();

void joinByHand(benchmark::State& state) {
    const auto left = randomPairs(1), right = randomPairs(2);
    for (auto _ : state) {
        std::vector<uint32_t> head(1 << 20, UINT32_MAX), next(left.size());
        const auto slot = [](int64_t key) { return (static_cast<uint64_t>(key) * 0x9E3779B97F4A7C15) >> 44; };
        for (uint32_t i = 0; i < left.size(); ++i) {
            next[i] = head[slot(left[i].first)];
            head[slot(left[i].first)] = i;
        }
        int64_t rows = 0;
        for (const Pair& pair : right) {
            for (uint32_t i = head[slot(pair.first)]; i != UINT32_MAX; i = next[i]) rows += left[i].first == pair.first;
        }
        benchmark::DoNotOptimize(rows);
    }
    state.SetItemsProcessed(state.iterations() * 2 * kPairs);
}
BENCHMARK(joinByHand)->MeasureProcessCPUTime();

}  // namespace
