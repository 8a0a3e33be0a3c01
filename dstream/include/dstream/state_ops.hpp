#pragma once

#include "dstream/state.hpp"
#include "dstream/stream_node.hpp"
#include "rdd/codec.hpp"
#include "rdd/detail/flat_table.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dstream {

template <class K, class V, class S, class M>
class MapWithStateDStream;

namespace detail {

// ---- updateStateByKey

/// What an update function sees of one key.
template <class K, class V, class S>
using KeyUpdate = std::tuple<K, std::vector<V>, std::optional<S>>;

/// The state after each batch: new data and the state before, brought together by key.
/// `update(Time, Iterator<KeyUpdate>)` returns a range of pair<K, S>.
template <class K, class V, class S, class Parent, class Update>
class StateNode final : public DStreamNodeOf<RDD<std::pair<K, S>>> {
    using Pair = std::pair<K, S>;

public:
    StateNode(const std::shared_ptr<Parent>& parent, Update update, Partitioner partitioner, bool keepsPartitioner,
              std::optional<RDD<Pair>> initial, CallSite site)
        : DStreamNodeOf<RDD<Pair>>(parent->weakContext(), "updateStateByKey", {parent}, site),
          parent_(parent.get()),
          update_(std::move(update)),
          partitioner_(std::move(partitioner)),
          keepsPartitioner_(keepsPartitioner),
          initial_(std::move(initial)) {
        DStreamBase::persist(StorageLevel::MEMORY_ONLY_SER);
    }
    bool mustCheckpoint() const override { return true; }

private:
    std::optional<RDD<Pair>> compute(Time time) override {
        auto before = this->getOrCompute(time - this->slideDuration());
        auto data = parent_->getOrCompute(time);
        if (!before && !data) return std::nullopt;
        if (!before && initial_) before = initial_;
        if (before && data)
            return updated(data->cogroup(*before, partitioner_), time, [](const auto& groups) {
                const auto& [values, states] = groups;
                return std::pair(values, states.empty() ? std::nullopt : std::optional<S>(states.front()));
            });
        if (before)
            return updated(*before, time,
                           [](const S& state) { return std::pair(std::vector<V>{}, std::optional<S>(state)); });
        return updated(data->groupByKey(partitioner_), time,
                       [](const std::vector<V>& values) { return std::pair(values, std::optional<S>{}); });
    }

    GeneratedRddPtr readRddCheckpoint(const RddCheckpoint& from) override {
        return std::make_shared<GeneratedRddOf<RDD<Pair>>>(readCheckpointedRdd<Pair>(*this, from, partitioner_));
    }

    /// Applies the update function to each partition of `rdd`, whose values `split` makes new values and state of.
    template <class In, class Split>
    RDD<Pair> updated(const RDD<std::pair<K, In>>& rdd, Time time, Split split) const {
        return rdd.mapPartitions(
            [update = update_, split, time](Iterator<std::pair<K, In>> part) mutable {
                return update(time, Iterator<KeyUpdate<K, V, S>>(
                                        fromNext([part = std::make_shared<Iterator<std::pair<K, In>>>(std::move(part)),
                                                  split]() -> std::optional<KeyUpdate<K, V, S>> {
                                            if (!part->hasNext()) return std::nullopt;
                                            auto entry = part->next();
                                            auto [values, state] = split(entry.second);
                                            return KeyUpdate<K, V, S>(std::move(entry.first), std::move(values),
                                                                      std::move(state));
                                        })));
            },
            keepsPartitioner_);
    }

    Parent* const parent_;
    Update update_;
    const Partitioner partitioner_;
    const bool keepsPartitioner_;
    const std::optional<RDD<Pair>> initial_;
};

/// Turns a function of one key, `f(Time, K, values, state) -> optional<S>`, into one of a partition.
template <class K, class V, class S, class F>
auto updateEachKey(F f) {
    return [f = std::move(f)](Time time, Iterator<KeyUpdate<K, V, S>> part) mutable {
        return fromNext([f, time, part = std::make_shared<Iterator<KeyUpdate<K, V, S>>>(std::move(part))]() mutable
                        -> std::optional<std::pair<K, S>> {
            while (part->hasNext()) {
                auto [key, values, state] = part->next();
                if (std::optional<S> next = f(time, key, std::move(values), std::move(state))) {
                    return std::pair<K, S>(std::move(key), *std::move(next));
                }
            }
            return std::nullopt;
        });
    };
}

// ---- mapWithState

template <class S>
struct StateEntry {
    S state;
    int64_t updated;  // batch time in ms
    bool live = true;
};

/// One partition of a state stream after one batch: the state, and what the function emitted.
template <class K, class S, class M>
struct StateRecord {
    std::shared_ptr<const FlatTable<K, StateEntry<S>>> table;
    std::vector<M> mapped;
};

template <class K, class V, class S, class M, class F>
class MapWithStateRdd final : public RddNode<StateRecord<K, S, M>> {
public:
    using Record = StateRecord<K, S, M>;
    using Table = FlatTable<K, StateEntry<S>>;

    /// @param before  the state before, or null
    /// @param initial  the state to begin with, where there is none before; or null
    /// @param expired  keys last updated before this time are timed out; absent: no scan
    MapWithStateRdd(const std::shared_ptr<RddNode<Record>>& before,
                    const std::shared_ptr<RddNode<std::pair<K, S>>>& initial,
                    const std::shared_ptr<RddNode<std::pair<K, V>>>& data, F f, Time time, bool hasTimeout,
                    std::optional<Time> expired, const Partitioner& partitioner, CallSite site)
        : RddNode<Record>(data->context(), dependenciesOf(before, initial, data), "mapWithState", site, partitioner),
          before_(before.get()),
          initial_(initial.get()),
          data_(data.get()),
          f_(std::move(f)),
          time_(time),
          hasTimeout_(hasTimeout),
          expired_(expired) {}
    const char* className() const override { return "MapWithStateRDD"; }

private:
    static RddBase::Lineage dependenciesOf(const std::shared_ptr<RddBase>& before,
                                           const std::shared_ptr<RddBase>& initial,
                                           const std::shared_ptr<RddBase>& data) {
        RddBase::Lineage lineage{std::make_shared<OneToOneDependency>(data)};
        if (before) lineage.push_back(std::make_shared<OneToOneDependency>(before));
        if (initial) lineage.push_back(std::make_shared<OneToOneDependency>(initial));
        return lineage;
    }
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }

    CursorPtr<Record> doCompute(int partition, TaskContext& context) const override {
        F f(f_);
        auto table = std::make_shared<Table>();
        Record record;
        if (before_ != nullptr) {
            CursorPtr<Record> cursor = before_->iterator(partition, context);
            if (const Chunk<Record> chunk = cursor->next(); !chunk.empty()) *table = *chunk[0].table;
        }
        const auto put = [&](const K& key, S state) {
            table->upsert(
                PlacementHash<K>{}(key), key,
                [&] {
                    return StateEntry<S>{state, time_.milliseconds(), true};
                },
                [&](StateEntry<S>& entry) {
                    entry = StateEntry<S>{std::move(state), time_.milliseconds(), true};
                });
        };
        if (initial_ != nullptr) {
            CursorPtr<std::pair<K, S>> cursor = initial_->iterator(partition, context);
            for (auto chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
                for (std::size_t i = 0; i < chunk.size; ++i) put(chunk[i].first, chunk[i].second);
            }
        }
        const auto call = [&](const K& key, const std::optional<V>& value, State<S>& state) {
            auto mapped = guarded(this, [&] { return StateCall<K, V, S, M>::call(f, time_, key, value, state); });
            if (mapped) record.mapped.push_back(*std::move(mapped));
        };
        CursorPtr<std::pair<K, V>> cursor = data_->iterator(partition, context);
        for (auto chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
            context.checkCancelled();
            for (std::size_t i = 0; i < chunk.size; ++i) {
                const auto& [key, value] = chunk[i];
                auto* entry = table->find(PlacementHash<K>{}(key), key);
                const bool existed = entry != nullptr && entry->second.live;
                State<S> state(existed ? std::optional<S>(entry->second.state) : std::nullopt, false);
                call(key, value, state);
                if (state.removed_) {
                    if (existed) entry->second.live = false;
                } else if (state.updated_ || (state.exists() && hasTimeout_)) {
                    put(key, *std::move(state.value_));
                }
            }
        }
        if (expired_) {
            for (auto& [key, entry] : table->entries()) {
                if (!entry.live || entry.updated >= expired_->milliseconds()) continue;
                State<S> state(entry.state, true);
                call(key, std::nullopt, state);
                entry.live = false;
            }
        }
        compact(*table);
        record.table = std::move(table);
        Array<Record> one;
        one.push_back(std::move(record));
        return std::make_unique<OwnedArrayCursor<Record>>(std::move(one), context.chunkSize());
    }

    /// Drops removed entries once they are half of the table.
    static void compact(Table& table) {
        std::size_t live = 0;
        for (const auto& entry : table.entries()) live += entry.second.live;
        if (live * 2 > table.size()) return;
        Table kept;
        kept.reserve(live);
        for (std::size_t i = 0; i < table.size(); ++i) {
            auto& [key, entry] = table.entries()[i];
            if (entry.live)
                kept.upsert(
                    table.hashes()[i], key, [&] { return entry; }, [](auto&) {});
        }
        table = std::move(kept);
    }

    const RddNode<Record>* before_;
    const RddNode<std::pair<K, S>>* initial_;
    const RddNode<std::pair<K, V>>* data_;
    const F f_;
    const Time time_;
    const bool hasTimeout_;
    const std::optional<Time> expired_;
};

/// A state checkpoint that was written with another number of partitions: each partition takes its keys from all files.
template <class K, class S, class M>
class ReplacedStateRdd final : public RddNode<StateRecord<K, S, M>> {
public:
    using Record = StateRecord<K, S, M>;

    ReplacedStateRdd(const std::shared_ptr<SparkContextCore>& context, RddCheckpoint from,
                     const Partitioner& partitioner, CallSite site)
        : RddNode<Record>(context, {}, "mapWithState", site, partitioner), from_(std::move(from)) {}
    const char* className() const override { return "ReliableCheckpointRDD"; }

private:
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }

    CursorPtr<Record> doCompute(int partition, TaskContext& context) const override {
        const Partitioner placed = *this->partitioner();
        auto table = std::make_shared<FlatTable<K, StateEntry<S>>>();
        Record record;
        for (int part = 0; part < from_.numPartitions; ++part) {
            context.checkCancelled();
            const BlockPtr block = readBlockFile(from_.directory, part, *blockCodecFor<Record>());
            for (const Record& written : static_cast<const VectorBlock<Record>&>(*block).elements()) {
                for (const auto& [key, entry] : written.table->entries()) {
                    if (placed.getPartition(key) != partition) continue;
                    table->upsert(
                        PlacementHash<K>{}(key), key, [&value = entry] { return value; }, [](auto&) {});
                }
                if (part % placed.numPartitions() == partition) {
                    record.mapped.insert(record.mapped.end(), written.mapped.begin(), written.mapped.end());
                }
            }
        }
        record.table = std::move(table);
        Array<Record> one;
        one.push_back(std::move(record));
        return std::make_unique<OwnedArrayCursor<Record>>(std::move(one), context.chunkSize());
    }

    const RddCheckpoint from_;
};

/// The state stream behind MapWithStateDStream.
template <class K, class V, class S, class M, class F, class Parent>
class MapWithStateNode final : public DStreamNodeOf<RDD<StateRecord<K, S, M>>> {
    using Record = StateRecord<K, S, M>;

public:
    MapWithStateNode(const std::shared_ptr<Parent>& parent, StateSpec<K, V, S, M, F> spec, Partitioner partitioner,
                     CallSite site)
        : DStreamNodeOf<RDD<Record>>(parent->weakContext(), "mapWithState", {parent}, site),
          parent_(parent.get()),
          spec_(std::move(spec)),
          partitioner_(std::move(partitioner)) {
        DStreamBase::persist(StorageLevel::MEMORY_ONLY);
    }
    bool mustCheckpoint() const override { return true; }
    Duration defaultCheckpointInterval() const override { return this->slideDuration() * 10; }

private:
    std::optional<RDD<Record>> compute(Time time) override {
        auto before = this->getOrCompute(time - this->slideDuration());
        std::shared_ptr<RddNode<std::pair<K, S>>> initial;
        if (!before && spec_.getInitialState()) initial = spec_.getInitialState()->partitionBy(partitioner_).node();
        auto data = parent_->getOrCompute(time);
        const RDD<std::pair<K, V>> placed =
            data ? data->partitionBy(partitioner_)
                 : this->context().sparkContext().template emptyRDD<std::pair<K, V>>().partitionBy(partitioner_);
        // Idle keys are looked for in the batches whose state is checkpointed.
        const bool scans =
            this->checkpointDuration() && (time - this->zeroTime()).isMultipleOf(*this->checkpointDuration());
        const auto& timeout = spec_.getTimeout();
        return makeRdd<Record>(std::make_shared<MapWithStateRdd<K, V, S, M, F>>(
            before ? before->node() : nullptr, initial, placed.node(), spec_.f(), time, timeout.has_value(),
            scans && timeout ? std::optional(time - *timeout) : std::nullopt, partitioner_, this->creationSite()));
    }

    GeneratedRddPtr readRddCheckpoint(const RddCheckpoint& from) override {
        RDD<Record> state = readCheckpointedRdd<Record>(*this, from, partitioner_);
        if (!placedAlike(from, partitioner_)) {
            state = makeRdd<Record>(std::make_shared<ReplacedStateRdd<K, S, M>>(
                this->context().sparkContext().core(), from, partitioner_, this->creationSite()));
            state.persist(this->storageLevel());
        }
        return std::make_shared<GeneratedRddOf<RDD<Record>>>(std::move(state));
    }

    Parent* const parent_;
    const StateSpec<K, V, S, M, F> spec_;
    const Partitioner partitioner_;
};

/// What the function emitted; its checkpoint interval is that of the state.
template <class K, class S, class M>
class MappedStateNode final : public DStreamNodeOf<RDD<M>> {
    using Record = StateRecord<K, S, M>;

public:
    MappedStateNode(const std::shared_ptr<DStreamNode<Record>>& state, CallSite site)
        : DStreamNodeOf<RDD<M>>(state->weakContext(), "mapWithState", {state}, site), state_(state) {}
    void checkpoint(Duration interval) override { state_->checkpoint(interval); }
    const std::shared_ptr<DStreamNode<Record>>& state() const { return state_; }

private:
    std::optional<RDD<M>> compute(Time time) override {
        auto records = state_->getOrCompute(time);
        if (!records) return std::nullopt;
        return records->template flatMap<M>([](const Record& record, auto&& emit) {
            for (const M& mapped : record.mapped) emit(mapped);
        });
    }
    const std::shared_ptr<DStreamNode<Record>> state_;
};

}  // namespace detail

/// The state as keys, states and update times, and what was emitted.
template <class K, class S, class M>
requires(Codable<K>&& Codable<S>&& Codable<M>) struct Codec<detail::StateRecord<K, S, M>> {
    using Record = detail::StateRecord<K, S, M>;
    static std::string name() { return "state<" + codecName<K>() + "," + codecName<S>() + "," + codecName<M>() + ">"; }
    static uint32_t version() { return std::max({codecVersion<K>(), codecVersion<S>(), codecVersion<M>()}); }

    static void write(ByteWriter& out, std::span<const Record> records) {
        out.u64(records.size());
        for (const Record& record : records) {
            std::vector<K> keys;
            std::vector<S> states;
            std::vector<int64_t> times;
            for (const auto& [key, entry] : record.table->entries()) {
                if (!entry.live) continue;
                keys.push_back(key);
                states.push_back(entry.state);
                times.push_back(entry.updated);
            }
            Codec<K>::write(out, keys);
            Codec<S>::write(out, states);
            Codec<int64_t>::write(out, times);
            Codec<M>::write(out, record.mapped);
        }
    }
    static void read(ByteReader& in, std::vector<Record>& records) {
        for (uint64_t left = in.u64(); left > 0; --left) {
            std::vector<K> keys;
            std::vector<S> states;
            std::vector<int64_t> times;
            Record record;
            Codec<K>::read(in, keys);
            Codec<S>::read(in, states);
            Codec<int64_t>::read(in, times);
            Codec<M>::read(in, record.mapped);
            if (keys.size() != states.size() || keys.size() != times.size()) {
                throw SparkException(
                    "a state record must have as many states and times as keys: " + std::to_string(keys.size()) +
                    " keys, " + std::to_string(states.size()) + " states, " + std::to_string(times.size()) + " times");
            }
            auto table = std::make_shared<detail::FlatTable<K, detail::StateEntry<S>>>();
            table->reserve(keys.size());
            for (std::size_t i = 0; i < keys.size(); ++i) {
                table->upsert(
                    PlacementHash<K>{}(keys[i]), keys[i],
                    [&] {
                        return detail::StateEntry<S>{states[i], times[i], true};
                    },
                    [](auto&) {});
            }
            record.table = std::move(table);
            records.push_back(std::move(record));
        }
    }
};

namespace detail {

/// The operators of streams of pairs that carry state from batch to batch. They need a checkpoint directory, and are
/// checkpointed by themselves.
template <class Self, class T, class Base>
class StateStreamOps : public Base {
    using Where = std::source_location;
    using K = Owned<KeyOf<T>>;
    using V = Owned<ValueOf<T>>;
    const Self& self() const { return static_cast<const Self&>(*this); }

    template <class S, class Update>
    DStream<std::pair<K, S>> addState(Update update, const PartitionChoice& partitions, bool keepsPartitioner,
                                      std::optional<RDD<std::pair<K, S>>> initial, Where where) const {
        auto parent = self().nodeAs();
        using Parent = typename decltype(parent)::element_type;
        return DStream<std::pair<K, S>>(std::make_shared<StateNode<K, V, S, Parent, Update>>(
            parent, std::move(update), this->partitionerOf(partitions), keepsPartitioner, std::move(initial),
            CallSite::from(where)));
    }

public:
    using Base::Base;

    /// The state of every key after each batch. `f(values, state) -> optional<S>` is called for every key with state or
    /// new values; absent removes the key.
    /// @param initial  state to begin with; its keys are passed to `f` in the first batch
    template <class S, class F>
    requires(PairLike<T>&& std::is_invocable_r_v<std::optional<S>, F&, std::vector<V>, std::optional<S>>)
        DStream<std::pair<K, S>> updateStateByKey(F f, PartitionChoice partitions = {},
                                                  std::optional<RDD<std::pair<K, S>>> initial = std::nullopt,
                                                  Where where = Where::current())
    const {
        auto update = updateEachKey<K, V, S>(
            [f = std::move(f)](Time, const K&, std::vector<V> values, std::optional<S> state) mutable {
                return f(std::move(values), std::move(state));
            });
        return addState<S>(std::move(update), partitions, true, std::move(initial), where);
    }
    /// As above with `f(Time, key, values, state) -> optional<S>`.
    template <class S, class F>
    requires(
        PairLike<T>&& std::is_invocable_r_v<std::optional<S>, F&, Time, const K&, std::vector<V>, std::optional<S>>)
        DStream<std::pair<K, S>> updateStateByKey(F f, Partitioner partitioner, bool rememberPartitioner,
                                                  std::optional<RDD<std::pair<K, S>>> initial = std::nullopt,
                                                  Where where = Where::current())
    const {
        return addState<S>(updateEachKey<K, V, S>(std::move(f)), std::move(partitioner), rememberPartitioner,
                           std::move(initial), where);
    }
    /// As above with one call per partition: `f(Iterator<tuple<K, vector<V>, optional<S>>>)` returns a range of pair<K,
    /// S>. When it emits other keys than it was given, `rememberPartitioner` must be false.
    template <class S, class F>
    requires(PairLike<T>&& std::is_invocable_v<F&, Iterator<std::tuple<K, std::vector<V>, std::optional<S>>>>)
        DStream<std::pair<K, S>> updateStateByKey(F f, Partitioner partitioner, bool rememberPartitioner,
                                                  std::optional<RDD<std::pair<K, S>>> initial = std::nullopt,
                                                  Where where = Where::current())
    const {
        auto update = [f = std::move(f)](Time, Iterator<KeyUpdate<K, V, S>> part) mutable {
            return f(std::move(part));
        };
        return addState<S>(std::move(update), std::move(partitioner), rememberPartitioner, std::move(initial), where);
    }

    /// Calls a function for each record with the state of its key, and streams what it returns. Idle keys cost nothing.
    template <class S, class M, class F>
    requires PairLike<T> MapWithStateDStream<K, V, S, M> mapWithState(const StateSpec<K, V, S, M, F>& spec,
                                                                      Where where = Where::current())
    const {
        auto parent = self().nodeAs();
        using Parent = typename decltype(parent)::element_type;
        auto state = std::make_shared<MapWithStateNode<K, V, S, M, F, Parent>>(
            parent, spec, spec.getPartitioner() ? *spec.getPartitioner() : this->partitionerOf({}),
            CallSite::from(where));
        return MapWithStateDStream<K, V, S, M>(
            std::make_shared<MappedStateNode<K, S, M>>(std::move(state), CallSite::from(where)));
    }
};

}  // namespace detail
}  // namespace dstream
