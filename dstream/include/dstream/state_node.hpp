#pragma once

#include "dstream/state.hpp"
#include "dstream/stream_node.hpp"
#include "dstream/versioned_table.hpp"
#include "rdd/codec.hpp"
#include "rdd/detail/flat_table.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dstream::detail {

/// Elements in the order in which they were appended, in pieces, so that none is moved again.
template <class T>
class ChunkList {
public:
    void push_back(T element) {
        if (chunks_.empty() || chunks_.back().size() == kChunk) {
            chunks_.emplace_back();
            if (chunks_.size() > 1) chunks_.back().reserve(kChunk);
        }
        chunks_.back().push_back(std::move(element));
    }
    const std::vector<Array<T>>& chunks() const { return chunks_; }
    std::size_t size() const { return chunks_.empty() ? 0 : (chunks_.size() - 1) * kChunk + chunks_.back().size(); }

private:
    static constexpr std::size_t kChunk = 1024;
    std::vector<Array<T>> chunks_;
};

/// One partition of a stream's state after one batch: the state, and what else the batch gave. A handle: the version of
/// the table is kept readable while there is one.
template <class K, class S, class Out>
struct StateRecord {
    using Table = VersionedTable<K, S>;
    using Outputs = ChunkList<Out>;

    /// What a checkpoint has of a state that is read on top of an older one.
    struct Changes {
        int64_t from = 0;  // the version that they change
        int64_t to = 0;
        std::vector<K> keys;  // set to these states
        std::vector<S> states;
        std::vector<int64_t> times;
        std::vector<K> removed;
        std::shared_ptr<const Outputs> outputs;
    };

    typename Table::VersionPtr version;
    typename Table::VersionPtr base;  // a checkpoint is written as the changes since this version; null: as a whole
    std::shared_ptr<const Changes> changes;  // as read from such a checkpoint, without a version
    const Outputs& outputs() const { return *static_cast<const Outputs*>(version->outputs().get()); }
};

/// The tables of a stream's state as they are now, by partition. Thread-safe.
template <class K, class S>
class LiveState {
public:
    using Table = VersionedTable<K, S>;
    using VersionPtr = typename Table::VersionPtr;

    explicit LiveState(int numPartitions) : tables_(static_cast<std::size_t>(numPartitions)) {}

    /// The table that the next batch is to be written to, when there is one.
    typename Table::Ptr table(int partition) const {
        const std::lock_guard lock(mutex_);
        return tables_[static_cast<std::size_t>(partition)];
    }
    /// Keeps the versions of a batch that is about to be written, for its checkpoint. When the checkpoints of too many
    /// batches have not come to use theirs, the oldest are let go, with what they would add to.
    void keep(int64_t number) {
        std::map<int64_t, std::vector<VersionPtr>> old;  // let go after the lock
        std::vector<VersionPtr> oldBase;
        const std::lock_guard lock(mutex_);
        while (kept_.size() >= kMostKept) old.insert(kept_.extract(kept_.begin()));
        if (!old.empty()) oldBase = std::exchange(base_, {});
        kept_.emplace(number, std::vector<VersionPtr>());
    }
    /// Makes the versions kept of a batch what later checkpoints add to, and lets go of older ones. False when there
    /// are none.
    bool makeBase(int64_t number) {
        std::map<int64_t, std::vector<VersionPtr>> old;  // let go after the lock
        std::vector<VersionPtr> before;
        const std::lock_guard lock(mutex_);
        before = std::exchange(base_, {});
        baseNumber_ = number;
        if (const auto found = kept_.find(number); found != kept_.end()) base_ = std::move(found->second);
        while (!kept_.empty() && kept_.begin()->first <= number) old.insert(kept_.extract(kept_.begin()));
        return !base_.empty();
    }
    /// The version that the checkpoint of a partition adds to; null when it is another batch's by now.
    VersionPtr base(int64_t number, int partition) const {
        const std::lock_guard lock(mutex_);
        return base_.empty() || baseNumber_ != number ? nullptr : base_[static_cast<std::size_t>(partition)];
    }
    bool hasBase(int64_t number) const {
        const std::lock_guard lock(mutex_);
        return baseNumber_ == number && !base_.empty();
    }
    /// The versions kept of a batch, and those of the base; both empty when one of them is not there any more.
    std::pair<std::vector<VersionPtr>, std::vector<VersionPtr>> keptSince(int64_t base, int64_t number) const {
        const std::lock_guard lock(mutex_);
        const auto found = kept_.find(number);
        if (baseNumber_ != base || base_.empty() || found == kept_.end() || found->second.empty()) return {};
        return {found->second, base_};
    }
    /// The newest batch that has been written in all partitions; empty before the first.
    std::vector<VersionPtr> latest() const {
        const std::lock_guard lock(mutex_);
        return latest_;
    }
    void committed(int partition, const VersionPtr& version) {
        std::vector<VersionPtr> old;  // let go after the lock
        std::vector<VersionPtr> unfinished;
        std::vector<std::vector<VersionPtr>> bases;
        const std::size_t records = version->table()->undoRecords();
        const std::lock_guard lock(mutex_);
        if (records > kFewRecords && records > version->size() / 4) {
            // Changes of so many keys are not worth their memory: the next checkpoint is of all keys.
            bases.push_back(std::exchange(base_, {}));
        }
        if (records > kFewRecords && records > version->size()) {
            // Nor is a checkpoint that is written so late: its versions are computed again.
            for (auto& [at, versions] : kept_) bases.push_back(std::exchange(versions, {}));
        }
        auto& table = tables_[static_cast<std::size_t>(partition)];
        if (!table || *table->head() < version->number()) table = version->table();
        const int64_t number = version->number();
        if (!latest_.empty() && number <= latest_.front()->number()) return;
        auto& row = written_[number];
        row.resize(tables_.size());
        row[static_cast<std::size_t>(partition)] = version;
        if (std::find(row.begin(), row.end(), nullptr) == row.end()) {
            if (const auto kept = kept_.find(number); kept != kept_.end()) kept->second = row;
            old = std::exchange(latest_, std::move(row));
            written_.erase(written_.begin(), written_.upper_bound(number));
        } else if (written_.size() > kUnfinished) {
            unfinished = std::move(written_.begin()->second);
            written_.erase(written_.begin());
        }
    }

private:
    static constexpr std::size_t kUnfinished = 2;
    static constexpr std::size_t kMostKept = 64;
    static constexpr std::size_t kFewRecords = 16384;  // of a partition

    mutable std::mutex mutex_;  // guards the fields below; before the tables' own
    std::vector<typename Table::Ptr> tables_;
    std::map<int64_t, std::vector<VersionPtr>> written_;  // batches that lack partitions, the newest few
    std::map<int64_t, std::vector<VersionPtr>> kept_;  // of batches whose checkpoint is due; empty until all is written
    std::vector<VersionPtr> base_;                     // of the newest checkpoint
    int64_t baseNumber_ = 0;
    std::vector<VersionPtr> latest_;
};

/// The state after a batch, one record a partition. The table is updated in place when the batch before is its newest
/// version; a batch that is computed again later, when the table has gone on, goes its own way from a copy.
template <class K, class S, class Out>
class StateRdd : public RddNode<StateRecord<K, S, Out>> {
public:
    using Record = StateRecord<K, S, Out>;
    using Table = typename Record::Table;
    using VersionPtr = typename Table::VersionPtr;
    using Attempt = typename Table::Attempt;
    using Outputs = typename Record::Outputs;

    struct Place {
        std::shared_ptr<LiveState<K, S>> live;
        std::shared_ptr<RddNode<Record>> before;  // null: the first batch
        Time timeBefore;
        Time time;
        bool timed = false;
        std::optional<int64_t> base{};     // the batch whose checkpoint that of this batch adds to
        std::vector<std::string> bases{};  // the directories of that one
    };

protected:
    StateRdd(const std::shared_ptr<SparkContextCore>& context, Place place,
             const std::vector<std::shared_ptr<RddBase>>& others, const char* name, CallSite site,
             const Partitioner& partitioner)
        : RddNode<Record>(context, dependenciesOn(place.before, others), name, site, partitioner),
          live_(std::move(place.live)),
          before_(place.before.get()),
          timeBefore_(place.timeBefore),
          time_(place.time),
          timed_(place.timed),
          base_(place.base),
          bases_(std::move(place.bases)) {}

    Time time() const { return time_; }

private:
    /// Writes one partition's state after the batch.
    /// @param before  null: there is none
    virtual std::shared_ptr<const Outputs> write(int partition, TaskContext& context, const VersionPtr& before,
                                                 Attempt& attempt) const = 0;

    static RddBase::Lineage dependenciesOn(const std::shared_ptr<RddBase>& before,
                                           const std::vector<std::shared_ptr<RddBase>>& others) {
        RddBase::Lineage lineage;
        for (const auto& rdd : others) {
            if (rdd) lineage.push_back(std::make_shared<OneToOneDependency>(rdd));
        }
        if (before) lineage.push_back(std::make_shared<OneToOneDependency>(before));
        return lineage;
    }
    int doNumPartitions() const final { return this->partitioner()->numPartitions(); }
    CursorPtr<Record> doCompute(int partition, TaskContext& context) const final {
        Array<Record> one;
        one.push_back(Record{versionOf(partition, context), base_ ? live_->base(*base_, partition) : nullptr, nullptr});
        return std::make_unique<OwnedArrayCursor<Record>>(std::move(one), context.chunkSize());
    }

    VersionPtr versionOf(int partition, TaskContext& context) const {
        const int64_t number = time_.milliseconds();
        const WriterId writer{(static_cast<int64_t>(context.stageId()) << 32) | context.stageAttemptNumber(),
                              context.attemptNumber()};
        if (const auto live = live_->table(partition)) {
            if (VersionPtr there = live->version(number)) return there;
        }
        VersionPtr before = versionBefore(partition, context);
        auto table = before ? before->table() : Table::make(timed_);
        while (true) {
            context.checkCancelled();
            auto attempt = table->begin(before ? std::optional(before->number()) : std::nullopt, number, writer);
            if (!attempt) {
                if (VersionPtr there = table->version(number)) return there;  // another attempt's
                before = before->copy();
                table = before->table();
                continue;
            }
            try {
                auto outputs = write(partition, context, before, *attempt);
                VersionPtr version = attempt->commit(std::move(outputs));
                live_->committed(partition, version);
                return version;
            } catch (const AttemptSuperseded&) {
                // Waits for the attempt that has taken over, and takes what that one makes.
            }
        }
    }
    VersionPtr versionBefore(int partition, TaskContext& context) const {
        if (before_ == nullptr) return nullptr;
        if (const auto live = live_->table(partition)) {
            if (VersionPtr there = live->version(timeBefore_.milliseconds())) return there;
        }
        const CursorPtr<Record> cursor = before_->iterator(partition, context);
        const Chunk<Record> chunk = cursor->next();
        DSTREAM_CHECK(chunk.size == 1, "a partition of state is one record");
        return chunk[0].version;
    }

    const std::shared_ptr<LiveState<K, S>> live_;
    const RddNode<Record>* const before_;
    const Time timeBefore_;
    const Time time_;
    std::shared_ptr<RddBase> makeCheckpointRdd(const std::string& directory) const final;

    const bool timed_;
    const std::optional<int64_t> base_;
    const std::vector<std::string> bases_;
};

/// Calls `f(chunk)` for all chunks of a partition.
template <class T, class F>
void forEachChunk(const RddNode<T>& rdd, int partition, TaskContext& context, F&& f) {
    const CursorPtr<T> cursor = rdd.iterator(partition, context);
    for (Chunk<T> chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
        context.checkCancelled();
        f(chunk);
    }
}

// ---- mapWithState

template <class K, class V, class S, class M, class F>
class MapWithStateRdd final : public StateRdd<K, S, M> {
    using Base = StateRdd<K, S, M>;

public:
    /// @param initial  the state to begin with, where there is none before; or null
    /// @param expired  keys last set before this time are timed out; absent: they are not looked for
    MapWithStateRdd(typename Base::Place place, const std::shared_ptr<RddNode<std::pair<K, S>>>& initial,
                    const std::shared_ptr<RddNode<std::pair<K, V>>>& data, F f, std::optional<Time> expired,
                    const Partitioner& partitioner, CallSite site)
        : Base(data->context(), place, {data, initial}, "mapWithState", site, partitioner),
          initial_(initial.get()),
          data_(data.get()),
          f_(std::move(f)),
          touches_(place.timed),
          expired_(expired) {}
    const char* className() const override { return "MapWithStateRDD"; }

private:
    std::shared_ptr<const ChunkList<M>> write(int partition, TaskContext& context, const typename Base::VersionPtr&,
                                              typename Base::Attempt& attempt) const override {
        F f(f_);
        auto outputs = std::make_shared<ChunkList<M>>();
        const auto call = [&](const K& key, const std::optional<V>& value, State<S>& state) {
            auto mapped =
                guarded(this, [&] { return StateCall<K, V, S, M>::call(f, this->time(), key, value, state); });
            if (mapped) outputs->push_back(*std::move(mapped));
        };
        if (initial_ != nullptr) {
            forEachChunk(*initial_, partition, context, [&](const Chunk<std::pair<K, S>>& chunk) {
                attempt.update(
                    chunk.size, [&](std::size_t i) -> const K& { return chunk[i].first; },
                    [&](std::size_t i, std::optional<S>& state) {
                        state = chunk[i].second;
                        return true;
                    });
            });
        }
        forEachChunk(*data_, partition, context, [&](const Chunk<std::pair<K, V>>& chunk) {
            attempt.update(
                chunk.size, [&](std::size_t i) -> const K& { return chunk[i].first; },
                [&](std::size_t i, std::optional<S>& value) {
                    const bool existed = value.has_value();
                    State<S> state(std::move(value), false);
                    call(chunk[i].first, chunk[i].second, state);
                    value = std::move(state.value_);
                    return state.removed_ ? existed : state.updated_ || (existed && touches_);
                });
        });
        if (expired_) {
            attempt.expire(expired_->milliseconds(), [&](const K& key, const S& last) {
                State<S> state(last, true);
                call(key, std::nullopt, state);
            });
        }
        return outputs;
    }

    const RddNode<std::pair<K, S>>* const initial_;
    const RddNode<std::pair<K, V>>* const data_;
    const F f_;
    const bool touches_;  // a record sets the time of its key even when the state stays as it is
    const std::optional<Time> expired_;
};

// ---- updateStateByKey

/// What an update function sees of one key.
template <class K, class V, class S>
using KeyUpdate = std::tuple<K, std::vector<V>, std::optional<S>>;

/// States that can be told to be the same in every bit that matters. Equality of users' types may mean less.
template <class S>
inline constexpr bool kComparesStates =
    std::has_unique_object_representations_v<S> || std::is_floating_point_v<S> || std::is_same_v<S, std::string>;

template <class S>
bool isSameState(const S& a, const S& b) requires kComparesStates<S> {
    if constexpr (std::is_same_v<S, std::string>) {
        return a == b;
    } else {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }
}

/// The same state once more, built where it is wanted: an optional number that is copied whole right after its parts
/// were written stalls the processor, and an update function is called for every key.
template <class S>
std::optional<S> passOn(std::optional<S>&& state) {
    return state ? std::optional<S>(std::in_place, *std::move(state)) : std::nullopt;
}

/// An update function of one key, `f(Time, K, values, state) -> optional<S>`, or one of a partition:
/// `f(Time, Iterator<KeyUpdate>)` returns a range of pair<K, S>.
template <class F, bool kPerKey>
struct UpdateFunction {
    F f;
};

template <class K, class V, class S, class Update>
class UpdateStateRdd;

/// The new state may have a key twice when the function of a partition emits it twice: the first one is the state, the
/// others are only put out.
template <class K, class V, class S, class F, bool kPerKey>
class UpdateStateRdd<K, V, S, UpdateFunction<F, kPerKey>> final : public StateRdd<K, S, std::pair<K, S>> {
    using Pair = std::pair<K, S>;
    using Base = StateRdd<K, S, Pair>;
    using Attempt = typename Base::Attempt;
    using Verdict = typename Attempt::Verdict;

public:
    /// @param initial, data  may be null
    UpdateStateRdd(const std::shared_ptr<SparkContextCore>& core, typename Base::Place place,
                   const std::shared_ptr<RddNode<Pair>>& initial, const std::shared_ptr<RddNode<std::pair<K, V>>>& data,
                   UpdateFunction<F, kPerKey> update, const Partitioner& partitioner, CallSite site)
        : Base(core, std::move(place), {data, initial}, "updateStateByKey", site, partitioner),
          initial_(initial.get()),
          data_(data.get()),
          f_(std::move(update.f)) {}
    const char* className() const override { return "StateRDD"; }

private:
    static constexpr uint32_t kEnd = UINT32_MAX;
    /// The new values of one key as a list. One that was taken is empty.
    struct Group {
        uint32_t first = kEnd;
        uint32_t last = kEnd;
        bool taken = false;
    };

    class Groups {
    public:
        void addInitial(const K& key, const S& state) {
            groupOf(key, [](Group&) {});
            initial_.upsert(
                PlacementHash<K>{}(key), key, [&] { return state; }, [](S&) {});
        }
        void add(const K& key, V value) {
            const auto at = static_cast<uint32_t>(values_.size());
            values_.push_back(std::move(value));
            next_.push_back(kEnd);
            groupOf(key, [&](Group& group) {
                (group.first == kEnd ? group.first : next_[group.last]) = at;
                group.last = at;
            });
        }
        std::vector<V> take(Group& group) {
            std::vector<V> values;
            group.taken = true;
            for (uint32_t at = group.first; at != kEnd; at = next_[at]) values.push_back(std::move(values_[at]));
            return values;
        }
        std::optional<S> takeInitial(const K& key) {
            if (initial_.empty()) return std::nullopt;
            auto* const entry = initial_.find(PlacementHash<K>{}(key), key);
            return entry != nullptr ? std::optional<S>(std::move(entry->second)) : std::nullopt;
        }
        std::vector<std::pair<K, Group>>& all() { return table_.entries(); }
        Group* find(const K& key) {
            auto* const entry = table_.find(PlacementHash<K>{}(key), key);
            return entry != nullptr ? &entry->second : nullptr;
        }

    private:
        template <class Change>
        void groupOf(const K& key, Change&& change) {
            table_.upsert(
                PlacementHash<K>{}(key), key,
                [&] {
                    Group group;
                    change(group);
                    return group;
                },
                change);
        }
        FlatTable<K, Group> table_;
        FlatTable<K, S> initial_;
        Array<V> values_;
        std::vector<uint32_t> next_;  // the next value of the same key
    };

    /// The new values of keys that have a state, by the key's index in the table. What keys that lie together get is
    /// brought together first.
    class ByIndex {
    public:
        void add(uint32_t index, V value) {
            updates_.push_back({index, static_cast<uint32_t>(values_.size())});
            values_.push_back(std::move(value));
        }
        /// To be called when all have been added, and before the one below.
        void sort(std::size_t numIndexes) {
            ends_.assign(numIndexes / kGroup + 2, 0);
            for (const Update& update : updates_) ++ends_[update.index / kGroup + 1];
            std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
            std::vector<Update> sorted(updates_.size());
            for (const Update& update : updates_) sorted[ends_[update.index / kGroup]++] = update;
            updates_ = std::move(sorted);
            Array<V> values;
            values.reserve(values_.size());
            for (const Update& update : updates_) values.push_back(std::move(values_[update.at]));
            values_ = std::move(values);
        }
        /// To be called before `has` and `take` for the indexes from `first` on, as many as are updated together.
        void reach(uint32_t first) {
            first_.fill(kEnd);
            const std::size_t group = first / kGroup;
            for (uint32_t at = ends_[group], begin = group == 0 ? 0 : ends_[group - 1]; at-- > begin;)
                updates_[at].at = std::exchange(first_[updates_[at].index % kGroup], at);
        }
        bool has(uint32_t index) const { return first_[index % kGroup] != kEnd; }
        void take(uint32_t index, std::vector<V>& values) {
            values.clear();
            for (uint32_t at = first_[index % kGroup]; at != kEnd; at = updates_[at].at)
                values.push_back(std::move(values_[at]));
        }

    private:
        static constexpr std::size_t kGroup = Attempt::kTogether;
        struct Update {
            uint32_t index = 0;
            uint32_t at = 0;  // its value's place, and in a linked group that of the next one of the same key
        };

        Array<V> values_;
        std::vector<Update> updates_;
        std::vector<uint32_t> ends_;          // of the updates of each group
        std::array<uint32_t, kGroup> first_;  // of the group reached: the first update of each key
    };

    std::shared_ptr<const ChunkList<Pair>> write(int partition, TaskContext& context,
                                                 const typename Base::VersionPtr& before,
                                                 Attempt& attempt) const override {
        F f(f_);
        Groups groups;    // per key: of those without a state
        ByIndex updates;  // of the others
        if (initial_ != nullptr) {
            forEachChunk(*initial_, partition, context, [&](const Chunk<Pair>& chunk) {
                for (std::size_t i = 0; i < chunk.size; ++i) groups.addInitial(chunk[i].first, chunk[i].second);
            });
        }
        if (data_ != nullptr) {
            forEachChunk(*data_, partition, context, [&](const Chunk<std::pair<K, V>>& chunk) {
                std::vector<uint32_t> indexes;
                if (kPerKey) {
                    indexes = attempt.locate(chunk.size, [&](std::size_t i) -> const K& { return chunk[i].first; });
                }
                for (std::size_t i = 0; i < chunk.size; ++i) {
                    const auto& [key, value] = chunk[i];
                    if (kPerKey && indexes[i] != Attempt::kNoIndex) {
                        updates.add(indexes[i], value);
                    } else {
                        groups.add(key, value);
                    }
                }
            });
        }
        auto outputs = std::make_shared<ChunkList<Pair>>();
        if constexpr (kPerKey) {
            updateKeys(f, groups, updates, context, attempt);
        } else {
            updatePartition(f, groups, context, before, attempt, *outputs);
        }
        return outputs;
    }

    void updateKeys(F& f, Groups& groups, ByIndex& updates, TaskContext& context, Attempt& attempt) const {
        const auto call = [&](const K& key, std::vector<V>&& values, std::optional<S>&& state) {
            return guarded(this,
                           [&] { return std::optional<S>(f(this->time(), key, std::move(values), std::move(state))); });
        };
        const auto change = [&](const K& key, std::vector<V>&& values, S& state) {
            std::optional<S> given;
            if constexpr (kComparesStates<S>) {
                given.emplace(state);  // most states stay what they are
            } else {
                given.emplace(std::move(state));
            }
            std::optional<S> next = call(key, std::move(values), std::move(given));
            if (!next) return Verdict::kRemoved;
            if constexpr (kComparesStates<S>) {
                if (isSameState(state, *next)) return Verdict::kKept;
            }
            state = *std::move(next);
            return Verdict::kSet;
        };
        std::vector<V> values;
        updates.sort(attempt.numIndexes());
        attempt.updateAll(
            [&](uint32_t first) {
                context.checkCancelled();
                updates.reach(first);
            },
            [&](uint32_t index, const K& key, S& state) {
                // Most keys have no new value. The function compiled for these alone may come to nothing.
                if (!updates.has(index)) return change(key, std::vector<V>(), state);
                updates.take(index, values);
                return change(key, std::move(values), state);
            });
        std::size_t calls = 0;
        auto& fresh = groups.all();
        attempt.update(
            fresh.size(), [&](std::size_t i) -> const K& { return fresh[i].first; },
            [&](std::size_t i, std::optional<S>& state) {
                auto& [key, group] = fresh[i];
                if (++calls % 1024 == 0) context.checkCancelled();
                state = call(key, groups.take(group), groups.takeInitial(key));
                return state.has_value();
            });
    }

    void updatePartition(F& f, Groups& groups, TaskContext& context, const typename Base::VersionPtr& before,
                         Attempt& attempt, ChunkList<Pair>& again) const {
        std::size_t position = 0;
        std::deque<Pair> read;
        auto nextNew = groups.all().begin();
        auto next = [&]() -> std::optional<KeyUpdate<K, V, S>> {
            if (read.empty() && before) {
                context.checkCancelled();
                before->read(position, context.chunkSize(),
                             [&](const K& key, const S& state, int64_t) { read.emplace_back(key, state); });
            }
            if (!read.empty()) {
                auto [key, state] = std::move(read.front());
                read.pop_front();
                Group* const group = groups.find(key);
                return KeyUpdate<K, V, S>(std::move(key), group != nullptr ? groups.take(*group) : std::vector<V>(),
                                          std::move(state));
            }
            for (; nextNew != groups.all().end(); ++nextNew) {
                auto& [key, group] = *nextNew;
                if (group.taken) continue;
                std::vector<V> values = groups.take(group);
                return KeyUpdate<K, V, S>(key, std::move(values), groups.takeInitial(key));
            }
            return std::nullopt;
        };
        Iterator<Pair> emitted(
            guarded(this, [&] { return f(this->time(), Iterator<KeyUpdate<K, V, S>>(fromNext(std::ref(next)))); }));
        std::vector<bool> kept;
        const auto keep = [&](uint32_t index) {
            if (index >= kept.size()) kept.resize(attempt.numIndexes());
            kept[index] = true;
        };
        std::vector<Pair> piece;
        const auto keyAt = [&](std::size_t i) -> const K& { return piece[i].first; };
        while (guarded(this, [&] { return emitted.hasNext(); })) {
            piece.clear();
            guarded(this, [&] {
                while (piece.size() < 1024 && emitted.hasNext()) piece.push_back(emitted.next());
            });
            const auto indexes = attempt.locate(piece.size(), keyAt);
            attempt.update(piece.size(), keyAt, [&](std::size_t i, std::optional<S>& state) {
                const uint32_t index = indexes[i];
                const bool isNew = index == Attempt::kNoIndex;
                if (isNew ? state.has_value() : index < kept.size() && kept[index]) {
                    again.push_back(std::move(piece[i]));
                    return false;
                }
                if (!isNew) keep(index);
                state = std::move(piece[i].second);
                return true;
            });
            for (const uint32_t index : attempt.locate(piece.size(), keyAt)) {
                if (index != Attempt::kNoIndex) keep(index);
            }
        }
        attempt.updateAll([](uint32_t) {},
                          [&](uint32_t index, const K&, const S&) {
                              return index < kept.size() && kept[index] ? Verdict::kKept : Verdict::kRemoved;
                          });
    }

    const RddNode<Pair>* const initial_;
    const RddNode<std::pair<K, V>>* const data_;
    const F f_;
};

// ---- reading

/// The keys and states of a version, and after them, if `kOutputsToo`, what else the batch gave.
template <class K, class S, class Out, bool kOutputsToo>
class StatePairsCursor final : public Cursor<std::pair<K, S>> {
    using Pair = std::pair<K, S>;

public:
    StatePairsCursor(StateRecord<K, S, Out> record, TaskContext& context)
        : record_(std::move(record)), context_(context) {}
    std::optional<std::size_t> left() const override {
        if (position_ > 0) return std::nullopt;
        return record_.version->size() + (kOutputsToo ? record_.outputs().size() : 0);
    }

private:
    Chunk<Pair> doNext() override {
        pairs_.clear();
        record_.version->read(position_, context_.chunkSize(),
                              [&](const K& key, const S& state, int64_t) { pairs_.emplace_back(key, state); });
        if constexpr (kOutputsToo) {
            const auto& chunks = record_.outputs().chunks();
            if (pairs_.empty() && chunk_ < chunks.size()) pairs_ = chunks[chunk_++];
        }
        return Chunk<Pair>::ownedBy(pairs_.data(), pairs_.size());
    }

    const StateRecord<K, S, Out> record_;
    TaskContext& context_;
    std::size_t position_ = 0;
    std::size_t chunk_ = 0;
    std::vector<Pair> pairs_;
};

template <class K, class S, class Out>
class StateOutputsCursor final : public Cursor<Out> {
public:
    StateOutputsCursor(StateRecord<K, S, Out> record, TaskContext& context)
        : record_(std::move(record)), context_(context) {}

private:
    Chunk<Out> doNext() override {
        const auto& chunks = record_.outputs().chunks();
        for (; chunk_ < chunks.size(); ++chunk_, position_ = 0) {
            const Array<Out>& from = chunks[chunk_];
            const std::size_t n = std::min(context_.chunkSize(), from.size() - position_);
            if (n == 0) continue;
            position_ += n;
            return Chunk<Out>::borrowed(from.data() + position_ - n, n);
        }
        return {};
    }

    const StateRecord<K, S, Out> record_;
    TaskContext& context_;
    std::size_t chunk_ = 0;
    std::size_t position_ = 0;
};

/// Reads the state after a batch, as far as it is asked for: what `Read::cursor(record, context)` makes of each
/// partition's record. Keeps the versions that it has read as long as there is a handle of it.
template <class Record, class Read>
class StateReaderRdd final : public RddNode<typename Read::Element> {
    using U = typename Read::Element;

public:
    StateReaderRdd(const std::shared_ptr<RddNode<Record>>& records, const char* name, CallSite site,
                   std::optional<Partitioner> partitioner)
        : RddNode<U>(records->context(), {std::make_shared<OneToOneDependency>(records)}, name, site,
                     std::move(partitioner)),
          records_(records.get()),
          held_(static_cast<std::size_t>(records->numPartitions())) {}
    /// Of records that are there.
    StateReaderRdd(const std::shared_ptr<SparkContextCore>& context, std::vector<Record> records, const char* name,
                   CallSite site, std::optional<Partitioner> partitioner)
        : RddNode<U>(context, {}, name, site, std::move(partitioner)), held_(std::move(records)) {}
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    int doNumPartitions() const override { return static_cast<int>(held_.size()); }
    CursorPtr<U> doCompute(int partition, TaskContext& context) const override {
        const auto at = static_cast<std::size_t>(partition);
        {
            const std::lock_guard lock(mutex_);
            if (held_[at].version) return Read::cursor(held_[at], context);
        }
        const CursorPtr<Record> cursor = records_->iterator(partition, context);
        const Chunk<Record> chunk = cursor->next();
        DSTREAM_CHECK(chunk.size == 1, "a partition of state is one record");
        const std::lock_guard lock(mutex_);
        held_[at] = chunk[0];
        return Read::cursor(chunk[0], context);
    }

    const RddNode<Record>* const records_ = nullptr;
    mutable std::mutex mutex_;  // guards held_
    mutable std::vector<Record> held_;
};

template <class K, class S, class Out, bool kOutputsToo = false>
struct ReadStates {
    using Element = std::pair<K, S>;
    static CursorPtr<Element> cursor(StateRecord<K, S, Out> record, TaskContext& context) {
        return std::make_unique<StatePairsCursor<K, S, Out, kOutputsToo>>(std::move(record), context);
    }
};
template <class K, class S, class Out>
struct ReadOutputs {
    using Element = Out;
    static CursorPtr<Element> cursor(StateRecord<K, S, Out> record, TaskContext& context) {
        return std::make_unique<StateOutputsCursor<K, S, Out>>(std::move(record), context);
    }
};

template <class Read, class Record>
RDD<typename Read::Element> readState(const RDD<Record>& records, const char* name, CallSite site,
                                      std::optional<Partitioner> partitioner = std::nullopt) {
    return makeRdd<typename Read::Element>(
        makeNode<StateReaderRdd<Record, Read>>(records.node(), name, site, std::move(partitioner)));
}

}  // namespace dstream::detail

namespace dstream {

/// The state as keys, states and the times they were set, and what else the batch gave.
template <class K, class S, class Out>
requires(Codable<K>&& Codable<S>&& Codable<Out>) struct Codec<detail::StateRecord<K, S, Out>> {
    using Record = detail::StateRecord<K, S, Out>;
    using Table = typename Record::Table;
    static std::string name() {
        return "state<" + codecName<K>() + "," + codecName<S>() + "," + codecName<Out>() + ">";
    }
    static uint32_t version() { return std::max({codecVersion<K>(), codecVersion<S>(), codecVersion<Out>()}); }

    static void write(ByteWriter& out, std::span<const Record> records) {
        out.u64(records.size());
        std::vector<K> keys;
        std::vector<S> states;
        std::vector<int64_t> times;
        const auto take = [&](const K& key, const S& state, int64_t time) {
            keys.push_back(key);
            states.push_back(state);
            times.push_back(time);
        };
        for (const Record& record : records) {
            out.i64(record.version->number());
            const bool adds = record.base && record.base->table() == record.version->table();
            const bool timed = record.version->table()->isTimed();
            out.u8(static_cast<uint8_t>((timed ? kTimed : 0) | (adds ? kAdds : timed ? 0 : kNoTimes)));
            if (adds) {
                writeChanges(out, record);
                continue;
            }
            makeRoom(out, record.version->size() * (sizeof(K) + sizeof(S) + (timed ? sizeof(int64_t) : 0) + 1) +
                              record.outputs().size() * (sizeof(Out) + 1) + 256);
            for (std::size_t position = 0; record.version->read(position, kPiece, take);) {
                if (keys.size() < kPiece / 2) continue;
                writePiece(out, keys, states, timed ? &times : nullptr);
                times.clear();
            }
            writePiece(out, keys, states, timed ? &times : nullptr);
            times.clear();
            out.u8(0);
            writeOutputs(out, record);
        }
    }
    static void read(ByteReader& in, std::vector<Record>& records) {
        for (uint64_t left = in.u64(); left > 0; --left) {
            const int64_t number = in.i64();
            const uint8_t flags = in.u8();
            if ((flags & kAdds) != 0) {
                records.push_back(readChanges(in, number));
                continue;
            }
            auto table = Table::make((flags & kTimed) != 0);
            auto attempt = table->begin(std::nullopt, number);
            const std::size_t bytes = in.remaining();
            for (bool first = true; in.u8() != 0; first = false) {
                std::vector<K> keys;
                std::vector<S> states;
                std::vector<int64_t> times;
                Codec<K>::read(in, keys);
                Codec<S>::read(in, states);
                if ((flags & kNoTimes) == 0) {
                    Codec<int64_t>::read(in, times);
                } else {
                    times.resize(keys.size());
                }
                checkSizes(keys, states, times);
                // All pieces are likely to be like the first one.
                if (first) attempt->reserve(bytes / (bytes - in.remaining()) * keys.size());
                attempt->load(keys, states, times);
            }
            records.push_back(Record{attempt->commit(readOutputs(in)), nullptr, nullptr});
        }
    }

private:
    static constexpr std::size_t kPiece = 65536;
    static constexpr uint8_t kTimed = 1;
    static constexpr uint8_t kAdds = 2;
    static constexpr uint8_t kNoTimes = 4;  // of a whole state whose table is not timed; files of before have zeros

    /// Gets the memory for so many bytes at once, as growing to it would copy most of them again and again.
    static void makeRoom(ByteWriter& out, std::size_t bytes) {
        ByteWriter roomy;
        roomy.extend(out.size() + bytes);
        roomy.clear();
        roomy.bytes(out.view());
        out = std::move(roomy);
    }

    static void writeOutputs(ByteWriter& out, const Record& record) {
        for (const auto& chunk : record.outputs().chunks()) {
            out.u8(1);
            Codec<Out>::write(out, std::span<const Out>(chunk.data(), chunk.size()));
        }
        out.u8(0);
    }
    static std::shared_ptr<const detail::ChunkList<Out>> readOutputs(ByteReader& in) {
        auto outputs = std::make_shared<detail::ChunkList<Out>>();
        while (in.u8() != 0) {
            std::vector<Out> chunk;
            Codec<Out>::read(in, chunk);
            for (auto&& element : chunk) outputs->push_back(std::move(element));
        }
        return outputs;
    }

    static void writeChanges(ByteWriter& out, const Record& record) {
        std::vector<K> keys, removed;
        std::vector<S> states;
        std::vector<int64_t> times;
        record.version->readChangesSince(*record.base, [&](const K& key, const S* state, int64_t time) {
            if (state == nullptr) {
                removed.push_back(key);
                return;
            }
            keys.push_back(key);
            states.push_back(*state);
            times.push_back(time);
        });
        out.i64(record.base->number());
        Codec<K>::write(out, keys);
        Codec<S>::write(out, states);
        Codec<int64_t>::write(out, times);
        Codec<K>::write(out, removed);
        writeOutputs(out, record);
    }
    static Record readChanges(ByteReader& in, int64_t number) {
        auto changes = std::make_shared<typename Record::Changes>();
        changes->from = in.i64();
        changes->to = number;
        Codec<K>::read(in, changes->keys);
        Codec<S>::read(in, changes->states);
        Codec<int64_t>::read(in, changes->times);
        Codec<K>::read(in, changes->removed);
        checkSizes(changes->keys, changes->states, changes->times);
        changes->outputs = readOutputs(in);
        return Record{nullptr, nullptr, std::move(changes)};
    }
    static void checkSizes(const std::vector<K>& keys, const std::vector<S>& states,
                           const std::vector<int64_t>& times) {
        if (keys.size() == states.size() && keys.size() == times.size()) return;
        throw SparkException(
            "a state record must have as many states and times as keys: " + std::to_string(keys.size()) + " keys, " +
            std::to_string(states.size()) + " states, " + std::to_string(times.size()) + " times");
    }

    /// @param times  null: not written
    static void writePiece(ByteWriter& out, std::vector<K>& keys, std::vector<S>& states,
                           const std::vector<int64_t>* times) {
        if (keys.empty()) return;
        out.u8(1);
        Codec<K>::write(out, keys);
        Codec<S>::write(out, states);
        if (times != nullptr) Codec<int64_t>::write(out, *times);
        keys.clear();
        states.clear();
    }
};

}  // namespace dstream

namespace dstream::detail {

/// Reads one part of a checkpoint of a state: its file, and those that it adds to. In place of a whole state that is
/// damaged it takes the one before and what has changed since.
template <class Record>
Record readStatePart(const RddCheckpoint& from, int part) {
    Record newest;
    std::vector<std::shared_ptr<const typename Record::Changes>> changes;
    std::vector<std::string> directories = from.bases;
    directories.push_back(from.directory);
    for (; !newest.version; directories.pop_back()) {
        if (directories.empty()) {
            throw SparkException("the state in " + from.directory + " adds to one of batch " +
                                 std::to_string(changes.back()->from) + " ms, which its checkpoint does not name");
        }
        const std::string& directory = directories.back();
        BlockPtr block;
        try {
            block = readBlockFile(directory, part, *blockCodecFor<Record>());
        } catch (const SparkException& error) {
            if (directories.size() < 2 || !isBeside(directories.end()[-2], directory)) throw;
            logMessage(LogLevel::kError, "Checkpoint",
                       std::string("a state is put together from the one before: ") + error.what());
            continue;
        }
        const auto& records = static_cast<const VectorBlock<Record>&>(*block).elements();
        DSTREAM_CHECK(records.size() == 1, "a partition of state is one record");
        newest = records.front();
        const int64_t found = newest.version ? newest.version->number() : newest.changes->to;
        if (!changes.empty() && found != changes.back()->from) {
            throw SparkException("the state in " + from.directory + " adds to one of batch " +
                                 std::to_string(changes.back()->from) + " ms, but " + directory + " is of batch " +
                                 std::to_string(found) + " ms");
        }
        if (!newest.version) changes.push_back(std::move(newest.changes));
    }
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
        const auto& next = **change;
        const auto table = newest.version->table();
        auto attempt = table->begin(next.from, next.to);
        DSTREAM_CHECK(attempt.has_value(), "a state that was read is nobody else's");
        auto states = next.states;
        attempt->load(next.keys, states, next.times);
        attempt->update(
            next.removed.size(), [&](std::size_t i) -> const auto& { return next.removed[i]; },
            [](std::size_t, auto& state) {
                state.reset();
                return true;
            });
        newest.version = attempt->commit(next.outputs);
    }
    return newest;
}

/// A state checkpoint that consists of several, or was written with another number of partitions: then each partition
/// takes its keys from all files.
template <class K, class S, class Out>
class ReplacedStateRdd final : public RddNode<StateRecord<K, S, Out>> {
public:
    using Record = StateRecord<K, S, Out>;

    ReplacedStateRdd(const std::shared_ptr<SparkContextCore>& context, RddCheckpoint from,
                     const Partitioner& partitioner, CallSite site)
        : RddNode<Record>(context, {}, "state", site, partitioner), from_(std::move(from)) {}
    const char* className() const override { return "ReliableCheckpointRDD"; }

private:
    int doNumPartitions() const override { return this->partitioner()->numPartitions(); }

    CursorPtr<Record> doCompute(int partition, TaskContext& context) const override {
        const Partitioner placed = *this->partitioner();
        std::shared_ptr<typename Record::Table> table;
        std::optional<typename Record::Table::Attempt> attempt;
        auto outputs = std::make_shared<ChunkList<Out>>();
        std::vector<K> keys;
        std::vector<S> states;
        std::vector<int64_t> times;
        const auto take = [&](const K& key, const S& state, int64_t time) {
            if (placed.getPartition(key) != partition) return;
            keys.push_back(key);
            states.push_back(state);
            times.push_back(time);
        };
        if (placedAlike(from_, placed)) {
            Array<Record> one;
            one.push_back(readStatePart<Record>(from_, partition));
            return std::make_unique<OwnedArrayCursor<Record>>(std::move(one), context.chunkSize());
        }
        for (int part = 0; part < from_.numPartitions; ++part) {
            const Record written = readStatePart<Record>(from_, part);
            if (!table) {
                table = Record::Table::make(written.version->table()->isTimed());
                attempt.emplace(*table->begin(std::nullopt, written.version->number()));
            }
            for (std::size_t position = 0; written.version->read(position, 1024, take);) {
                context.checkCancelled();
                attempt->load(keys, states, times);
                keys.clear();
                states.clear();
                times.clear();
            }
            if (part % placed.numPartitions() != partition) continue;
            for (const auto& chunk : written.outputs().chunks()) {
                for (const Out& element : chunk) outputs->push_back(element);
            }
        }
        DSTREAM_CHECK(attempt.has_value(), "a state checkpoint has at least one record");
        Array<Record> one;
        one.push_back(Record{attempt->commit(std::move(outputs)), nullptr, nullptr});
        return std::make_unique<OwnedArrayCursor<Record>>(std::move(one), context.chunkSize());
    }

    const RddCheckpoint from_;
};

template <class K, class S, class Out>
std::shared_ptr<RddBase> StateRdd<K, S, Out>::makeCheckpointRdd(const std::string& directory) const {
    return makeNode<ReplacedStateRdd<K, S, Out>>(this->context(),
                                                 RddCheckpoint{directory, this->numPartitions(), true, bases_},
                                                 *this->partitioner(), this->callSite());
}

/// The stream behind every stream that keeps state: one record a partition and batch. Its RDDs hold the versions of the
/// batches that have not completed; those that read them hold what they need longer.
template <class K, class S, class Out>
class StateStreamNode : public DStreamNodeOf<RDD<StateRecord<K, S, Out>>> {
public:
    using Record = StateRecord<K, S, Out>;

    bool mustCheckpoint() const final { return true; }
    void validateAtStart() const override {
        DStreamBase::validateAtStart();
        if constexpr (!Codable<K>) throwNoCodec(*this, typeName(typeid(K)));
        if constexpr (!Codable<S>) throwNoCodec(*this, typeName(typeid(S)));
        if constexpr (!Codable<Out>) throwNoCodec(*this, typeName(typeid(Out)));
    }
    void clearMetadata(Time time) final {
        DStreamBase::clearMetadata(time);
        // The batch after the last one goes on from it; nobody needs those before but who holds them.
        for (; !written_.empty() && written_.front().first < time; written_.pop_front()) {
            if (const auto rdd = written_.front().second.lock()) rdd->unpersist(false);
        }
    }

    /// Persists what the state is computed from, as far as that is kept at all.
    virtual void persistInputs(StorageLevel) {}
    const Partitioner& partitioner() const { return partitioner_; }
    /// The state of a key after the newest batch that has been computed. Any thread.
    std::optional<S> stateOf(const K& key) const {
        const auto latest = live_->latest();
        if (latest.empty()) return std::nullopt;
        return latest[static_cast<std::size_t>(partitioner_.getPartition(key))]->find(key);
    }
    /// The state after that batch as an RDD, which stays what it is.
    RDD<std::pair<K, S>> snapshot(CallSite site) const {
        std::vector<Record> records;
        for (auto& version : live_->latest()) records.push_back(Record{std::move(version), nullptr, nullptr});
        const auto core = this->context().sparkContext().core();
        return makeRdd<std::pair<K, S>>(makeNode<StateReaderRdd<Record, ReadStates<K, S, Out>>>(
            core, std::move(records), "stateSnapshot", site, std::nullopt));
    }

protected:
    StateStreamNode(const std::shared_ptr<DStreamBase>& parent, const char* name, Partitioner partitioner,
                    CallSite site, std::optional<Duration> slide = std::nullopt)
        : DStreamNodeOf<RDD<Record>>(parent->weakContext(), name, {parent}, site, slide),
          partitioner_(std::move(partitioner)),
          live_(std::make_shared<LiveState<K, S>>(partitioner_.numPartitions())) {
        DStreamBase::persist(StorageLevel::MEMORY_ONLY);
    }

    typename StateRdd<K, S, Out>::Place place(Time time, const std::optional<RDD<Record>>& before, bool timed) {
        typename StateRdd<K, S, Out>::Place place{live_, before ? before->node() : nullptr,
                                                  time - this->slideDuration(), time, timed};
        if (this->checkpointDuration() && (time - this->zeroTime()).isMultipleOf(*this->checkpointDuration())) {
            live_->keep(time.milliseconds());
            if (base_ && live_->hasBase(base_->milliseconds())) {
                const auto chain = sinceTheLastWhole(baseDirectories_);
                if (chain.size() <= kMostBases) {
                    place.base = base_->milliseconds();
                    place.bases = baseDirectories_;
                    bases_[time] = {place.bases, std::nullopt};
                } else {
                    bases_[time] = {chain, base_};
                }
            }
        }
        return place;
    }
    RDD<Record> written(Time time, std::shared_ptr<RddNode<Record>> rdd) {
        written_.emplace_back(time, rdd);
        return makeRdd<Record>(std::move(rdd));
    }

private:
    GeneratedRddPtr readRddCheckpoint(const RddCheckpoint& from) final {
        RDD<Record> state = readCheckpointedRdd<Record>(*this, from, partitioner_);
        if (!from.bases.empty() || !placedAlike(from, partitioner_)) {
            state = makeRdd<Record>(makeNode<ReplacedStateRdd<K, S, Out>>(this->context().sparkContext().core(), from,
                                                                          partitioner_, this->creationSite()));
        }
        state.persist(this->storageLevel());
        return asShared(new GeneratedRddOf<RDD<Record>>(std::move(state)));
    }

    std::vector<std::string> checkpointBases(Time time) const final {
        const auto found = bases_.find(time);
        return found == bases_.end() ? std::vector<std::string>() : found->second.directories;
    }
    std::function<void(const std::string&)> changesBeside(Time time) const final {
        const auto found = bases_.find(time);
        if (found == bases_.end() || !found->second.besideSince) return {};
        return [live = live_, base = found->second.besideSince->milliseconds(),
                number = time.milliseconds()](const std::string& directory) {
            const auto [versions, bases] = live->keptSince(base, number);
            if (versions.empty()) return;
            posixFs().makeDurableDirectories(directory);
            for (std::size_t part = 0; part < versions.size(); ++part) {
                Array<Record> one;
                one.push_back(Record{versions[part], bases[part], nullptr});
                writeBlockFile(directory, static_cast<int>(part), VectorBlock<Record>(std::move(one)),
                               *blockCodecFor<Record>(), 0);
            }
        };
    }
    /// The last state written as a whole and those that add to it.
    static std::vector<std::string> sinceTheLastWhole(const std::vector<std::string>& directories) {
        auto whole = directories.begin();
        for (auto at = directories.begin(); at + 1 < directories.end(); ++at) {
            if (isBeside(at[0], at[1])) whole = at + 1;
        }
        return {whole, directories.end()};
    }
    void checkpointed(Time time, const RddCheckpoint& written) final {
        bases_.erase(bases_.begin(), bases_.upper_bound(time));
        base_.reset();
        if (!live_->makeBase(time.milliseconds())) return;
        base_ = time;
        baseDirectories_ = written.bases;
        baseDirectories_.push_back(written.directory);
    }

    // Between two checkpoints of all keys there are at most so many of those that have changed.
    static constexpr std::size_t kMostBases = 9;

    const Partitioner partitioner_;
    const std::shared_ptr<LiveState<K, S>> live_;
    std::optional<Time> base_;                  // the newest checkpoint; the generator's thread, as the next
    std::vector<std::string> baseDirectories_;  // those it is read from
    struct Bases {
        std::vector<std::string> directories;
        std::optional<Time> besideSince;  // of one that is written as a whole with the changes since then beside it
    };
    std::map<Time, Bases> bases_;                                  // of the checkpoints that are due
    std::deque<std::pair<Time, std::weak_ptr<RddBase>>> written_;  // the generator's thread
};

/// What programs see of a stream with state. Its checkpoint interval and its id are those of the state.
template <class K, class S, class Out, class Read>
class StateViewNode final : public DStreamNodeOf<RDD<typename Read::Element>> {
    using State = StateStreamNode<K, S, Out>;

public:
    StateViewNode(std::shared_ptr<State> state, bool keepsPartitioner, CallSite site)
        : DStreamNodeOf<RDD<typename Read::Element>>(state->weakContext(), state->operatorName(), {state}, site),
          state_(std::move(state)),
          keepsPartitioner_(keepsPartitioner) {}
    void checkpoint(Duration interval) override { state_->checkpoint(interval); }
    /// Its RDDs hold versions of the state, at any level.
    void persist(StorageLevel level) override {
        this->checkNotInitialized("storage level");
        state_->persistInputs(level);
    }
    void setUid(std::string uid) override { state_->setUid(std::move(uid)); }
    const std::shared_ptr<State>& state() const { return state_; }

private:
    std::optional<RDD<typename Read::Element>> compute(Time time) override {
        const auto records = state_->getOrCompute(time);
        if (!records) return std::nullopt;
        return readState<Read>(*records, this->operatorName(), this->creationSite(),
                               keepsPartitioner_ ? std::optional(state_->partitioner()) : std::nullopt);
    }

    const std::shared_ptr<State> state_;
    const bool keepsPartitioner_;
};

template <class K, class S, class M>
using MappedStateNode = StateViewNode<K, S, M, ReadOutputs<K, S, M>>;
template <class K, class S>
using UpdatedStateNode = StateViewNode<K, S, std::pair<K, S>, ReadStates<K, S, std::pair<K, S>, true>>;

/// @throws IllegalArgumentException  unless `dstream.state.timeoutScan` is `checkpoint` or `everyBatch`
bool scansEveryBatch(const StreamingContext& context);

/// The state behind MapWithStateDStream.
template <class K, class V, class S, class M, class F, class Parent>
class MapWithStateNode final : public StateStreamNode<K, S, M> {
    using Record = StateRecord<K, S, M>;

public:
    MapWithStateNode(const std::shared_ptr<Parent>& parent, StateSpec<K, V, S, M, F> spec, Partitioner partitioner,
                     CallSite site)
        : StateStreamNode<K, S, M>(parent, "mapWithState", std::move(partitioner), site),
          parent_(parent.get()),
          spec_(std::move(spec)),
          scansEveryBatch_(scansEveryBatch(this->context())) {}
    Duration defaultCheckpointInterval() const override { return this->slideDuration() * 10; }

private:
    std::optional<RDD<Record>> compute(Time time) override {
        auto before = this->getOrCompute(time - this->slideDuration());
        std::shared_ptr<RddNode<std::pair<K, S>>> initial;
        if (!before && spec_.getInitialState()) {
            initial = spec_.getInitialState()->partitionBy(this->partitioner()).node();
        }
        auto data = parent_->getOrCompute(time);
        const RDD<std::pair<K, V>> placed =
            data ? data->partitionBy(this->partitioner())
                 : this->context().sparkContext().template emptyRDD<std::pair<K, V>>().partitionBy(this->partitioner());
        // Idle keys are looked for in the batches whose state is checkpointed.
        const auto& timeout = spec_.getTimeout();
        const bool scans =
            timeout && (scansEveryBatch_ || (this->checkpointDuration() &&
                                             (time - this->zeroTime()).isMultipleOf(*this->checkpointDuration())));
        return this->written(time, makeNode<MapWithStateRdd<K, V, S, M, F>>(
                                       this->place(time, before, timeout.has_value()), initial, placed.node(),
                                       spec_.f(), scans ? std::optional(time - *timeout) : std::nullopt,
                                       this->partitioner(), this->creationSite()));
    }

    Parent* const parent_;
    const StateSpec<K, V, S, M, F> spec_;
    const bool scansEveryBatch_;
};

/// The state behind updateStateByKey.
template <class K, class V, class S, class Parent, class Update>
class UpdateStateNode final : public StateStreamNode<K, S, std::pair<K, S>> {
    using Pair = std::pair<K, S>;
    using Record = StateRecord<K, S, Pair>;

public:
    UpdateStateNode(const std::shared_ptr<Parent>& parent, Update update, Partitioner partitioner,
                    std::shared_ptr<RddNode<Pair>> initial, CallSite site)
        : StateStreamNode<K, S, Pair>(parent, "updateStateByKey", std::move(partitioner), site),
          parent_(parent.get()),
          update_(std::move(update)),
          initial_(std::move(initial)) {}

private:
    std::optional<RDD<Record>> compute(Time time) override {
        auto before = this->getOrCompute(time - this->slideDuration());
        auto data = parent_->getOrCompute(time);
        if (!before && !data) return std::nullopt;
        return this->written(
            time, makeNode<UpdateStateRdd<K, V, S, Update>>(
                      this->context().sparkContext().core(), this->place(time, before, false),
                      !before && initial_ ? makeRdd<Pair>(initial_).partitionBy(this->partitioner()).node() : nullptr,
                      data ? data->partitionBy(this->partitioner()).node() : nullptr, update_, this->partitioner(),
                      this->creationSite()));
    }

    Parent* const parent_;
    const Update update_;
    const std::shared_ptr<RddNode<Pair>> initial_;  // or null
};

}  // namespace dstream::detail
