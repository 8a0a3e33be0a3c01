#pragma once

#include "rdd/detail/context_core.hpp"
#include "rdd/detail/range_traits.hpp"
#include "rdd/detail/rdd_node.hpp"

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

// Narrow operators fused at compile time. A *step* is one operator: a callable (element, emit), where emit takes what
// the step produces. A *stage* is a chain of steps from the elements of a source node on. The compiler sees one loop.

namespace dstream::detail {

/// The user's exception with the operator, the line that built it and the task: thrown by the first guard that sees it.
class OperatorError : public SparkException {
public:
    using SparkException::SparkException;
};

/// Rethrows the exception in flight with the operator's name and call site around it; passes on what is wrapped
/// already.
[[noreturn, gnu::cold]] void rethrowFrom(const char* operatorName, const CallSite& callSite);

/// Names an operator whose functions run before its node exists, as on the map side of a shuffle.
class OperatorInfo {
public:
    OperatorInfo(const char* name, CallSite callSite) : name_(name), callSite_(callSite) {}
    const char* operatorName() const { return name_; }
    const CallSite& callSite() const { return callSite_; }

private:
    const char* name_;
    CallSite callSite_;
};

/// Calls the user's function and names the operator in what it throws.
template <class Operator, class Call>
decltype(auto) guarded(const Operator* op, Call&& call) {
    try {
        return call();
    } catch (...) {
        rethrowFrom(op->operatorName(), op->callSite());
    }
}

/// What a function gets for an element of declared type `T` that arrives as `Raw`: text that arrives as a view is
/// passed as a view if the function takes one, else as a string.
template <class T, class Raw, class F>
using ArgumentOf = std::conditional_t<std::is_same_v<T, Raw>, const T&,
                                      std::conditional_t<std::is_invocable_v<F&, Raw>, Raw, const T&>>;

template <class T, class Raw, class F>
inline constexpr bool kNeedsScratch = !std::is_same_v<T, Raw> && !std::is_invocable_v<F&, Raw>;

struct NoScratch {};

/// A user's function for elements of declared type `T` that arrive as `Raw`.
template <class T, class Raw, class F>
class UserFunction {
public:
    explicit UserFunction(F f) : f_(std::move(f)) {}

    template <class... Rest>
    decltype(auto) operator()(const Raw& element, Rest&&... rest) {
        if constexpr (kNeedsScratch<T, Raw, F>) {
            scratch_.assign(element);
            return std::invoke(f_, std::as_const(scratch_), std::forward<Rest>(rest)...);
        } else {
            return std::invoke(f_, element, std::forward<Rest>(rest)...);
        }
    }

private:
    F f_;
    // One string per task, reused, for functions that want a std::string.
    [[no_unique_address]] std::conditional_t<kNeedsScratch<T, Raw, F>, std::string, NoScratch> scratch_;
};

/// True when a view that a function returns for an element may point into the element, and that element stays where it
/// is.
template <class T, class Raw, class F>
inline constexpr bool kKeepsInput = !kNeedsScratch<T, Raw, F>;

// ---- steps. Each says what it emits (`Out`, declared; `OutRaw`, as it arrives) and whether that still points into its
// input
// (`kInPlace`: views it emits are as long-lived as its input).

template <class T, class Raw, class F>
struct MapStep {
    using Out = std::remove_cvref_t<std::invoke_result_t<F&, ArgumentOf<T, Raw, F>>>;
    using OutRaw = Out;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = kIsView<Out> && kKeepsInput<T, Raw, F>;

    UserFunction<T, Raw, F> f;
    const RddBase* op;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        emit(guarded(op, [&]() -> decltype(auto) { return f(in); }));
    }
};

template <class T, class Raw, class F>
struct FilterStep {
    using Out = T;
    using OutRaw = Raw;
    static constexpr bool kKeepsPartitioner = true;
    static constexpr bool kInPlace = true;

    UserFunction<T, Raw, F> f;
    const RddBase* op;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        if (guarded(op, [&]() -> bool { return static_cast<bool>(f(in)); })) emit(std::forward<In>(in));
    }
};

template <class T, class Raw, class F>
struct FlatMapStep {
    using Range = std::invoke_result_t<F&, ArgumentOf<T, Raw, F>>;
    using Out = std::ranges::range_value_t<std::remove_cvref_t<Range>>;
    using OutRaw = Out;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = kIsView<Out> && kKeepsInput<T, Raw, F>;
    // Elements of a container that the function returned by value belong to nobody else.
    static constexpr bool kMayMove = !std::is_reference_v<Range> && !std::ranges::view<std::remove_cvref_t<Range>> &&
                                     std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>;

    UserFunction<T, Raw, F> f;
    const RddBase* op;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        auto&& range = guarded(op, [&]() -> decltype(auto) { return f(in); });
        for (auto&& element : range) {
            if constexpr (kMayMove && !std::is_const_v<std::remove_reference_t<decltype(element)>>) {
                emit(std::move(element));
            } else {
                emit(element);
            }
        }
    }
};

/// flatMap<U>(f) with `f(element, emit)`.
template <class U, class T, class Raw, class F>
struct EmitStep {
    using Out = U;
    using OutRaw = U;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = kIsView<U> && kKeepsInput<T, Raw, F>;

    UserFunction<T, Raw, F> f;
    const RddBase* op;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        guarded(op, [&] {
            f(in, [&](auto&& value) {
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, U>) {
                    emit(std::forward<decltype(value)>(value));
                } else {
                    emit(convertElement<U>(std::forward<decltype(value)>(value)));
                }
            });
        });
    }
};

/// collect(f) with an optional result: filter and map in one.
template <class T, class Raw, class F>
struct CollectStep {
    using Out = typename std::remove_cvref_t<std::invoke_result_t<F&, ArgumentOf<T, Raw, F>>>::value_type;
    using OutRaw = Out;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = kIsView<Out> && kKeepsInput<T, Raw, F>;

    UserFunction<T, Raw, F> f;
    const RddBase* op;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        auto result = guarded(op, [&] { return f(in); });
        if (result) emit(*std::move(result));
    }
};

template <class T, class Raw, class F>
struct KeyByStep {
    using Key = std::remove_cvref_t<std::invoke_result_t<F&, ArgumentOf<T, Raw, F>>>;
    using Out = std::pair<Key, T>;
    using OutRaw = Out;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = kIsView<Out> && kKeepsInput<T, Raw, F>;

    UserFunction<T, Raw, F> f;
    const RddBase* op;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        Key key = guarded(op, [&]() -> decltype(auto) { return f(in); });
        if constexpr (kIsView<Key>) {  // may point into the element, which must not move
            emit(Out(std::move(key), convertElement<T>(std::as_const(in))));
        } else {
            emit(Out(std::move(key), convertElement<T>(std::forward<In>(in))));
        }
    }
};

/// What steps that keep the key and apply a function to the value have in common.
template <class P, class F, class Value>
struct ValueStep {
    using Out = std::pair<typename P::first_type, Value>;
    using OutRaw = Out;
    static constexpr bool kKeepsPartitioner = true;
    static constexpr bool kInPlace = kIsView<Out>;

    decltype(auto) ofValue(const typename P::second_type& value) {
        return guarded(op, [&]() -> decltype(auto) { return std::invoke(f, value); });
    }

    F f;
    const RddBase* op;
};

template <class F, class V>
using ResultFor = std::invoke_result_t<F&, const V&>;

template <class P, class F>
struct MapValuesStep : ValueStep<P, F, std::remove_cvref_t<ResultFor<F, typename P::second_type>>> {
    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        auto value = this->ofValue(in.second);
        emit(typename MapValuesStep::Out(std::forward<In>(in).first, std::move(value)));
    }
};

template <class P, class F>
struct FlatMapValuesStep
    : ValueStep<P, F, std::ranges::range_value_t<std::remove_cvref_t<ResultFor<F, typename P::second_type>>>> {
    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        auto&& range = this->ofValue(in.second);
        for (auto&& value : range) emit(typename FlatMapValuesStep::Out(in.first, value));
    }
};

template <class P, int kIndex>
struct ComponentStep {
    using Out = std::tuple_element_t<kIndex, P>;
    using OutRaw = Out;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = true;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        emit(std::get<kIndex>(std::forward<In>(in)));
    }
};

/// The text of a view as a string, where a declared RDD<std::string> is stored.
struct ToStringStep {
    using Out = std::string;
    using OutRaw = std::string_view;
    static constexpr bool kKeepsPartitioner = false;
    static constexpr bool kInPlace = true;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        emit(std::forward<In>(in));
    }
};

// ---- stages

/// The empty stage: the source's elements as they are.
template <class S>
struct IdentityStage {
    using Raw = S;
    static constexpr bool kMayBePlaced = true;
    // What is emitted, or what the emitted views point to, lives in the source's chunk.
    static constexpr bool kInSourceChunk = true;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        emit(std::forward<In>(in));
    }
};

template <class S>
inline constexpr IdentityStage<S> kIdentityStage{};

/// A stage with one more step at its end.
template <class First, class Step>
struct FusedStage {
    using Raw = typename Step::OutRaw;
    // False when the last step drops the partitioner: then nobody asks whether the result is placed as wanted already.
    static constexpr bool kMayBePlaced = Step::kKeepsPartitioner;
    // A step that receives a prvalue of an owning type from the step before makes views into a temporary.
    static constexpr bool kInSourceChunk = Step::kInPlace && First::kInSourceChunk;

    First first;
    Step step;

    template <class In, class Emit>
    void operator()(In&& in, Emit&& emit) {
        first(std::forward<In>(in), [&](auto&& mid) { step(std::forward<decltype(mid)>(mid), emit); });
    }
};

template <class Stage>
struct IsIdentity : std::false_type {};
template <class S>
struct IsIdentity<IdentityStage<S>> : std::true_type {};

/// What the cursors of all stages from `S` to `T` have in common.
/// @tparam kOwns  views point into a temporary: they are kept in owning form
template <class T, class S, bool kOwns>
class StageCursorBase : public Cursor<T> {
protected:
    using Stored = std::conditional_t<kOwns, Owned<T>, T>;

    StageCursorBase(CursorPtr<S> source, TaskContext& context) : source_(std::move(source)), context_(context) {}

    Chunk<S> chunk_;  // of the source
    std::size_t position_ = 0;
    Array<Stored> buffer_;

private:
    /// Runs the stage over the chunk until `buffer_` has `wanted` elements or the chunk is at its end.
    virtual void feed(std::size_t wanted) = 0;

    Chunk<T> doNext() final {
        buffer_.clear();
        const std::size_t wanted = context_.chunkSize();
        while (buffer_.size() < wanted) {
            if (position_ == chunk_.size) {
                // The views gathered so far point into the chunk that the source would now give up.
                if constexpr (kIsView<T> && !kOwns) {
                    if (!buffer_.empty()) break;
                }
                if (!source_) break;
                context_.checkCancelled();
                chunk_ = source_->next();
                position_ = 0;
                if (chunk_.empty()) {
                    source_.reset();  // asked again at its end, a chain of cursors would cost the square of its length
                    break;
                }
            }
            feed(wanted);
        }
        if constexpr (kOwns) {
            views_.clear();
            for (const Stored& element : buffer_) views_.push_back(convertElement<T>(element));
            return Chunk<T>::ownedBy(views_.data(), views_.size());
        } else {
            return Chunk<T>::ownedBy(buffer_.data(), buffer_.size());
        }
    }

    CursorPtr<S> source_;
    TaskContext& context_;
    [[no_unique_address]] std::conditional_t<kOwns, Array<T>, NoScratch> views_;
};

/// Runs a stage over a source cursor and stores what it emits in chunks: the edge where elements are not fused any
/// further.
template <class T, class S, class Stage>
class StageCursor final : public StageCursorBase<T, S, kIsView<T> && !Stage::kInSourceChunk> {
    using Base = StageCursorBase<T, S, kIsView<T> && !Stage::kInSourceChunk>;

public:
    StageCursor(CursorPtr<S> source, const Stage& stage, TaskContext& context)
        : Base(std::move(source), context), stage_(stage) {}

private:
    void feed(std::size_t wanted) override {
        Chunk<S>& chunk = this->chunk_;
        auto& buffer = this->buffer_;
        std::size_t& position = this->position_;
        auto emit = [&buffer](auto&& element) {
            buffer.push_back(convertElement<typename Base::Stored>(std::forward<decltype(element)>(element)));
        };
        if constexpr (!kMovesByCopying<S>) {
            if (chunk.owned) {
                while (position < chunk.size && buffer.size() < wanted) stage_(std::move(chunk.data[position++]), emit);
                return;
            }
        }
        while (position < chunk.size && buffer.size() < wanted) stage_(std::as_const(chunk.data[position++]), emit);
    }

    Stage stage_;
};

/// True when some RDD between `from` (included) and `source` (excluded) is kept somewhere, so that the fused stage must
/// not run past it.
bool hasEdge(const RddBase* from, const RddBase* source);

/// The node of a fused narrow operator: all steps from the source on, and, for a parent that is kept, just the last
/// one.
template <class S, class Stage, class P, class Step>
class NarrowNode final : public RddNode<typename Step::Out> {
    using T = typename Step::Out;
    using LastStage = FusedStage<IdentityStage<P>, Step>;
    static constexpr bool kIsFused = !std::is_same_v<Stage, LastStage>;

public:
    /// @param before               the stage that leads to the parent
    /// @param makeFused, makeLast  see appendStep
    template <class Before, class MakeFused, class MakeLast>
    NarrowNode(const std::shared_ptr<RddNode<P>>& parent, const std::shared_ptr<RddNode<S>>& source,
               const Before& before, const MakeFused& makeFused, const MakeLast& makeLast, const char* operatorName,
               CallSite callSite)
        : RddNode<T>(*parent, Step::kKeepsPartitioner, operatorName, callSite),
          parent_(parent.get()),
          source_(source.get()),
          stage_{before, makeFused(this)},
          last_(lastStage(makeLast)) {
        this->setNarrowParent(parent.get());
    }
    const char* className() const override { return "MapPartitionsRDD"; }
    const Stage& stage() const { return stage_; }

private:
    int doNumPartitions() const override { return parent_->numPartitions(); }

    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        if constexpr (kIsFused) {
            if (hasEdge(parent_, source_)) {
                return CursorPtr<T>(
                    new StageCursor<T, P, LastStage>(parent_->iterator(partition, context), last_, context));
            }
        }
        return CursorPtr<T>(new StageCursor<T, S, Stage>(source_->iterator(partition, context), stage_, context));
    }

    template <class MakeLast>
    auto lastStage(const MakeLast& makeLast) const {
        if constexpr (kIsFused) {
            return LastStage{IdentityStage<P>{}, makeLast(this)};
        } else {
            return NoScratch{};
        }
    }

    const RddNode<P>* parent_;  // kept by the lineage
    const RddNode<S>* source_;
    const Stage stage_;
    // For a parent that is kept, where that makes a difference.
    [[no_unique_address]] const std::conditional_t<kIsFused, LastStage, NoScratch> last_;
};

/// A sink that counts the elements.
struct CountingSink {
    std::size_t count = 0;
    template <class T>
    void operator()(T&&) {
        ++count;
    }
};

/// How to compute an RDD: its node, and the fused stage that leads from a source node to it.
template <class T_, class S_, class Stage_>
struct Plan {
    using T = T_;
    using S = S_;
    using Stage = Stage_;

    std::shared_ptr<RddNode<T>> node;
    std::shared_ptr<RddNode<S>> source;
    const Stage* stage = nullptr;  // the node's

    /// Into how many splits `drive` can cut a partition.
    int splitCount(int partition) const {
        return hasEdge(node.get(), source.get()) ? 1 : source->splitCount(partition);
    }

    /// Calls `sink` for every element of a partition (or of one of its splits), in order, inside the fused loop. What
    /// it gets is of type `T` or, for text, a view; it must not be kept beyond the call unless converted to `Owned<T>`.
    template <class Sink>
    void drive(int partition, TaskContext& context, Sink&& sink, std::optional<int> split = std::nullopt) const {
        if constexpr (!IsIdentity<Stage>::value) {
            if (!hasEdge(node.get(), source.get())) {
                Stage copy(*stage);
                pull(source->splitIterator(partition, split, context), context,
                     [&](auto&& element) { copy(std::forward<decltype(element)>(element), sink); });
                return;
            }
        }
        pull(node->splitIterator(partition, split, context), context, sink);
    }

    /// As above, where what the sink does with the first element is nothing it should ask about for each of the others:
    /// calls `first` until `started` is true, and `rest` from then on.
    template <class First, class Rest>
    void driveFrom(int partition, TaskContext& context, const bool& started, First&& first, Rest&& rest) const {
        if (hasEdge(node.get(), source.get())) return pull(node->iterator(partition, context), context, first);
        Stage copy(*stage);
        const CursorPtr<S> cursor = source->iterator(partition, context);
        for (Chunk<S> chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
            context.checkCancelled();
            std::size_t i = 0;
            for (; i < chunk.size && !started; ++i) copy(std::as_const(chunk.data[i]), first);
            for (; i < chunk.size; ++i) copy(std::as_const(chunk.data[i]), rest);
        }
    }

private:
    template <class U, class F>
    static void pull(CursorPtr<U> cursor, TaskContext& context, F&& f) {
        if constexpr (std::is_same_v<F&, CountingSink&>) {
            if (const auto left = cursor->left()) {
                f.count += *left;
                return;
            }
        }
        for (Chunk<U> chunk = cursor->next(); !chunk.empty(); chunk = cursor->next()) {
            context.checkCancelled();
            forEachIn(chunk, f);
        }
    }
};

/// How to compute an RDD with nothing fused.
template <class T>
using PlanOf = Plan<T, T, IdentityStage<T>>;

/// Runs `perSplit(drive, context)` for each split of the task's partition, where `drive(sink)` hands out the split's
/// elements, and returns the results in split order. With one split it runs at once, in the task's own context.
template <class PlanT, class PerSplit>
auto driveSplits(const PlanT& plan, TaskContext& context, const PerSplit& perSplit) {
    const int partition = context.partitionId();
    const int count = plan.splitCount(partition);
    const auto runSplit = [&](int split, TaskContext& part) {
        return perSplit(
            [&](auto&& sink) { plan.drive(partition, part, sink, count > 1 ? std::optional(split) : std::nullopt); },
            part);
    };
    std::vector<decltype(runSplit(0, context))> results(static_cast<std::size_t>(count));
    const std::function<void(int, TaskContext&)> body = [&](int split, TaskContext& part) {
        results[static_cast<std::size_t>(split)] = runSplit(split, part);
    };
    if (count == 1) {
        body(0, context);
    } else {
        context.core().runSplits(context, count, body);
    }
    return results;
}

/// Adds a step to a plan. `makeStep(op)` makes it for a given node and element form.
/// `FusedStep` acts on what the stage so far emits, `LastStep` on stored elements of the parent's type.
template <class PlanT, class MakeFused, class MakeLast>
auto appendStep(const PlanT& plan, const char* operatorName, CallSite callSite, MakeFused makeFused,
                MakeLast makeLast) {
    using P = typename PlanT::T;
    using S = typename PlanT::S;
    using FusedStep = decltype(makeFused(static_cast<const RddBase*>(nullptr)));
    using LastStep = decltype(makeLast(static_cast<const RddBase*>(nullptr)));
    using T = typename FusedStep::Out;
    static_assert(std::is_same_v<T, typename LastStep::Out>,
                  "the function gives another type for a std::string than for a std::string_view");
    using Stage = FusedStage<typename PlanT::Stage, FusedStep>;
    using Node = NarrowNode<S, Stage, P, LastStep>;
    auto* const node = new Node(plan.node, plan.source, *plan.stage, makeFused, makeLast, operatorName, callSite);
    return Plan<T, S, Stage>{std::static_pointer_cast<RddNode<T>>(asShared(node)), plan.source, &node->stage()};
}

}  // namespace dstream::detail
