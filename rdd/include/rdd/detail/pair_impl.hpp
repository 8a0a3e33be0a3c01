#pragma once

#include "rdd/detail/rdd_impl.hpp"

#include <bit>
#include <span>

// Bodies of the operators of RDDs of pairs; declared, with their documentation, in pair_ops.hpp.

namespace dstream::detail {

template <class PlanT>
using KeyIn = typename PlanT::T::first_type;
template <class PlanT>
using OwnedKey = Owned<typename PlanT::T::first_type>;
template <class PlanT>
using OwnedValue = Owned<typename PlanT::T::second_type>;

/// What was chosen, else what the default rule gives for these inputs.
Partitioner choose(const PartitionChoice& choice, const std::vector<const RddBase*>& rdds);

// ---- narrow

template <class PlanT, class F>
auto mapValues(const PlanT& plan, F f, Where where) {
    using P = typename PlanT::T;
    const auto make = [&](const RddBase* op) { return MapValuesStep<P, F>{{f, op}}; };
    return narrow(appendStep(plan, "mapValues", CallSite::from(where), make, make));
}
template <class PlanT, class F>
auto flatMapValues(const PlanT& plan, F f, Where where) {
    using P = typename PlanT::T;
    const auto make = [&](const RddBase* op) { return FlatMapValuesStep<P, F>{{f, op}}; };
    return narrow(appendStep(plan, "flatMapValues", CallSite::from(where), make, make));
}
template <int kIndex, class PlanT>
auto component(const PlanT& plan, const char* name, Where where) {
    const auto make = [](const RddBase*) { return ComponentStep<typename PlanT::T, kIndex>{}; };
    return narrow(appendStep(plan, name, CallSite::from(where), make, make));
}
template <class PlanT>
auto keys(const PlanT& plan, Where where) {
    return component<0>(plan, "keys", where);
}
template <class PlanT>
auto values(const PlanT& plan, Where where) {
    return component<1>(plan, "values", where);
}

// ---- combining

/// `sum = f(sum, value)` for functions that take the sum by value, by const reference or by reference.
template <class F, class C, class V>
void mergeInto(F& f, C& sum, const V& value) {
    if constexpr (std::is_invocable_v<F&, C&&, const V&>) {
        sum = std::invoke(f, std::move(sum), value);
    } else {
        sum = std::invoke(f, sum, value);
    }
}

/// Reduce side of a shuffle without map-side combine.
template <class K, class V, class Agg>
class ReduceSideCombineNode final : public ShuffleReaderNode<K, typename Agg::C> {
    using C = typename Agg::C;

public:
    ReduceSideCombineNode(std::shared_ptr<const ShuffleDependency> shuffle, Agg aggregator, const char* name,
                          CallSite callSite)
        : ShuffleReaderNode<K, C>(std::move(shuffle), name, callSite), aggregator_(std::move(aggregator)) {}

private:
    CursorPtr<std::pair<K, C>> doCompute(int partition, TaskContext& context) const override {
        Agg agg(aggregator_);
        FlatTable<K, C> table;
        forEachInBlocks<K, V>(
            this->fetch(partition, context), context, [&](const std::pair<K, V>& pair, uint64_t hash) {
                table.upsert(
                    hash, pair.first, [&] { return guarded(this, [&] { return agg.create(pair.second); }); },
                    [&](C& combined) { guarded(this, [&] { agg.mergeValue(combined, pair.second); }); });
            });
        return entriesCursor(table, context);
    }

    const Agg aggregator_;
};

/// `mapSideCombine` is a bool, or std::true_type or std::false_type where it is known: the other way is not compiled
/// then.
template <class PlanT, class Agg, class MapSide>
auto combineWith(const PlanT& plan, Agg agg, const Partitioner& partitioner, MapSide mapSideCombine, const char* name,
                 Where where) {
    using K = OwnedKey<PlanT>;
    using V = OwnedValue<PlanT>;
    using C = typename Agg::C;
    using Pair = std::pair<K, C>;
    const CallSite callSite = CallSite::from(where);
    if constexpr (PlanT::Stage::kMayBePlaced) {
        if (plan.node->partitioner() == partitioner) {
            return makeRdd<Pair>(makeNode<LocalCombineNode<PlanT, Agg>>(plan, std::move(agg), name, callSite));
        }
    }
    if constexpr (!std::is_same_v<MapSide, std::false_type>) {
        if (mapSideCombine) {
            auto shuffle =
                asShared(new CombiningShuffle<PlanT, Agg>(plan, partitioner, agg, OperatorInfo(name, callSite)));
            using Node = CombinedNode<K, C, decltype(agg.mergeCombiners)>;
            return makeRdd<Pair>(makeNode<Node>(std::move(shuffle), std::move(agg.mergeCombiners), name, callSite));
        }
    }
    if constexpr (!std::is_same_v<MapSide, std::true_type>) {
        auto shuffle = asShared(new PlainShuffle<PlanT>(plan, partitioner));
        return makeRdd<Pair>(
            makeNode<ReduceSideCombineNode<K, V, Agg>>(std::move(shuffle), std::move(agg), name, callSite));
    } else {
        return RDD<Pair>();  // not reached
    }
}

template <class C, class Create, class MergeValue, class MergeCombiners>
auto makeAggregator(Create create, MergeValue mergeValue, MergeCombiners mergeCombiners) {
    return Aggregator<C, Create, MergeValue, MergeCombiners>{std::move(create), std::move(mergeValue),
                                                             std::move(mergeCombiners)};
}

// The parts of an aggregator, made of the functions that a user gives. They have names, here and below, so that their
// types do not depend on the plan: what is compiled for one operator serves the next one.

template <class C, class V, class F>
struct CreateCombiner {
    F f;
    template <class T>
    C operator()(const T& value) {
        return C(std::invoke(f, convertElement<V>(value)));
    }
};
template <class V, class F>
struct MergeValue {
    F f;
    template <class C, class T>
    void operator()(C& sum, const T& value) {
        if constexpr (std::is_same_v<T, V>) {
            mergeInto(f, sum, value);
        } else {
            mergeInto(f, sum, convertElement<V>(value));
        }
    }
};
template <class F>
struct MergeCombiners {
    F f;
    template <class C>
    void operator()(C& sum, const C& other) {
        mergeInto(f, sum, other);
    }
};
/// A first value as `f` merges it into `zero`.
template <class U, class F>
struct FromZero {
    U zero;
    F f;
    template <class V>
    U operator()(const V& value) {
        return std::invoke(f, U(zero), value);
    }
};

template <class C, class PlanT, class Create, class Merge, class Combine, class MapSide>
RDD<std::pair<OwnedKey<PlanT>, C>> combineByKey(const PlanT& plan, Create create, Merge mergeValue,
                                                Combine mergeCombiners, const PartitionChoice& partitions,
                                                MapSide mapSideCombine, const char* name, Where where) {
    using V = OwnedValue<PlanT>;
    return combineWith(
        plan,
        makeAggregator<C>(CreateCombiner<C, V, Create>{std::move(create)}, MergeValue<V, Merge>{std::move(mergeValue)},
                          MergeCombiners<Combine>{std::move(mergeCombiners)}),
        choose(partitions, {plan.node.get()}), mapSideCombine, name, where);
}

template <class PlanT, class F>
RDD<std::pair<OwnedKey<PlanT>, OwnedValue<PlanT>>> reduceByKey(const PlanT& plan, F f,
                                                               const PartitionChoice& partitions, const char* name,
                                                               Where where) {
    return combineByKey<OwnedValue<PlanT>>(plan, std::identity{}, f, f, partitions, std::true_type{}, name, where);
}

/// The aggregator that lists values.
template <class V>
struct GatherValues {
    using C = std::vector<V>;
    template <class T>
    C create(const T& value) {
        C group;
        mergeValue(group, value);
        return group;
    }
    template <class T>
    void mergeValue(C& group, const T& value) {
        group.push_back(convertElement<V>(value));
    }
};

template <class PlanT>
RDD<std::pair<OwnedKey<PlanT>, std::vector<OwnedValue<PlanT>>>> groupByKey(const PlanT& plan,
                                                                           const PartitionChoice& partitions,
                                                                           const char* name, Where where) {
    return combineWith(plan, GatherValues<OwnedValue<PlanT>>(), choose(partitions, {plan.node.get()}),
                       std::false_type{}, name, where);
}

template <class PlanT, class F>
auto reduceByKeyLocally(const PlanT& plan, F f, Where where) {
    using K = OwnedKey<PlanT>;
    using V = OwnedValue<PlanT>;
    if (plan.node->numPartitions() == 0) {
        throw EmptyCollectionException("reduceByKeyLocally at " + CallSite::from(where).toString() +
                                       " needs an RDD with at least one partition");
    }
    auto parts = runOnAll(
        plan, "reduceByKeyLocally", where,
        [plan, f, op = OperatorInfo("reduceByKeyLocally", CallSite::from(where))](TaskContext& context) mutable {
            FlatTable<K, V> table;
            plan.drive(context.partitionId(), context, [&](auto&& element) {
                table.upsert(
                    PlacementHash<KeyIn<PlanT>>{}(element.first), element.first,
                    [&] { return convertElement<V>(element.second); },
                    [&](V& sum) { guarded(&op, [&] { mergeInto(f, sum, convertElement<V>(element.second)); }); });
            });
            return std::move(table.entries());
        });
    std::map<K, V> result;
    for (auto& part : parts) {
        for (auto& [key, value] : part) {
            auto [at, isNew] = result.try_emplace(key, value);
            if (!isNew) mergeInto(f, at->second, value);
        }
    }
    return result;
}

template <class PlanT>
RDD<std::pair<OwnedKey<PlanT>, int64_t>> countApproxDistinctByKey(const PlanT& plan, int p, int sp,
                                                                  const PartitionChoice& partitions, Where where) {
    HyperLogLog::check(p, sp);
    return combineWith(plan,
                       makeAggregator<HyperLogLog>(
                           [p](const auto& value) {
                               HyperLogLog sketch(p);
                               sketch.add(PlacementHash<std::remove_cvref_t<decltype(value)>>{}(value));
                               return sketch;
                           },
                           [](HyperLogLog& sketch, const auto& value) {
                               sketch.add(PlacementHash<std::remove_cvref_t<decltype(value)>>{}(value));
                           },
                           [](HyperLogLog& sketch, const HyperLogLog& other) { sketch.merge(other); }),
                       choose(partitions, {plan.node.get()}), std::true_type{}, "countApproxDistinctByKey", where)
        .mapValues([](const HyperLogLog& sketch) { return sketch.estimate(); }, where);
}

template <class P>
RDD<std::pair<Owned<typename P::first_type>, Owned<typename P::second_type>>> sampleByKey(
    const std::shared_ptr<RddNode<P>>& node, bool withReplacement,
    std::map<Owned<typename P::first_type>, double> fractions, std::optional<int64_t> seed, Where where) {
    for (const auto& [key, fraction] : fractions) {
        if (!(fraction >= 0)) {
            throw IllegalArgumentException("sampleByKey needs fractions that are not negative: " +
                                           std::to_string(fraction));
        }
    }
    return sampleBy<P>(
        node, "sampleByKey", seed.value_or(randomSeed()),
        [withReplacement, fractions = std::move(fractions)](PartitionRandom& random, const Owned<P>& pair) {
            const auto at = fractions.find(pair.first);
            const double fraction = at == fractions.end() ? 0 : at->second;
            return withReplacement ? random.nextPoisson(fraction) : static_cast<int>(random.nextDouble() < fraction);
        },
        where);
}

/// How often each pair is taken, drawn from one sequence per key: without replacement the `wanted` pairs with the
/// smallest random tags, with replacement `wanted` draws of a position. Both need the pairs' positions among their key,
/// which a first pass counts.
template <class P>
RDD<Owned<P>> sampleByKeyExact(const std::shared_ptr<RddNode<P>>& node, bool withReplacement,
                               std::map<Owned<typename P::first_type>, double> fractions, std::optional<int64_t> seed,
                               Where where) {
    using K = Owned<typename P::first_type>;
    for (const auto& [key, fraction] : fractions) {
        if (!(fraction >= 0) || (!withReplacement && fraction > 1)) {
            throw IllegalArgumentException(
                "sampleByKeyExact needs fractions that are not negative, and at most 1 without "
                "replacement: " +
                std::to_string(fraction));
        }
    }
    const auto countsOf = runTasks(node, allPartitions(*node), "sampleByKeyExact", where,
                                   [plan = keys(RDD<P>(node).plan(), where).plan()](TaskContext& context) {
                                       return countInPartition(plan, context);
                                   });
    std::map<K, int64_t> totals;
    for (const auto& part : countsOf) {
        for (const auto& [key, n] : part) totals[key] += n;
    }
    // Positions (of a key, over all partitions) and how often each is taken.
    using Taken = std::map<K, std::map<int64_t, int>>;
    auto taken = std::make_shared<Taken>();
    PartitionRandom random(seed.value_or(randomSeed()), -1);
    for (const auto& [key, total] : totals) {
        const auto at = fractions.find(key);
        if (at == fractions.end()) continue;
        const auto wanted = roundedUp(static_cast<double>(total) * at->second);
        auto& positions = (*taken)[key];
        if (withReplacement) {
            for (int64_t i = 0; i < wanted; ++i)
                ++positions[static_cast<int64_t>(random.next() % static_cast<uint64_t>(total))];
        } else {
            // Floyd's way to draw `wanted` different positions.
            for (int64_t j = total - wanted; j < total; ++j) {
                const auto drawn = static_cast<int64_t>(random.next() % static_cast<uint64_t>(j + 1));
                positions.emplace(positions.count(drawn) != 0 ? j : drawn, 1);
            }
        }
    }
    auto starts = std::make_shared<std::vector<std::map<K, int64_t>>>(countsOf.size());
    std::map<K, int64_t> before;
    for (std::size_t p = 0; p < countsOf.size(); ++p) {
        (*starts)[p] = before;
        for (const auto& [key, n] : countsOf[p]) before[key] += n;
    }
    return mapPartitions<P>(
        node, "sampleByKeyExact",
        [taken, starts](int index, Iterator<P> part) {
            std::map<K, int64_t> next = (*starts)[static_cast<std::size_t>(index)];
            std::vector<Owned<P>> kept;
            for (const P& pair : part) {
                Owned<P> owned = convertElement<Owned<P>>(pair);
                const int64_t position = next[owned.first]++;
                const auto ofKey = taken->find(owned.first);
                if (ofKey == taken->end()) continue;
                const auto at = ofKey->second.find(position);
                if (at != ofKey->second.end()) kept.insert(kept.end(), static_cast<std::size_t>(at->second), owned);
            }
            return kept;
        },
        true, where);
}

// ---- placing

template <class PlanT>
RDD<std::pair<OwnedKey<PlanT>, OwnedValue<PlanT>>> partitionBy(const PlanT& plan, Partitioner partitioner,
                                                               const char* name, Where where) {
    using K = OwnedKey<PlanT>;
    using V = OwnedValue<PlanT>;
    if constexpr (std::is_same_v<typename PlanT::T, std::pair<K, V>>) {
        if (plan.node->partitioner() == partitioner) return RDD<std::pair<K, V>>(plan.node);
    }
    auto shuffle = asShared(new PlainShuffle<PlanT>(plan, std::move(partitioner)));
    return makeRdd<std::pair<K, V>>(
        makeNode<ShuffledNode<K, V>>(std::move(shuffle), nullptr, name, CallSite::from(where)));
}

/// The key is the partition.
class DirectPartitioner final : public KeyPartitioner<int32_t> {
public:
    explicit DirectPartitioner(int n) : n_(n) {}
    int numPartitions() const override { return n_; }
    int getPartition(const int32_t& key) const override { return key; }
    bool equals(const PartitionerBase& other) const override { return this == &other; }

private:
    int n_;
};

template <class T>
RDD<Owned<T>> coalesce(const std::shared_ptr<RddNode<T>>& node, int n, bool shuffle, const char* name, Where where,
                       const PartitionCoalescer* coalescer) {
    if (n < 1) {
        throw IllegalArgumentException(std::string(name) +
                                       " needs a positive number of partitions: " + std::to_string(n));
    }
    if (shuffle) {
        auto dealt = mapPartitions<T>(
            node, name,
            [n](int index, Iterator<T> part) {
                PartitionRandom random(0, index);
                return fromNext([part = std::make_shared<Iterator<T>>(std::move(part)), n,
                                 at = static_cast<int32_t>(random.next() % static_cast<uint64_t>(n))]() mutable
                                -> std::optional<std::pair<int32_t, Owned<T>>> {
                    if (!part->hasNext()) return std::nullopt;
                    at = (at + 1) % n;
                    return std::pair<int32_t, Owned<T>>(at, convertElement<Owned<T>>(part->next()));
                });
            },
            false, where);
        const RDD<Owned<T>> placed = values(
            partitionBy(dealt.plan(), Partitioner(std::make_shared<DirectPartitioner>(n)), name, where).plan(), where);
        return coalesce<Owned<T>>(placed.node(), n, false, name, where, coalescer);
    }
    if constexpr (kIsView<T>) {
        return coalesce<Owned<T>>(owning<T>(node, where).node(), n, false, name, where, coalescer);
    } else {
        auto groups = coalescer != nullptr ? coalescer->coalesce(n, *node) : neighbourGroups(node->numPartitions(), n);
        typename GatherNode<T>::Places places(groups.size());
        for (std::size_t i = 0; i < groups.size(); ++i) {
            for (const int p : groups[i]) places[i].emplace_back(node.get(), p);
        }
        RddBase::Lineage lineage{std::make_shared<ListDependency>(node, std::move(groups))};
        return makeRdd<T>(makeNode<GatherNode<T>>(node->context(), std::move(lineage), std::move(places),
                                                  "CoalescedRDD", name, CallSite::from(where), std::nullopt));
    }
}

// ---- several inputs by key

/// A row of one input, with a hash of its key. Small pairs lie in the row itself, others where they were read.
template <class K, class V>
struct KeyedRow {
    using Pair = std::pair<K, V>;
    static constexpr bool kHoldsPair = std::is_trivially_copyable_v<K> && std::is_trivially_copyable_v<V> &&
                                       std::is_default_constructible_v<Pair> && sizeof(Pair) <= 32;

    uint64_t hash;
    std::conditional_t<kHoldsPair, Pair, const Pair*> place;

    const Pair& pair() const {
        if constexpr (kHoldsPair) {
            return place;
        } else {
            return *place;
        }
    }
};

/// All rows of one partition of an input, those together whose hashes begin with the same bits; inside such a cluster
/// they keep their order.
template <class K, class V>
class KeyedRows {
public:
    using Row = KeyedRow<K, V>;
    using Pair = std::pair<K, V>;

    /// Rows of the blocks and then of the pairs. Without `bits` a table over one cluster stays in the cache.
    KeyedRows(std::vector<BlockPtr> blocks, std::vector<Pair> pairs, std::optional<unsigned> bits, TaskContext& context)
        : blocks_(std::move(blocks)), pairs_(std::move(pairs)) {
        std::size_t total = pairs_.size();
        for (const BlockPtr& block : blocks_) total += pairsOf(block).size();
        bits_ = bits.value_or(std::min(static_cast<unsigned>(std::bit_width(total / kClusterRows)), 9U));
        ends_.assign(std::size_t{1} << bits_, 0);
        std::vector<uint64_t, TableAllocator<uint64_t>> hashes;
        hashes.reserve(total);
        const auto count = [&](const Pair&, uint64_t hash) {
            hashes.push_back(spread(hash));
            ++ends_[clusterOf(hashes.back())];
        };
        forEachInBlocks<K, V>(blocks_, context, count);
        for (const Pair& pair : pairs_) count(pair, PlacementHash<K>{}(pair.first));
        std::size_t begin = 0;
        for (std::size_t& end : ends_) begin += std::exchange(end, begin);
        rows_.resize(total);
        const uint64_t* hash = hashes.data();
        const auto place = [&](const Pair& pair) {
            Row& row = rows_[ends_[clusterOf(*hash)]++];
            row.hash = *hash++;
            if constexpr (Row::kHoldsPair) {
                row.place = pair;
            } else {
                row.place = &pair;
            }
        };
        for (const BlockPtr& block : blocks_) {
            for (const Pair& pair : pairsOf(block)) place(pair);
        }
        for (const Pair& pair : pairs_) place(pair);
        if constexpr (Row::kHoldsPair) {
            blocks_.clear();
            pairs_ = {};
        }
    }

    unsigned bits() const { return bits_; }
    std::size_t numClusters() const { return ends_.size(); }
    std::span<const Row> clusterAt(std::size_t index) const {
        const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
        return {rows_.data() + begin, ends_[index] - begin};
    }

    /// Lets the upper bits depend on all bits, whatever hash a user's type has.
    static uint64_t spread(uint64_t hash) { return hash * 0x9E3779B97F4A7C15; }

private:
    static constexpr std::size_t kClusterRows = 8192;

    static const std::vector<Pair>& pairsOf(const BlockPtr& block) {
        return static_cast<const PairBlock<K, V>&>(*block).pairs;
    }
    std::size_t clusterOf(uint64_t hash) const { return (hash >> 1) >> (63 - bits_); }

    std::vector<BlockPtr> blocks_;
    std::vector<Pair> pairs_;
    unsigned bits_;
    std::vector<Row, TableAllocator<Row>> rows_;
    std::vector<std::size_t> ends_;
};

/// One input of an operator that brings equal keys together: read as it is where it is partitioned as wanted, else
/// shuffled.
template <class PlanT>
class KeyedInput {
public:
    using K = OwnedKey<PlanT>;
    using V = OwnedValue<PlanT>;

    KeyedInput(const PlanT& plan, const Partitioner& partitioner) : plan_(plan) {
        if (!(plan.node->partitioner() == partitioner)) shuffle_ = asShared(new PlainShuffle<PlanT>(plan, partitioner));
    }
    DependencyPtr dependency() const {
        if (shuffle_) return shuffle_;
        return std::make_shared<OneToOneDependency>(plan_.node);
    }
    /// Calls `f(pair, hash)` for each pair of the partition.
    template <class F>
    void forEach(int partition, TaskContext& context, F&& f) const {
        if (shuffle_) {
            forEachShuffled<K, V>(*shuffle_, partition, context, f);
        } else {
            plan_.drive(partition, context, [&](auto&& pair) { f(pair, PlacementHash<KeyIn<PlanT>>{}(pair.first)); });
        }
    }
    KeyedRows<K, V> rows(int partition, TaskContext& context, std::optional<unsigned> bits = std::nullopt) const {
        std::vector<std::pair<K, V>> pairs;
        if (shuffle_) {
            return KeyedRows<K, V>(context.core().fetchShuffle(*shuffle_, partition, context), std::move(pairs), bits,
                                   context);
        }
        plan_.drive(partition, context, [&](auto&& pair) {
            pairs.push_back(convertElement<std::pair<K, V>>(std::forward<decltype(pair)>(pair)));
        });
        return KeyedRows<K, V>({}, std::move(pairs), bits, context);
    }
    /// What a cursor has to keep of a chunk-wise reading.
    CursorPtr<std::pair<K, V>> cursor(int partition, TaskContext& context) const {
        if (shuffle_) return blocksCursor<K, V>(context.core().fetchShuffle(*shuffle_, partition, context), context);
        if constexpr (std::is_same_v<typename PlanT::T, std::pair<K, V>>) {
            return plan_.node->iterator(partition, context);
        } else {
            return rangeCursor(Iterator<typename PlanT::T>(plan_.node->iterator(partition, context)),
                               context.chunkSize());
        }
    }

private:
    PlanT plan_;
    std::shared_ptr<const ShuffleDependency> shuffle_;
};

template <class... Vs>
struct GroupsOf {
    using type = std::tuple<std::vector<Vs>...>;
};
template <class V, class W>
struct GroupsOf<V, W> {
    using type = std::pair<std::vector<V>, std::vector<W>>;
};

template <class K, class... Plans>
class CoGroupNode final : public RddNode<std::pair<K, typename GroupsOf<OwnedValue<Plans>...>::type>> {
    using Groups = typename GroupsOf<OwnedValue<Plans>...>::type;
    using Pair = std::pair<K, Groups>;
    using Inputs = std::tuple<KeyedInput<Plans>...>;

public:
    CoGroupNode(Inputs inputs, const Partitioner& partitioner, const std::shared_ptr<SparkContextCore>& context,
                const char* name, CallSite callSite)
        : RddNode<Pair>(context,
                        std::apply([](auto&... input) { return RddBase::Lineage{input.dependency()...}; }, inputs),
                        name, callSite, partitioner),
          inputs_(std::move(inputs)) {}
    const char* className() const override { return "CoGroupedRDD"; }

private:
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }
    CursorPtr<Pair> doCompute(int partition, TaskContext& context) const override {
        FlatTable<K, Groups> table;
        gather(table, partition, context, std::index_sequence_for<Plans...>{});
        return entriesCursor(table, context);
    }
    template <std::size_t... kIndex>
    void gather(FlatTable<K, Groups>& table, int partition, TaskContext& context,
                std::index_sequence<kIndex...>) const {
        (std::get<kIndex>(inputs_).forEach(partition, context,
                                           [&](const auto& pair, uint64_t hash) {
                                               const auto add = [&](Groups& groups) {
                                                   auto& group = std::get<kIndex>(groups);
                                                   using V = typename std::remove_cvref_t<decltype(group)>::value_type;
                                                   group.push_back(convertElement<V>(pair.second));
                                               };
                                               table.upsert(
                                                   hash, pair.first,
                                                   [&] {
                                                       Groups groups;
                                                       add(groups);
                                                       return groups;
                                                   },
                                                   add);
                                           }),
         ...);
    }

    const Inputs inputs_;
};

template <class First, class... Rest>
RDD<std::pair<OwnedKey<First>, typename GroupsOf<OwnedValue<First>, OwnedValue<Rest>...>::type>> cogroup(
    const PartitionChoice& partitions, Where where, const First& first, const Rest&... rest) {
    using K = OwnedKey<First>;
    const Partitioner partitioner = choose(partitions, {first.node.get(), rest.node.get()...});
    using Node = CoGroupNode<K, First, Rest...>;
    auto node = makeNode<Node>(std::tuple<KeyedInput<First>, KeyedInput<Rest>...>(
                                   KeyedInput<First>(first, partitioner), KeyedInput<Rest>(rest, partitioner)...),
                               partitioner, first.node->context(), "cogroup", CallSite::from(where));
    return makeRdd<typename Node::Element>(std::move(node));
}

enum class JoinKind { kInner, kLeft, kRight, kFull };

template <JoinKind kKind, class V, class W>
using Joined = std::pair<std::conditional_t<kKind == JoinKind::kRight || kKind == JoinKind::kFull, std::optional<V>, V>,
                         std::conditional_t<kKind == JoinKind::kLeft || kKind == JoinKind::kFull, std::optional<W>, W>>;

/// Joins a partition by a table of the left side and a pass over the right one; a large left side cluster by cluster.
template <JoinKind kKind, class LeftPlan, class RightPlan>
class JoinNode final
    : public RddNode<std::pair<OwnedKey<LeftPlan>, Joined<kKind, OwnedValue<LeftPlan>, OwnedValue<RightPlan>>>> {
    using K = OwnedKey<LeftPlan>;
    using V = OwnedValue<LeftPlan>;
    using W = OwnedValue<RightPlan>;
    using Out = Joined<kKind, V, W>;
    using Pair = std::pair<K, Out>;
    static constexpr bool kKeepsLeft = kKind == JoinKind::kLeft || kKind == JoinKind::kFull;
    static constexpr bool kKeepsRight = kKind == JoinKind::kRight || kKind == JoinKind::kFull;

    class JoinCursor final : public Cursor<Pair> {
    public:
        JoinCursor(const JoinNode& node, int partition, TaskContext& context)
            : context_(context), left_(node.left_.rows(partition, context)), bits_(left_.bits()) {
            if (bits_ == 0) {
                stream_ = node.right_.cursor(partition, context);
            } else {
                right_.emplace(node.right_.rows(partition, context, bits_));
            }
            openCluster();
        }

    private:
        static constexpr uint32_t kEnd = UINT32_MAX;

        Chunk<Pair> doNext() override {
            buffer_.clear();
            const std::size_t wanted = context_.chunkSize();
            for (;;) {
                if (right_) {
                    const auto rights = right_->clusterAt(cluster_);
                    probe(
                        wanted, rights.size(), [&](std::size_t i) -> auto& { return rights[i].pair(); },
                        [&](std::size_t i) { return rights[i].hash; });
                } else {
                    while (buffer_.size() < wanted && !streamEnded_) {
                        if (position_ == chunk_.size) {
                            context_.checkCancelled();
                            chunk_ = stream_->next();
                            position_ = 0;
                            streamEnded_ = chunk_.empty();
                        }
                        probe(
                            wanted, chunk_.size, [&](std::size_t i) -> auto& { return chunk_[i]; },
                            [&](std::size_t i) {
                                return KeyedRows<K, V>::spread(PlacementHash<K>{}(chunk_[i].first));
                            });
                    }
                }
                if (buffer_.size() >= wanted) break;
                if constexpr (kKeepsLeft) addUnmatched(wanted);
                if (buffer_.size() >= wanted || ++cluster_ == left_.numClusters()) break;
                context_.checkCancelled();
                openCluster();
            }
            cluster_ = std::min(cluster_, left_.numClusters() - 1);
            return Chunk<Pair>::ownedBy(buffer_.data(), buffer_.size());
        }

        /// Makes the table of the cluster: chains of row numbers in rising order.
        void openCluster() {
            rows_ = left_.clusterAt(cluster_);
            const std::size_t size = std::bit_ceil(rows_.size() + 2);
            shift_ = 64 - static_cast<unsigned>(std::countr_zero(size));
            heads_.assign(size, kEnd);
            next_.resize(rows_.size());
            for (std::size_t i = rows_.size(); i-- > 0;) {
                next_[i] = std::exchange(headOf(rows_[i].hash), static_cast<uint32_t>(i));
            }
            if constexpr (kKeepsLeft) matched_.assign(rows_.size(), 0);
            position_ = 0;
            unmatched_ = 0;
        }
        // By the bits after those that chose the cluster.
        uint32_t& headOf(uint64_t hash) { return heads_[(hash << bits_) >> shift_]; }

        /// Joins right rows from `position_` on until there are enough results; a row's chain may be left half way.
        template <class PairAt, class HashAt>
        void probe(std::size_t wanted, std::size_t count, PairAt pairAt, HashAt hashAt) {
            for (; position_ < count && buffer_.size() < wanted; ++position_) {
                const auto& right = pairAt(position_);
                const uint64_t hash = hashAt(position_);
                if (!inChain_) {
                    row_ = headOf(hash);
                    found_ = false;
                }
                inChain_ = false;
                while (row_ != kEnd) {
                    const auto& left = rows_[row_];
                    const uint32_t row = std::exchange(row_, next_[row_]);
                    if (left.hash != hash || !sameKey(left.pair().first, right.first)) continue;
                    if (buffer_.size() >= wanted) {
                        row_ = row;
                        inChain_ = true;
                        return;
                    }
                    found_ = true;
                    if constexpr (kKeepsLeft) matched_[row] = 1;
                    buffer_.push_back(Pair(right.first, Out(left.pair().second, right.second)));
                }
                if constexpr (kKeepsRight) {
                    if (!found_) buffer_.push_back(Pair(right.first, Out(std::nullopt, right.second)));
                }
            }
        }

        void addUnmatched(std::size_t wanted) {
            for (; unmatched_ < rows_.size() && buffer_.size() < wanted; ++unmatched_) {
                if (matched_[unmatched_]) continue;
                const auto& left = rows_[unmatched_].pair();
                buffer_.push_back(Pair(left.first, Out(left.second, std::nullopt)));
            }
        }

        TaskContext& context_;
        KeyedRows<K, V> left_;
        const unsigned bits_;
        std::optional<KeyedRows<K, W>> right_;  // of a large left side
        CursorPtr<std::pair<K, W>> stream_;     // of a small one
        Chunk<std::pair<K, W>> chunk_;
        bool streamEnded_ = false;
        std::size_t cluster_ = 0;
        std::span<const KeyedRow<K, V>> rows_;  // of the cluster, on the left
        std::vector<uint32_t> heads_;
        std::vector<uint32_t> next_;
        unsigned shift_ = 64;
        std::size_t position_ = 0;  // on the right: in the cluster or the chunk
        uint32_t row_ = kEnd;
        bool inChain_ = false;
        bool found_ = false;
        std::vector<uint8_t> matched_;
        std::size_t unmatched_ = 0;
        std::vector<Pair> buffer_;
    };

public:
    JoinNode(KeyedInput<LeftPlan> left, KeyedInput<RightPlan> right, const Partitioner& partitioner,
             const std::shared_ptr<SparkContextCore>& context, const char* name, CallSite callSite)
        : RddNode<Pair>(context, {left.dependency(), right.dependency()}, name, callSite, partitioner),
          left_(std::move(left)),
          right_(std::move(right)) {}
    const char* className() const override { return "CoGroupedRDD"; }

private:
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }
    CursorPtr<Pair> doCompute(int partition, TaskContext& context) const override {
        return lazyCursor<Pair>([this, partition, &context]() -> CursorPtr<Pair> {
            return std::make_unique<JoinCursor>(*this, partition, context);
        });
    }

    const KeyedInput<LeftPlan> left_;
    const KeyedInput<RightPlan> right_;
};

template <JoinKind kKind, class LeftPlan, class RightPlan>
RDD<std::pair<OwnedKey<LeftPlan>, Joined<kKind, OwnedValue<LeftPlan>, OwnedValue<RightPlan>>>> join(
    const LeftPlan& left, const RightPlan& right, const PartitionChoice& partitions, Where where) {
    constexpr const char* kNames[] = {"join", "leftOuterJoin", "rightOuterJoin", "fullOuterJoin"};
    const Partitioner partitioner = choose(partitions, {left.node.get(), right.node.get()});
    using Node = JoinNode<kKind, LeftPlan, RightPlan>;
    return makeRdd<typename Node::Element>(
        makeNode<Node>(KeyedInput<LeftPlan>(left, partitioner), KeyedInput<RightPlan>(right, partitioner), partitioner,
                       left.node->context(), kNames[static_cast<int>(kKind)], CallSite::from(where)));
}

/// The left pairs whose key is not among the right ones.
template <class LeftPlan, class RightPlan>
class SubtractNode final : public RddNode<std::pair<OwnedKey<LeftPlan>, OwnedValue<LeftPlan>>> {
    using K = OwnedKey<LeftPlan>;
    using V = OwnedValue<LeftPlan>;
    using Pair = std::pair<K, V>;

public:
    SubtractNode(KeyedInput<LeftPlan> left, KeyedInput<RightPlan> right, const Partitioner& partitioner,
                 const std::shared_ptr<SparkContextCore>& context, const char* name, CallSite callSite)
        : RddNode<Pair>(context, {left.dependency(), right.dependency()}, name, callSite, partitioner),
          left_(std::move(left)),
          right_(std::move(right)) {}
    const char* className() const override { return "SubtractedRDD"; }

private:
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }
    CursorPtr<Pair> doCompute(int partition, TaskContext& context) const override {
        FlatTable<K, bool> absent;
        right_.forEach(partition, context, [&](const auto& pair, uint64_t hash) {
            absent.upsert(
                hash, pair.first, [] { return true; }, [](bool&) {});
        });
        Array<Pair> kept;
        left_.forEach(partition, context, [&](const auto& pair, uint64_t hash) {
            if (absent.find(hash, pair.first) == nullptr) kept.push_back(convertElement<Pair>(pair));
        });
        return std::make_unique<OwnedArrayCursor<Pair>>(std::move(kept), context.chunkSize());
    }

    const KeyedInput<LeftPlan> left_;
    const KeyedInput<RightPlan> right_;
};

template <class LeftPlan, class RightPlan>
RDD<std::pair<OwnedKey<LeftPlan>, OwnedValue<LeftPlan>>> subtractByKey(const LeftPlan& left, const RightPlan& right,
                                                                       const PartitionChoice& partitions,
                                                                       const char* name, Where where) {
    const Partitioner partitioner = partitions.partitioner()   ? *partitions.partitioner()
                                    : left.node->partitioner() ? *left.node->partitioner()
                                                               : HashPartitioner(left.node->numPartitions());
    using Node = SubtractNode<LeftPlan, RightPlan>;
    return makeRdd<typename Node::Element>(makeNode<Node>(KeyedInput<LeftPlan>(left, partitioner),
                                                          KeyedInput<RightPlan>(right, partitioner), partitioner,
                                                          left.node->context(), name, CallSite::from(where)));
}

// ---- sets

/// (x, true): an element as a key.
struct AsKey {
    template <class T>
    std::pair<T, bool> operator()(const T& element) const {
        return {element, true};
    }
};
template <class PlanT>
auto asKeys(const PlanT& plan, Where where) {
    return map(plan, "map", AsKey(), where);
}

template <class PlanT>
RDD<Owned<typename PlanT::T>> distinct(const PlanT& plan, std::optional<int> n, Where where) {
    using T = typename PlanT::T;
    using O = Owned<T>;
    const int count = n.value_or(plan.node->numPartitions());
    const auto unique = [](int, Iterator<T> part) {
        FlatTable<O, bool> seen;
        for (const T& element : part) {
            seen.upsert(
                PlacementHash<T>{}(element), element, [] { return true; }, [](bool&) {});
        }
        std::vector<O> result;
        result.reserve(seen.size());
        for (auto& entry : seen.entries()) result.push_back(std::move(entry.first));
        return result;
    };
    if (plan.node->partitioner() && plan.node->partitioner()->numPartitions() == count) {
        return mapPartitions<T>(plan.node, "distinct", unique, true, where);
    }
    return keys(
        reduceByKey(asKeys(plan, where).plan(), std::logical_or<>{}, HashPartitioner(count), "distinct", where).plan(),
        where);
}

template <class LeftPlan, class RightPlan>
RDD<Owned<typename LeftPlan::T>> intersection(const LeftPlan& left, const RightPlan& right,
                                              const PartitionChoice& partitions, Where where) {
    return keys(
        filter(
            cogroup(partitions, where, asKeys(left, where).plan(), asKeys(right, where).plan()).plan(),
            [](const auto& entry) { return !entry.second.first.empty() && !entry.second.second.empty(); }, where)
            .plan(),
        where);
}

template <class LeftPlan, class RightPlan>
RDD<Owned<typename LeftPlan::T>> subtract(const LeftPlan& left, const RightPlan& right,
                                          const PartitionChoice& partitions, Where where) {
    const Partitioner partitioner = partitions.partitioner()   ? *partitions.partitioner()
                                    : left.node->partitioner() ? *left.node->partitioner()
                                                               : HashPartitioner(left.node->numPartitions());
    return keys(
        subtractByKey(asKeys(left, where).plan(), asKeys(right, where).plan(), partitioner, "subtract", where).plan(),
        where);
}

// ---- actions

template <class PlanT>
auto lookup(const PlanT& plan, const OwnedKey<PlanT>& key, Where where) {
    using V = OwnedValue<PlanT>;
    std::vector<int> partitions;
    if (const auto partitioner = plan.node->partitioner()) {
        partitions.push_back(partitioner->getPartition(key));
    } else {
        partitions = allPartitions(*plan.node);
    }
    auto parts = runTasks(plan.node, std::move(partitions), "lookup", where, [plan, key](TaskContext& context) {
        Array<V> found;
        plan.drive(context.partitionId(), context, [&](auto&& pair) {
            if (sameKey(key, pair.first)) found.push_back(convertElement<V>(pair.second));
        });
        return found;
    });
    std::vector<V> all;
    for (auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
}

template <class PlanT>
auto collectAsMap(const PlanT& plan, Where where) {
    std::map<OwnedKey<PlanT>, OwnedValue<PlanT>> result;
    for (auto& [key, value] : collect(plan, where)) result.insert_or_assign(std::move(key), std::move(value));
    return result;
}

}  // namespace dstream::detail
