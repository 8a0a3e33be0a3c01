// The word count's inner loop and its parts, against what one would write by hand. Items are words.
#include "words.hpp"
#include <rdd/rdd.hpp>
#include <rdd/text.hpp>

#include <benchmark/benchmark.h>

#include <bit>
#include <cstring>
#include <string_view>

namespace {

using namespace dstream;

/// Open addressing over words that stay where they are.
class WordTable {
public:
    void add(std::string_view word) {
        if ((used_ + 1) * 2 > slots_.size()) grow();
        const uint64_t hash = PlacementHash<std::string_view>{}(word);
        Slot& slot = find(hash, word);
        if (slot.count == 0) {
            slot = {hash, word.data(), static_cast<uint32_t>(word.size()), 0};
            ++used_;
        }
        ++slot.count;
    }
    std::size_t size() const { return used_; }

private:
    struct Slot {
        uint64_t hash;
        const char* text;
        uint32_t length;
        uint32_t count;
    };
    Slot& find(uint64_t hash, std::string_view word) {
        for (std::size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
            Slot& slot = slots_[i];
            if (slot.count == 0) return slot;
            if (slot.hash == hash && std::string_view(slot.text, slot.length) == word) return slot;
        }
    }
    void grow() {
        std::vector<Slot> old(slots_.size() * 2);
        old.swap(slots_);
        for (const Slot& slot : old) {
            if (slot.count != 0) find(slot.hash, {slot.text, slot.length}) = slot;
        }
    }

    std::vector<Slot> slots_ = std::vector<Slot>(32);
    std::size_t used_ = 0;
};

template <class Emit>
void splitByHand(std::string_view line, Emit emit) {
    for (std::size_t begin = 0; begin < line.size();) {
        std::size_t end = begin;
        while (end < line.size() && line[end] != ' ') ++end;
        if (end > begin) emit(line.substr(begin, end - begin));
        begin = end + 1;
    }
}

void wordCount(benchmark::State& state) {
    SparkContext sc(SparkConf().setMaster("local[1]").setAppName("micro"));
    const auto lines = sc.parallelize(sampleLines(), 1);
    for (auto _ : state) {
        benchmark::DoNotOptimize(lines.flatMap([](std::string_view line) { return splitWords(line); })
                                     .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
                                     .reduceByKey(std::plus<>{})
                                     .count());
    }
    state.SetItemsProcessed(state.iterations() * kWords);
}
BENCHMARK(wordCount)->MeasureProcessCPUTime();

void wordCountByHand(benchmark::State& state) {
    const auto& lines = sampleLines();
    for (auto _ : state) {
        WordTable table;
        for (const std::string& line : lines) {
            splitByHand(line, [&](std::string_view word) { table.add(word); });
        }
        benchmark::DoNotOptimize(table.size());
    }
    state.SetItemsProcessed(state.iterations() * kWords);
}
BENCHMARK(wordCountByHand)->MeasureProcessCPUTime();

void splitting(benchmark::State& state) {
    const auto& lines = sampleLines();
    for (auto _ : state) {
        std::size_t sum = 0;
        for (const std::string& line : lines) {
            for (const std::string_view word : splitWords(line)) sum += word.size();
        }
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(state.iterations() * kWords);
}
BENCHMARK(splitting)->MeasureProcessCPUTime();

void splittingByHand(benchmark::State& state) {
    const auto& lines = sampleLines();
    for (auto _ : state) {
        std::size_t sum = 0;
        for (const std::string& line : lines) {
            splitByHand(line, [&](std::string_view word) { sum += word.size(); });
        }
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(state.iterations() * kWords);
}
BENCHMARK(splittingByHand)->MeasureProcessCPUTime();

std::vector<std::string_view> sampleWords() {
    std::vector<std::string_view> words;
    for (const std::string& line : sampleLines())
        splitByHand(line, [&](std::string_view word) { words.push_back(word); });
    return words;
}

void tableUpsert(benchmark::State& state) {
    const auto words = sampleWords();
    for (auto _ : state) {
        detail::FlatTable<std::string, int64_t> table;
        for (const std::string_view word : words) {
            table.upsert(
                PlacementHash<std::string_view>{}(word), word, [] { return int64_t{1}; }, [](int64_t& n) { ++n; });
        }
        benchmark::DoNotOptimize(table.size());
    }
    state.SetItemsProcessed(state.iterations() * kWords);
}
BENCHMARK(tableUpsert)->MeasureProcessCPUTime();

void tableUpsertByHand(benchmark::State& state) {
    const auto words = sampleWords();
    for (auto _ : state) {
        WordTable table;
        for (const std::string_view word : words) table.add(word);
        benchmark::DoNotOptimize(table.size());
    }
    state.SetItemsProcessed(state.iterations() * kWords);
}
BENCHMARK(tableUpsertByHand)->MeasureProcessCPUTime();

}  // namespace
