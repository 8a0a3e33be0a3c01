#pragma once

#include "rdd/detail/rdd_impl.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

namespace dstream {

namespace detail {

template <class K, class Compare>
class RangeBounds final : public KeyPartitioner<K> {
public:
    RangeBounds(std::vector<K> bounds, bool ascending, Compare less)
        : bounds_(std::move(bounds)), ascending_(ascending), less_(std::move(less)) {}
    int numPartitions() const override { return static_cast<int>(bounds_.size()) + 1; }
    int getPartition(const K& key) const override {
        // A key equal to a bound goes to the lower partition.
        const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), key, less_);
        const auto index = static_cast<int>(at - bounds_.begin());
        return ascending_ ? index : static_cast<int>(bounds_.size()) - index;
    }
    bool equals(const PartitionerBase& other) const override {
        const auto* that = dynamic_cast<const RangeBounds*>(&other);
        return that != nullptr && that->ascending_ == ascending_ &&
               std::equal(bounds_.begin(), bounds_.end(), that->bounds_.begin(), that->bounds_.end(),
                          [this](const K& a, const K& b) { return !less_(a, b) && !less_(b, a); });
    }
    /// The partitions that may hold keys from `lower` to `upper`.
    std::pair<int, int> partitionsOf(const K& lower, const K& upper) const {
        const int a = getPartition(lower), b = getPartition(upper);
        return {std::min(a, b), std::max(a, b)};
    }

private:
    std::vector<K> bounds_;
    bool ascending_;
    Compare less_;
};

/// Bounds that split weighted sample keys into n ranges of about equal weight.
template <class K, class Compare>
std::vector<K> determineBounds(std::vector<std::pair<K, double>> candidates, int n, const Compare& less) {
    std::stable_sort(candidates.begin(), candidates.end(),
                     [&](const auto& a, const auto& b) { return less(a.first, b.first); });
    double total = 0;
    for (const auto& [key, weight] : candidates) total += weight;
    const double step = total / n;
    std::vector<K> bounds;
    double sum = 0, target = step;
    for (const auto& [key, weight] : candidates) {
        if (static_cast<int>(bounds.size()) >= n - 1) break;
        sum += weight;
        if (sum >= target && (bounds.empty() || less(bounds.back(), key))) {
            bounds.push_back(key);
            target += step;
        }
    }
    return bounds;
}

template <class PlanT, class Compare>
std::vector<Owned<typename PlanT::T::first_type>> sampleBounds(const PlanT& plan, int n, int samplePointsPerPartition,
                                                               const Compare& less, Where where) {
    using K = Owned<typename PlanT::T::first_type>;
    struct Sketch {
        int64_t count = 0;
        std::vector<K> sample;
    };
    const int parts = plan.node->numPartitions();
    if (n <= 1 || parts == 0) return {};
    const double sampleSize = std::min(static_cast<double>(samplePointsPerPartition) * n, 1e6);
    const auto perPartition = static_cast<std::size_t>((3 * static_cast<int64_t>(sampleSize) + parts - 1) / parts);
    auto sketches = runOnAll(plan, "sample", where, [plan, perPartition](TaskContext& context) {
        // Reservoir sampling.
        Sketch sketch;
        PartitionRandom random(0, context.partitionId());
        plan.drive(context.partitionId(), context, [&](auto&& pair) {
            ++sketch.count;
            if (sketch.sample.size() < perPartition) {
                sketch.sample.push_back(convertElement<K>(pair.first));
            } else {
                __extension__ using Wide = unsigned __int128;
                const auto at =
                    static_cast<uint64_t>((Wide{random.next()} * static_cast<uint64_t>(sketch.count)) >> 64);
                if (at < perPartition) sketch.sample[at] = convertElement<K>(pair.first);
            }
        });
        return sketch;
    });
    int64_t total = 0;
    for (const auto& sketch : sketches) total += sketch.count;
    if (total == 0) return {};
    const double fraction = std::min(sampleSize / static_cast<double>(total), 1.0);
    std::vector<std::pair<K, double>> candidates;
    std::vector<int> unbalanced;
    for (std::size_t p = 0; p < sketches.size(); ++p) {
        auto& sketch = sketches[p];
        if (fraction * static_cast<double>(sketch.count) > static_cast<double>(perPartition)) {
            unbalanced.push_back(static_cast<int>(p));
        } else {
            const double weight =
                static_cast<double>(sketch.count) / static_cast<double>(std::max<std::size_t>(sketch.sample.size(), 1));
            for (K& key : sketch.sample) candidates.emplace_back(std::move(key), weight);
        }
    }
    if (!unbalanced.empty()) {
        auto samples = runTasks(plan.node, unbalanced, "sample", where, [plan, fraction](TaskContext& context) {
            std::vector<K> keys;
            PartitionRandom random(1, context.partitionId());
            plan.drive(context.partitionId(), context, [&](auto&& pair) {
                if (random.nextDouble() < fraction) keys.push_back(convertElement<K>(pair.first));
            });
            return keys;
        });
        for (auto& sample : samples) {
            for (K& key : sample) candidates.emplace_back(std::move(key), 1.0 / fraction);
        }
    }
    const int ranges = static_cast<int>(std::min(static_cast<std::size_t>(n), candidates.size()));
    return determineBounds(std::move(candidates), ranges, less);
}

}  // namespace detail

/// Places keys by range, so that partition i holds smaller keys than i+1 (larger ones when not ascending). Bounds come
/// from a sample of the RDD's keys, which is an eager job; few distinct keys give fewer partitions, an empty RDD gives
/// one. Equal to another one with the same bounds and direction.
template <class K, class Compare = std::less<K>>
class RangePartitioner : public Partitioner {
public:
    /// @throws IllegalArgumentException  when n is negative or the hint is not positive
    template <class V>
    RangePartitioner(int n, const RDD<std::pair<K, V>>& rdd, bool ascending = true,
                     int samplePointsPerPartitionHint = 20, Compare less = {},
                     std::source_location where = std::source_location::current())
        : RangePartitioner(n, rdd.plan(), ascending, samplePointsPerPartitionHint, std::move(less), where) {}

    template <class PlanT>
    requires requires(const PlanT& plan) { plan.node; }
    RangePartitioner(int n, const PlanT& plan, bool ascending, int samplePointsPerPartitionHint, Compare less,
                     std::source_location where)
        : Partitioner(std::make_shared<detail::RangeBounds<K, Compare>>(
              detail::sampleBounds(plan, checked(n, samplePointsPerPartitionHint), samplePointsPerPartitionHint, less,
                                   where),
              ascending, less)) {}

private:
    static int checked(int n, int hint) {
        if (n < 0)
            throw IllegalArgumentException("a RangePartitioner needs a number of partitions that is not negative: " +
                                           std::to_string(n));
        if (hint <= 0)
            throw IllegalArgumentException("samplePointsPerPartitionHint must be positive: " + std::to_string(hint));
        return n;
    }
};

}  // namespace dstream
