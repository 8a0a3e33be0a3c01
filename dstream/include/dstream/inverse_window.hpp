#pragma once

#include "dstream/state_node.hpp"
#include "dstream/stream_node.hpp"
#include "rdd/detail/flat_table.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream::detail {

/// A window as a table by key that is updated in place: what left is taken out, what entered is merged in. All inputs
/// are partitioned alike.
template <class K, class V, class F, class InverseF, class Filter>
class InverseWindowRdd final : public StateRdd<K, V, std::pair<K, V>> {
    using Pair = std::pair<K, V>;
    using Base = StateRdd<K, V, Pair>;
    using Batch = const RddNode<Pair>*;

public:
    using Batches = std::vector<std::shared_ptr<RddNode<Pair>>>;

    /// @param left     the batches that were in the window before and are not in this one, oldest first
    /// @param entered  those that are only in this one
    InverseWindowRdd(const std::shared_ptr<SparkContextCore>& core, typename Base::Place place, const Batches& left,
                     const Batches& entered, F f, InverseF inverse, Filter filter, const Partitioner& partitioner,
                     CallSite site)
        : Base(core, std::move(place), together(left, entered), "reduceByKeyAndWindow", site, partitioner),
          f_(std::move(f)),
          inverse_(std::move(inverse)),
          filter_(std::move(filter)) {
        for (const auto& rdd : left) left_.push_back(rdd.get());
        for (const auto& rdd : entered) entered_.push_back(rdd.get());
    }
    const char* className() const override { return "CoGroupedRDD"; }

private:
    static constexpr bool kFilters = !std::is_same_v<Filter, std::nullptr_t>;

    static std::vector<std::shared_ptr<RddBase>> together(const Batches& left, const Batches& entered) {
        std::vector<std::shared_ptr<RddBase>> all(left.begin(), left.end());
        all.insert(all.end(), entered.begin(), entered.end());
        return all;
    }

    std::shared_ptr<const typename Base::Outputs> write(int partition, TaskContext& context,
                                                        const typename Base::VersionPtr&,
                                                        typename Base::Attempt& attempt) const override {
        F f(f_);
        InverseF inverse(inverse_);
        Filter filter(filter_);
        const auto keeps = [&](const K& key, const V& value) {
            if constexpr (kFilters) return guarded(this, [&]() -> bool { return filter(Pair(key, value)); });
            return true;
        };
        // Keys to look at again when all batches have been: those that left without having been in the window, and
        // those that the filter may drop.
        FlatTable<K, bool> unknown, doubtful;
        const auto note = [](FlatTable<K, bool>& keys, const K& key, bool value) {
            keys.upsert(
                PlacementHash<K>{}(key), key, [&] { return value; }, [&](bool& known) { known = value; });
        };
        forEachSum(left_, partition, context, f, [&](const Pair* pairs, std::size_t n) {
            attempt.template update<true>(
                n, [&](std::size_t i) -> const K& { return pairs[i].first; },
                [&](std::size_t i, std::optional<V>& value) {
                    const auto& [key, gone] = pairs[i];
                    if (!value) {
                        note(unknown, key, false);
                        return false;
                    }
                    value = guarded(this, [&] { return V(inverse(std::as_const(*value), gone)); });
                    if (!keeps(key, *value)) note(doubtful, key, true);
                    return true;
                });
        });
        forEachSum(entered_, partition, context, f, [&](const Pair* pairs, std::size_t n) {
            attempt.template update<true>(
                n, [&](std::size_t i) -> const K& { return pairs[i].first; },
                [&](std::size_t i, std::optional<V>& value) {
                    const auto& [key, come] = pairs[i];
                    value = value ? guarded(this, [&] { return V(f(std::as_const(*value), come)); }) : come;
                    if (!unknown.empty()) note(unknown, key, true);
                    if (!keeps(key, *value)) note(doubtful, key, true);
                    return true;
                });
        });
        for (const auto& [key, entered] : unknown.entries()) {
            if (entered) continue;
            guarded(this, [] {
                throw IllegalStateException(
                    "neither the window before nor a new batch has a value for a key that leaves: does its "
                    "PlacementHash give the same for equal keys?");
            });
        }
        const auto& again = doubtful.entries();
        attempt.template update<true>(
            again.size(), [&](std::size_t i) -> const K& { return again[i].first; },
            [&](std::size_t i, std::optional<V>& value) {
                if (!value || keeps(again[i].first, *value)) return false;
                value.reset();
                return true;
            });
        return std::make_shared<typename Base::Outputs>();
    }

    /// Calls `take(pairs, n)` for what some batches have of each key, in pieces; of several it is combined first.
    void forEachSum(const std::vector<Batch>& batches, int partition, TaskContext& context, F& f,
                    const std::function<void(const Pair* pairs, std::size_t n)>& take) const {
        if (batches.size() == 1) {
            forEachChunk(*batches[0], partition, context,
                         [&](const Chunk<Pair>& chunk) { take(chunk.data, chunk.size); });
            return;
        }
        FlatTable<K, V> sums;
        for (const Batch batch : batches) {
            forEachChunk(*batch, partition, context, [&](const Chunk<Pair>& chunk) {
                for (std::size_t i = 0; i < chunk.size; ++i) {
                    const auto& [key, value] = chunk[i];
                    sums.upsert(
                        PlacementHash<K>{}(key), key, [&value = value] { return value; },
                        [&, &value = value](V& sum) { sum = guarded(this, [&] { return V(f(sum, value)); }); });
                }
            });
        }
        take(sums.entries().data(), sums.size());
    }

    std::vector<Batch> left_, entered_;
    const F f_;
    const InverseF inverse_;
    const Filter filter_;
};

/// The tables behind a window with an inverse.
template <class K, class V, class F, class InverseF, class Filter>
class InverseWindowNode final : public StateStreamNode<K, V, std::pair<K, V>> {
    using Pair = std::pair<K, V>;
    using Record = StateRecord<K, V, Pair>;
    using Rdd = InverseWindowRdd<K, V, F, InverseF, Filter>;

public:
    InverseWindowNode(const std::shared_ptr<DStreamNode<Pair>>& reduced, F f, InverseF inverse, Filter filter,
                      Duration window, Duration slide, Partitioner partitioner, CallSite site)
        : StateStreamNode<K, V, Pair>(reduced, "reduceByKeyAndWindow", std::move(partitioner), site, slide),
          reduced_(reduced.get()),
          f_(std::move(f)),
          inverse_(std::move(inverse)),
          filter_(std::move(filter)),
          window_(window) {
        reduced->persist(StorageLevel::MEMORY_ONLY_SER);
    }
    void persistInputs(StorageLevel level) override { reduced_->persist(level); }
    std::optional<Duration> parentRememberDuration() const override {
        return this->rememberDuration() ? std::optional(*this->rememberDuration() + window_) : std::nullopt;
    }

private:
    std::optional<RDD<Record>> compute(Time time) override {
        const Duration slide = this->slideDuration(), step = reduced_->slideDuration();
        const Time begin = time - window_ + step;
        const auto before = this->getOrCompute(time - slide);
        return this->written(
            time, makeNode<Rdd>(this->context().sparkContext().core(), this->place(time, before, false),
                                between(begin - slide, begin - step), between(time - slide + step, time), f_, inverse_,
                                filter_, this->partitioner(), this->creationSite()));
    }
    typename Rdd::Batches between(Time from, Time to) {
        typename Rdd::Batches rdds;
        for (Time at = from; at <= to; at = at + reduced_->slideDuration()) {
            if (auto rdd = reduced_->getOrCompute(at)) rdds.push_back(rdd->node());
        }
        return rdds;
    }

    DStreamNode<Pair>* const reduced_;
    F f_;
    InverseF inverse_;
    Filter filter_;
    const Duration window_;
};

}  // namespace dstream::detail
