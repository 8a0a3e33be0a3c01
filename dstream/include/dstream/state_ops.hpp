#pragma once

#include "dstream/state.hpp"
#include "dstream/state_node.hpp"
#include "dstream/stream_node.hpp"

#include <memory>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

namespace dstream {

template <class K, class S>
class StateDStream;
template <class K, class V, class S, class M>
class MapWithStateDStream;

namespace detail {

/// The state after each batch where the update function may emit keys that belong to other partitions: it is shuffled
/// together with the new data in each batch.
template <class K, class V, class S, class Parent, class Update>
class ShuffledStateNode final : public DStreamNodeOf<RDD<std::pair<K, S>>> {
    using Pair = std::pair<K, S>;

public:
    ShuffledStateNode(const std::shared_ptr<Parent>& parent, Update update, Partitioner partitioner,
                      std::shared_ptr<RddNode<Pair>> initial, CallSite site)
        : DStreamNodeOf<RDD<Pair>>(parent->weakContext(), "updateStateByKey", {parent}, site),
          parent_(parent.get()),
          update_(std::move(update)),
          partitioner_(std::move(partitioner)),
          initial_(std::move(initial)) {
        DStreamBase::persist(StorageLevel::MEMORY_ONLY_SER);
    }
    bool mustCheckpoint() const override { return true; }

private:
    std::optional<RDD<Pair>> compute(Time time) override {
        auto before = this->getOrCompute(time - this->slideDuration());
        auto data = parent_->getOrCompute(time);
        if (!before && !data) return std::nullopt;
        if (!before && initial_) before = makeRdd<Pair>(initial_);
        const auto& core = this->context().sparkContext();
        const RDD<std::pair<K, V>> placed = data ? data->partitionBy(partitioner_)
                                                 : core.template emptyRDD<std::pair<K, V>>().partitionBy(partitioner_);
        const RDD<Pair> kept = before ? *before : core.template emptyRDD<Pair>();
        return placed.cogroup(kept, partitioner_)
            .mapPartitions([f = update_.f, time](Iterator<std::pair<K, Groups>> part) mutable {
                return f(time, Iterator<KeyUpdate<K, V, S>>(
                                   fromNext([part = std::make_shared<Iterator<std::pair<K, Groups>>>(
                                                 std::move(part))]() -> std::optional<KeyUpdate<K, V, S>> {
                                       if (!part->hasNext()) return std::nullopt;
                                       auto [key, groups] = part->next();
                                       auto& [values, states] = groups;
                                       return KeyUpdate<K, V, S>(
                                           std::move(key), std::move(values),
                                           states.empty() ? std::nullopt : std::optional<S>(std::move(states.front())));
                                   })));
            });
    }
    using Groups = std::pair<std::vector<V>, std::vector<S>>;

    GeneratedRddPtr readRddCheckpoint(const RddCheckpoint& from) override {
        return asShared(new GeneratedRddOf<RDD<Pair>>(readCheckpointedRdd<Pair>(*this, from, partitioner_)));
    }

    Parent* const parent_;
    const Update update_;
    const Partitioner partitioner_;
    const std::shared_ptr<RddNode<Pair>> initial_;  // or null
};

/// The operators of streams of pairs that carry state from batch to batch. They need a checkpoint directory, and are
/// checkpointed by themselves.
template <class Self, class T, class Base>
class StateStreamOps : public Base {
    using Where = std::source_location;
    using K = Owned<KeyOf<T>>;
    using V = Owned<ValueOf<T>>;
    const Self& self() const { return static_cast<const Self&>(*this); }

    template <class S>
    using Initial = std::shared_ptr<RddNode<std::pair<K, S>>>;  // null: none
    template <class S>
    static Initial<S> nodeOf(const std::optional<RDD<std::pair<K, S>>>& initial) {
        return initial ? initial->node() : nullptr;
    }
    template <class S, bool kPerKey, class F>
    StateDStream<K, S> addState(F f, const PartitionChoice& partitions, bool keepsPartitioner, Initial<S> initial,
                                Where where) const {
        auto parent = self().nodeAs();
        using Parent = typename decltype(parent)::element_type;
        using Update = UpdateFunction<F, kPerKey>;
        auto state = makeStreamNode<StateStreamNode<K, S, std::pair<K, S>>, UpdateStateNode<K, V, S, Parent, Update>>(
            parent, Update{std::move(f)}, this->partitionerOf(partitions), std::move(initial), CallSite::from(where));
        return StateDStream<K, S>(
            std::make_shared<UpdatedStateNode<K, S>>(std::move(state), keepsPartitioner, CallSite::from(where)));
    }
    template <class S, class F>
    StateDStream<K, S> addStateOfValues(F f, const PartitionChoice& partitions, Initial<S> initial, Where where) const {
        auto update = [f = std::move(f)](Time, const K&, std::vector<V>&& values, std::optional<S>&& state) mutable {
            return f(std::move(values), passOn(std::move(state)));
        };
        return addState<S, true>(std::move(update), partitions, true, std::move(initial), where);
    }
    template <class S, class F>
    DStream<std::pair<K, S>> addStateOfPartitions(F f, Partitioner partitioner, bool rememberPartitioner,
                                                  Initial<S> initial, Where where) const {
        auto update = [f = std::move(f)](Time, Iterator<KeyUpdate<K, V, S>> part) mutable {
            return f(std::move(part));
        };
        if (rememberPartitioner) {
            return addState<S, false>(std::move(update), std::move(partitioner), true, std::move(initial), where);
        }
        auto parent = self().nodeAs();
        using Parent = typename decltype(parent)::element_type;
        using Update = UpdateFunction<decltype(update), false>;
        return makeStream<ShuffledStateNode<K, V, S, Parent, Update>>(
            parent, Update{std::move(update)}, std::move(partitioner), std::move(initial), CallSite::from(where));
    }

public:
    using Base::Base;

    /// The state of every key after each batch. `f(values, state) -> optional<S>` is called for every key with state or
    /// new values; absent removes the key. Updated in place: what a batch writes are the states that change.
    /// @param initial  state to begin with; its keys are passed to `f` in the first batch
    template <class S, class F>
    requires(PairLike<T>&& std::is_invocable_r_v<std::optional<S>, F&, std::vector<V>, std::optional<S>>)
        StateDStream<K, S> updateStateByKey(F f, PartitionChoice partitions = {}, Where where = Where::current())
    const { return addStateOfValues<S>(std::move(f), partitions, nullptr, where); }
    template <class S, class F>
    requires(PairLike<T>&& std::is_invocable_r_v<std::optional<S>, F&, std::vector<V>, std::optional<S>>)
        StateDStream<K, S> updateStateByKey(F f, PartitionChoice partitions,
                                            std::optional<RDD<std::pair<K, S>>> initial, Where where = Where::current())
    const { return addStateOfValues<S>(std::move(f), partitions, nodeOf<S>(initial), where); }
    /// As above with `f(Time, key, values, state) -> optional<S>`.
    template <class S, class F>
    requires(
        PairLike<T>&& std::is_invocable_r_v<std::optional<S>, F&, Time, const K&, std::vector<V>, std::optional<S>>)
        StateDStream<K, S> updateStateByKey(F f, Partitioner partitioner, bool rememberPartitioner,
                                            Where where = Where::current())
    const { return addState<S, true>(std::move(f), std::move(partitioner), rememberPartitioner, nullptr, where); }
    template <class S, class F>
    requires(
        PairLike<T>&& std::is_invocable_r_v<std::optional<S>, F&, Time, const K&, std::vector<V>, std::optional<S>>)
        StateDStream<K, S> updateStateByKey(F f, Partitioner partitioner, bool rememberPartitioner,
                                            std::optional<RDD<std::pair<K, S>>> initial, Where where = Where::current())
    const {
        return addState<S, true>(std::move(f), std::move(partitioner), rememberPartitioner, nodeOf<S>(initial), where);
    }
    /// As above with one call per partition: `f(Iterator<tuple<K, vector<V>, optional<S>>>)` returns a range of pair<K,
    /// S>. When it emits other keys than it was given, `rememberPartitioner` must be false; then the state is shuffled
    /// in each batch.
    template <class S, class F>
    requires(PairLike<T>&& std::is_invocable_v<F&, Iterator<std::tuple<K, std::vector<V>, std::optional<S>>>>)
        DStream<std::pair<K, S>> updateStateByKey(F f, Partitioner partitioner, bool rememberPartitioner,
                                                  Where where = Where::current())
    const { return addStateOfPartitions<S>(std::move(f), std::move(partitioner), rememberPartitioner, nullptr, where); }
    template <class S, class F>
    requires(PairLike<T>&& std::is_invocable_v<F&, Iterator<std::tuple<K, std::vector<V>, std::optional<S>>>>)
        DStream<std::pair<K, S>> updateStateByKey(F f, Partitioner partitioner, bool rememberPartitioner,
                                                  std::optional<RDD<std::pair<K, S>>> initial,
                                                  Where where = Where::current())
    const {
        return addStateOfPartitions<S>(std::move(f), std::move(partitioner), rememberPartitioner, nodeOf<S>(initial),
                                       where);
    }

    /// Calls a function for each record with the state of its key, and streams what it returns. Idle keys cost nothing.
    template <class S, class M, class F>
    requires PairLike<T> MapWithStateDStream<K, V, S, M> mapWithState(const StateSpec<K, V, S, M, F>& spec,
                                                                      Where where = Where::current())
    const {
        auto parent = self().nodeAs();
        using Parent = typename decltype(parent)::element_type;
        auto state = makeStreamNode<StateStreamNode<K, S, M>, MapWithStateNode<K, V, S, M, F, Parent>>(
            parent, spec, spec.getPartitioner() ? *spec.getPartitioner() : this->partitionerOf({}),
            CallSite::from(where));
        return MapWithStateDStream<K, V, S, M>(
            std::make_shared<MappedStateNode<K, S, M>>(std::move(state), false, CallSite::from(where)));
    }
};

}  // namespace detail
}  // namespace dstream
