#pragma once

#include "rdd/spark_context.hpp"

// Bodies of SparkContext's templates, and what RDD<T> needs of the context.

namespace dstream {
namespace detail {

/// Slice i of n of a sequence of this length: [first, second).
inline std::pair<std::size_t, std::size_t> sliceBounds(std::size_t length, std::size_t i, std::size_t n) {
    __extension__ using Wide = unsigned __int128;
    return {static_cast<std::size_t>(static_cast<Wide>(i) * length / n),
            static_cast<std::size_t>(static_cast<Wide>(i + 1) * length / n)};
}

/// Partitions that lie in memory: whole vectors, or slices of one.
template <class T>
class CollectionNode final : public RddNode<T> {
public:
    struct Slice {
        std::shared_ptr<const Array<T>> elements;
        std::size_t begin;
        std::size_t end;
    };
    /// `slices` gives the partitions when they are first asked for.
    CollectionNode(const std::shared_ptr<SparkContextCore>& context, std::function<std::vector<Slice>()> slices,
                   const char* name, CallSite callSite, std::vector<std::vector<std::string>> hosts = {})
        : RddNode<T>(context, {}, name, callSite, std::nullopt),
          makeSlices_(std::move(slices)),
          hosts_(std::move(hosts)) {}
    const char* className() const override { return "ParallelCollectionRDD"; }

private:
    int doNumPartitions() const override {
        slices_ = makeSlices_();
        return static_cast<int>(slices_.size());
    }
    std::vector<std::string> doPreferredLocations(int partition) const override {
        return hosts_.empty() ? std::vector<std::string>{} : hosts_[static_cast<std::size_t>(partition)];
    }
    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        const Slice& slice = slices_[static_cast<std::size_t>(partition)];
        return std::make_unique<SharedArrayCursor<T, std::shared_ptr<const Array<T>>>>(
            slice.elements, slice.elements->data() + slice.begin, slice.end - slice.begin, context.chunkSize());
    }

    int doSplitCount(int partition) const override {
        const Slice& slice = slices_[static_cast<std::size_t>(partition)];
        return static_cast<int>(
            std::max<std::size_t>(1, (slice.end - slice.begin) * sizeof(T) / RddNode<T>::kSplitTargetBytes));
    }
    CursorPtr<T> doComputeSplit(int partition, int split, TaskContext& context) const override {
        const Slice& slice = slices_[static_cast<std::size_t>(partition)];
        const auto [begin, end] = sliceBounds(slice.end - slice.begin, static_cast<std::size_t>(split),
                                              static_cast<std::size_t>(doSplitCount(partition)));
        return std::make_unique<SharedArrayCursor<T, std::shared_ptr<const Array<T>>>>(
            slice.elements, slice.elements->data() + slice.begin + begin, end - begin, context.chunkSize());
    }

    const std::function<std::vector<Slice>()> makeSlices_;
    const std::vector<std::vector<std::string>> hosts_;
    mutable std::vector<Slice> slices_;  // written once, under the guard of numPartitions()
};

void checkSlices(int slices);

template <class T>
Array<T> toArray(std::vector<T> elements) {
    if constexpr (std::is_same_v<T, bool>) {
        Array<T> array;
        for (const bool element : elements) array.push_back(element);
        return array;
    } else {
        return elements;
    }
}

/// Numbers from start by step, without storing them.
class RangeNode final : public RddNode<int64_t> {
public:
    RangeNode(const std::shared_ptr<SparkContextCore>& context, int64_t start, int64_t step, uint64_t count, int slices,
              CallSite callSite);
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    int doNumPartitions() const override;
    CursorPtr<int64_t> doCompute(int partition, TaskContext& context) const override;

    const int64_t start_, step_;
    const uint64_t count_;
    const int slices_;
};

template <class T>
RDD<T> emptyRdd(const std::shared_ptr<SparkContextCore>& context, Where where) {
    return makeRdd<T>(makeNode<CollectionNode<T>>(
        context, [] { return std::vector<typename CollectionNode<T>::Slice>{}; }, "emptyRDD", CallSite::from(where)));
}

template <class Self, class T, class Base>
SparkContext RddOps<Self, T, Base>::context() const {
    return SparkContext(this->node()->context());
}
template <class Self, class T, class Base>
SparkContext RddOps<Self, T, Base>::sparkContext() const {
    return SparkContext(this->node()->context());
}

/// `f(TaskContext&, Iterator<T>)` or `f(Iterator<T>)`.
template <class T, class F>
decltype(auto) callJobFunction(F& f, TaskContext& context, Iterator<T> part) {
    if constexpr (std::is_invocable_v<F&, TaskContext&, Iterator<T>>) {
        return std::invoke(f, context, std::move(part));
    } else {
        return std::invoke(f, std::move(part));
    }
}

template <class T, class F>
JobRequest jobRequest(const RDD<T>& rdd, F f, std::vector<int> partitions, const char* action, Where where) {
    JobRequest request;
    request.rdd = rdd.node();
    request.partitions = std::move(partitions);
    request.task = [node = rdd.node().get(), f = std::move(f),
                    op = OperatorInfo(action, CallSite::from(where))](TaskContext& context) -> std::shared_ptr<void> {
        F copy(f);
        Iterator<T> part(node->iterator(context.partitionId(), context));
        return guarded(&op, [&]() -> std::shared_ptr<void> {
            using R = decltype(callJobFunction<T>(copy, context, std::move(part)));
            if constexpr (std::is_void_v<R>) {
                callJobFunction<T>(copy, context, std::move(part));
                return std::make_shared<Done>();
            } else {
                return std::make_shared<std::remove_cvref_t<R>>(callJobFunction<T>(copy, context, std::move(part)));
            }
        });
    };
    request.action = action;
    request.callSite = CallSite::from(where);
    return request;
}

template <class T, class F>
struct JobResult {
    using Raw =
        decltype(callJobFunction<T>(std::declval<F&>(), std::declval<TaskContext&>(), std::declval<Iterator<T>>()));
    using type = std::conditional_t<std::is_void_v<Raw>, Done, std::remove_cvref_t<Raw>>;
};

}  // namespace detail

template <class T>
RDD<T> SparkContext::parallelize(std::vector<T> elements, std::optional<int> slices,
                                 std::source_location location) const {
    core_->assertUsable("parallelize");
    using Slice = typename detail::CollectionNode<T>::Slice;
    const int n = slices.value_or(defaultParallelism());
    auto array = std::make_shared<const detail::Array<T>>(detail::toArray(std::move(elements)));
    return detail::makeRdd<T>(detail::makeNode<detail::CollectionNode<T>>(
        core_,
        [array, n] {
            detail::checkSlices(n);
            std::vector<Slice> result;
            for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
                const auto [begin, end] = detail::sliceBounds(array->size(), i, static_cast<std::size_t>(n));
                result.push_back({array, begin, end});
            }
            return result;
        },
        "parallelize", CallSite::from(location)));
}

template <class T>
RDD<T> SparkContext::makeRDD(std::vector<std::pair<T, std::vector<std::string>>> elementsAndHosts,
                             std::source_location location) const {
    core_->assertUsable("makeRDD");
    using Slice = typename detail::CollectionNode<T>::Slice;
    std::vector<T> elements;
    std::vector<std::vector<std::string>> hosts;
    for (auto& [element, names] : elementsAndHosts) {
        elements.push_back(std::move(element));
        hosts.push_back(std::move(names));
    }
    if (hosts.empty()) hosts.emplace_back();
    auto array = std::make_shared<const detail::Array<T>>(detail::toArray(std::move(elements)));
    return detail::makeRdd<T>(detail::makeNode<detail::CollectionNode<T>>(
        core_,
        [array] {
            std::vector<Slice> result;
            for (std::size_t i = 0; i < array->size(); ++i) result.push_back({array, i, i + 1});
            if (result.empty()) result.push_back({array, 0, 0});
            return result;
        },
        "makeRDD", CallSite::from(location), std::move(hosts)));
}

template <class T>
RDD<T> SparkContext::fromPartitions(std::vector<std::vector<T>> partitions, std::source_location location) const {
    core_->assertUsable("fromPartitions");
    using Slice = typename detail::CollectionNode<T>::Slice;
    std::vector<Slice> slices;
    for (auto& partition : partitions) {
        auto array = std::make_shared<const detail::Array<T>>(detail::toArray(std::move(partition)));
        slices.push_back({array, 0, array->size()});
    }
    return detail::makeRdd<T>(detail::makeNode<detail::CollectionNode<T>>(
        core_, [slices = std::move(slices)] { return slices; }, "fromPartitions", CallSite::from(location)));
}

template <class T>
RDD<T> SparkContext::emptyRDD(std::source_location location) const {
    core_->assertUsable("emptyRDD");
    return detail::emptyRdd<T>(core_, location);
}

template <class T>
RDD<T> SparkContext::objectFile(const std::string& path, std::optional<int>, std::source_location location) const {
    static_assert(Codable<Owned<T>>, "objectFile needs a Codec of the element type");
    core_->assertUsable("objectFile");
    auto rdd = detail::makeRdd<T>(detail::makeNode<detail::ObjectFilesNode<T>>(core_, path, CallSite::from(location)));
    return rdd.setName(path);
}

template <class T>
RDD<T> SparkContext::unionAll(std::vector<RDD<T>> rdds, std::source_location location) const {
    core_->assertUsable("union");
    std::vector<std::shared_ptr<RddNode<T>>> nodes;
    for (const auto& rdd : rdds) nodes.push_back(rdd.node());
    return detail::unionAll<T>(core_, std::move(nodes), location);
}

template <class T, class F>
auto SparkContext::runJob(const RDD<T>& rdd, F f, std::optional<std::vector<int>> partitions,
                          std::source_location location) const {
    using R = typename detail::JobResult<T, F>::type;
    std::vector<int> list = partitions ? std::move(*partitions) : detail::allPartitions(*rdd.node());
    std::vector<std::optional<R>> slots(list.size());
    JobRequest request = detail::jobRequest(rdd, std::move(f), std::move(list), "runJob", location);
    request.onResult = [&slots](int index, std::shared_ptr<void> result) {
        slots[static_cast<std::size_t>(index)] = std::move(*static_cast<R*>(result.get()));
    };
    core_->runJob(std::move(request));
    std::vector<R> results;
    for (auto& slot : slots) results.push_back(std::move(*slot));
    return results;
}

template <class T, class F, class Handler>
requires(!std::is_convertible_v<Handler, std::source_location>) void SparkContext::runJob(
    const RDD<T>& rdd, F f, std::vector<int> partitions, Handler resultHandler, std::source_location location) const {
    using R = typename detail::JobResult<T, F>::type;
    JobRequest request = detail::jobRequest(rdd, std::move(f), std::move(partitions), "runJob", location);
    request.onResult = [&resultHandler](int index, std::shared_ptr<void> result) {
        resultHandler(index, std::move(*static_cast<R*>(result.get())));
    };
    core_->runJob(std::move(request));
}

template <class T, class F, class Evaluator>
auto SparkContext::runApproximateJob(const RDD<T>& rdd, F f, Evaluator evaluator, int64_t timeoutMs,
                                     std::source_location location) const {
    using R = std::remove_cvref_t<decltype(evaluator.estimate(0, 0))>;
    return detail::runApproximately<R>(
        rdd.plan(), "runApproximateJob", timeoutMs, location, std::move(evaluator),
        [node = rdd.node().get(), f = std::move(f),
         op = detail::OperatorInfo("runApproximateJob", CallSite::from(location))](TaskContext& context) mutable {
            return detail::guarded(&op, [&] {
                return std::invoke(f, context, Iterator<T>(node->iterator(context.partitionId(), context)));
            });
        });
}

template <class T, class F, class Handler, class ResultFunc>
auto SparkContext::submitJob(const RDD<T>& rdd, F f, std::vector<int> partitions, Handler resultHandler,
                             ResultFunc resultFunc, std::source_location location) const {
    using R = typename detail::JobResult<T, F>::type;
    JobRequest request = detail::jobRequest(rdd, std::move(f), std::move(partitions), "submitJob", location);
    request.onResult = [resultHandler](int index, std::shared_ptr<void> result) mutable {
        resultHandler(index, std::move(*static_cast<R*>(result.get())));
    };
    using Final = std::invoke_result_t<ResultFunc&>;
    return FutureAction<Final>(core_->submitJob(std::move(request)), std::move(resultFunc));
}

template <class T>
Broadcast<T> SparkContext::broadcast(T value) const {
    core_->assertUsable("broadcast");
    if constexpr (requires { value.node()->numPartitions(); }) {
        throw IllegalArgumentException("an RDD cannot be broadcast; broadcast what collect() returns");
    }
    return Broadcast<T>(core_->newId(), std::move(value));
}

template <class T>
CollectionAccumulator<T> SparkContext::collectionAccumulator(const std::string& name) const {
    CollectionAccumulator<T> accumulator;
    registerAccumulator(accumulator, name);
    return accumulator;
}

template <class In, class Out>
void SparkContext::registerAccumulator(AccumulatorV2<In, Out>& accumulator, const std::string& name) const {
    core_->assertUsable("registerAccumulator");
    accumulator.registerWith(*core_, name);
}

}  // namespace dstream
