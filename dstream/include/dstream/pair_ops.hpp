#pragma once

#include "dstream/stream_node.hpp"

#include <functional>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

namespace dstream::detail {

template <class F>
struct ReduceByKeyOp {
    F f;
    Partitioner partitioner;
    std::source_location where;
    auto operator()(const auto& rdd) const { return rdd.reduceByKey(partitioner, f, where); }
};

/// The operators of streams of pairs. A partitions argument is a number or a Partitioner; without one it is a
/// HashPartitioner of defaultParallelism, whatever the partitioning of the input.
template <class Self, class T, class Base>
class PairStreamOps : public Base {
    using Where = std::source_location;
    using K = Owned<KeyOf<T>>;
    using V = Owned<ValueOf<T>>;
    template <class W>
    using With = DStream<std::pair<KeyOf<T>, W>>;
    const Self& self() const { return static_cast<const Self&>(*this); }

    template <class F>
    auto op(const char* name, Where where, F f) const {
        return addOp(self().nodeAs(), name, CallSite::from(where), std::move(f));
    }
    template <class W, class F>
    auto combine(const char* name, const With<W>& other, Where where, F f) const {
        return addCombine(name, CallSite::from(where), std::move(f), self().nodeAs(), other.nodeAs());
    }

protected:
    Partitioner partitionerOf(const PartitionChoice& partitions) const {
        if (partitions.partitioner()) return *partitions.partitioner();
        return HashPartitioner(self().context().sparkContext().defaultParallelism());
    }

public:
    using Base::Base;

    /// (key, its values in the batch). The order of values is not promised.
    DStream<std::pair<K, std::vector<V>>> groupByKey(PartitionChoice partitions = {},
                                                     Where where = Where::current()) const requires PairLike<T> {
        return op("groupByKey", where, [partitioner = partitionerOf(partitions), where](const auto& rdd) {
            auto append = [](std::vector<V> values, const V& value) {
                values.push_back(value);
                return values;
            };
            auto concatenate = [](std::vector<V> a, std::vector<V> b) {
                a.insert(a.end(), std::make_move_iterator(b.begin()), std::make_move_iterator(b.end()));
                return a;
            };
            return rdd.combineByKey([](const V& value) { return std::vector<V>{value}; }, append, concatenate,
                                    partitioner, true, where);
        });
    }
    /// Merges the values of each key of the batch; `f` must be associative and commutative.
    template <class F>
    DStream<std::pair<K, V>> reduceByKey(F f, PartitionChoice partitions = {},
                                         Where where = Where::current()) const requires PairLike<T> {
        return op("reduceByKey", where, ReduceByKeyOp<F>{std::move(f), partitionerOf(partitions), where});
    }
    /// Combines the values of each key of the batch: `createCombiner(V) -> C`, `mergeValue(C, V) -> C`,
    /// `mergeCombiners(C, C) -> C`.
    template <class Create, class MergeValue, class MergeCombiners>
    auto combineByKey(Create createCombiner, MergeValue mergeValue, MergeCombiners mergeCombiners,
                      Partitioner partitioner, bool mapSideCombine = true,
                      Where where = Where::current()) const requires PairLike<T> {
        return op("combineByKey", where,
                  [createCombiner = std::move(createCombiner), mergeValue = std::move(mergeValue),
                   mergeCombiners = std::move(mergeCombiners), partitioner = std::move(partitioner), mapSideCombine,
                   where](const auto& rdd) {
                      return rdd.combineByKey(createCombiner, mergeValue, mergeCombiners, partitioner, mapSideCombine,
                                              where);
                  });
    }
    /// The form that names the combined type.
    template <class C, class Create, class MergeValue, class MergeCombiners>
    DStream<std::pair<K, C>> combineByKey(Create createCombiner, MergeValue mergeValue, MergeCombiners mergeCombiners,
                                          Partitioner partitioner, bool mapSideCombine = true,
                                          Where where = Where::current()) const requires PairLike<T> {
        return combineByKey(
            [createCombiner = std::move(createCombiner)](const V& value) mutable -> C { return createCombiner(value); },
            std::move(mergeValue), std::move(mergeCombiners), std::move(partitioner), mapSideCombine, where);
    }

    /// Applies `f` to each value. Keeps the partitioner.
    template <class F>
    auto mapValues(F f, Where where = Where::current()) const requires PairLike<T> {
        return op("mapValues", where, [f = std::move(f), where](const auto& rdd) { return rdd.mapValues(f, where); });
    }
    /// Pairs each key with every element of `f(value)`. Keeps the partitioner.
    template <class F>
    auto flatMapValues(F f, Where where = Where::current()) const requires PairLike<T> {
        return op("flatMapValues", where,
                  [f = std::move(f), where](const auto& rdd) { return rdd.flatMapValues(f, where); });
    }

    // ---- with another stream: batch by batch; both must have an RDD for the batch, else it fails with SparkException.
    // All throw IllegalArgumentException when the streams differ in context or slide duration.

    /// Each key once, with its values in this stream and in the other.
    template <class W>
    DStream<std::pair<K, std::pair<std::vector<V>, std::vector<Owned<W>>>>> cogroup(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return combine("cogroup", other, where,
                       [partitioner = partitionerOf(partitions), where](const auto& a, const auto& b) {
                           return a.cogroup(b, partitioner, where);
                       });
    }
    /// Keys of both, all combinations of values.
    template <class W>
    DStream<std::pair<K, std::pair<V, Owned<W>>>> join(const With<W>& other, PartitionChoice partitions = {},
                                                       Where where = Where::current()) const requires PairLike<T> {
        return combine("join", other, where,
                       [partitioner = partitionerOf(partitions), where](const auto& a, const auto& b) {
                           return a.join(b, partitioner, where);
                       });
    }
    template <class W>
    DStream<std::pair<K, std::pair<V, std::optional<Owned<W>>>>> leftOuterJoin(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return combine("leftOuterJoin", other, where,
                       [partitioner = partitionerOf(partitions), where](const auto& a, const auto& b) {
                           return a.leftOuterJoin(b, partitioner, where);
                       });
    }
    template <class W>
    DStream<std::pair<K, std::pair<std::optional<V>, Owned<W>>>> rightOuterJoin(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return combine("rightOuterJoin", other, where,
                       [partitioner = partitionerOf(partitions), where](const auto& a, const auto& b) {
                           return a.rightOuterJoin(b, partitioner, where);
                       });
    }
    template <class W>
    DStream<std::pair<K, std::pair<std::optional<V>, std::optional<Owned<W>>>>> fullOuterJoin(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return combine("fullOuterJoin", other, where,
                       [partitioner = partitionerOf(partitions), where](const auto& a, const auto& b) {
                           return a.fullOuterJoin(b, partitioner, where);
                       });
    }
};

}  // namespace dstream::detail
