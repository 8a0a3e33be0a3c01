#pragma once

#include "rdd/approximate.hpp"
#include "rdd/detail/completion.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/detail/files_impl.hpp"
#include "rdd/detail/hyper_log_log.hpp"
#include "rdd/detail/shuffle.hpp"
#include "rdd/detail/stage.hpp"
#include "rdd/future_action.hpp"
#include "rdd/iterator.hpp"
#include "rdd/stat_counter.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <source_location>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// Bodies of the operators of RDD<T>; declared, with their documentation, in rdd.hpp.

namespace dstream::detail {

using Where = std::source_location;

template <class PlanT>
Narrow<PlanT> narrow(PlanT plan) {
    return Narrow<PlanT>(std::move(plan));
}

template <class T>
RDD<T> makeRdd(std::shared_ptr<RddNode<T>> node) {
    return RDD<T>(std::move(node));
}

// ---- narrow

template <template <class, class, class> class Step, class PlanT, class F>
auto appendUserStep(const PlanT& plan, const char* name, F f, Where where) {
    using T = typename PlanT::T;
    using Raw = typename PlanT::Stage::Raw;
    return narrow(appendStep(
        plan, name, CallSite::from(where),
        [&](const RddBase* op) {
            return Step<T, Raw, F>{UserFunction<T, Raw, F>(f), op};
        },
        [&](const RddBase* op) {
            return Step<T, T, F>{UserFunction<T, T, F>(f), op};
        }));
}

template <class PlanT, class F>
auto map(const PlanT& plan, const char* name, F f, Where where) {
    return appendUserStep<MapStep>(plan, name, std::move(f), where);
}
template <class PlanT, class F>
auto flatMap(const PlanT& plan, F f, Where where) {
    return appendUserStep<FlatMapStep>(plan, "flatMap", std::move(f), where);
}
template <class PlanT, class F>
auto filter(const PlanT& plan, F f, Where where) {
    return appendUserStep<FilterStep>(plan, "filter", std::move(f), where);
}
template <class PlanT, class F>
auto collectPartial(const PlanT& plan, F f, Where where) {
    return appendUserStep<CollectStep>(plan, "collect", std::move(f), where);
}
template <class PlanT, class F>
auto keyBy(const PlanT& plan, F f, Where where) {
    return appendUserStep<KeyByStep>(plan, "keyBy", std::move(f), where);
}
template <class U, class PlanT, class F>
auto flatMapEmit(const PlanT& plan, F f, Where where) {
    using T = typename PlanT::T;
    using Raw = typename PlanT::Stage::Raw;
    return narrow(appendStep(
        plan, "flatMap", CallSite::from(where),
        [&](const RddBase* op) {
            return EmitStep<U, T, Raw, F>{UserFunction<T, Raw, F>(f), op};
        },
        [&](const RddBase* op) {
            return EmitStep<U, T, T, F>{UserFunction<T, T, F>(f), op};
        }));
}

// ---- whole partitions

/// Gives the elements of any range that a partition function returned; views into the input are made owning, because
/// the input moves on while the range is read.
template <class Range>
auto rangeCursor(Range range, std::size_t chunkSize) {
    using Element = Owned<std::ranges::range_value_t<std::remove_cvref_t<Range>>>;
    if constexpr (IsIterator<Range>::value) {
        if constexpr (std::is_same_v<Element, typename Range::value_type>) {
            return range.release();
        } else {
            return CursorPtr<Element>(std::make_unique<RangeCursor<Element, Range>>(std::move(range), chunkSize));
        }
    } else {
        return CursorPtr<Element>(std::make_unique<RangeCursor<Element, Range>>(std::move(range), chunkSize));
    }
}

template <class Range>
using RangeElement = Owned<std::ranges::range_value_t<std::remove_cvref_t<Range>>>;

/// Calls `open` when the first chunk is asked for, so that a partition's function runs inside the task's pull.
template <class T, class Open>
class LazyCursor final : public Cursor<T> {
public:
    explicit LazyCursor(Open open) : open_(std::move(open)) {}

private:
    Chunk<T> doNext() override {
        if (!inner_) inner_ = open_();
        return inner_->next();
    }
    Open open_;
    CursorPtr<T> inner_;
};

template <class T, class Open>
CursorPtr<T> lazyCursor(Open open) {
    return std::make_unique<LazyCursor<T, Open>>(std::move(open));
}

/// `f(int partition, Iterator<T>)` -> range.
template <class U, class T, class F>
class MapPartitionsNode final : public RddNode<U> {
public:
    MapPartitionsNode(const std::shared_ptr<RddNode<T>>& parent, F f, const char* name, CallSite callSite,
                      bool keepsPartitioner)
        : RddNode<U>(*parent, keepsPartitioner, name, callSite), parent_(parent.get()), f_(std::move(f)) {}
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    int doNumPartitions() const override { return parent_->numPartitions(); }
    CursorPtr<U> doCompute(int partition, TaskContext& context) const override {
        // The range may refer to the function object: both live as long as the cursor.
        return lazyCursor<U>([this, f = std::make_shared<F>(f_), partition, &context]() mutable {
            return guarded(this, [&] {
                return rangeCursor(std::invoke(*f, partition, Iterator<T>(parent_->iterator(partition, context))),
                                   context.chunkSize());
            });
        });
    }

    const RddNode<T>* parent_;
    const F f_;
};

template <class T, class F>
auto mapPartitions(const std::shared_ptr<RddNode<T>>& parent, const char* name, F f, bool preservesPartitioning,
                   Where where) {
    using U = RangeElement<std::invoke_result_t<F&, int, Iterator<T>>>;
    return makeRdd<U>(
        makeNode<MapPartitionsNode<U, T, F>>(parent, std::move(f), name, CallSite::from(where), preservesPartitioning));
}

template <class T>
std::vector<Owned<T>> drain(Iterator<T>& part) {
    std::vector<Owned<T>> all;
    for (const T& element : part) all.push_back(convertElement<Owned<T>>(element));
    return all;
}

template <class T>
RDD<std::vector<Owned<T>>> glom(const std::shared_ptr<RddNode<T>>& parent, Where where) {
    return mapPartitions<T>(
        parent, "glom",
        [](int, Iterator<T> part) {
            std::vector<std::vector<Owned<T>>> one;
            one.push_back(drain(part));
            return one;
        },
        false, where);
}

// ---- jobs

/// Runs `perTask(TaskContext&)`, copied per task, on the given partitions and returns the results in their order.
template <class PerTask>
auto runTasks(const std::shared_ptr<RddBase>& rdd, std::vector<int> partitions, const char* action, Where where,
              PerTask perTask) {
    using R = std::invoke_result_t<PerTask&, TaskContext&>;
    const auto parts = runJob(rdd, std::move(partitions), action, CallSite::from(where),
                              [perTask = std::move(perTask)](TaskContext& context) -> std::shared_ptr<void> {
                                  PerTask copy(perTask);
                                  return std::make_shared<R>(copy(context));
                              });
    std::vector<R> results;
    results.reserve(parts.size());
    for (const auto& part : parts) results.push_back(std::move(*static_cast<R*>(part.get())));
    return results;
}

/// 0, 1, … up to the last partition.
std::vector<int> allPartitions(const RddBase& rdd);

struct Done {};

template <class PlanT, class PerTask>
auto runOnAll(const PlanT& plan, const char* action, Where where, PerTask perTask) {
    return runTasks(plan.node, allPartitions(*plan.node), action, where, std::move(perTask));
}

template <class PlanT>
std::vector<Owned<typename PlanT::T>> collect(const PlanT& plan, Where where) {
    using O = Owned<typename PlanT::T>;
    auto parts = runOnAll(plan, "collect", where, [plan](TaskContext& context) {
        return driveSplits(plan, context, [](auto&& drive, TaskContext&) {
            Array<O> part;
            drive([&](auto&& element) { part.push_back(convertElement<O>(std::forward<decltype(element)>(element))); });
            return part;
        });
    });
    std::vector<O> all;
    std::size_t total = 0;
    for (const auto& splits : parts) {
        for (const auto& split : splits) total += split.size();
    }
    all.reserve(total);
    for (auto& splits : parts) {
        for (auto& split : splits) {
            all.insert(all.end(), std::make_move_iterator(split.begin()), std::make_move_iterator(split.end()));
        }
    }
    return all;
}

template <class PlanT>
int64_t countPartition(const PlanT& plan, TaskContext& context) {
    const auto counts = driveSplits(plan, context, [](auto&& drive, TaskContext&) {
        CountingSink sink;
        drive(sink);
        return static_cast<int64_t>(sink.count);
    });
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

template <class PlanT>
int64_t count(const PlanT& plan, Where where) {
    if (const auto known = plan.node->knownCount()) return *known;
    const auto counts =
        runOnAll(plan, "count", where, [plan](TaskContext& context) { return countPartition(plan, context); });
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

template <class PlanT, class F>
void foreach (const PlanT& plan, F f, Where where) {
    using T = typename PlanT::T;
    using Raw = typename PlanT::Stage::Raw;
    runOnAll(plan, "foreach", where,
             [plan, f, op = OperatorInfo("foreach", CallSite::from(where))](TaskContext& context) {
                 driveSplits(plan, context, [&](auto&& drive, TaskContext&) {
                     UserFunction<T, T, F> stored(f);
                     UserFunction<T, Raw, F> fused(f);
                     drive([&](auto&& element) {
                         guarded(&op, [&] {
                             if constexpr (std::is_same_v<std::remove_cvref_t<decltype(element)>, T>) {
                                 stored(element);
                             } else {
                                 fused(element);
                             }
                         });
                     });
                     return Done{};
                 });
                 return Done{};
             });
}

template <class T, class F>
void foreachPartition(const std::shared_ptr<RddNode<T>>& node, F f, Where where) {
    runTasks(node, allPartitions(*node), "foreachPartition", where,
             [node = node.get(), f,
              op = OperatorInfo("foreachPartition", CallSite::from(where))](TaskContext& context) mutable {
                 guarded(&op, [&] { std::invoke(f, Iterator<T>(node->iterator(context.partitionId(), context))); });
                 return Done{};
             });
}

/// Folds a partition from its first element on.
template <class PlanT, class F>
auto reduce(const PlanT& plan, const char* action, F f, Where where) {
    using T = typename PlanT::T;
    using O = Owned<T>;
    const OperatorInfo op(action, CallSite::from(where));
    const auto add = [op](F& fn, O& sum, const auto& element) {
        if constexpr (!std::is_invocable_v<F&, const O&, const O&>) {
            sum = guarded(&op, [&] {
                return convertElement<O>(std::invoke(fn, convertElement<T>(sum), convertElement<T>(element)));
            });
        } else if constexpr (std::is_same_v<std::remove_cvref_t<decltype(element)>, O>) {
            sum = guarded(&op, [&] { return O(std::invoke(fn, std::as_const(sum), element)); });
        } else {
            sum = guarded(&op, [&] { return O(std::invoke(fn, std::as_const(sum), convertElement<O>(element))); });
        }
    };
    const auto merge = [add](F& fn, std::optional<O>& sum, auto&& element) {
        if (sum) {
            add(fn, *sum, element);
        } else {
            sum.emplace(convertElement<O>(std::forward<decltype(element)>(element)));
        }
    };
    auto parts = runOnAll(plan, action, where, [=](TaskContext& context) mutable {
        std::optional<O> sum;
        if constexpr (std::is_arithmetic_v<T> && kMovesByCopying<typename PlanT::S>) {
            // To ask for each number whether it is the first one costs a tenth of the time of a short chain.
            O total{};
            bool started = false;
            const auto first = [&](T element) {
                merge(f, sum, element);
                total = *sum;
                started = true;
            };
            plan.driveFrom(context.partitionId(), context, started, first, [&](T element) { add(f, total, element); });
            if (started) sum = total;
        } else {
            plan.drive(context.partitionId(), context,
                       [&](auto&& element) { merge(f, sum, std::forward<decltype(element)>(element)); });
        }
        return sum;
    });
    std::optional<O> total;
    for (auto& part : parts) {
        if (part) merge(f, total, std::move(*part));
    }
    if (!total) {
        throw EmptyCollectionException(std::string(action) + " at " + CallSite::from(where).toString() +
                                       " needs at least one element: the RDD is empty");
    }
    return std::move(*total);
}

/// @throws IllegalArgumentException  when it is below 1
void checkDepth(int depth);
/// How many values a node of a tree of this depth over so many leaves combines, at least 2.
std::size_t treeScale(std::size_t leaves, int depth);

template <class PlanT, class U, class Seq>
std::vector<U> aggregateParts(const PlanT& plan, const char* action, const U& zero, Seq seqOp, Where where) {
    const OperatorInfo op(action, CallSite::from(where));
    return runOnAll(plan, action, where, [plan, zero, seqOp, op](TaskContext& context) mutable {
        U sum(zero);
        plan.drive(context.partitionId(), context, [&](auto&& element) {
            guarded(&op, [&] { sum = std::invoke(seqOp, std::move(sum), std::as_const(element)); });
        });
        return sum;
    });
}

template <class PlanT, class U, class Seq, class Comb>
U aggregate(const PlanT& plan, const char* action, U zero, Seq seqOp, Comb combOp, Where where) {
    auto parts = aggregateParts(plan, action, zero, std::move(seqOp), where);
    for (U& part : parts) zero = std::invoke(combOp, std::move(zero), std::move(part));
    return zero;
}

/// Every level of the tree combines each value with a zero of its own first, so one that is not neutral counts often.
template <class PlanT, class U, class Seq, class Comb>
U treeAggregate(const PlanT& plan, U zero, Seq seqOp, Comb combOp, int depth, bool finalAggregateOnExecutor,
                Where where) {
    auto parts = aggregateParts(plan, "treeAggregate", zero, std::move(seqOp), where);
    if (parts.empty()) return zero;
    const auto withZero = [&](U& part) { return std::invoke(combOp, U(zero), std::move(part)); };
    const auto combineInto = [&](std::size_t groups) {
        for (std::size_t i = 0; i < parts.size(); ++i) {
            U part = withZero(parts[i]);
            U& group = parts[i % groups];
            group = i < groups ? std::move(part) : std::invoke(combOp, std::move(group), std::move(part));
        }
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(groups), parts.end());
    };
    const std::size_t scale = treeScale(parts.size(), depth);
    while (parts.size() > scale + (parts.size() + scale - 1) / scale) combineInto(parts.size() / scale);
    if (finalAggregateOnExecutor && parts.size() > 1) combineInto(1);
    U sum(zero);
    for (U& part : parts) sum = std::invoke(combOp, std::move(sum), withZero(part));
    return sum;
}

/// Each value of a partition with its count.
template <class PlanT>
auto countInPartition(const PlanT& plan, TaskContext& context) {
    FlatTable<Owned<typename PlanT::T>, int64_t> table;
    plan.drive(context.partitionId(), context, [&](auto&& element) {
        table.upsert(
            PlacementHash<std::remove_cvref_t<decltype(element)>>{}(element), element, [] { return int64_t{1}; },
            [](int64_t& n) { ++n; });
    });
    return std::move(table.entries());
}

template <class PlanT>
auto countByValue(const PlanT& plan, Where where) {
    using O = Owned<typename PlanT::T>;
    auto parts =
        runOnAll(plan, "countByValue", where, [plan](TaskContext& context) { return countInPartition(plan, context); });
    std::map<O, int64_t> counts;
    for (auto& part : parts) {
        for (auto& [value, n] : part) counts[value] += n;
    }
    return counts;
}

/// How many partitions `take` scans next.
int nextPartitionsToScan(const SparkContextCore& core, int scanned, std::size_t found, std::size_t wanted);

/// The first `wanted` elements of a partition.
template <class T>
Array<Owned<T>> takeFromPartition(const RddNode<T>& node, std::size_t wanted, TaskContext& context) {
    Array<Owned<T>> part;
    // Small chunks, so that no operator works ahead of what is asked for.
    context.limitChunkSize(wanted);
    CursorPtr<T> cursor = node.iterator(context.partitionId(), context);
    while (part.size() < wanted) {
        context.limitChunkSize(wanted - part.size());
        const Chunk<T> chunk = cursor->next();
        if (chunk.empty()) break;
        for (std::size_t i = 0; i < chunk.size && part.size() < wanted; ++i) {
            part.push_back(convertElement<Owned<T>>(chunk[i]));
        }
    }
    return part;
}

template <class T>
std::vector<Owned<T>> takeFrom(const std::shared_ptr<RddNode<T>>& node, std::vector<int> partitions, std::size_t wanted,
                               const char* action, Where where) {
    auto parts = runTasks(
        node, std::move(partitions), action, where,
        [node = node.get(), wanted](TaskContext& context) { return takeFromPartition(*node, wanted, context); });
    std::vector<Owned<T>> all;
    for (auto& part : parts) {
        for (auto& element : part) {
            if (all.size() < wanted) all.push_back(std::move(element));
        }
    }
    return all;
}

template <class T>
std::vector<Owned<T>> take(const std::shared_ptr<RddNode<T>>& node, int n, const char* action, Where where) {
    std::vector<Owned<T>> taken;
    if (n <= 0) return taken;
    const auto wanted = static_cast<std::size_t>(n);
    const int total = node->numPartitions();
    for (int scanned = 0; scanned < total && taken.size() < wanted;) {
        const int next =
            std::min(nextPartitionsToScan(*node->context(), scanned, taken.size(), wanted), total - scanned);
        std::vector<int> partitions(static_cast<std::size_t>(next));
        std::iota(partitions.begin(), partitions.end(), scanned);
        auto more = takeFrom<T>(node, std::move(partitions), wanted - taken.size(), action, where);
        taken.insert(taken.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
        scanned += next;
    }
    return taken;
}

template <class T>
Owned<T> first(const std::shared_ptr<RddNode<T>>& node, Where where) {
    auto one = take<T>(node, 1, "first", where);
    if (one.empty()) {
        throw EmptyCollectionException("first at " + CallSite::from(where).toString() +
                                       " needs at least one element: the RDD is empty");
    }
    return std::move(one.front());
}

/// @throws IllegalArgumentException  when it is negative
void checkTakenCount(int n, const char* action);

template <class PlanT, class Compare>
auto takeOrdered(const PlanT& plan, int n, Compare less, const char* action, Where where) {
    using O = Owned<typename PlanT::T>;
    std::vector<O> result;
    if (n == 0 || plan.node->numPartitions() == 0) return result;
    if (n < 0 && take<typename PlanT::T>(plan.node, 1, action, where).empty()) return result;
    checkTakenCount(n, action);
    const auto wanted = static_cast<std::size_t>(n);
    auto parts = runOnAll(plan, action, where, [plan, wanted, less](TaskContext& context) {
        std::vector<O> heap;  // the largest kept element on top
        plan.drive(context.partitionId(), context, [&](auto&& element) {
            O owned = convertElement<O>(std::forward<decltype(element)>(element));
            if (heap.size() < wanted) {
                heap.push_back(std::move(owned));
                std::push_heap(heap.begin(), heap.end(), less);
            } else if (less(owned, heap.front())) {
                std::pop_heap(heap.begin(), heap.end(), less);
                heap.back() = std::move(owned);
                std::push_heap(heap.begin(), heap.end(), less);
            }
        });
        return heap;
    });
    for (auto& part : parts)
        result.insert(result.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
    const std::size_t keep = std::min(wanted, result.size());
    std::partial_sort(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(keep), result.end(), less);
    result.resize(keep);
    return result;
}

/// One job per partition, started when its elements are asked for.
template <class T>
Iterator<Owned<T>> toLocalIterator(const std::shared_ptr<RddNode<T>>& node, Where where) {
    struct State {
        std::vector<Owned<T>> part;
        std::size_t position = 0;
        int next = 0;
    };
    return Iterator<Owned<T>>(fromNext([node, where, state = State{}]() mutable -> std::optional<Owned<T>> {
        while (state.position == state.part.size()) {
            if (state.next == node->numPartitions()) return std::nullopt;
            state.part =
                takeFrom<T>(node, {state.next++}, std::numeric_limits<std::size_t>::max(), "toLocalIterator", where);
            state.position = 0;
        }
        return std::move(state.part[state.position++]);
    }));
}

// ---- positions

template <class T>
RDD<std::pair<Owned<T>, int64_t>> zipWithIndex(const std::shared_ptr<RddNode<T>>& node, Where where) {
    std::vector<int64_t> starts(static_cast<std::size_t>(std::max(node->numPartitions(), 1)), 0);
    if (node->numPartitions() > 1) {
        auto partitions = allPartitions(*node);
        partitions.pop_back();
        const auto counts =
            runTasks(node, partitions, "zipWithIndex", where, [node = node.get()](TaskContext& context) {
                int64_t n = 0;
                CursorPtr<T> cursor = node->iterator(context.partitionId(), context);
                for (Chunk<T> chunk = cursor->next(); !chunk.empty(); chunk = cursor->next())
                    n += static_cast<int64_t>(chunk.size);
                return n;
            });
        std::partial_sum(counts.begin(), counts.end(), starts.begin() + 1);
    }
    return mapPartitions<T>(
        node, "zipWithIndex",
        [starts](int index, Iterator<T> part) {
            return fromNext(
                [part = std::make_shared<Iterator<T>>(std::move(part)),
                 at =
                     starts[static_cast<std::size_t>(index)]]() mutable -> std::optional<std::pair<Owned<T>, int64_t>> {
                    if (!part->hasNext()) return std::nullopt;
                    return std::pair<Owned<T>, int64_t>(convertElement<Owned<T>>(part->next()), at++);
                });
        },
        false, where);
}

template <class T>
RDD<std::pair<Owned<T>, int64_t>> zipWithUniqueId(const std::shared_ptr<RddNode<T>>& node, Where where) {
    return mapPartitions<T>(
        node, "zipWithUniqueId",
        [n = static_cast<int64_t>(node->numPartitions())](int index, Iterator<T> part) {
            return fromNext(
                [part = std::make_shared<Iterator<T>>(std::move(part)), n,
                 at = static_cast<int64_t>(index)]() mutable -> std::optional<std::pair<Owned<T>, int64_t>> {
                    if (!part->hasNext()) return std::nullopt;
                    std::pair<Owned<T>, int64_t> result(convertElement<Owned<T>>(part->next()), at);
                    at += n;
                    return result;
                });
        },
        false, where);
}

/// `f(Iterator<Ts>...)` over the same partition of several RDDs.
template <class U, class F, class... Ts>
class ZipPartitionsNode final : public RddNode<U> {
public:
    ZipPartitionsNode(F f, const char* name, CallSite callSite, std::optional<Partitioner> partitioner,
                      const std::shared_ptr<RddNode<Ts>>&... parents)
        : RddNode<U>(std::get<0>(std::tie(parents...))->context(), {std::make_shared<OneToOneDependency>(parents)...},
                     name, callSite, std::move(partitioner)),
          f_(std::move(f)),
          parents_(parents.get()...) {}
    const char* className() const override { return "ZippedPartitionsRDD"; }

private:
    int doNumPartitions() const override {
        return std::apply(
            [this](auto*... parents) {
                const std::array counts{parents->numPartitions()...};
                for (const int count : counts) {
                    if (count != counts[0]) {
                        throw IllegalArgumentException(
                            this->scopeText() + " needs RDDs with equal numbers of partitions: " +
                            std::to_string(counts[0]) + " and " + std::to_string(count) + "; repartition one of them");
                    }
                }
                return counts[0];
            },
            parents_);
    }
    CursorPtr<U> doCompute(int partition, TaskContext& context) const override {
        return lazyCursor<U>([this, f = std::make_shared<F>(f_), partition, &context]() mutable {
            return guarded(this, [&] {
                return std::apply(
                    [&](auto*... parents) {
                        return rangeCursor(std::invoke(*f, Iterator<Ts>(parents->iterator(partition, context))...),
                                           context.chunkSize());
                    },
                    parents_);
            });
        });
    }

    const F f_;
    const std::tuple<const RddNode<Ts>*...> parents_;
};

template <class F, class... Ts>
auto zipPartitions(F f, bool preservesPartitioning, Where where, const std::shared_ptr<RddNode<Ts>>&... nodes) {
    using U = RangeElement<std::invoke_result_t<F&, Iterator<Ts>...>>;
    return makeRdd<U>(makeNode<ZipPartitionsNode<U, F, Ts...>>(
        std::move(f), "zipPartitions", CallSite::from(where),
        preservesPartitioning ? std::get<0>(std::tie(nodes...))->partitioner() : std::nullopt, nodes...));
}

template <class T, class U>
RDD<std::pair<Owned<T>, Owned<U>>> zip(const std::shared_ptr<RddNode<T>>& left,
                                       const std::shared_ptr<RddNode<U>>& right, Where where) {
    using Pair = std::pair<Owned<T>, Owned<U>>;
    return zipPartitions(
        [](Iterator<T> a, Iterator<U> b) {
            struct Both {
                Iterator<T> a;
                Iterator<U> b;
            };
            return fromNext([both = std::make_shared<Both>(Both{std::move(a), std::move(b)})]() -> std::optional<Pair> {
                const bool hasA = both->a.hasNext();
                if (hasA != both->b.hasNext()) {
                    throw SparkException(
                        "zip needs the same number of elements in each partition of both RDDs: one ended first");
                }
                if (!hasA) return std::nullopt;
                return Pair(convertElement<Owned<T>>(both->a.next()), convertElement<Owned<U>>(both->b.next()));
            });
        },
        false, where, left, right);
}

// ---- randomness

int64_t randomSeed();
/// The smallest whole number that is not below `value`.
int64_t roundedUp(double value);
/// A fraction of `total` elements that holds `wanted` in all but one of ten thousand cases.
double fractionFor(int64_t wanted, int64_t total, bool withReplacement);

/// Uniform in [0, 1), the same sequence for the same seed and partition on every machine.
class PartitionRandom {
public:
    PartitionRandom(int64_t seed, int partition)
        : state_(static_cast<uint64_t>(seed) + static_cast<uint64_t>(partition) * 0x9E3779B97F4A7C15ULL) {}
    uint64_t next() {
        uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
        return z ^ (z >> 31);
    }
    double nextDouble() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
    /// Poisson distributed with this mean.
    int nextPoisson(double mean);

private:
    uint64_t state_;
};

/// Keeps each element `copies(random, element)` times.
template <class T, class Copies>
RDD<Owned<T>> sampleBy(const std::shared_ptr<RddNode<T>>& node, const char* name, int64_t seed, Copies copies,
                       Where where) {
    return mapPartitions<T>(
        node, name,
        [seed, copies](int index, Iterator<T> part) {
            struct State {
                Iterator<T> part;
                PartitionRandom random;
                std::optional<Owned<T>> current;
                int left = 0;
            };
            auto state = std::make_shared<State>(State{std::move(part), PartitionRandom(seed, index), std::nullopt, 0});
            return fromNext([state, copies]() mutable -> std::optional<Owned<T>> {
                while (state->left == 0) {
                    if (!state->part.hasNext()) return std::nullopt;
                    state->current = convertElement<Owned<T>>(state->part.next());
                    state->left = copies(state->random, *state->current);
                }
                --state->left;
                return *state->current;
            });
        },
        true, where);
}

template <class T>
RDD<Owned<T>> sample(const std::shared_ptr<RddNode<T>>& node, bool withReplacement, double fraction,
                     std::optional<int64_t> seed, Where where) {
    if (!(fraction >= 0) || (!withReplacement && fraction > 1)) {
        throw IllegalArgumentException(std::string("sample needs a fraction that is not negative") +
                                       (withReplacement ? ": " : " and at most 1 without replacement: ") +
                                       std::to_string(fraction));
    }
    return sampleBy<T>(
        node, "sample", seed.value_or(randomSeed()),
        [withReplacement, fraction](PartitionRandom& random, const Owned<T>&) {
            return withReplacement ? random.nextPoisson(fraction) : static_cast<int>(random.nextDouble() < fraction);
        },
        where);
}

template <class T>
std::vector<RDD<Owned<T>>> randomSplit(const std::shared_ptr<RddNode<T>>& node, std::vector<double> weights,
                                       std::optional<int64_t> seed, Where where) {
    double sum = 0;
    for (const double weight : weights) {
        if (!(weight >= 0))
            throw IllegalArgumentException("randomSplit needs weights that are not negative: " +
                                           std::to_string(weight));
        sum += weight;
    }
    if (!(sum > 0))
        throw IllegalArgumentException("randomSplit needs weights whose sum is positive: " + std::to_string(sum));
    const int64_t actualSeed = seed.value_or(randomSeed());
    std::vector<RDD<Owned<T>>> parts;
    double from = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double to = i + 1 == weights.size() ? 2.0 : from + weights[i] / sum;
        parts.push_back(sampleBy<T>(
            node, "randomSplit", actualSeed,
            [from, to](PartitionRandom& random, const Owned<T>&) {
                const double x = random.nextDouble();
                return static_cast<int>(x >= from && x < to);
            },
            where));
        from = to;
    }
    return parts;
}

template <class T>
std::vector<Owned<T>> takeSample(const RDD<T>& rdd, bool withReplacement, int n, std::optional<int64_t> seed,
                                 Where where) {
    if (n < 0) throw IllegalArgumentException("takeSample needs a number that is not negative: " + std::to_string(n));
    std::vector<Owned<T>> result;
    if (n == 0) return result;
    PartitionRandom random(seed.value_or(randomSeed()), -1);
    const int64_t total = rdd.count(where);
    if (total == 0) return result;
    if (!withReplacement && n >= total) {
        result = rdd.collect(where);
    } else {
        // In the rare case of too few it draws again.
        const double fraction = fractionFor(n, total, withReplacement);
        while (result.size() < static_cast<std::size_t>(n)) {
            result = rdd.sample(withReplacement, fraction, static_cast<int64_t>(random.next()), where).collect(where);
        }
    }
    for (std::size_t i = result.size(); i > 1; --i) std::swap(result[i - 1], result[random.next() % i]);
    result.resize(std::min(result.size(), static_cast<std::size_t>(n)));
    return result;
}

// ---- unions, products, fewer partitions

template <class T>
class UnionNode final : public RddNode<T> {
public:
    UnionNode(const std::shared_ptr<SparkContextCore>& context, RddBase::Lineage dependencies,
              std::vector<std::shared_ptr<RddNode<T>>> parents, CallSite callSite)
        : RddNode<T>(context, std::move(dependencies), "union", callSite, std::nullopt) {
        for (const auto& parent : parents) {
            for (int p = 0; p < parent->numPartitions(); ++p) places_.emplace_back(parent.get(), p);
        }
    }
    const char* className() const override { return "UnionRDD"; }

private:
    int doNumPartitions() const override { return static_cast<int>(places_.size()); }
    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        const auto& [parent, index] = places_[static_cast<std::size_t>(partition)];
        return parent->iterator(index, context);
    }

    std::vector<std::pair<const RddNode<T>*, int>> places_;
};

/// Reads several cursors one after the other, each opened when the one before is at its end.
template <class T>
class ChainCursor final : public Cursor<T> {
public:
    using Open = std::function<CursorPtr<T>()>;
    explicit ChainCursor(std::vector<Open> parts) : parts_(std::move(parts)) {}

private:
    Chunk<T> doNext() override {
        for (;;) {
            if (current_) {
                if (Chunk<T> chunk = current_->next(); !chunk.empty()) return chunk;
                current_.reset();
            }
            if (next_ == parts_.size()) return {};
            current_ = parts_[next_++]();
        }
    }
    std::vector<Open> parts_;
    std::size_t next_ = 0;
    CursorPtr<T> current_;
};

/// Partition i is made of the listed partitions of the parents.
template <class T>
class GatherNode final : public RddNode<T> {
public:
    using Places = std::vector<std::vector<std::pair<const RddNode<T>*, int>>>;
    GatherNode(const std::shared_ptr<SparkContextCore>& context, RddBase::Lineage dependencies, Places places,
               const char* className, const char* name, CallSite callSite, std::optional<Partitioner> partitioner)
        : RddNode<T>(context, std::move(dependencies), name, callSite, std::move(partitioner)),
          className_(className),
          places_(std::move(places)) {}
    const char* className() const override { return className_; }

private:
    int doNumPartitions() const override { return static_cast<int>(places_.size()); }
    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        std::vector<typename ChainCursor<T>::Open> parts;
        for (const auto& [parent, index] : places_[static_cast<std::size_t>(partition)]) {
            parts.push_back([parent = parent, index = index, &context] { return parent->iterator(index, context); });
        }
        return std::make_unique<ChainCursor<T>>(std::move(parts));
    }

    const char* className_;
    Places places_;
};

template <class T>
RDD<T> emptyRdd(const std::shared_ptr<SparkContextCore>& context, Where where);

template <class T>
RDD<T> unionAll(const std::shared_ptr<SparkContextCore>& context, std::vector<std::shared_ptr<RddNode<T>>> parents,
                Where where) {
    std::erase_if(parents, [](const auto& parent) { return parent->numPartitions() == 0; });
    const CallSite callSite = CallSite::from(where);
    if (!parents.empty() && parents[0]->partitioner() &&
        std::all_of(parents.begin(), parents.end(),
                    [&](const auto& parent) { return parent->partitioner() == parents[0]->partitioner(); })) {
        typename GatherNode<T>::Places places(static_cast<std::size_t>(parents[0]->numPartitions()));
        RddBase::Lineage dependencies;
        for (const auto& parent : parents) {
            dependencies.push_back(std::make_shared<OneToOneDependency>(parent));
            for (std::size_t p = 0; p < places.size(); ++p) places[p].emplace_back(parent.get(), static_cast<int>(p));
        }
        return makeRdd<T>(makeNode<GatherNode<T>>(context, std::move(dependencies), std::move(places),
                                                  "PartitionerAwareUnionRDD", "union", callSite,
                                                  parents[0]->partitioner()));
    }
    RddBase::Lineage dependencies;
    int start = 0;
    for (const auto& parent : parents) {
        dependencies.push_back(std::make_shared<RangeDependency>(parent, 0, start, parent->numPartitions()));
        start += parent->numPartitions();
    }
    return makeRdd<T>(makeNode<UnionNode<T>>(context, std::move(dependencies), std::move(parents), callSite));
}

template <class T, class U>
class CartesianNode final : public RddNode<std::pair<Owned<T>, Owned<U>>> {
    using Pair = std::pair<Owned<T>, Owned<U>>;

    /// Every left partition meets every right one.
    class Side final : public Dependency {
    public:
        Side(std::shared_ptr<RddBase> parent, std::shared_ptr<RddBase> right, bool isLeft)
            : Dependency(std::move(parent)), right_(std::move(right)), isLeft_(isLeft) {}
        void parents(int partition, std::vector<int>& out) const override {
            const int n = right_->numPartitions();
            out.push_back(isLeft_ ? partition / n : partition % n);
        }

    private:
        std::shared_ptr<RddBase> right_;
        bool isLeft_;
    };

public:
    CartesianNode(const std::shared_ptr<RddNode<T>>& left, const std::shared_ptr<RddNode<U>>& right, CallSite callSite)
        : RddNode<Pair>(left->context(),
                        {std::make_shared<Side>(left, right, true), std::make_shared<Side>(right, right, false)},
                        "cartesian", callSite, std::nullopt),
          left_(left.get()),
          right_(right.get()) {}
    const char* className() const override { return "CartesianRDD"; }

private:
    int doNumPartitions() const override { return left_->numPartitions() * right_->numPartitions(); }
    CursorPtr<Pair> doCompute(int partition, TaskContext& context) const override {
        const int n = right_->numPartitions();
        struct State {
            Iterator<T> left;
            Iterator<U> right;
            std::optional<Owned<T>> current;
        };
        auto state =
            std::make_shared<State>(State{Iterator<T>(left_->iterator(partition / n, context)), {}, std::nullopt});
        auto next = [this, state, index = partition % n, &context]() -> std::optional<Pair> {
            while (!state->current || !state->right.hasNext()) {
                if (!state->left.hasNext()) return std::nullopt;
                state->current = convertElement<Owned<T>>(state->left.next());
                state->right = Iterator<U>(right_->iterator(index, context));
            }
            return Pair(*state->current, convertElement<Owned<U>>(state->right.next()));
        };
        return rangeCursor(fromNext(std::move(next)), context.chunkSize());
    }

    const RddNode<T>* left_;
    const RddNode<U>* right_;
};

template <class T, class U>
RDD<std::pair<Owned<T>, Owned<U>>> cartesian(const std::shared_ptr<RddNode<T>>& left,
                                             const std::shared_ptr<RddNode<U>>& right, Where where) {
    return makeRdd<std::pair<Owned<T>, Owned<U>>>(makeNode<CartesianNode<T, U>>(left, right, CallSite::from(where)));
}

/// Converts to the owning element type where it differs.
template <class T>
RDD<Owned<T>> owning(const std::shared_ptr<RddNode<T>>& node, Where where) {
    if constexpr (kIsView<T>) {
        return RDD<T>(node).map([](const T& element) { return toOwned(element); }, where);
    } else {
        return RDD<T>(node);
    }
}

template <class T>
RDD<Owned<T>> coalesce(const std::shared_ptr<RddNode<T>>& node, int n, bool shuffle, const char* name, Where where,
                       const PartitionCoalescer* coalescer = nullptr);

/// The node's current partitions in n groups of neighbours, as even as can be.
std::vector<std::vector<int>> neighbourGroups(int count, int n);

// ---- in the background

template <class R, class PlanT, class PerTask, class Merge>
FutureAction<R> runInBackground(const PlanT& plan, const char* action, Where where, PerTask perTask, Merge merge) {
    using Part = std::invoke_result_t<PerTask&, TaskContext&>;
    auto slots =
        std::make_shared<std::vector<std::optional<Part>>>(static_cast<std::size_t>(plan.node->numPartitions()));
    JobRequest request;
    request.rdd = plan.node;
    request.partitions = allPartitions(*plan.node);
    request.task = [perTask = std::move(perTask)](TaskContext& context) -> std::shared_ptr<void> {
        PerTask copy(perTask);
        return std::make_shared<Part>(copy(context));
    };
    request.onResult = [slots](int index, std::shared_ptr<void> result) {
        (*slots)[static_cast<std::size_t>(index)] = std::move(*static_cast<Part*>(result.get()));
    };
    request.action = action;
    request.callSite = CallSite::from(where);
    auto job = plan.node->context()->submitJob(std::move(request));
    return FutureAction<R>(std::move(job), [slots, merge] { return merge(*slots); });
}

template <class PlanT>
FutureAction<int64_t> countAsync(const PlanT& plan, Where where) {
    return runInBackground<int64_t>(
        plan, "countAsync", where, [plan](TaskContext& context) { return countPartition(plan, context); },
        [](const auto& parts) {
            int64_t sum = 0;
            for (const auto& part : parts) sum += *part;
            return sum;
        });
}

template <class PlanT>
auto collectAsync(const PlanT& plan, Where where) {
    using O = Owned<typename PlanT::T>;
    return runInBackground<std::vector<O>>(
        plan, "collectAsync", where,
        [plan](TaskContext& context) {
            std::vector<O> part;
            plan.drive(context.partitionId(), context, [&](auto&& element) {
                part.push_back(convertElement<O>(std::forward<decltype(element)>(element)));
            });
            return part;
        },
        [](const auto& parts) {
            std::vector<O> all;
            for (const auto& part : parts) all.insert(all.end(), part->begin(), part->end());
            return all;
        });
}

template <class PlanT, class F>
FutureAction<void> foreachAsync(const PlanT& plan, F f, Where where) {
    using T = typename PlanT::T;
    return runInBackground<void>(
        plan, "foreachAsync", where,
        [plan, f, op = OperatorInfo("foreachAsync", CallSite::from(where))](TaskContext& context) mutable {
            plan.drive(context.partitionId(), context,
                       [&](auto&& element) { guarded(&op, [&] { std::invoke(f, convertElement<T>(element)); }); });
            return Done{};
        },
        [](const auto&) {});
}

template <class T, class F>
FutureAction<void> foreachPartitionAsync(const std::shared_ptr<RddNode<T>>& node, F f, Where where) {
    return runInBackground<void>(
        RDD<T>(node).plan(), "foreachPartitionAsync", where,
        [node = node.get(), f,
         op = OperatorInfo("foreachPartitionAsync", CallSite::from(where))](TaskContext& context) mutable {
            guarded(&op, [&] { std::invoke(f, Iterator<T>(node->iterator(context.partitionId(), context))); });
            return Done{};
        },
        [](const auto&) {});
}

/// As take: one job after the other, the next one started at the end of the one before.
template <class T>
class TakeJob final : public JobHandle, public std::enable_shared_from_this<TakeJob<T>> {
public:
    TakeJob(std::shared_ptr<RddNode<T>> node, int n, Where where)
        : node_(std::move(node)),
          wanted_(n > 0 ? static_cast<std::size_t>(n) : 0),
          where_(where),
          context_(node_->context()) {}

    void startNext() {
        const int total = node_->numPartitions();
        if (taken_.size() >= wanted_ || scanned_ >= total) return end(nullptr);
        const int next = std::min(nextPartitionsToScan(*context_, scanned_, taken_.size(), wanted_), total - scanned_);
        auto parts = std::make_shared<std::vector<Array<Owned<T>>>>(static_cast<std::size_t>(next));
        JobRequest request;
        request.rdd = node_;
        for (int i = 0; i < next; ++i) request.partitions.push_back(scanned_ + i);
        request.task = [node = node_.get(),
                        wanted = wanted_ - taken_.size()](TaskContext& context) -> std::shared_ptr<void> {
            return std::make_shared<Array<Owned<T>>>(takeFromPartition(*node, wanted, context));
        };
        request.onResult = [parts](int index, std::shared_ptr<void> result) {
            (*parts)[static_cast<std::size_t>(index)] = std::move(*static_cast<Array<Owned<T>>*>(result.get()));
        };
        request.action = "takeAsync";
        request.callSite = CallSite::from(where_);
        auto job = context_->submitJob(std::move(request));
        {
            const std::lock_guard lock(mutex_);
            current_ = job;
            for (const int id : job->jobIds()) jobIds_.push_back(id);
        }
        job->onEnd([self = this->shared_from_this(), parts, next](std::exception_ptr error) {
            if (error) return self->end(error);
            for (auto& part : *parts) {
                for (auto& element : part) {
                    if (self->taken_.size() < self->wanted_) self->taken_.push_back(std::move(element));
                }
            }
            self->scanned_ += next;
            if (self->cancelReason()) return self->end(std::make_exception_ptr(SparkException(*self->cancelReason())));
            try {
                self->startNext();
            } catch (...) {
                self->end(std::current_exception());
            }
        });
    }

    std::vector<int> jobIds() const override {
        const std::lock_guard lock(mutex_);
        return jobIds_;
    }
    void wait() override {
        completion_.wait();
        const std::lock_guard lock(mutex_);
        if (error_) std::rethrow_exception(error_);
    }
    bool isDone() const override {
        const std::lock_guard lock(mutex_);
        return done_;
    }
    std::exception_ptr error() const override {
        const std::lock_guard lock(mutex_);
        return error_;
    }
    bool wasCancelled() const override { return cancelReason().has_value(); }
    void cancel(const std::string& reason) override {
        std::shared_ptr<JobHandle> current;
        {
            const std::lock_guard lock(mutex_);
            if (done_) return;
            reason_ = reason;
            current = current_;
        }
        if (current) current->cancel(reason);
    }
    void onEnd(std::function<void(std::exception_ptr)> f) override {
        {
            const std::lock_guard lock(mutex_);
            if (!done_) {
                callbacks_.push_back(std::move(f));
                return;
            }
        }
        f(error_);
    }
    std::vector<Owned<T>> result() const { return taken_; }

private:
    std::optional<std::string> cancelReason() const {
        const std::lock_guard lock(mutex_);
        return reason_;
    }
    void end(std::exception_ptr error) {
        std::vector<std::function<void(std::exception_ptr)>> callbacks;
        {
            const std::lock_guard lock(mutex_);
            if (done_) return;
            done_ = true;
            error_ = error;
            callbacks.swap(callbacks_);
        }
        completion_.set();
        for (auto& callback : callbacks) callback(error);
    }

    const std::shared_ptr<RddNode<T>> node_;
    const std::size_t wanted_;
    const Where where_;
    const std::shared_ptr<SparkContextCore> context_;
    std::vector<Owned<T>> taken_;  // of the job running, one at a time
    int scanned_ = 0;
    Completion completion_;
    mutable std::mutex mutex_;  // guards the fields below
    bool done_ = false;
    std::exception_ptr error_;
    std::optional<std::string> reason_;
    std::shared_ptr<JobHandle> current_;
    std::vector<int> jobIds_;
    std::vector<std::function<void(std::exception_ptr)>> callbacks_;
};

template <class T>
FutureAction<std::vector<Owned<T>>> takeAsync(const std::shared_ptr<RddNode<T>>& node, int n, Where where) {
    auto job = std::make_shared<TakeJob<T>>(node, n, where);
    job->startNext();
    return FutureAction<std::vector<Owned<T>>>(job, [job] { return job->result(); });
}

// ---- as good as it gets within a time

/// Runs a job on all partitions and waits for its end, `timeoutMs` at most. `merge(Part)` and `estimate(merged, total)`
/// are called by one thread at a time. After the time-out the job runs on and completes the result.
template <class R, class Evaluator, class PlanT, class PerTask>
PartialResult<R> runApproximately(const PlanT& plan, const char* action, int64_t timeoutMs, Where where,
                                  Evaluator evaluator, PerTask perTask) {
    using Part = std::invoke_result_t<PerTask&, TaskContext&>;
    struct State {
        explicit State(Evaluator e) : evaluator(std::move(e)) {}
        Completion completion;
        std::mutex mutex;  // guards the fields below
        Evaluator evaluator;
        int merged = 0;
        bool ended = false;
        std::exception_ptr error;
        std::optional<PartialResult<R>> later;
    };
    auto state = std::make_shared<State>(std::move(evaluator));
    const int total = plan.node->numPartitions();
    JobRequest request;
    request.rdd = plan.node;
    request.partitions = allPartitions(*plan.node);
    request.task = [perTask = std::move(perTask)](TaskContext& context) -> std::shared_ptr<void> {
        PerTask copy(perTask);
        return std::make_shared<Part>(copy(context));
    };
    request.onResult = [state](int, std::shared_ptr<void> part) {
        const std::lock_guard lock(state->mutex);
        state->evaluator.merge(*static_cast<Part*>(part.get()));
        ++state->merged;
    };
    request.action = action;
    request.callSite = CallSite::from(where);
    plan.node->context()->submitJob(std::move(request))->onEnd([state, total](std::exception_ptr error) {
        std::optional<PartialResult<R>> later;
        std::optional<R> value;
        {
            const std::lock_guard lock(state->mutex);
            state->ended = true;
            state->error = error;
            later = state->later;
            if (!error) value = state->evaluator.estimate(state->merged, total);
        }
        state->completion.set();
        if (!later) return;
        if (error) {
            later->fail(error);
        } else {
            later->complete(std::move(*value));
        }
    });
    state->completion.waitFor(timeoutMs);
    const std::lock_guard lock(state->mutex);
    if (state->error) std::rethrow_exception(state->error);
    PartialResult<R> result(state->evaluator.estimate(state->merged, total), state->ended);
    if (!state->ended) state->later = result;
    return result;
}

struct CountEvaluator {
    double confidence;
    int64_t sum = 0;
    void merge(int64_t part) { sum += part; }
    BoundedDouble estimate(int merged, int total) const { return estimateCount(sum, merged, total, confidence); }
};

template <class T>
struct GroupedCountEvaluator {
    double confidence;
    std::map<T, int64_t> sums;
    void merge(const std::vector<std::pair<T, int64_t>>& part) {
        for (const auto& [value, n] : part) sums[value] += n;
    }
    std::map<T, BoundedDouble> estimate(int merged, int total) const {
        std::map<T, BoundedDouble> result;
        for (const auto& [value, n] : sums) result.emplace(value, estimateCount(n, merged, total, confidence));
        return result;
    }
};

template <BoundedDouble (*kEstimate)(const Moments&, int, int, double)>
struct MomentsEvaluator {
    double confidence;
    StatCounter sum;
    void merge(const StatCounter& part) { sum.merge(part); }
    BoundedDouble estimate(int merged, int total) const {
        return kEstimate(Moments{sum.count(), sum.mean(), sum.sampleVariance()}, merged, total, confidence);
    }
};

template <class PlanT>
PartialResult<BoundedDouble> countApprox(const PlanT& plan, int64_t timeoutMs, double confidence, Where where) {
    checkConfidence(confidence);
    if (const auto known = plan.node->knownCount()) {
        const auto exact = static_cast<double>(*known);
        return {BoundedDouble{exact, 1.0, exact, exact}, true};
    }
    return runApproximately<BoundedDouble>(plan, "countApprox", timeoutMs, where, CountEvaluator{confidence},
                                           [plan](TaskContext& context) { return countPartition(plan, context); });
}

template <class PlanT>
auto countByValueApprox(const PlanT& plan, int64_t timeoutMs, double confidence, Where where) {
    using O = Owned<typename PlanT::T>;
    checkConfidence(confidence);
    return runApproximately<std::map<O, BoundedDouble>>(
        plan, "countByValueApprox", timeoutMs, where, GroupedCountEvaluator<O>{confidence, {}},
        [plan](TaskContext& context) { return countInPartition(plan, context); });
}

template <BoundedDouble (*kEstimate)(const Moments&, int, int, double), class PlanT>
PartialResult<BoundedDouble> momentsApprox(const PlanT& plan, const char* action, int64_t timeoutMs, double confidence,
                                           Where where) {
    checkConfidence(confidence);
    return runApproximately<BoundedDouble>(
        plan, action, timeoutMs, where, MomentsEvaluator<kEstimate>{confidence, {}}, [plan](TaskContext& context) {
            StatCounter sum;
            plan.drive(context.partitionId(), context, [&](auto&& x) { sum.merge(static_cast<double>(x)); });
            return sum;
        });
}

// ---- distinct elements, estimated

template <class PlanT>
int64_t countApproxDistinct(const PlanT& plan, int p, int sp, Where where) {
    HyperLogLog::check(p, sp);
    auto parts = runOnAll(plan, "countApproxDistinct", where, [plan, p](TaskContext& context) {
        HyperLogLog sketch(p);
        plan.drive(context.partitionId(), context, [&](auto&& element) {
            sketch.add(PlacementHash<std::remove_cvref_t<decltype(element)>>{}(element));
        });
        return sketch;
    });
    HyperLogLog all(p);
    for (const auto& part : parts) all.merge(part);
    return all.estimate();
}

template <class PlanT>
int64_t countApproxDistinct(const PlanT& plan, double relativeSD, Where where) {
    return countApproxDistinct(plan, HyperLogLog::precisionFor(relativeSD), 0, where);
}

}  // namespace dstream::detail
