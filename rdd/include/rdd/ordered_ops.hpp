#pragma once

#include "rdd/detail/ordered_impl.hpp"

namespace dstream::detail {

/// The operators of RDDs of pairs whose keys have an order, and of numbers.
template <class Self, class T, class Base>
class OrderedOps : public Base {
    using Where = std::source_location;
    using K = Owned<KeyOf<T>>;
    using V = Owned<ValueOf<T>>;
    const Self& self() const { return static_cast<const Self&>(*this); }

public:
    using Base::Base;

    /// Partition i holds smaller keys than partition i+1, each sorted. Runs a sampling job when n > 1. Equal keys keep
    /// the order in which they came out of the shuffle.
    template <class Compare = std::less<K>>
    RDD<std::pair<K, V>> sortByKey(bool ascending = true, std::optional<int> n = std::nullopt, Compare less = {},
                                   Where where = Where::current()) const requires PairLike<T> {
        return detail::sortByKey(self().plan(), ascending, n, std::move(less), "sortByKey", where);
    }
    /// A shuffle by `partitioner` with each partition sorted by key.
    template <class Compare = std::less<K>>
    RDD<std::pair<K, V>> repartitionAndSortWithinPartitions(Partitioner partitioner, Compare less = {},
                                                            Where where = Where::current()) const requires PairLike<T> {
        return detail::repartitionAndSort(self().plan(), std::move(partitioner), std::move(less), where);
    }
    /// Pairs with lower <= key <= upper. With a RangePartitioner only the partitions in question run.
    RDD<std::pair<K, V>> filterByRange(const K& lower, const K& upper,
                                       Where where = Where::current()) const requires PairLike<T> {
        return detail::filterByRange(self().plan(), lower, upper, where);
    }

    /// 0.0 for no elements.
    double sum(Where where = Where::current()) const requires Numeric<T> {
        return detail::aggregate(
            self().plan(), "sum", 0.0, [](double a, T x) { return a + static_cast<double>(x); }, std::plus<double>{},
            where);
    }
    /// @throws EmptyCollectionException  for an RDD without partitions
    StatCounter stats(Where where = Where::current()) const requires Numeric<T> {
        return detail::stats(self().plan(), where);
    }
    double mean(Where where = Where::current()) const requires Numeric<T> { return stats(where).mean(); }
    double variance(Where where = Where::current()) const requires Numeric<T> { return stats(where).variance(); }
    double popVariance(Where where = Where::current()) const requires Numeric<T> { return stats(where).variance(); }
    double stdev(Where where = Where::current()) const requires Numeric<T> { return stats(where).stdev(); }
    double popStdev(Where where = Where::current()) const requires Numeric<T> { return stats(where).stdev(); }
    double sampleVariance(Where where = Where::current()) const requires Numeric<T> {
        return stats(where).sampleVariance();
    }
    double sampleStdev(Where where = Where::current()) const requires Numeric<T> { return stats(where).sampleStdev(); }
    /// Mean and sum as far as they are known after `timeoutMs`; see countApprox.
    PartialResult<BoundedDouble> meanApprox(int64_t timeoutMs, double confidence = 0.95,
                                            Where where = Where::current()) const requires Numeric<T> {
        return detail::momentsApprox<&detail::estimateMean>(self().plan(), "meanApprox", timeoutMs, confidence, where);
    }
    PartialResult<BoundedDouble> sumApprox(int64_t timeoutMs, double confidence = 0.95,
                                           Where where = Where::current()) const requires Numeric<T> {
        return detail::momentsApprox<&detail::estimateSum>(self().plan(), "sumApprox", timeoutMs, confidence, where);
    }
    /// Even buckets from min to max, the last closed on the right: (bounds, counts). min == max: one bucket.
    /// @throws EmptyCollectionException  when it is empty or holds NaN or infinity
    std::pair<std::vector<double>, std::vector<int64_t>> histogram(
        int buckets, Where where = Where::current()) const requires Numeric<T> {
        return detail::histogram(self().plan(), buckets, where);
    }
    /// Counts in [a,b) buckets, the last [a,b]; other values and NaN are ignored. `evenBuckets`: the bounds are evenly
    /// spaced.
    /// @throws IllegalArgumentException  for fewer than two bounds
    std::vector<int64_t> histogram(std::vector<double> bounds, bool evenBuckets = false,
                                   Where where = Where::current()) const requires Numeric<T> {
        return detail::histogram(self().plan(), std::move(bounds), evenBuckets, where);
    }
};

}  // namespace dstream::detail
