#pragma once

#include "dstream/stream_node.hpp"
#include "rdd/detail/flat_table.hpp"
#include "rdd/detail/stage.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

// Windows without an inverse, in which each slide costs the same however many of them a window has.

namespace dstream::detail {

/// What one partition has of some consecutive batches: the values of each key, combined. Not changed once it is shared.
template <class K, class V>
struct CombinedTable {
    using value_type = typename FlatTable<K, V>::Entry;
    std::shared_ptr<FlatTable<K, V>> table;

    // What the estimate of its memory asks for.
    std::size_t size() const { return table->size(); }
    const value_type* data() const { return table->entries().data(); }
    auto begin() const { return std::as_const(table->entries()).begin(); }
    auto end() const { return std::as_const(table->entries()).end(); }
};

/// Combines what several RDDs, partitioned alike, have of each key, in the order of their times: some tables, oldest
/// first, and some batches that came before or after all of them.
template <class K, class V, class F>
class CombinedTableRdd final : public RddNode<CombinedTable<K, V>> {
    using Pair = std::pair<K, V>;
    using Table = CombinedTable<K, V>;

public:
    using Tables = std::vector<std::shared_ptr<RddNode<Table>>>;
    using Batches = std::vector<std::shared_ptr<RddNode<Pair>>>;

    CombinedTableRdd(const std::shared_ptr<SparkContextCore>& context, const Tables& tables, const Batches& batches,
                     bool batchesAreOlder, F f, const Partitioner& partitioner, CallSite site)
        : RddNode<Table>(context, dependenciesOf(tables, batches), "reduceByKeyAndWindow", site, partitioner),
          batchesAreOlder_(batchesAreOlder),
          f_(std::move(f)) {
        for (const auto& table : tables) tables_.push_back(table.get());
        for (const auto& batch : batches) batches_.push_back(batch.get());
    }
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    static RddBase::Lineage dependenciesOf(const Tables& tables, const Batches& batches) {
        RddBase::Lineage lineage;
        for (const auto& table : tables) lineage.push_back(std::make_shared<OneToOneDependency>(table));
        for (const auto& batch : batches) lineage.push_back(std::make_shared<OneToOneDependency>(batch));
        return lineage;
    }
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }

    CursorPtr<Table> doCompute(int partition, TaskContext& context) const override {
        F f(f_);
        auto combined = std::make_shared<FlatTable<K, V>>();
        const auto add = [&](uint64_t hash, const K& key, const V& value, bool older) {
            combined->upsert(
                hash, key, [&] { return value; },
                [&](V& sum) {
                    guarded(this,
                            [&] { sum = older ? V(f(value, std::as_const(sum))) : V(f(std::as_const(sum), value)); });
                });
        };
        for (const auto* from : tables_) {
            const auto cursor = from->iterator(partition, context);
            const Chunk<Table> chunk = cursor->next();
            FlatTable<K, V>& table = *chunk[0].table;
            context.checkCancelled();
            if (combined->empty()) {
                *combined = table;
                continue;
            }
            for (std::size_t i = 0; i < table.size(); ++i) {
                add(table.hashAt(i), table.entries()[i].first, table.entries()[i].second, false);
            }
        }
        for (std::size_t i = 0; i < batches_.size(); ++i) {
            // Each batch is put before, or after, what is there.
            const auto cursor = batches_[batchesAreOlder_ ? batches_.size() - 1 - i : i]->iterator(partition, context);
            for (Chunk<Pair> chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
                context.checkCancelled();
                for (std::size_t at = 0; at < chunk.size; ++at) {
                    const auto& [key, value] = chunk[at];
                    add(PlacementHash<K>{}(key), key, value, batchesAreOlder_);
                }
            }
        }
        Array<Table> one;
        one.push_back({std::move(combined)});
        return std::make_unique<OwnedArrayCursor<Table>>(std::move(one), context.chunkSize());
    }

    std::vector<const RddNode<Table>*> tables_;
    std::vector<const RddNode<Pair>*> batches_;
    const bool batchesAreOlder_;
    const F f_;
};

/// The keys of some tables, each with its values combined in the order of the tables; a chunk at a time, as far as it
/// is read.
template <class K, class V, class F>
class TablesCursor final : public Cursor<std::pair<K, V>> {
    using Pair = std::pair<K, V>;

public:
    /// @param tables  oldest first
    /// @param op      whose function `f` is
    TablesCursor(std::vector<CombinedTable<K, V>> tables, F f, const RddBase* op, TaskContext& context)
        : f_(std::move(f)), op_(op), context_(context) {
        for (auto& table : tables) sides_.push_back({std::move(table.table), {}});
        order_.resize(sides_.size());
        std::iota(order_.begin(), order_.end(), 0);
        // From the largest, so that most keys are met in it and need not be looked for again.
        std::sort(order_.begin(), order_.end(),
                  [&](std::size_t a, std::size_t b) { return sides_[a].table->size() > sides_[b].table->size(); });
        for (std::size_t i = 1; i < order_.size(); ++i) sides_[order_[i]].met.resize(sides_[order_[i]].table->size());
    }

private:
    struct Side {
        std::shared_ptr<FlatTable<K, V>> table;
        std::vector<bool> met;  // together with a table before it in `order_`
    };

    Chunk<Pair> doNext() override {
        context_.checkCancelled();
        out_.clear();
        while (out_.size() < context_.chunkSize() && turn_ < order_.size()) {
            Side& side = sides_[order_[turn_]];
            if (entry_ == side.table->size()) {
                ++turn_;
                entry_ = 0;
                continue;
            }
            const std::size_t at = entry_++;
            if (turn_ == 0 || !side.met[at]) out_.push_back(combined(at));
        }
        return Chunk<Pair>::ownedBy(out_.data(), out_.size());
    }

    Pair combined(std::size_t at) {
        FlatTable<K, V>& table = *sides_[order_[turn_]].table;
        const K& key = table.entries()[at].first;
        const uint64_t hash = table.hashAt(at);
        parts_.assign(sides_.size(), nullptr);
        parts_[order_[turn_]] = &table.entries()[at].second;
        for (std::size_t later = turn_ + 1; later < order_.size(); ++later) {
            Side& other = sides_[order_[later]];
            if (const auto* entry = other.table->find(hash, key)) {
                other.met[static_cast<std::size_t>(entry - other.table->entries().data())] = true;
                parts_[order_[later]] = &entry->second;
            }
        }
        std::optional<V> value;
        for (const V* part : parts_) {
            if (part == nullptr) continue;
            value = value ? guarded(op_, [&] { return V(f_(std::as_const(*value), *part)); }) : *part;
        }
        return Pair(key, *std::move(value));
    }

    F f_;
    const RddBase* op_;
    TaskContext& context_;
    std::vector<Side> sides_;
    std::vector<std::size_t> order_;  // the sides, as they are gone through
    std::size_t turn_ = 0, entry_ = 0;
    std::vector<const V*> parts_;
    Array<Pair> out_;
};

/// The pairs of some tables; see TablesCursor.
template <class K, class V, class F>
class TablesRdd final : public RddNode<std::pair<K, V>> {
    using Pair = std::pair<K, V>;
    using Table = CombinedTable<K, V>;

public:
    using Tables = std::vector<std::shared_ptr<RddNode<Table>>>;

    TablesRdd(const std::shared_ptr<SparkContextCore>& context, const Tables& tables, F f,
              const Partitioner& partitioner, CallSite site)
        : RddNode<Pair>(context, dependenciesOf(tables), "reduceByKeyAndWindow", site, partitioner), f_(std::move(f)) {
        for (const auto& table : tables) tables_.push_back(table.get());
    }
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    static RddBase::Lineage dependenciesOf(const Tables& tables) {
        RddBase::Lineage lineage;
        for (const auto& table : tables) lineage.push_back(std::make_shared<OneToOneDependency>(table));
        return lineage;
    }
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }
    CursorPtr<Pair> doCompute(int partition, TaskContext& context) const override {
        std::vector<Table> tables;
        for (const auto* from : tables_) {
            const auto cursor = from->iterator(partition, context);
            tables.push_back(cursor->next()[0]);
        }
        return std::make_unique<TablesCursor<K, V, F>>(std::move(tables), f_, this, context);
    }

    std::vector<const RddNode<Table>*> tables_;
    const F f_;
};

/// A reduced window. Time is cut into panes, the longest that windows consist of, and panes into blocks of about the
/// square root of a window's panes. A window is then the end of a block, whole blocks, and the beginning of a block:
/// three tables, each made of one made before for another window. So a slide costs a few tables, of any number of
/// panes. What a table holds depends on times only: made again, it is the same.
template <class K, class V, class F>
class SlidingWindowNode final : public DStreamNodeOf<RDD<std::pair<K, V>>> {
    using Pair = std::pair<K, V>;
    using TableRdd = RddNode<CombinedTable<K, V>>;
    using TablePtr = std::shared_ptr<TableRdd>;

public:
    /// From how many panes on this is less work than to reduce the whole window.
    static constexpr int64_t kWorthwhile = 8;

    static int64_t panesOf(Duration window, Duration slide) { return window.milliseconds() / paneOf(window, slide); }

    /// The whole number that is nearest to the square root.
    static int64_t nearestRoot(int64_t n) {
        int64_t root = 0;
        while (root * root + root < n) ++root;
        return root;
    }

    SlidingWindowNode(const std::shared_ptr<DStreamNode<Pair>>& reduced, F f, Duration window, Duration slide,
                      Partitioner partitioner, CallSite site)
        : DStreamNodeOf<RDD<Pair>>(reduced->weakContext(), "reduceByKeyAndWindow", {reduced}, site, slide),
          reduced_(reduced.get()),
          f_(std::move(f)),
          window_(window),
          pane_(paneOf(window, slide)),
          panes_(panesOf(window, slide)),
          blockPanes_(nearestRoot(panes_)),
          partitioner_(std::move(partitioner)) {
        reduced->persist(StorageLevel::MEMORY_ONLY_SER);
    }
    std::optional<Duration> parentRememberDuration() const override {
        return this->rememberDuration() ? std::optional(*this->rememberDuration() + window_) : std::nullopt;
    }
    void clearMetadata(Time time) override {
        DStreamBase::clearMetadata(time);
        if (!this->rememberDuration()) return;
        // Windows that are still asked for end after pane `last` and begin after pane `first`. Of the beginnings of
        // blocks they need the one that they extend, and whole blocks.
        const int64_t last = lastPaneOf(time - *this->rememberDuration()), first = last - panes_;
        const auto drop = [](auto& tables, auto isOld) {
            std::erase_if(tables, [&](const auto& entry) {
                const bool old = isOld(entry.first);
                if (old) entry.second->unpersist(false);
                return old;
            });
        };
        drop(ends_, [&](int64_t pane) { return pane <= first; });
        drop(beginnings_,
             [&](int64_t pane) { return pane <= first || (pane < last && (pane + 1) % blockPanes_ != 0); });
        drop(middles_, [&](const auto& blocks) { return blocks.first * blockPanes_ <= first; });
    }

private:
    static int64_t paneOf(Duration window, Duration slide) {
        return std::gcd(window.milliseconds(), slide.milliseconds());
    }
    /// Panes are counted from 0, the first one after zero time.
    int64_t lastPaneOf(Time time) const { return (time - this->zeroTime()).milliseconds() / pane_ - 1; }

    std::optional<RDD<Pair>> compute(Time time) override {
        const int64_t last = lastPaneOf(time), first = std::max<int64_t>(0, last + 1 - panes_);
        const int64_t block = last / blockPanes_, whole = (first + blockPanes_ - 1) / blockPanes_;
        std::vector<TablePtr> tables;
        if (first % blockPanes_ != 0) tables.push_back(end(first));
        if (whole < block) tables.push_back(middle(whole, block - 1));
        tables.push_back(beginning(last));
        return makeRdd<Pair>(makeNode<TablesRdd<K, V, F>>(this->context().sparkContext().core(), tables, f_,
                                                          partitioner_, this->creationSite()));
    }

    /// From a pane to the end of its block.
    TablePtr end(int64_t pane) {
        return remembered(ends_, pane, [&] {
            std::vector<TablePtr> newer;
            if ((pane + 1) % blockPanes_ != 0) newer.push_back(end(pane + 1));
            return table(newer, batches(pane), true);
        });
    }
    /// From the begin of a block to a pane.
    TablePtr beginning(int64_t pane) {
        return remembered(beginnings_, pane, [&] {
            std::vector<TablePtr> older;
            if (pane % blockPanes_ != 0) older.push_back(beginning(pane - 1));
            return table(older, batches(pane), false);
        });
    }
    /// Whole blocks.
    TablePtr middle(int64_t firstBlock, int64_t lastBlock) {
        if (firstBlock == lastBlock) return beginning((lastBlock + 1) * blockPanes_ - 1);
        return remembered(middles_, std::pair(firstBlock, lastBlock), [&] {
            std::vector<TablePtr> blocks;
            for (int64_t block = firstBlock; block <= lastBlock; ++block)
                blocks.push_back(beginning((block + 1) * blockPanes_ - 1));
            return table(blocks, {}, false);
        });
    }

    template <class Tables, class Make>
    TablePtr remembered(Tables& tables, const typename Tables::key_type& key, Make make) {
        if (const auto found = tables.find(key); found != tables.end()) return found->second;
        TablePtr made = make();
        made->persist(StorageLevel::MEMORY_ONLY);
        tables.emplace(key, made);
        return made;
    }
    TablePtr table(const std::vector<TablePtr>& tables, const std::vector<std::shared_ptr<RddNode<Pair>>>& batches,
                   bool batchesAreOlder) {
        return makeNode<CombinedTableRdd<K, V, F>>(this->context().sparkContext().core(), tables, batches,
                                                   batchesAreOlder, f_, partitioner_, this->creationSite());
    }
    std::vector<std::shared_ptr<RddNode<Pair>>> batches(int64_t pane) {
        std::vector<std::shared_ptr<RddNode<Pair>>> rdds;
        const Duration step = reduced_->slideDuration();
        const Time begin = this->zeroTime() + Milliseconds(pane * pane_);
        for (Time at = begin + step; at <= begin + Milliseconds(pane_); at = at + step) {
            if (auto rdd = reduced_->getOrCompute(at)) rdds.push_back(rdd->node());
        }
        return rdds;
    }

    DStreamNode<Pair>* const reduced_;
    F f_;
    const Duration window_;
    const int64_t pane_;  // ms
    const int64_t panes_;
    const int64_t blockPanes_;
    const Partitioner partitioner_;
    // Tables made so far, by pane, by pane, and by first and last block.
    std::map<int64_t, TablePtr> ends_, beginnings_;
    std::map<std::pair<int64_t, int64_t>, TablePtr> middles_;
};

}  // namespace dstream::detail
