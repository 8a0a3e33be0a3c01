#pragma once

#include "dstream/dstream_base.hpp"
#include "dstream/streaming_context.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/rdd.hpp"

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream {

template <class T>
class DStream;
template <class R>
class DStreamOf;

namespace detail {

/// The element type of an RDD's static type.
template <class R>
using ElementOf = typename R::Element;

/// A generated RDD of known element type.
template <class T>
class TypedGeneratedRdd : public GeneratedRdd {
public:
    virtual const RDD<T>& rdd() const = 0;
};

/// A generated RDD of known static type, which carries the fused stage.
template <class R>
class GeneratedRddOf final : public TypedGeneratedRdd<ElementOf<R>> {
public:
    explicit GeneratedRddOf(R rdd) : rdd_(std::move(rdd)) {}
    RddBase& base() const override { return *rdd_.node(); }
    const RDD<ElementOf<R>>& rdd() const override { return rdd_; }
    const R& typed() const { return rdd_; }

private:
    R rdd_;
};

/// @throws NotSerializableException  naming stream and type
[[noreturn]] void throwNoCodec(const DStreamBase& stream, const std::string& type);
/// @throws SparkException  saying that the parent has no RDD for this batch
[[noreturn]] void throwNoParentRdd(const DStreamBase& stream, const DStreamBase& parent, Time time);
/// @throws SparkException  saying that the function of a `transform` returned an empty handle
[[noreturn]] void throwEmptyRdd(const DStreamBase& stream, Time time);
// Take over what has just been made.
std::shared_ptr<DStreamBase> asShared(DStreamBase* made);
GeneratedRddPtr asShared(const GeneratedRdd* made);
/// @throws IllegalArgumentException  naming the operator, unless all streams are of one context and slide duration
void checkCompatible(const char* operatorName, const DStreamBase::Parents& streams);
void registerInput(std::shared_ptr<DStreamBase> input);
void registerOutput(std::shared_ptr<DStreamBase> output);
int newInputId(const StreamingContext& context);
/// True when both place keys by their hash into as many partitions.
bool placedAlike(const RddCheckpoint& checkpoint, const Partitioner& partitioner);

}  // namespace detail

/// A stream's node with its element type known.
template <class T>
class DStreamNode : public DStreamBase {
public:
    using Element = T;
    using Rdd = RDD<T>;

    /// The RDD of a batch: made once, then remembered; absent for times off the stream's grid and batches without RDD.
    /// Generator's thread only.
    std::optional<RDD<T>> getOrCompute(Time time) {
        auto generated = getOrComputeRdd(time);
        if (!generated) return std::nullopt;
        return static_cast<const detail::TypedGeneratedRdd<T>&>(*generated).rdd();
    }

    void validateAtStart() const override {
        DStreamBase::validateAtStart();
        if (checkpointDuration() && !rddCodec()) detail::throwNoCodec(*this, typeName(typeid(Owned<T>)));
    }
    const BlockCodec* rddCodec() const final { return detail::blockCodecFor<Owned<T>>(); }

protected:
    using DStreamBase::DStreamBase;
};

/// A stream's node with the static type of its RDDs known, fused stage included. What most nodes derive from:
///
///     class Doubled : public DStreamNodeOf<RDD<int>> {
///         std::optional<RDD<int>> compute(Time validTime) override { … }
///     };
template <class R>
class DStreamNodeOf : public DStreamNode<detail::ElementOf<R>> {
public:
    using Rdd = R;

    std::optional<R> getOrCompute(Time time) {
        auto generated = this->getOrComputeRdd(time);
        if (!generated) return std::nullopt;
        return static_cast<const detail::GeneratedRddOf<R>&>(*generated).typed();
    }

protected:
    using DStreamNode<detail::ElementOf<R>>::DStreamNode;

    /// Makes the RDD of a batch on the stream's grid; nothing when there is none.
    virtual std::optional<R> compute(Time validTime) = 0;

private:
    detail::GeneratedRddPtr computeRdd(Time time) final {
        std::optional<R> rdd = compute(time);
        if (!rdd) return nullptr;
        if (!*rdd) detail::throwEmptyRdd(*this, time);
        return detail::asShared(new detail::GeneratedRddOf<R>(*std::move(rdd)));
    }
};

namespace detail {

/// Reads a checkpointed RDD of a stream. It has `partitioner` if the checkpoint's keys are placed like that, else none.
template <class T>
RDD<T> readCheckpointedRdd(const DStreamBase& stream, const RddCheckpoint& from, const Partitioner& partitioner) {
    return makeRdd<T>(makeNode<BlockFilesNode<T>>(
        stream.context().sparkContext().core(), "ReliableCheckpointRDD", from.directory, from.numPartitions,
        placedAlike(from, partitioner) ? std::optional(partitioner) : std::nullopt, "checkpoint",
        stream.creationSite()));
}

/// Calls `f(rdds…, time)` or `f(rdds…)`.
template <class F, class... Rdds>
decltype(auto) callWithTime(F& f, Time time, const Rdds&... rdds) {
    if constexpr (std::is_invocable_v<F&, const Rdds&..., Time>) {
        return f(rdds..., time);
    } else {
        static_assert(std::is_invocable_v<F&, const Rdds&...>,
                      "the function must take the RDD of each stream, and may take the Time after them");
        return f(rdds...);
    }
}

template <class F, class... Rdds>
using RddOfCall =
    std::remove_cvref_t<decltype(callWithTime(std::declval<F&>(), Time(), std::declval<const Rdds&>()...))>;

/// What a stream does when its parent has no RDD for a batch: has none itself, or fails the batch.
enum class MissingParent { kNone, kError };

/// A stream whose RDD is a function of its parent's RDD.
template <class R, class Parent, class F, MissingParent kMissing>
class OpNode final : public DStreamNodeOf<R> {
public:
    OpNode(const std::shared_ptr<Parent>& parent, const char* operatorName, CallSite site, F f)
        : DStreamNodeOf<R>(parent->weakContext(), operatorName, {parent}, site),
          parent_(parent.get()),
          f_(std::move(f)) {}

private:
    std::optional<R> compute(Time time) override {
        auto rdd = parent_->getOrCompute(time);
        if (!rdd) {
            if constexpr (kMissing == MissingParent::kError) throwNoParentRdd(*this, *parent_, time);
            return std::nullopt;
        }
        return callWithTime(f_, time, std::as_const(*rdd));
    }

    Parent* const parent_;  // kept alive by dependencies()
    F f_;
};

/// A stream whose RDD is a function of the RDDs of several parents, all of which must be there.
template <class R, class F, class... ParentNodes>
class CombineNode final : public DStreamNodeOf<R> {
public:
    CombineNode(const char* operatorName, CallSite site, F f, const std::shared_ptr<ParentNodes>&... parents)
        : DStreamNodeOf<R>(std::get<0>(std::tie(parents...))->weakContext(), operatorName, {parents...}, site),
          parents_(parents.get()...),
          f_(std::move(f)) {}

private:
    std::optional<R> compute(Time time) override {
        return std::apply([&](auto*... parents) { return R(callWithTime(f_, time, rddOf(*parents, time)...)); },
                          parents_);
    }

    template <class Parent>
    typename Parent::Rdd rddOf(Parent& parent, Time time) const {
        auto rdd = parent.getOrCompute(time);
        if (!rdd) throwNoParentRdd(*this, parent, time);
        return *std::move(rdd);
    }

    const std::tuple<ParentNodes*...> parents_;
    F f_;
};

/// A stream whose RDD is a function of the RDDs of many parents of one element type.
template <class R, class F, class T>
class CombineAllNode final : public DStreamNodeOf<R> {
public:
    CombineAllNode(const char* operatorName, CallSite site, F f,
                   const std::vector<std::shared_ptr<DStreamNode<T>>>& parents)
        : DStreamNodeOf<R>(parents.front()->weakContext(), operatorName, {parents.begin(), parents.end()}, site),
          parents_(parents),
          f_(std::move(f)) {}

private:
    std::optional<R> compute(Time time) override {
        std::vector<RDD<T>> rdds;
        rdds.reserve(parents_.size());
        for (const auto& parent : parents_) {
            auto rdd = parent->getOrCompute(time);
            if (!rdd) throwNoParentRdd(*this, *parent, time);
            rdds.push_back(*std::move(rdd));
        }
        return R(callWithTime(f_, time, rdds));
    }

    const std::vector<std::shared_ptr<DStreamNode<T>>> parents_;
    F f_;
};

/// An output operation: calls `f(rdd, time)` on a job thread.
template <class Parent, class F>
class ForEachNode final : public DStreamBase {
public:
    ForEachNode(const std::shared_ptr<Parent>& parent, const char* operatorName, CallSite site, F f)
        : DStreamBase(parent->weakContext(), operatorName, {parent}, site),
          parent_(parent.get()),
          f_(std::make_shared<F>(std::move(f))) {}

    std::optional<Job> generateJob(Time time) override {
        if (!isTimeValid(time)) return std::nullopt;
        auto rdd = parent_->getOrCompute(time);
        if (!rdd) return std::nullopt;
        return Job{[f = f_, rdd = *std::move(rdd), time] { callWithTime(*f, time, rdd); }, scopeText(), {}};
    }

private:
    GeneratedRddPtr computeRdd(Time) override { return nullptr; }

    Parent* const parent_;
    const std::shared_ptr<F> f_;
};

template <class R>
struct StreamOfRdd {
    using type = DStreamOf<R>;
};
template <class T>
struct StreamOfRdd<RDD<T>> {
    using type = DStream<T>;
};

/// Makes a node; `As` is what the handles know it as.
template <class As, class Node, class... Args>
std::shared_ptr<As> makeStreamNode(Args&&... args) {
    return std::static_pointer_cast<As>(asShared(new Node(std::forward<Args>(args)...)));
}

/// Makes a node and its handle: a plain DStream<T>, or one that remembers the fused stage of its RDDs.
template <class Node, class... Args>
auto makeStream(Args&&... args) {
    using R = typename Node::Rdd;
    return typename StreamOfRdd<R>::type(makeStreamNode<DStreamNodeOf<R>, Node>(std::forward<Args>(args)...));
}

/// Adds a stream whose RDD is `f(parent's RDD)` or `f(parent's RDD, time)`.
template <MissingParent kMissing = MissingParent::kNone, class Parent, class F>
auto addOp(const std::shared_ptr<Parent>& parent, const char* operatorName, CallSite site, F f) {
    using R = RddOfCall<F, typename Parent::Rdd>;
    return makeStream<OpNode<R, Parent, F, kMissing>>(parent, operatorName, site, std::move(f));
}

/// Adds a stream whose RDD is `f` of the RDDs of several streams of one slide duration and context.
template <class F, class... ParentNodes>
auto addCombine(const char* operatorName, CallSite site, F f, const std::shared_ptr<ParentNodes>&... parents) {
    checkCompatible(operatorName, {parents...});
    using R = RddOfCall<F, typename ParentNodes::Rdd...>;
    return makeStream<CombineNode<R, F, ParentNodes...>>(operatorName, site, std::move(f), parents...);
}

template <class T, class F>
auto addCombineAll(const char* operatorName, CallSite site, F f,
                   const std::vector<std::shared_ptr<DStreamNode<T>>>& parents) {
    checkCompatible(operatorName, {parents.begin(), parents.end()});
    using R = RddOfCall<F, std::vector<RDD<T>>>;
    return makeStream<CombineAllNode<R, F, T>>(operatorName, site, std::move(f), parents);
}

/// Adds an output operation.
template <class Parent, class F>
void addOutput(const std::shared_ptr<Parent>& parent, const char* operatorName, CallSite site, F f) {
    registerOutput(asShared(new ForEachNode<Parent, F>(parent, operatorName, site, std::move(f))));
}

// Functions that several operators map with, named so that what is compiled for one of them serves the others.

/// All elements under one key.
struct UnderOneKey {
    template <class T>
    std::pair<int, T> operator()(const T& element) const {
        return {1, element};
    }
};
struct SecondOfPair {
    template <class A, class B>
    B operator()(const std::pair<A, B>& pair) const {
        return pair.second;
    }
};
/// An element and how often it occurs.
struct WithCountOfOne {
    template <class T>
    std::pair<T, int64_t> operator()(const T& element) const {
        return {element, 1};
    }
};

}  // namespace detail
}  // namespace dstream
