#pragma once

#include "rdd/concepts.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/detail/flat_table.hpp"
#include "rdd/detail/shuffle_dependency.hpp"
#include "rdd/detail/sort.hpp"
#include "rdd/detail/stage.hpp"
#include "rdd/partitioner.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <memory>
#include <optional>
#include <typeinfo>
#include <utility>
#include <vector>

// The typed side of shuffles: map-side writers, reduce-side readers, and the nodes made of them.

namespace dstream {

namespace detail {

/// @throws IllegalStateException  saying that the partitioner is for other keys than `key`
[[noreturn]] void throwOtherKeyType(const std::type_info& key);
/// @throws IllegalStateException  saying that `key` has no PlacementHash
[[noreturn]] void throwNoPlacementHash(const std::type_info& key);
/// @throws IllegalStateException  saying that a partitioner gave a partition that there is not
[[noreturn]] void throwNoSuchPartition(int index, uint64_t count);

}  // namespace detail

template <class K>
int Partitioner::getPartition(const K& key) const {
    if (impl_->placesByHash()) {
        const int n = numPartitions();
        return n == 0 ? 0 : static_cast<int>(PlacementHash<K>{}(key) % static_cast<uint64_t>(n));
    }
    const auto* typed = dynamic_cast<const KeyPartitioner<Owned<K>>*>(impl_.get());
    if (typed == nullptr) detail::throwOtherKeyType(typeid(Owned<K>));
    if constexpr (kIsView<K>) {
        return typed->getPartition(toOwned(key));
    } else {
        return typed->getPartition(key);
    }
}

namespace detail {

/// Places keys of type `K`, the virtual calls and casts resolved once per task.
template <class K>
class Placement {
public:
    explicit Placement(const Partitioner& partitioner) : count_(static_cast<uint64_t>(partitioner.numPartitions())) {
        if (partitioner.impl().placesByHash()) {
            mask_ = std::has_single_bit(count_) ? count_ - 1 : 0;
            return;
        }
        typed_ = dynamic_cast<const KeyPartitioner<Owned<K>>*>(&partitioner.impl());
        if (typed_ == nullptr) throwOtherKeyType(typeid(Owned<K>));
    }

    std::size_t operator()(const K& key, uint64_t hash) const {
        if (typed_ == nullptr) return mask_ != 0 || count_ == 1 ? hash & mask_ : hash % count_;
        return ofTyped(key);
    }
    std::size_t operator()(const K& key) const {
        if (typed_ != nullptr) return ofTyped(key);
        if (count_ == 1) return 0;
        if constexpr (Hashable<K>) {
            return (*this)(key, PlacementHash<K>{}(key));
        } else {
            throwNoPlacementHash(typeid(K));
        }
    }
    std::size_t count() const { return count_; }

private:
    std::size_t ofTyped(const K& key) const {
        int index;
        if constexpr (kIsView<K>) {
            index = typed_->getPartition(toOwned(key));
        } else {
            index = typed_->getPartition(key);
        }
        if (index < 0 || static_cast<uint64_t>(index) >= count_) throwNoSuchPartition(index, count_);
        return static_cast<std::size_t>(index);
    }

    const KeyPartitioner<Owned<K>>* typed_ = nullptr;
    uint64_t count_;
    uint64_t mask_ = 0;
};

/// One partition's share of a map output: pairs, and beside them their keys' hashes where the writer had them.
template <class K, class C>
class PairBlock final : public Block {
public:
    using Pair = std::pair<K, C>;
    PairBlock(std::vector<Pair> entries, std::vector<uint64_t> entryHashes);
    std::size_t sizeBytes() const override { return bytes_ + hashes.size() * sizeof(uint64_t); }
    std::optional<int64_t> numRecords() const override { return static_cast<int64_t>(pairs.size()); }

    std::vector<Pair> pairs;
    std::vector<uint64_t> hashes;

private:
    // An estimate from a sample: what the elements own on the heap.
    static std::size_t measure(const std::vector<Pair>& pairs);
    std::size_t bytes_;
};

template <class K, class C>
PairBlock<K, C>::PairBlock(std::vector<Pair> entries, std::vector<uint64_t> entryHashes)
    : pairs(std::move(entries)), hashes(std::move(entryHashes)), bytes_(measure(pairs)) {}

template <class K, class C>
std::size_t PairBlock<K, C>::measure(const std::vector<Pair>& pairs) {
    std::size_t bytes = pairs.size() * sizeof(Pair);
    if constexpr (!std::is_trivially_copyable_v<K> || !std::is_trivially_copyable_v<C>) {
        const std::size_t step = pairs.size() / 64 + 1;
        std::size_t sampled = 0, sum = 0;
        for (std::size_t i = 0; i < pairs.size(); i += step, ++sampled) sum += elementBytes(pairs[i]);
        if (sampled > 0) bytes = std::max(bytes, pairs.size() * (sum / sampled));
    }
    return bytes;
}

template <class K, class C>
const BlockCodec* pairBlockCodec() {
    using Pair = std::pair<K, C>;
    if constexpr (Codable<Pair>) {
        static constexpr BlockCodec codec{[] { return codecName<Pair>(); },
                                          [] { return static_cast<unsigned>(codecVersion<Pair>()); },
                                          [](ByteWriter& out, const Block& block) {
                                              const auto& typed = static_cast<const PairBlock<K, C>&>(block);
                                              out.u8(typed.hashes.empty() ? 0 : 1);
                                              if (!typed.hashes.empty()) Codec<uint64_t>::write(out, typed.hashes);
                                              Codec<Pair>::write(out, std::span<const Pair>(typed.pairs));
                                          },
                                          [](ByteReader& in) -> BlockPtr {
                                              std::vector<uint64_t> hashes;
                                              std::vector<Pair> pairs;
                                              if (in.u8() != 0) Codec<uint64_t>::read(in, hashes);
                                              Codec<Pair>::read(in, pairs);
                                              return asShared(new PairBlock<K, C>(std::move(pairs), std::move(hashes)));
                                          }};
        return &codec;
    } else {
        return nullptr;
    }
}

/// How values of a key are combined.
/// `create(V) -> C`, `mergeValue(C&, V)`, `mergeCombiners(C&, const C&)`.
template <class C_, class Create, class MergeValue, class MergeCombiners>
struct Aggregator {
    using C = C_;
    Create create;
    MergeValue mergeValue;
    MergeCombiners mergeCombiners;
};

/// Splits the entries of a table by partition into blocks, keeping their order.
template <class K, class C>
std::vector<BlockPtr> splitByPartition(FlatTable<K, C>& table, const Placement<K>& placement) {
    using Block = PairBlock<K, C>;
    std::vector<BlockPtr> out(placement.count());
    auto& pairs = table.entries();
    if (pairs.empty()) return out;
    if (placement.count() == 1) {
        out[0] = asShared(new Block(std::move(pairs), std::move(table.hashes())));
        return out;
    }
    std::vector<std::vector<std::pair<K, C>>> parts(placement.count());
    std::vector<std::vector<uint64_t>> hashes(placement.count());
    for (std::size_t p = 0; p < parts.size(); ++p) {
        const std::size_t likely = pairs.size() / parts.size() + pairs.size() / parts.size() / 64 + 16;
        parts[p].reserve(likely);
        if constexpr (!kHashesAgain<K>) hashes[p].reserve(likely);
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const uint64_t hash = table.hashAt(i);
        const std::size_t p = placement(pairs[i].first, hash);
        parts[p].push_back(std::move(pairs[i]));
        if constexpr (!kHashesAgain<K>) hashes[p].push_back(hash);
    }
    for (std::size_t p = 0; p < parts.size(); ++p) {
        if (!parts[p].empty()) out[p] = asShared(new Block(std::move(parts[p]), std::move(hashes[p])));
    }
    return out;
}

using AddRun = std::function<void(std::vector<BlockPtr>)>;

/// Runs `writeSplit(split, context, addRun)` for each of `count` splits of the task's partition; with one, `split` is
/// absent. Runs go to `out` as they come, or, of several splits, in split order at the end.
void writeSplits(int count, TaskContext& context, MapOutputSink& out,
                 const std::function<void(std::optional<int> split, TaskContext&, const AddRun&)>& writeSplit);

/// The table of a map task that combines. When it outgrows `limit` bytes it becomes a run and starts again.
template <class K, class C>
class CombineBuffer {
public:
    CombineBuffer(const Placement<K>& placement, int64_t limit, const AddRun& addRun)
        : placement_(placement), limit_(limit), addRun_(addRun) {}
    FlatTable<K, C>& table() { return *table_; }
    /// To be called after each record.
    void check() {
        if (table().size() >= checkAt_) [[unlikely]]
            shedIfLarge();
    }
    void flush();

private:
    static constexpr std::size_t kFirstCheck = 4096;
    void shedIfLarge();

    const Placement<K>& placement_;
    const int64_t limit_;
    const AddRun& addRun_;
    ScratchTable<K, C> table_;
    std::size_t checkAt_ = kFirstCheck;
};

template <class K, class C>
void CombineBuffer<K, C>::flush() {
    addRun_(splitByPartition(table(), placement_));
}

template <class K, class C>
void CombineBuffer<K, C>::shedIfLarge() {
    checkAt_ = table().size() * 2;
    if (static_cast<int64_t>(table().memoryBytes()) <= limit_) return;
    flush();
    table() = {};
    checkAt_ = kFirstCheck;
}

/// Map side with combining: the last emit of the fused stage looks up the key, by view, in the table.
template <class PlanT, class Agg>
class CombiningShuffle final : public ShuffleDependency {
    using P = typename PlanT::T;
    using K = Owned<typename P::first_type>;
    using C = typename Agg::C;
    // Elements that can be kept for a moment wait for others, so that the memory their keys lead to has come by then.
    static constexpr bool kWait = kMovesByCopying<P> && !kIsView<P>;
    static constexpr std::size_t kWaiting = 32;

public:
    CombiningShuffle(PlanT plan, Partitioner partitioner, Agg aggregator, OperatorInfo op)
        : ShuffleDependency(plan.node, std::move(partitioner)),
          plan_(std::move(plan)),
          aggregator_(std::move(aggregator)),
          op_(op) {}

    void writeMap(int partition, TaskContext& context, MapOutputSink& out) const override {
        const Placement<K> placement(partitioner());
        const int64_t limit = out.runBytes();
        const PlacementHash<typename P::first_type> hashOf{};
        const auto write = [&](std::optional<int> split, TaskContext& part, const AddRun& addRun) {
            Agg agg(aggregator_);
            CombineBuffer<K, C> buffer(placement, limit, addRun);
            FlatTable<K, C>& table = buffer.table();
            const auto combine = [&](uint64_t hash, const auto& element) {
                table.upsert(
                    hash, element.first, [&] { return guarded(&op_, [&] { return agg.create(element.second); }); },
                    [&](C& combined) { guarded(&op_, [&] { agg.mergeValue(combined, element.second); }); });
                buffer.check();
            };
            if constexpr (kWait) {
                std::vector<std::pair<uint64_t, P>> waiting;
                waiting.reserve(kWaiting);
                const auto combineAll = [&] {
                    for (const auto& [hash, element] : waiting) combine(hash, element);
                    waiting.clear();
                };
                const auto add = [&](const P& element) {
                    waiting.emplace_back(hashOf(element.first), element);
                    table.prefetch(waiting.back().first);
                    if (waiting.size() == kWaiting) combineAll();
                };
                plan_.drive(partition, part, add, split);
                combineAll();
            } else {
                const auto add = [&](auto&& element) { combine(hashOf(element.first), element); };
                plan_.drive(partition, part, add, split);
            }
            buffer.flush();
        };
        writeSplits(plan_.splitCount(partition), context, out, write);
    }
    const BlockCodec* codec() const override { return pairBlockCodec<K, C>(); }
    std::string elementTypeName() const override { return typeName(typeid(std::pair<K, C>)); }

private:
    const PlanT plan_;
    const Agg aggregator_;
    const OperatorInfo op_;
};

/// Map side without combining: pairs go to their partitions as they are, in order.
template <class PlanT>
class PlainShuffle final : public ShuffleDependency {
    // Runs of this size cost nothing to look after, and their vectors are not copied again and again as they grow.
    static constexpr int64_t kRunBytes = 8 << 20;
    using P = typename PlanT::T;
    using K = Owned<typename P::first_type>;
    using V = Owned<typename P::second_type>;

public:
    PlainShuffle(PlanT plan, Partitioner partitioner)
        : ShuffleDependency(plan.node, std::move(partitioner)), plan_(std::move(plan)) {}

    void writeMap(int partition, TaskContext& context, MapOutputSink& out) const override {
        const Placement<typename P::first_type> placement(partitioner());
        const int64_t limit = std::min(out.runBytes(), kRunBytes);
        const auto write = [&](std::optional<int> split, TaskContext& part, const AddRun& addRun) {
            std::vector<std::vector<std::pair<K, V>>> parts(placement.count());
            int64_t gathered = 0;
            const auto flush = [&] {
                std::vector<BlockPtr> blocks(parts.size());
                for (std::size_t p = 0; p < parts.size(); ++p) {
                    if (parts[p].empty()) continue;
                    const std::size_t likely = parts[p].size() + parts[p].size() / 16;
                    blocks[p] = asShared(new PairBlock<K, V>(std::move(parts[p]), std::vector<uint64_t>{}));
                    parts[p] = {};
                    if (gathered > limit) parts[p].reserve(likely);  // another run follows
                }
                addRun(std::move(blocks));
                gathered = 0;
            };
            const auto add = [&](auto&& element) {
                const std::size_t p = placement(element.first);
                parts[p].emplace_back(convertElement<K>(std::forward<decltype(element)>(element).first),
                                      convertElement<V>(std::forward<decltype(element)>(element).second));
                gathered += static_cast<int64_t>(sizeof(std::pair<K, V>));
                if constexpr (!std::is_trivially_copyable_v<K> || !std::is_trivially_copyable_v<V>) {
                    gathered += static_cast<int64_t>(elementBytes(parts[p].back()) - sizeof(std::pair<K, V>));
                }
                if (gathered > limit) [[unlikely]]
                    flush();
            };
            plan_.drive(partition, part, add, split);
            flush();
        };
        writeSplits(plan_.splitCount(partition), context, out, write);
    }
    const BlockCodec* codec() const override { return pairBlockCodec<K, V>(); }
    std::string elementTypeName() const override { return typeName(typeid(std::pair<K, V>)); }

private:
    const PlanT plan_;
};

/// Calls `f(pair, hash)` for every pair of these blocks of a reduce partition, in their order, and `prefetch(hash)` a
/// few pairs ahead.
template <class K, class C, class F, class Prefetch>
void forEachInBlocks(const std::vector<BlockPtr>& blocks, TaskContext& context, F&& f, Prefetch&& prefetch) {
    constexpr std::size_t kAhead = 16;
    for (const BlockPtr& block : blocks) {
        context.checkCancelled();
        const auto& typed = static_cast<const PairBlock<K, C>&>(*block);
        if (!typed.hashes.empty()) {
            for (std::size_t i = 0; i < typed.pairs.size(); ++i) {
                if (i + kAhead < typed.pairs.size()) prefetch(typed.hashes[i + kAhead]);
                f(typed.pairs[i], typed.hashes[i]);
            }
        } else {
            std::array<uint64_t, kAhead> hashes;  // of the next pairs
            for (std::size_t i = 0; i < typed.pairs.size() + kAhead; ++i) {
                uint64_t& hash = hashes[i % kAhead];
                if (i >= kAhead) f(typed.pairs[i - kAhead], hash);
                if (i >= typed.pairs.size()) continue;
                hash = PlacementHash<K>{}(typed.pairs[i].first);
                prefetch(hash);
            }
        }
    }
}

template <class K, class C, class F>
void forEachInBlocks(const std::vector<BlockPtr>& blocks, TaskContext& context, F&& f) {
    forEachInBlocks<K, C>(blocks, context, std::forward<F>(f), [](uint64_t) {});
}

/// Calls `f(pair, hash)` for every pair of a reduce partition, in map-partition order.
template <class K, class C, class F>
void forEachShuffled(const ShuffleDependency& shuffle, int partition, TaskContext& context, F&& f) {
    forEachInBlocks<K, C>(context.core().fetchShuffle(shuffle, partition, context), context, f);
}

/// Gives out the entries of a table the task has built.
template <class K, class C>
CursorPtr<std::pair<K, C>> entriesCursor(FlatTable<K, C>& table, TaskContext& context) {
    return std::make_unique<OwnedArrayCursor<std::pair<K, C>>>(std::move(table.entries()), context.chunkSize());
}

/// What reads one shuffle and is placed by its partitioner.
template <class K, class V>
class ShuffleReaderNode : public RddNode<std::pair<K, V>> {
public:
    ShuffleReaderNode(std::shared_ptr<const ShuffleDependency> shuffle, const char* operatorName, CallSite callSite)
        : RddNode<std::pair<K, V>>(shuffle, operatorName, callSite), shuffle_(shuffle.get()) {}
    const char* className() const final { return "ShuffledRDD"; }

protected:
    std::vector<BlockPtr> fetch(int partition, TaskContext& context) const {
        return context.core().fetchShuffle(*shuffle_, partition, context);
    }

private:
    int doNumPartitions() const final { return shuffle_->numReducePartitions(); }

    const ShuffleDependency* shuffle_;  // kept by the lineage
};

/// Reduce side of a combining shuffle: merges combiners by their stored hash.
template <class K, class C>
class CombinedNodeBase : public ShuffleReaderNode<K, C> {
public:
    using ShuffleReaderNode<K, C>::ShuffleReaderNode;

private:
    CursorPtr<std::pair<K, C>> doCompute(int partition, TaskContext& context) const final;
    virtual void merge(const std::vector<BlockPtr>& blocks, FlatTable<K, C>& table, TaskContext& context) const = 0;
};

template <class K, class C>
CursorPtr<std::pair<K, C>> CombinedNodeBase<K, C>::doCompute(int partition, TaskContext& context) const {
    auto blocks = this->fetch(partition, context);
    if (blocks.size() == 1) {  // one map output, combined already
        const auto& pairs = static_cast<const PairBlock<K, C>&>(*blocks[0]).pairs;
        return std::make_unique<SharedArrayCursor<std::pair<K, C>, BlockPtr>>(blocks[0], pairs.data(), pairs.size(),
                                                                              context.chunkSize());
    }
    ScratchTable<K, C> scratch;
    FlatTable<K, C>& table = *scratch;
    std::size_t largest = 0;
    for (const BlockPtr& block : blocks) {
        largest = std::max(largest, static_cast<const PairBlock<K, C>&>(*block).pairs.size());
    }
    table.reserve(largest);
    merge(blocks, table, context);
    return entriesCursor(table, context);
}

/// @tparam Merge  `mergeCombiners` of an Aggregator, which is all that it needs of one
template <class K, class C, class Merge>
class CombinedNode final : public CombinedNodeBase<K, C> {
public:
    CombinedNode(std::shared_ptr<const ShuffleDependency> shuffle, Merge mergeCombiners, const char* operatorName,
                 CallSite callSite)
        : CombinedNodeBase<K, C>(std::move(shuffle), operatorName, callSite),
          mergeCombiners_(std::move(mergeCombiners)) {}

private:
    void merge(const std::vector<BlockPtr>& blocks, FlatTable<K, C>& table, TaskContext& context) const override {
        Merge mergeCombiners(mergeCombiners_);
        forEachInBlocks<K, C>(
            blocks, context,
            [&](const std::pair<K, C>& pair, uint64_t hash) {
                table.upsert(
                    hash, pair.first, [&] { return pair.second; },
                    [&](C& combined) { guarded(this, [&] { mergeCombiners(combined, pair.second); }); });
            },
            [&](uint64_t hash) { table.prefetch(hash); });
    }

    const Merge mergeCombiners_;
};

/// Combines inside each partition, where the parent is partitioned as wanted already.
template <class PlanT, class Agg>
class LocalCombineNode final : public RddNode<std::pair<Owned<typename PlanT::T::first_type>, typename Agg::C>> {
    using K = Owned<typename PlanT::T::first_type>;
    using C = typename Agg::C;

public:
    LocalCombineNode(PlanT plan, Agg aggregator, const char* operatorName, CallSite callSite)
        : RddNode<std::pair<K, C>>(*plan.node, true, operatorName, callSite),
          plan_(std::move(plan)),
          aggregator_(std::move(aggregator)) {}
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    int doNumPartitions() const override { return plan_.node->numPartitions(); }
    CursorPtr<std::pair<K, C>> doCompute(int partition, TaskContext& context) const override {
        Agg agg(aggregator_);
        FlatTable<K, C> table;
        plan_.drive(partition, context, [&](auto&& element) {
            table.upsert(
                PlacementHash<typename PlanT::T::first_type>{}(element.first), element.first,
                [&] { return guarded(this, [&] { return agg.create(element.second); }); },
                [&](C& combined) { guarded(this, [&] { agg.mergeValue(combined, element.second); }); });
        });
        return entriesCursor(table, context);
    }

    const PlanT plan_;
    const Agg aggregator_;
};

/// Passes over blocks of pairs without copying them.
template <class K, class V>
class BlocksCursor final : public Cursor<std::pair<K, V>> {
public:
    BlocksCursor(std::vector<BlockPtr> blocks, TaskContext& context) : blocks_(std::move(blocks)), context_(context) {}

private:
    Chunk<std::pair<K, V>> doNext() override {
        while (block_ < blocks_.size()) {
            const auto& pairs = static_cast<const PairBlock<K, V>&>(*blocks_[block_]).pairs;
            const std::size_t n = std::min(context_.chunkSize(), pairs.size() - position_);
            if (n == 0) {
                blocks_[block_++].reset();
                position_ = 0;
                continue;
            }
            position_ += n;
            return Chunk<std::pair<K, V>>::borrowed(pairs.data() + position_ - n, n);
        }
        return {};
    }

    std::vector<BlockPtr> blocks_;
    TaskContext& context_;
    std::size_t block_ = 0;
    std::size_t position_ = 0;
};

template <class K, class V>
CursorPtr<std::pair<K, V>> blocksCursor(std::vector<BlockPtr> blocks, TaskContext& context) {
    return std::make_unique<BlocksCursor<K, V>>(std::move(blocks), context);
}

/// Reduce side without combining: the pairs of all map outputs one after the other, sorted by key when a comparison is
/// given.
template <class K, class V, class Compare = std::nullptr_t>
class ShuffledNode final : public ShuffleReaderNode<K, V> {
    using Pair = std::pair<K, V>;

public:
    ShuffledNode(std::shared_ptr<const ShuffleDependency> shuffle, Compare compare, const char* operatorName,
                 CallSite callSite)
        : ShuffleReaderNode<K, V>(std::move(shuffle), operatorName, callSite), compare_(std::move(compare)) {}

private:
    CursorPtr<Pair> doCompute(int partition, TaskContext& context) const override {
        auto blocks = this->fetch(partition, context);
        if constexpr (std::is_same_v<Compare, std::nullptr_t>) {
            return blocksCursor<K, V>(std::move(blocks), context);
        } else {
            std::vector<Pair> pairs;
            std::size_t total = 0;
            for (const auto& block : blocks) total += static_cast<const PairBlock<K, V>&>(*block).pairs.size();
            pairs.reserve(total);
            for (auto& block : blocks) {
                const auto& from = static_cast<const PairBlock<K, V>&>(*block).pairs;
                pairs.insert(pairs.end(), from.begin(), from.end());
                block.reset();
            }
            guarded(this, [&] { stableSortByKey(pairs, compare_); });
            return std::make_unique<OwnedArrayCursor<Pair>>(std::move(pairs), context.chunkSize());
        }
    }

    const Compare compare_;
};

}  // namespace detail
}  // namespace dstream
