// What fusing costs: a chain of narrow operators against the loop one would write by hand.
#include <rdd/rdd.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace {

using namespace dstream;

constexpr int64_t kNumbers = 4 << 20;

std::vector<int64_t> numbers() {
    std::vector<int64_t> all(kNumbers);
    std::iota(all.begin(), all.end(), 1);
    return all;
}

int64_t twist(int64_t x) {
    return x * 7 + 3;
}
bool isWanted(int64_t x) {
    return (x & 3) != 0;
}
int64_t fold(int64_t x) {
    return x ^ (x >> 5);
}

void mapFilterMapSum(benchmark::State& state) {
    SparkContext sc(SparkConf().setMaster("local[1]").setAppName("micro"));
    const auto input = sc.parallelize(numbers(), 1);
    for (auto _ : state) {
        benchmark::DoNotOptimize(input.map([](int64_t x) { return twist(x); })
                                     .filter([](int64_t x) { return isWanted(x); })
                                     .map([](int64_t x) { return fold(x); })
                                     .reduce(std::plus<>{}));
    }
    state.SetItemsProcessed(state.iterations() * kNumbers);
}
BENCHMARK(mapFilterMapSum)->MeasureProcessCPUTime();

void mapFilterMapSumByHand(benchmark::State& state) {
    const std::vector<int64_t> input = numbers();
    for (auto _ : state) {
        int64_t sum = 0;
        for (const int64_t x : input) {
            const int64_t y = twist(x);
            if (isWanted(y)) sum += fold(y);
        }
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(state.iterations() * kNumbers);
}
BENCHMARK(mapFilterMapSumByHand)->MeasureProcessCPUTime();

}  // namespace
