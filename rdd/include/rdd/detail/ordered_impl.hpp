#pragma once

#include "rdd/detail/pair_impl.hpp"
#include "rdd/range_partitioner.hpp"
#include "rdd/stat_counter.hpp"

#include <algorithm>

// Bodies of the operators of ordered pairs and of numbers; declared, with their documentation, in ordered_ops.hpp.

namespace dstream::detail {

template <class PlanT, class Compare>
auto shuffleAndSort(const PlanT& plan, Partitioner partitioner, Compare compare, const char* name, Where where) {
    using K = OwnedKey<PlanT>;
    using V = OwnedValue<PlanT>;
    auto shuffle = asShared(new PlainShuffle<PlanT>(plan, std::move(partitioner)));
    return makeRdd<std::pair<K, V>>(
        makeNode<ShuffledNode<K, V, Compare>>(std::move(shuffle), std::move(compare), name, CallSite::from(where)));
}

template <class PlanT, class Compare>
auto sortByKey(const PlanT& plan, bool ascending, std::optional<int> n, Compare less, const char* name, Where where) {
    using K = OwnedKey<PlanT>;
    const RangePartitioner<K, Compare> partitioner(n.value_or(plan.node->numPartitions()), plan, ascending, 20, less,
                                                   where);
    return shuffleAndSort(plan, partitioner, Directed<Compare>{less, ascending}, name, where);
}

template <class PlanT, class F>
RDD<Owned<typename PlanT::T>> sortBy(const PlanT& plan, F f, bool ascending, std::optional<int> n, Where where) {
    auto keyed = keyBy(plan, std::move(f), where);
    using K = OwnedKey<std::remove_cvref_t<decltype(keyed.plan())>>;
    return values(sortByKey(keyed.plan(), ascending, n, std::less<K>{}, "sortBy", where).plan(), where);
}

template <class PlanT, class Compare>
RDD<std::pair<OwnedKey<PlanT>, OwnedValue<PlanT>>> repartitionAndSort(const PlanT& plan, Partitioner partitioner,
                                                                      Compare less, Where where) {
    using K = OwnedKey<PlanT>;
    using V = OwnedValue<PlanT>;
    using P = typename PlanT::T;
    if (plan.node->partitioner() == partitioner) {
        return mapPartitions<P>(
            plan.node, "repartitionAndSortWithinPartitions",
            [less](int, Iterator<P> part) {
                std::vector<std::pair<K, V>> pairs = drain(part);
                stableSortByKey(pairs, less);
                return pairs;
            },
            true, where);
    }
    return shuffleAndSort(plan, std::move(partitioner), std::move(less), "repartitionAndSortWithinPartitions", where);
}

template <class PlanT>
RDD<std::pair<OwnedKey<PlanT>, OwnedValue<PlanT>>> filterByRange(const PlanT& plan, const OwnedKey<PlanT>& lower,
                                                                 const OwnedKey<PlanT>& upper, Where where) {
    using K = OwnedKey<PlanT>;
    using P = typename PlanT::T;
    const auto inRange = [lower, upper](const P& pair) {
        const K& key = pair.first;
        return !(key < lower) && !(upper < key);
    };
    const auto partitioner = plan.node->partitioner();
    const auto* ranges =
        partitioner ? dynamic_cast<const RangeBounds<K, std::less<K>>*>(&partitioner->impl()) : nullptr;
    if constexpr (!kIsView<P>) {
        if (ranges != nullptr) {
            const auto [from, to] = ranges->partitionsOf(lower, upper);
            typename GatherNode<P>::Places places;
            std::vector<std::vector<int>> lists;
            for (int p = from; p <= to; ++p) {
                places.push_back({{plan.node.get(), p}});
                lists.push_back({p});
            }
            auto pruned = makeNode<GatherNode<P>>(
                plan.node->context(), RddBase::Lineage{std::make_shared<ListDependency>(plan.node, std::move(lists))},
                std::move(places), "PartitionPruningRDD", "filterByRange", CallSite::from(where), std::nullopt);
            return filter(makeRdd<P>(std::move(pruned)).plan(), inRange, where);
        }
    }
    return owning<P>(filter(plan, inRange, where).node(), where);
}

// ---- numbers

template <class PlanT>
StatCounter stats(const PlanT& plan, Where where) {
    if (plan.node->numPartitions() == 0) {
        throw EmptyCollectionException("stats at " + CallSite::from(where).toString() +
                                       " needs an RDD with at least one partition");
    }
    return aggregate(
        plan, "stats", StatCounter(),
        [](StatCounter sum, auto x) {
            sum.merge(static_cast<double>(x));
            return sum;
        },
        [](StatCounter sum, const StatCounter& other) {
            sum.merge(other);
            return sum;
        },
        where);
}

/// The bucket of a value, or -1 when it is in none.
int histogramBucket(const std::vector<double>& bounds, bool even, double value);
/// Even bounds from min to max.
std::vector<double> histogramBounds(double min, double max, int buckets);
/// @throws IllegalArgumentException  unless there are two or more and they rise
void checkHistogramBounds(const std::vector<double>& bounds);

template <class PlanT>
std::vector<int64_t> histogram(const PlanT& plan, std::vector<double> bounds, bool even, Where where) {
    checkHistogramBounds(bounds);
    return aggregate(
        plan, "histogram", std::vector<int64_t>(bounds.size() - 1, 0),
        [bounds, even](std::vector<int64_t> counts, auto x) {
            const int bucket = histogramBucket(bounds, even, static_cast<double>(x));
            if (bucket >= 0) ++counts[static_cast<std::size_t>(bucket)];
            return counts;
        },
        [](std::vector<int64_t> a, const std::vector<int64_t>& b) {
            for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
            return a;
        },
        where);
}

template <class PlanT>
std::pair<std::vector<double>, std::vector<int64_t>> histogram(const PlanT& plan, int buckets, Where where) {
    struct Range {
        double min = std::numeric_limits<double>::infinity();
        double max = -std::numeric_limits<double>::infinity();
        bool usable = true;
    };
    const Range range = aggregate(
        plan, "histogram", Range{},
        [](Range r, auto x) {
            const auto value = static_cast<double>(x);
            r.usable = r.usable && (value - value == 0);
            return Range{std::min(r.min, value), std::max(r.max, value), r.usable};
        },
        [](Range a, const Range& b) {
            return Range{std::min(a.min, b.min), std::max(a.max, b.max), a.usable && b.usable};
        },
        where);
    if (!range.usable || range.min > range.max) {
        throw EmptyCollectionException(
            "histogram at " + CallSite::from(where).toString() +
            " needs at least one element and neither NaN nor infinity; filter them out or give bounds");
    }
    if (buckets < 1 && range.min < range.max)
        throw IllegalArgumentException("histogram needs a positive number of buckets: " + std::to_string(buckets));
    std::vector<double> bounds = histogramBounds(range.min, range.max, buckets);
    auto counts = histogram(plan, bounds, true, where);
    return {std::move(bounds), std::move(counts)};
}

}  // namespace dstream::detail
