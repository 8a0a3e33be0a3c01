#pragma once

#include "dstream/stream_node.hpp"

#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace dstream::detail {

// What the most used operators do with the RDD of a batch. Named types: a lambda inside a member of a fused stream
// would carry the whole chain in its name, and with it the compiler's time.
template <class F>
struct MapOp {
    F f;
    std::source_location where;
    auto operator()(const auto& rdd) const { return rdd.map(f, where); }
};
template <class F>
struct FlatMapOp {
    F f;
    std::source_location where;
    auto operator()(const auto& rdd) const { return rdd.flatMap(f, where); }
};
template <class U, class F>
struct FlatMapEmitOp {
    F f;
    std::source_location where;
    auto operator()(const auto& rdd) const { return rdd.template flatMap<U>(f, where); }
};
template <class F>
struct FilterOp {
    F f;
    std::source_location where;
    auto operator()(const auto& rdd) const { return rdd.filter(f, where); }
};

/// The sum of the values, 0 where there are none. All keys are 0.
RDD<int64_t> sumOfCounts(const RDD<std::pair<int64_t, int64_t>>& counts, const Partitioner& partitioner,
                         std::source_location where);

/// What every stream has: its node, times, storage and name. `Self` is the handle's type, `Base` the class this is
/// added to.
template <class Self, class T, class Base>
class StorageOps : public Base {
    const Self& self() const { return static_cast<const Self&>(*this); }

public:
    using Base::Base;

    /// Persists the RDD of every batch.
    /// @throws UnsupportedOperationException  once the context has been started
    Self persist(StorageLevel level = StorageLevel::MEMORY_ONLY_SER) const {
        self().node()->persist(level);
        return self();
    }
    Self cache() const { return persist(); }
    /// Checkpoints the RDDs of every `interval`, a multiple of the slide duration; persists as MEMORY_ONLY_SER.
    /// @throws UnsupportedOperationException  once the context has been started
    Self checkpoint(Duration interval) const {
        self().node()->checkpoint(interval);
        return self();
    }
    /// Names the RDDs of this stream.
    Self setName(std::string name) const {
        self().node()->setName(std::move(name));
        return self();
    }
    /// Gives the operator that made this stream an identity that outlives changes of the program, for checkpoints.
    /// @throws IllegalArgumentException  when another operator has it
    Self uid(std::string id) const {
        self().node()->setUid(std::move(id));
        return self();
    }
};

/// The operators of streams of any element type that make another stream. All are lazy: they only add a node.
/// All throw IllegalStateException once the context has been started.
template <class Self, class T, class Base>
class BasicStreamOps : public StorageOps<Self, T, Base> {
    using Layer = StorageOps<Self, T, Base>;
    using Where = std::source_location;
    const Self& self() const { return static_cast<const Self&>(*this); }

    template <MissingParent kMissing = MissingParent::kNone, class F>
    auto op(const char* name, Where where, F f) const {
        return addOp<kMissing>(self().nodeAs(), name, CallSite::from(where), std::move(f));
    }

public:
    using Layer::Layer;

    StreamingContext context() const { return self().node()->context(); }
    Duration slideDuration() const { return self().node()->slideDuration(); }

    // ---- narrow operators: fused with their neighbours when kept as `auto`

    /// Applies `f` to each element.
    template <class F>
    auto map(F f, Where where = Where::current()) const {
        return op("map", where, MapOp<F>{std::move(f), where});
    }
    /// Applies `f`, which returns any range, and concatenates the ranges.
    template <class F>
    auto flatMap(F f, Where where = Where::current()) const {
        return op("flatMap", where, FlatMapOp<F>{std::move(f), where});
    }
    /// The form with an emitter: `f(element, emit)`, element type named: `flatMap<std::string_view>(f)`.
    template <class U, class F>
    auto flatMap(F f, Where where = Where::current()) const {
        return op("flatMap", where, FlatMapEmitOp<U, F>{std::move(f), where});
    }
    /// Keeps the elements for which `f` is true, and the partitioner.
    template <class F>
    auto filter(F f, Where where = Where::current()) const {
        return op("filter", where, FilterOp<F>{std::move(f), where});
    }

    // ---- operators on whole partitions and batches

    /// Each partition becomes one vector; an empty one an empty vector.
    auto glom(Where where = Where::current()) const {
        return op("glom", where, [where](const auto& rdd) { return rdd.glom(where); });
    }
    /// `f(Iterator<T>)` sees each partition once, empty ones too, and returns any range.
    template <class F>
    auto mapPartitions(F f, bool preservePartitioning = false, Where where = Where::current()) const {
        return op("mapPartitions", where, [f = std::move(f), preservePartitioning, where](const auto& rdd) {
            return rdd.mapPartitions(f, preservePartitioning, where);
        });
    }
    /// Deals the elements of each batch to exactly `numPartitions` partitions.
    DStream<Owned<T>> repartition(int numPartitions, Where where = Where::current()) const {
        return op<MissingParent::kError>("repartition", where, [numPartitions, where](const auto& rdd) {
            return rdd.repartition(numPartitions, where);
        });
    }
    /// One element per batch, none for an empty one; `f` must be associative and commutative.
    template <class F>
    DStream<Owned<T>> reduce(F f, Where where = Where::current()) const {
        return op("reduce", where, [f = std::move(f), where](const auto& rdd) {
            return RDD<Owned<T>>(
                rdd.map(UnderOneKey(), where).reduceByKey(HashPartitioner(1), f, where).map(SecondOfPair(), where));
        });
    }
    /// The number of elements of each batch, 0 for an empty one: a DStream<int64_t>.
    auto count(Where where = Where::current()) const {
        const HashPartitioner partitioner(context().sparkContext().defaultParallelism());
        return op<MissingParent::kError>("count", where, [partitioner, where](const auto& rdd) {
            auto countPartition = [](auto&& part) {
                int64_t n = 0;
                for (auto it = part.begin(); it != part.end(); ++it) ++n;
                return std::vector{std::pair<int64_t, int64_t>(0, n)};
            };
            return sumOfCounts(rdd.mapPartitions(countPartition, false, where), partitioner, where);
        });
    }
    /// (value, how often it occurs) of each batch.
    /// @param numPartitions  of the result; defaultParallelism if absent
    DStream<std::pair<Owned<T>, int64_t>> countByValue(std::optional<int> numPartitions = std::nullopt,
                                                       Where where = Where::current()) const requires Hashable<T> {
        const HashPartitioner partitioner(numPartitions.value_or(context().sparkContext().defaultParallelism()));
        return op("countByValue", where, [partitioner, where](const auto& rdd) {
            return rdd.map(WithCountOfOne(), where).reduceByKey(partitioner, std::plus<int64_t>{}, where);
        });
    }

    // ---- any RDD operator

    /// `f(rdd)` or `f(rdd, batchTime)` makes the RDD of each batch. It runs on the generator's thread, once per batch,
    /// and may start jobs. A batch without RDD, or an empty handle returned, fails the batch with SparkException.
    template <class F>
    auto transform(F f, Where where = Where::current()) const {
        return op<MissingParent::kError>("transform", where, std::move(f));
    }
    /// `f(rdd, otherRdd)` or `f(rdd, otherRdd, batchTime)` makes the RDD of each batch.
    /// @throws IllegalArgumentException  when the streams differ in context or slide duration
    template <class U, class F>
    auto transformWith(const DStream<U>& other, F f, Where where = Where::current()) const {
        return addCombine("transformWith", CallSite::from(where), std::move(f), self().nodeAs(), other.nodeAs());
    }
    /// The elements of both, this stream's partitions first. (`union` of the reference.)
    /// @throws IllegalArgumentException  when the streams differ in context or slide duration
    DStream<T> unionWith(const DStream<T>& other, Where where = Where::current()) const {
        return context().unionAll(std::vector<DStream<T>>{self(), other}, where);
    }

    // ---- past batches

    /// The RDDs of the batches in [from, to], both included; missing ones are made. Ends off the stream's grid are
    /// floored to it. Times before the start and batches without RDD are left out. Any thread.
    /// @throws SparkException  before the context has been started
    std::vector<RDD<T>> slice(Time from, Time to) const {
        std::vector<RDD<T>> rdds;
        for (const GeneratedRddPtr& generated : self().node()->sliceRdds(from, to)) {
            rdds.push_back(static_cast<const TypedGeneratedRdd<T>&>(*generated).rdd());
        }
        return rdds;
    }
    std::vector<RDD<T>> slice(const Interval& interval) const {
        return slice(interval.beginTime(), interval.endTime());
    }
};

}  // namespace dstream::detail
