#pragma once

#include "dstream/inverse_window.hpp"
#include "dstream/sliding_window.hpp"
#include "dstream/stream_node.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

namespace dstream {
namespace detail {

/// @throws IllegalArgumentException  unless window and slide are positive multiples of the parent's slide
void checkWindow(const DStreamBase& parent, Duration window, Duration slide);

/// As reduceByWindow with plus and its inverse.
DStream<int64_t> sumByWindow(const DStream<int64_t>& numbers, Duration windowDuration, Duration slideDuration,
                             std::source_location where);

/// The batches of the parent in (t - window, t], one after the other. Keeps the parent's RDDs instead of its own.
template <class T>
class WindowNode final : public DStreamNodeOf<RDD<Owned<T>>> {
public:
    WindowNode(const std::shared_ptr<DStreamNode<T>>& parent, Duration window, Duration slide, CallSite site)
        : DStreamNodeOf<RDD<Owned<T>>>(parent->weakContext(), "window", {parent}, site, slide),
          parent_(parent.get()),
          window_(window) {
        parent->persist(StorageLevel::MEMORY_ONLY_SER);
    }
    void persist(StorageLevel level) override { parent_->persist(level); }
    std::optional<Duration> parentRememberDuration() const override {
        return this->rememberDuration() ? std::optional(*this->rememberDuration() + window_) : std::nullopt;
    }

private:
    std::optional<RDD<Owned<T>>> compute(Time time) override {
        std::vector<std::shared_ptr<RddNode<Owned<T>>>> rdds;
        for (Time at = time - window_ + parent_->slideDuration(); at <= time; at = at + parent_->slideDuration()) {
            if (auto rdd = parent_->getOrCompute(at))
                rdds.push_back(owning<T>(rdd->node(), std::source_location::current()).node());
        }
        return unionAll<Owned<T>>(this->context().sparkContext().core(), std::move(rdds),
                                  std::source_location::current());
    }

    DStreamNode<T>* const parent_;
    const Duration window_;
};

/// The operators over windows: a window of length w holds the batches in (t - w, t]; there is one result per slide.
/// Near the start a window holds the batches there are. Durations must be positive multiples of the stream's slide
/// duration, else IllegalArgumentException.
template <class Self, class T, class Base>
class WindowStreamOps : public Base {
    using Where = std::source_location;
    using O = Owned<T>;
    using K = Owned<KeyOf<T>>;
    using V = Owned<ValueOf<T>>;
    const Self& self() const { return static_cast<const Self&>(*this); }

public:
    using Base::Base;

    /// All elements of the window. Persists this stream's RDDs; `persist` of the window means them too.
    /// @param slideDuration  absent: every batch of this stream
    DStream<O> window(Duration windowDuration, std::optional<Duration> slideDuration = std::nullopt,
                      Where where = Where::current()) const {
        const Duration slide = slideDuration.value_or(self().node()->slideDuration());
        checkWindow(*self().node(), windowDuration, slide);
        return makeStream<WindowNode<T>>(self().node(), windowDuration, slide, CallSite::from(where));
    }
    /// One element per window, none for an empty one.
    template <class F>
    DStream<O> reduceByWindow(F f, Duration windowDuration, Duration slideDuration,
                              Where where = Where::current()) const {
        return DStream<O>(self()
                              .map(UnderOneKey(), where)
                              .reduceByKeyAndWindow(std::move(f), windowDuration, slideDuration, 1, where)
                              .map(SecondOfPair(), where));
    }
    /// Incremental: costs what enters and leaves. `inverse(f(a, b), a)` must be `b`. No element until there was data.
    /// @note Needs a checkpoint directory.
    template <class F, class InverseF>
    requires(!std::is_same_v<InverseF, Duration>) DStream<O> reduceByWindow(F f, InverseF inverse,
                                                                            Duration windowDuration,
                                                                            Duration slideDuration,
                                                                            Where where = Where::current())
    const {
        return DStream<O>(self()
                              .map(UnderOneKey(), where)
                              .reduceByKeyAndWindow(std::move(f), std::move(inverse), windowDuration, slideDuration, 1,
                                                    nullptr, where)
                              .map(SecondOfPair(), where));
    }
    /// The number of elements of each window, a DStream<int64_t>. Incremental; no element until there was data,
    /// afterwards 0 for empty windows.
    /// @note Needs a checkpoint directory.
    auto countByWindow(Duration windowDuration, Duration slideDuration, Where where = Where::current()) const {
        return sumByWindow(self().map([](const T&) { return int64_t{1}; }, where), windowDuration, slideDuration,
                           where);
    }
    /// (value, how often it occurs) of each window. Incremental; values whose count falls to 0 leave the result.
    /// @note Needs a checkpoint directory.
    DStream<std::pair<O, int64_t>> countByValueAndWindow(Duration windowDuration, Duration slideDuration,
                                                         std::optional<int> numPartitions = std::nullopt,
                                                         Where where = Where::current()) const requires Hashable<T> {
        return self()
            .map(WithCountOfOne(), where)
            .reduceByKeyAndWindow(
                std::plus<int64_t>{}, std::minus<int64_t>{}, windowDuration, slideDuration,
                numPartitions ? PartitionChoice(*numPartitions) : PartitionChoice(),
                [](const std::pair<O, int64_t>& entry) { return entry.second != 0; }, where);
    }

    // ---- pairs

    /// (key, its values in the window).
    DStream<std::pair<K, std::vector<V>>> groupByKeyAndWindow(
        Duration windowDuration, std::optional<Duration> slideDuration = std::nullopt, PartitionChoice partitions = {},
        Where where = Where::current()) const requires PairLike<T> {
        const Partitioner partitioner = this->partitionerOf(partitions);
        return addOp(self().groupByKey(partitioner, where).window(windowDuration, slideDuration, where).nodeAs(),
                     "groupByKeyAndWindow", CallSite::from(where),
                     [partitioner, where](const RDD<std::pair<K, std::vector<V>>>& groups) {
                         const auto append = [](std::vector<V> values, const std::vector<V>& more) {
                             values.insert(values.end(), more.begin(), more.end());
                             return values;
                         };
                         return groups.combineByKey([](const std::vector<V>& values) { return values; }, append, append,
                                                    partitioner, true, where);
                     });
    }
    /// The values of each key in the window, merged by `f` in the order of the batches. Of a window of many slides,
    /// parts are merged once for several windows: a slide costs as much in a long window as in a short one.
    template <class F>
    DStream<std::pair<K, V>> reduceByKeyAndWindow(F f, Duration windowDuration,
                                                  std::optional<Duration> slideDuration = std::nullopt,
                                                  PartitionChoice partitions = {},
                                                  Where where = Where::current()) const requires PairLike<T> {
        const Duration slide = slideDuration.value_or(self().node()->slideDuration());
        checkWindow(*self().node(), windowDuration, slide);
        const Partitioner partitioner = this->partitionerOf(partitions);
        const auto reduced = self().reduceByKey(f, partitioner, where);
        using Sliding = SlidingWindowNode<K, V, F>;
        if (Sliding::panesOf(windowDuration, slide) < Sliding::kWorthwhile) {
            return reduced.window(windowDuration, slide, where).reduceByKey(f, partitioner, where);
        }
        return makeStream<Sliding>(reduced.node(), std::move(f), windowDuration, slide, partitioner,
                                   CallSite::from(where));
    }
    /// Incremental: costs what enters and leaves. `inverse(f(a, b), a)` must be `b`. Keys stay for ever unless
    /// `filter`, a predicate on the (key, value) pair of the result, drops them.
    /// @note Needs a checkpoint directory.
    template <class F, class InverseF, class Filter = std::nullptr_t>
    requires(PairLike<T> && !std::is_convertible_v<InverseF, Duration>) DStream<std::pair<K, V>> reduceByKeyAndWindow(
        F f, InverseF inverse, Duration windowDuration, std::optional<Duration> slideDuration = std::nullopt,
        PartitionChoice partitions = {}, Filter filter = nullptr, Where where = Where::current())
    const {
        const Duration slide = slideDuration.value_or(self().node()->slideDuration());
        checkWindow(*self().node(), windowDuration, slide);
        const Partitioner partitioner = this->partitionerOf(partitions);
        using Pair = std::pair<K, V>;
        return DStream<Pair>(std::make_shared<UpdatedStateNode<K, V>>(
            makeStreamNode<StateStreamNode<K, V, Pair>, InverseWindowNode<K, V, F, InverseF, Filter>>(
                self().reduceByKey(f, partitioner, where).node(), f, std::move(inverse), std::move(filter),
                windowDuration, slide, partitioner, CallSite::from(where)),
            true, CallSite::from(where)));
    }
};

}  // namespace detail
}  // namespace dstream
