#pragma once

#include "rdd/detail/pair_impl.hpp"

namespace dstream::detail {

/// The operators of RDDs of pairs. A partitions argument is a number or a Partitioner; without one the default
/// partitioner rule holds (see defaultPartitioner).
template <class Self, class T, class Base>
class PairOps : public Base {
    using Where = std::source_location;
    using K = Owned<KeyOf<T>>;
    using V = Owned<ValueOf<T>>;
    template <class W>
    using With = RDD<std::pair<KeyOf<T>, W>>;
    const Self& self() const { return static_cast<const Self&>(*this); }

public:
    using Base::Base;

    /// Combines the values of each key: `createCombiner(V) -> C`, `mergeValue(C, V) -> C`, `mergeCombiners(C, C) -> C`.
    /// Without a shuffle if the RDD is partitioned that way already.
    template <class Create, class MergeValue, class MergeCombiners>
    auto combineByKey(Create createCombiner, MergeValue mergeValue, MergeCombiners mergeCombiners,
                      PartitionChoice partitions = {}, bool mapSideCombine = true,
                      Where where = Where::current()) const requires PairLike<T> {
        using C = std::remove_cvref_t<std::invoke_result_t<Create&, const V&>>;
        return detail::combineByKey<C>(self().plan(), std::move(createCombiner), std::move(mergeValue),
                                       std::move(mergeCombiners), partitions, mapSideCombine, "combineByKey", where);
    }
    template <class Create, class MergeValue, class MergeCombiners>
    auto combineByKeyWithClassTag(Create createCombiner, MergeValue mergeValue, MergeCombiners mergeCombiners,
                                  PartitionChoice partitions = {}, bool mapSideCombine = true,
                                  Where where = Where::current()) const requires PairLike<T> {
        return combineByKey(std::move(createCombiner), std::move(mergeValue), std::move(mergeCombiners), partitions,
                            mapSideCombine, where);
    }
    /// `zero` is copied once per key and map-side partition.
    template <class U, class Seq, class Comb>
    requires(PairLike<T>&& std::is_invocable_v<Seq&, U, const V&>) RDD<std::pair<K, U>> aggregateByKey(
        U zero, Seq seqOp, Comb combOp, Where where = Where::current())
    const { return aggregateByKey(std::move(zero), PartitionChoice{}, std::move(seqOp), std::move(combOp), where); }
    template <class U, class Seq, class Comb>
    requires PairLike<T> RDD<std::pair<K, U>> aggregateByKey(U zero, PartitionChoice partitions, Seq seqOp, Comb combOp,
                                                             Where where = Where::current())
    const {
        return detail::combineByKey<U>(self().plan(), FromZero<U, Seq>{std::move(zero), seqOp}, seqOp,
                                       std::move(combOp), partitions, std::true_type{}, "aggregateByKey", where);
    }
    template <class F>
    requires(PairLike<T>&& std::is_invocable_v<F&, const V&, const V&>) RDD<std::pair<K, V>> foldByKey(
        V zero, F f, Where where = Where::current())
    const { return foldByKey(std::move(zero), PartitionChoice{}, std::move(f), where); }
    template <class F>
    requires PairLike<T> RDD<std::pair<K, V>> foldByKey(V zero, PartitionChoice partitions, F f,
                                                        Where where = Where::current())
    const {
        return detail::combineByKey<V>(self().plan(), FromZero<V, F>{std::move(zero), f}, f, f, partitions,
                                       std::true_type{}, "foldByKey", where);
    }
    /// `f` must be associative and commutative.
    template <class F>
    requires(PairLike<T>&& std::is_invocable_v<F&, const V&, const V&>) RDD<std::pair<K, V>> reduceByKey(
        F f, Where where = Where::current())
    const { return detail::reduceByKey(self().plan(), std::move(f), {}, "reduceByKey", where); }
    template <class F>
    requires(PairLike<T>&& std::is_invocable_v<F&, const V&, const V&>) RDD<std::pair<K, V>> reduceByKey(
        F f, int numPartitions, Where where = Where::current())
    const { return detail::reduceByKey(self().plan(), std::move(f), numPartitions, "reduceByKey", where); }
    template <class F>
    requires PairLike<T> RDD<std::pair<K, V>> reduceByKey(Partitioner partitioner, F f, Where where = Where::current())
    const { return detail::reduceByKey(self().plan(), std::move(f), std::move(partitioner), "reduceByKey", where); }
    /// An action. @throws EmptyCollectionException for an RDD without partitions
    template <class F>
    std::map<K, V> reduceByKeyLocally(F f, Where where = Where::current()) const requires PairLike<T> {
        return detail::reduceByKeyLocally(self().plan(), std::move(f), where);
    }
    /// No map-side combine. The order of values in a group is not promised.
    RDD<std::pair<K, std::vector<V>>> groupByKey(PartitionChoice partitions = {},
                                                 Where where = Where::current()) const requires PairLike<T> {
        return detail::groupByKey(self().plan(), partitions, "groupByKey", where);
    }
    std::map<K, int64_t> countByKey(Where where = Where::current()) const requires PairLike<T> {
        return detail::countByValue(detail::keys(self().plan(), where).plan(), where);
    }
    /// Counts as far as they are known after `timeoutMs`; see countApprox.
    PartialResult<std::map<K, BoundedDouble>> countByKeyApprox(
        int64_t timeoutMs, double confidence = 0.95, Where where = Where::current()) const requires PairLike<T> {
        return detail::countByValueApprox(detail::keys(self().plan(), where).plan(), timeoutMs, confidence, where);
    }
    /// @throws IllegalArgumentException  when relativeSD <= 0.000017
    RDD<std::pair<K, int64_t>> countApproxDistinctByKey(double relativeSD = 0.05, PartitionChoice partitions = {},
                                                        Where where = Where::current()) const requires PairLike<T> {
        return detail::countApproxDistinctByKey(self().plan(), HyperLogLog::precisionFor(relativeSD), 0, partitions,
                                                where);
    }
    /// The same by precision: p >= 4, sp <= 32, sp 0 or at least p, else IllegalArgument.
    RDD<std::pair<K, int64_t>> countApproxDistinctByKey(int p, int sp, Partitioner partitioner,
                                                        Where where = Where::current()) const requires PairLike<T> {
        return detail::countApproxDistinctByKey(self().plan(), p, sp, std::move(partitioner), where);
    }
    /// A sample with a fraction for each key; keys without one are left out.
    /// @throws IllegalArgumentException  when a fraction is negative
    RDD<std::pair<K, V>> sampleByKey(bool withReplacement, std::map<K, double> fractions,
                                     std::optional<int64_t> seed = std::nullopt,
                                     Where where = Where::current()) const requires PairLike<T> {
        return detail::sampleByKey<T>(this->node(), withReplacement, std::move(fractions), seed, where);
    }
    /// The same with exactly ceil(count * fraction) pairs of each key. Takes two more passes over the data.
    /// @throws IllegalArgumentException  when a fraction is negative, or over 1 without replacement
    RDD<std::pair<K, V>> sampleByKeyExact(bool withReplacement, std::map<K, double> fractions,
                                          std::optional<int64_t> seed = std::nullopt,
                                          Where where = Where::current()) const requires PairLike<T> {
        return detail::sampleByKeyExact<T>(this->node(), withReplacement, std::move(fractions), seed, where);
    }
    /// The same RDD if it is partitioned that way already.
    RDD<std::pair<K, V>> partitionBy(Partitioner partitioner,
                                     Where where = Where::current()) const requires PairLike<T> {
        return detail::partitionBy(self().plan(), std::move(partitioner), "partitionBy", where);
    }

    /// Keys of both, all combinations of values.
    template <class W>
    RDD<std::pair<K, std::pair<V, Owned<W>>>> join(const With<W>& other, PartitionChoice partitions = {},
                                                   Where where = Where::current()) const requires PairLike<T> {
        return detail::join<JoinKind::kInner>(self().plan(), other.plan(), partitions, where);
    }
    template <class W>
    RDD<std::pair<K, std::pair<V, std::optional<Owned<W>>>>> leftOuterJoin(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return detail::join<JoinKind::kLeft>(self().plan(), other.plan(), partitions, where);
    }
    template <class W>
    RDD<std::pair<K, std::pair<std::optional<V>, Owned<W>>>> rightOuterJoin(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return detail::join<JoinKind::kRight>(self().plan(), other.plan(), partitions, where);
    }
    template <class W>
    RDD<std::pair<K, std::pair<std::optional<V>, std::optional<Owned<W>>>>> fullOuterJoin(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return detail::join<JoinKind::kFull>(self().plan(), other.plan(), partitions, where);
    }
    /// Each key once with one list of values per input: a pair of lists for one other, a tuple for two or three.
    template <class W>
    RDD<std::pair<K, std::pair<std::vector<V>, std::vector<Owned<W>>>>> cogroup(
        const With<W>& other, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        return detail::cogroup(partitions, where, self().plan(), other.plan());
    }
    template <class W1, class W2>
    auto cogroup(const With<W1>& a, const With<W2>& b, PartitionChoice partitions = {},
                 Where where = Where::current()) const requires PairLike<T> {
        return detail::cogroup(partitions, where, self().plan(), a.plan(), b.plan());
    }
    template <class W1, class W2, class W3>
    auto cogroup(const With<W1>& a, const With<W2>& b, const With<W3>& c, PartitionChoice partitions = {},
                 Where where = Where::current()) const requires PairLike<T> {
        return detail::cogroup(partitions, where, self().plan(), a.plan(), b.plan(), c.plan());
    }
    template <class W>
    auto groupWith(const With<W>& other, Where where = Where::current()) const requires PairLike<T> {
        return cogroup(other, {}, where);
    }
    template <class W1, class W2>
    auto groupWith(const With<W1>& a, const With<W2>& b, Where where = Where::current()) const requires PairLike<T> {
        return cogroup(a, b, {}, where);
    }
    template <class W1, class W2, class W3>
    auto groupWith(const With<W1>& a, const With<W2>& b, const With<W3>& c,
                   Where where = Where::current()) const requires PairLike<T> {
        return cogroup(a, b, c, {}, where);
    }
    /// Pairs whose key is not in `other`.
    template <class W>
    RDD<std::pair<K, V>> subtractByKey(const With<W>& other, PartitionChoice partitions = {},
                                       Where where = Where::current()) const requires PairLike<T> {
        return detail::subtractByKey(self().plan(), other.plan(), partitions, "subtractByKey", where);
    }

    /// Keeps the partitioner.
    template <class F>
    auto mapValues(F f, Where where = Where::current()) const requires PairLike<T> {
        return detail::mapValues(self().plan(), std::move(f), where);
    }
    template <class F>
    auto flatMapValues(F f, Where where = Where::current()) const requires PairLike<T> {
        return detail::flatMapValues(self().plan(), std::move(f), where);
    }
    auto keys(Where where = Where::current()) const requires PairLike<T> { return detail::keys(self().plan(), where); }
    auto values(Where where = Where::current()) const requires PairLike<T> {
        return detail::values(self().plan(), where);
    }
    /// All values of a key. With a partitioner only its partition is run.
    std::vector<V> lookup(const K& key, Where where = Where::current()) const requires PairLike<T> {
        return detail::lookup(self().plan(), key, where);
    }
    /// The last pair of a key wins.
    std::map<K, V> collectAsMap(Where where = Where::current()) const requires PairLike<T> {
        return detail::collectAsMap(self().plan(), where);
    }
};

}  // namespace dstream::detail
