#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace dstream {

/// Batches of pairs that look random, some of them empty, with keys that come and go; `value(batch, n)` makes the
/// values.
template <class V, class Value>
std::vector<std::vector<std::pair<int, V>>> drawBatches(int count, Value value) {
    std::vector<std::vector<std::pair<int, V>>> batches;
    uint64_t state = 7;
    const auto draw = [&](uint64_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (state >> 33) % below;
    };
    for (int batch = 0; batch < count; ++batch) {
        auto& pairs = batches.emplace_back();
        for (uint64_t left = draw(6); left > 0; --left) {
            pairs.emplace_back(static_cast<int>(draw(4)) + batch / 10, value(batch, left));
        }
    }
    return batches;
}

/// What the values of the `window` batches up to batch `end` are by key, put together in the order in which they came.
template <class V, class F>
std::map<int, V> reduceAll(const std::vector<std::vector<std::pair<int, V>>>& batches, int end, int window, F f) {
    std::map<int, V> result;
    for (int batch = std::max(0, end - window); batch < end; ++batch) {
        for (const auto& [key, value] : batches[static_cast<std::size_t>(batch)]) {
            auto [at, isNew] = result.emplace(key, value);
            if (!isNew) at->second = f(at->second, value);
        }
    }
    return result;
}

}  // namespace dstream
