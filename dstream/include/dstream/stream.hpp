#pragma once

#include "dstream/basic_ops.hpp"
#include "dstream/output_ops.hpp"
#include "dstream/pair_ops.hpp"
#include "dstream/state_ops.hpp"
#include "dstream/stream_node.hpp"
#include "dstream/window_ops.hpp"

#include <memory>
#include <source_location>
#include <string>
#include <utility>

namespace dstream {

namespace detail {

/// Every operator of a stream. A further family of operators is one more layer here.
template <class Self, class T, class Base>
using StreamOps = OutputStreamOps<
    Self, T, StateStreamOps<Self, T, WindowStreamOps<Self, T, PairStreamOps<Self, T, BasicStreamOps<Self, T, Base>>>>>;

template <class T>
class StreamHandle {
public:
    using Element = T;

    explicit StreamHandle(std::shared_ptr<DStreamNode<T>> node) : node_(std::move(node)) {}
    const std::shared_ptr<DStreamNode<T>>& node() const { return node_; }

private:
    std::shared_ptr<DStreamNode<T>> node_;
};

}  // namespace detail

/// A stream of batches: for each batch time one RDD<T>. A handle: cheap to copy, copies speak of the same node.
/// Operators are lazy and only add nodes to the graph; a node that no output operation reaches is never computed.
///
///     auto counts = lines.flatMap([](std::string_view line) { return splitWords(line); })
///                       .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
///                       .reduceByKey(std::plus<>{});
///     counts.print();
///
/// Narrow operators return a type derived from DStream<U> that remembers how its RDDs are fused: keep it with `auto`
/// and neighbours become one loop; store it as DStream<U> and a chunk edge stands there.
template <class T>
class DStream : public detail::StreamOps<DStream<T>, T, detail::StreamHandle<T>> {
public:
    using Ops = detail::StreamOps<DStream<T>, T, detail::StreamHandle<T>>;
    using Ops::Ops;

    const std::shared_ptr<DStreamNode<T>>& nodeAs() const { return this->node(); }
};

/// A stream whose RDDs are of the static type `R`, such as a fused one; see DStream.
template <class R>
class DStreamOf : public detail::StreamOps<DStreamOf<R>, detail::ElementOf<R>, DStream<detail::ElementOf<R>>> {
    using Ops = detail::StreamOps<DStreamOf<R>, detail::ElementOf<R>, DStream<detail::ElementOf<R>>>;

public:
    explicit DStreamOf(std::shared_ptr<DStreamNodeOf<R>> node) : Ops(std::move(node)) {}

    std::shared_ptr<DStreamNodeOf<R>> nodeAs() const {
        return std::static_pointer_cast<DStreamNodeOf<R>>(this->node());
    }
};

/// Lines of text. A DStream<std::string> whose first narrow operator calls the user with a `std::string_view` into the
/// buffer if the function takes one (a generic lambda does), else with a `const std::string&`.
class TextDStream : public detail::StreamOps<TextDStream, std::string, DStream<std::string>> {
    using Ops = detail::StreamOps<TextDStream, std::string, DStream<std::string>>;

public:
    explicit TextDStream(std::shared_ptr<DStreamNodeOf<TextRDD>> node);

    /// The input stream's number in its context, from 0.
    int id() const { return node()->input()->id(); }
    /// Words for people: "Socket stream [0]".
    std::string name() const { return node()->input()->name(); }

    std::shared_ptr<DStreamNodeOf<TextRDD>> nodeAs() const {
        return std::static_pointer_cast<DStreamNodeOf<TextRDD>>(node());
    }
};

/// What a mapWithState function emits, in processing order inside a partition: data-driven values first, then those of
/// keys that time out. `checkpoint` sets the interval of the state, which is also when idle keys are looked for.
template <class K, class V, class S, class M>
class MapWithStateDStream : public detail::StreamOps<MapWithStateDStream<K, V, S, M>, M, DStream<M>> {
    using Ops = detail::StreamOps<MapWithStateDStream<K, V, S, M>, M, DStream<M>>;
    using Where = std::source_location;

public:
    explicit MapWithStateDStream(std::shared_ptr<detail::MappedStateNode<K, S, M>> node) : Ops(std::move(node)) {}

    std::shared_ptr<DStreamNodeOf<RDD<M>>> nodeAs() const {
        return std::static_pointer_cast<DStreamNodeOf<RDD<M>>>(this->node());
    }

    /// All keys with their state after each batch, read as far as they are asked for. Costs a pass over all keys.
    DStream<std::pair<K, S>> stateSnapshots(Where where = Where::current()) const {
        using Record = detail::StateRecord<K, S, M>;
        return detail::addOp(state(), "stateSnapshots", CallSite::from(where), [where](const RDD<Record>& records) {
            return detail::readState<detail::ReadStates<K, S, M>>(records, "stateSnapshots", CallSite::from(where));
        });
    }
    /// The state of a key after the newest batch that has been computed; absent when it has none. Any thread, while the
    /// context runs.
    std::optional<S> stateOf(const K& key) const { return state()->stateOf(key); }
    /// All states after the newest batch that has been computed, as an RDD that stays what it is while further batches
    /// are computed. Any thread, while the context runs.
    RDD<std::pair<K, S>> stateSnapshot(Where where = Where::current()) const {
        return state()->snapshot(CallSite::from(where));
    }

private:
    const auto& state() const { return static_cast<const detail::MappedStateNode<K, S, M>&>(*this->node()).state(); }
};

/// The state that updateStateByKey keeps: every key with its state after each batch. Its RDDs are versions of tables
/// that are updated in place, and are read as far as they are asked for.
template <class K, class S>
class StateDStream : public detail::StreamOps<StateDStream<K, S>, std::pair<K, S>, DStream<std::pair<K, S>>> {
    using Ops = detail::StreamOps<StateDStream<K, S>, std::pair<K, S>, DStream<std::pair<K, S>>>;
    using Where = std::source_location;

public:
    explicit StateDStream(std::shared_ptr<detail::UpdatedStateNode<K, S>> node) : Ops(std::move(node)) {}

    std::shared_ptr<DStreamNodeOf<RDD<std::pair<K, S>>>> nodeAs() const {
        return std::static_pointer_cast<DStreamNodeOf<RDD<std::pair<K, S>>>>(this->node());
    }
    /// As MapWithStateDStream::stateOf.
    std::optional<S> stateOf(const K& key) const { return state()->stateOf(key); }
    /// As MapWithStateDStream::stateSnapshot.
    RDD<std::pair<K, S>> stateSnapshot(Where where = Where::current()) const {
        return state()->snapshot(CallSite::from(where));
    }

private:
    const auto& state() const { return static_cast<const detail::UpdatedStateNode<K, S>&>(*this->node()).state(); }
};

namespace detail {

template <>
struct StreamOfRdd<TextRDD> {
    using type = TextDStream;
};

}  // namespace detail
}  // namespace dstream
