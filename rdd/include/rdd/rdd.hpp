#pragma once

#include "rdd/concepts.hpp"
#include "rdd/iterator.hpp"
#include "rdd/partitioner.hpp"
#include "rdd/rdd_base.hpp"
#include "rdd/stat_counter.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstream {

template <class T>
class RDD;
template <class PlanT>
class Narrow;
class TextRDD;
class SparkContext;

}  // namespace dstream

#include "rdd/detail/rdd_impl.hpp"
#include "rdd/ordered_ops.hpp"
#include "rdd/pair_ops.hpp"

namespace dstream {

namespace detail {

/// What every handle has: the node.
template <class T>
class RddHandle {
public:
    using Element = T;

    RddHandle() = default;
    explicit RddHandle(std::shared_ptr<RddNode<T>> node) : node_(std::move(node)) {}

    /// False for a default-made handle, which stands for the reference's null.
    explicit operator bool() const { return node_ != nullptr; }
    /// @throws IllegalStateException  for a default-made handle
    const std::shared_ptr<RddNode<T>>& node() const {
        if (!node_)
            throw IllegalStateException("this RDD handle is empty; assign it from a SparkContext or another RDD");
        return node_;
    }

private:
    std::shared_ptr<RddNode<T>> node_;
};

/// The operators of every element type. `Self` is the handle they are called on, `Base` the class it adds them to.
template <class Self, class T, class Base>
class RddOps : public PairOps<Self, T, OrderedOps<Self, T, Base>> {
    using Layer = PairOps<Self, T, OrderedOps<Self, T, Base>>;
    using Where = std::source_location;
    const Self& self() const { return static_cast<const Self&>(*this); }

public:
    using Layer::Layer;

    // ---- identity and persistence

    int id() const { return this->node()->id(); }
    std::string name() const { return this->node()->name(); }
    Self setName(std::string name) const {
        this->node()->setName(std::move(name));
        return self();
    }
    /// The context it was made in; `sparkContext()` is the same.
    SparkContext context() const;
    SparkContext sparkContext() const;
    std::vector<Partition> partitions() const {
        std::vector<Partition> all(static_cast<std::size_t>(getNumPartitions()));
        for (std::size_t i = 0; i < all.size(); ++i) all[i].index = static_cast<int>(i);
        return all;
    }
    int getNumPartitions() const { return this->node()->numPartitions(); }
    std::optional<Partitioner> partitioner() const { return this->node()->partitioner(); }
    std::vector<DependencyPtr> dependencies() const { return *this->node()->lineage(); }
    std::vector<std::string> preferredLocations(Partition partition) const {
        return this->node()->preferredLocations(partition.index);
    }
    /// For developers: the elements of a partition, from cache, checkpoint or computed. Inside a task.
    Iterator<T> iterator(Partition partition, TaskContext& context) const {
        return Iterator<T>(this->node()->iterator(partition.index, context));
    }
    /// Keeps partitions once they are computed. Only marks.
    /// @throws UnsupportedOperationException  when another level is set
    Self persist(StorageLevel level = StorageLevel::MEMORY_ONLY) const {
        this->node()->persist(level);
        return self();
    }
    Self cache() const { return persist(); }
    /// Drops what is kept; level NONE again.
    Self unpersist(bool blocking = false) const {
        this->node()->unpersist(blocking);
        return self();
    }
    StorageLevel getStorageLevel() const { return this->node()->storageLevel(); }
    /// Marks for a checkpoint, written after the first job on this RDD by a second computation (persist first); then
    /// the lineage is cut.
    /// @throws SparkException  without a checkpoint directory
    void checkpoint() const { this->node()->markForCheckpoint(); }
    /// Cuts the lineage to blocks kept in memory and on disk. Not for recovery.
    Self localCheckpoint() const {
        this->node()->markForLocalCheckpoint();
        return self();
    }
    bool isCheckpointed() const { return this->node()->isCheckpointed(); }
    std::optional<std::string> getCheckpointFile() const { return this->node()->checkpointFile(); }
    std::string toDebugString() const { return this->node()->toDebugString(); }
    std::string toString() const { return this->node()->toString(); }

    // ---- narrow transformations: fused with their neighbours

    /// Applies `f` to each element.
    template <class F>
    auto map(F f, Where where = Where::current()) const {
        return detail::map(self().plan(), "map", std::move(f), where);
    }
    /// Applies `f`, which returns any range, and concatenates the ranges.
    template <class F>
    auto flatMap(F f, Where where = Where::current()) const {
        return detail::flatMap(self().plan(), std::move(f), where);
    }
    /// The form with an emitter: `f(element, emit)`, element type named: `flatMap<std::string_view>(f)`.
    template <class U, class F>
    auto flatMap(F f, Where where = Where::current()) const {
        return detail::flatMapEmit<U>(self().plan(), std::move(f), where);
    }
    /// Keeps elements for which `f` is true, and the partitioner.
    template <class F>
    auto filter(F f, Where where = Where::current()) const {
        return detail::filter(self().plan(), std::move(f), where);
    }
    /// Keeps and unwraps what `f` returns as a non-empty optional.
    template <class F>
    auto collect(F f, Where where = Where::current()) const {
        return detail::collectPartial(self().plan(), std::move(f), where);
    }
    /// Pairs (f(x), x).
    template <class F>
    auto keyBy(F f, Where where = Where::current()) const {
        return detail::keyBy(self().plan(), std::move(f), where);
    }

    // ---- transformations of whole partitions

    /// `f(Iterator<T>)` sees each partition once, empty ones too, and returns any range.
    template <class F>
    auto mapPartitions(F f, bool preservesPartitioning = false, Where where = Where::current()) const {
        return detail::mapPartitions<T>(
            this->node(), "mapPartitions",
            [f = std::move(f)](int, Iterator<T> part) mutable { return std::invoke(f, std::move(part)); },
            preservesPartitioning, where);
    }
    /// The same with the partition's index first.
    template <class F>
    auto mapPartitionsWithIndex(F f, bool preservesPartitioning = false, Where where = Where::current()) const {
        return detail::mapPartitions<T>(this->node(), "mapPartitionsWithIndex", std::move(f), preservesPartitioning,
                                        where);
    }
    /// Each partition becomes one vector.
    RDD<std::vector<Owned<T>>> glom(Where where = Where::current()) const {
        return detail::glom<T>(this->node(), where);
    }
    /// (element, index): partition order, then position. Runs a job to count all partitions but the last if there are
    /// several.
    RDD<std::pair<Owned<T>, int64_t>> zipWithIndex(Where where = Where::current()) const {
        return detail::zipWithIndex<T>(this->node(), where);
    }
    /// (element, position * numPartitions + partition); no job.
    RDD<std::pair<Owned<T>, int64_t>> zipWithUniqueId(Where where = Where::current()) const {
        return detail::zipWithUniqueId<T>(this->node(), where);
    }
    /// Pairs elements position by position. Partition counts must be equal (IllegalArgument when partitions are asked
    /// for), and element counts in each (SparkException in the task).
    template <class U>
    RDD<std::pair<Owned<T>, Owned<U>>> zip(const RDD<U>& other, Where where = Where::current()) const {
        return detail::zip<T, U>(this->node(), other.node(), where);
    }
    /// `f(Iterator<T>, Iterator<U>)` returns any range. Only the partition counts must match.
    template <class U, class F>
    auto zipPartitions(const RDD<U>& other, F f, Where where = Where::current()) const {
        return zipPartitions(other, false, std::move(f), where);
    }
    template <class U, class F>
    auto zipPartitions(const RDD<U>& other, bool preservesPartitioning, F f, Where where = Where::current()) const {
        return detail::zipPartitions(std::move(f), preservesPartitioning, where, this->node(), other.node());
    }
    template <class U, class V, class F>
    auto zipPartitions(const RDD<U>& b, const RDD<V>& c, bool preservesPartitioning, F f,
                       Where where = Where::current()) const {
        return detail::zipPartitions(std::move(f), preservesPartitioning, where, this->node(), b.node(), c.node());
    }
    template <class U, class V, class W, class F>
    auto zipPartitions(const RDD<U>& b, const RDD<V>& c, const RDD<W>& d, bool preservesPartitioning, F f,
                       Where where = Where::current()) const {
        return detail::zipPartitions(std::move(f), preservesPartitioning, where, this->node(), b.node(), c.node(),
                                     d.node());
    }
    /// A random part: each element with probability `fraction`, or `fraction` times on average with replacement. The
    /// same seed gives the same elements.
    /// @throws IllegalArgumentException  when fraction is negative, or over 1 without replacement
    RDD<Owned<T>> sample(bool withReplacement, double fraction, std::optional<int64_t> seed = std::nullopt,
                         Where where = Where::current()) const {
        return detail::sample<T>(this->node(), withReplacement, fraction, seed, where);
    }
    /// Disjoint random parts of these weights that together are everything.
    /// @throws IllegalArgumentException  when a weight is negative or their sum is 0
    std::vector<RDD<Owned<T>>> randomSplit(std::vector<double> weights, std::optional<int64_t> seed = std::nullopt,
                                           Where where = Where::current()) const {
        return detail::randomSplit<T>(this->node(), std::move(weights), seed, where);
    }
    /// One process per partition: elements as lines in, lines out. The command is split at blanks, no quoting. A
    /// non-zero exit fails the task.
    auto pipe(const std::string& command, std::map<std::string, std::string> environment = {},
              Where where = Where::current()) const {
        return pipe(detail::splitCommand(command), std::move(environment), nullptr, nullptr, false, 8192, "UTF-8",
                    where);
    }
    /// @param printPipeContext  called first with a function that writes a line
    /// @param printElement      called for each element with a function that writes a line; without it the element's
    ///                          text
    /// @param separateWorkingDirectory  runs it in a directory of its own with links to what is in the current one
    /// @param bufferSize        bytes that are gathered before they are written to the process
    /// @param encoding          of the text that the process reads and writes; elements are UTF-8
    /// @throws IllegalArgumentException  for an empty command, a buffer size below 1 or an unknown encoding
    auto pipe(std::vector<std::string> command, std::map<std::string, std::string> environment = {},
              std::function<void(const std::function<void(std::string_view)>&)> printPipeContext = nullptr,
              std::function<void(const Owned<T>&, const std::function<void(std::string_view)>&)> printElement = nullptr,
              bool separateWorkingDirectory = false, int bufferSize = 8192, std::string encoding = "UTF-8",
              Where where = Where::current()) const {
        return detail::pipe<T>(
            this->node(),
            {std::move(command), std::move(environment), separateWorkingDirectory, bufferSize, std::move(encoding)},
            std::move(printPipeContext), std::move(printElement), where);
    }

    // ---- several RDDs, other partitions

    /// Both RDDs' partitions, one after the other; see SparkContext::unionAll. Duplicates stay. (`union` of the
    /// reference.)
    RDD<T> unionWith(const RDD<T>& other, Where where = Where::current()) const {
        return detail::unionAll<T>(this->node()->context(), {this->node(), other.node()}, where);
    }
    RDD<T> operator+(const RDD<T>& other) const { return unionWith(other); }
    /// All pairs (a, b); n x m partitions.
    template <class U>
    RDD<std::pair<Owned<T>, Owned<U>>> cartesian(const RDD<U>& other, Where where = Where::current()) const {
        return detail::cartesian<T, U>(this->node(), other.node(), where);
    }
    /// At most n partitions, without moving data unless `shuffle`.
    /// @throws IllegalArgumentException  when n < 1
    RDD<Owned<T>> coalesce(int n, bool shuffle = false, Where where = Where::current()) const {
        return detail::coalesce<T>(this->node(), n, shuffle, "coalesce", where);
    }
    /// The same with a grouping of one's own in place of neighbours; with `shuffle` it has no effect.
    RDD<Owned<T>> coalesce(int n, bool shuffle, std::shared_ptr<const PartitionCoalescer> coalescer,
                           Where where = Where::current()) const {
        return detail::coalesce<T>(this->node(), n, shuffle, "coalesce", where, coalescer.get());
    }
    /// Exactly n partitions, elements dealt round robin.
    RDD<Owned<T>> repartition(int n, Where where = Where::current()) const {
        return detail::coalesce<T>(this->node(), n, true, "repartition", where);
    }
    RDD<Owned<T>> distinct(std::optional<int> n = std::nullopt,
                           Where where = Where::current()) const requires Hashable<T> {
        return detail::distinct(self().plan(), n, where);
    }
    /// Elements of both, each once. The second argument is a number of partitions or a Partitioner.
    RDD<Owned<T>> intersection(const RDD<T>& other, PartitionChoice partitions = {},
                               Where where = Where::current()) const requires Hashable<T> {
        return detail::intersection(self().plan(), other.plan(), partitions, where);
    }
    /// Elements that are not in `other`; duplicates stay.
    RDD<Owned<T>> subtract(const RDD<T>& other, PartitionChoice partitions = {},
                           Where where = Where::current()) const requires Hashable<T> {
        return detail::subtract(self().plan(), other.plan(), partitions, where);
    }
    /// (f(x), all x of that key).
    template <class F>
    auto groupBy(F f, PartitionChoice partitions = {}, Where where = Where::current()) const {
        return detail::groupByKey(detail::keyBy(self().plan(), std::move(f), where).plan(), partitions, "groupBy",
                                  where);
    }
    /// Sorted by f(x). Runs a sampling job if there is more than one partition.
    template <class F>
    RDD<Owned<T>> sortBy(F f, bool ascending = true, std::optional<int> n = std::nullopt,
                         Where where = Where::current()) const {
        return detail::sortBy(self().plan(), std::move(f), ascending, n, where);
    }

    // ---- actions

    /// Calls `f` for each element, at least once per partition's run.
    template <class F>
    void foreach (F f, Where where = Where::current()) const {
        detail::foreach (self().plan(), std::move(f), where);
    }
    /// Calls `f(Iterator<T>)` for each partition.
    template <class F>
    void foreachPartition(F f, Where where = Where::current()) const {
        detail::foreachPartition<T>(this->node(), std::move(f), where);
    }
    /// All elements: partition order, order inside a partition kept.
    std::vector<Owned<T>> collect(Where where = Where::current()) const {
        return detail::collect(self().plan(), where);
    }
    /// The elements, one job per partition, when they are asked for.
    Iterator<Owned<T>> toLocalIterator(Where where = Where::current()) const {
        return detail::toLocalIterator<T>(this->node(), where);
    }
    int64_t count(Where where = Where::current()) const { return detail::count(self().plan(), where); }
    std::map<Owned<T>, int64_t> countByValue(Where where = Where::current()) const
        requires(Hashable<T>&& Ordered<Owned<T>>) {
        return detail::countByValue(self().plan(), where);
    }
    /// The count as far as it is known after `timeoutMs`, extrapolated from the partitions that are done.
    /// @throws IllegalArgumentException  for a confidence outside of [0, 1]
    PartialResult<BoundedDouble> countApprox(int64_t timeoutMs, double confidence = 0.95,
                                             Where where = Where::current()) const {
        return detail::countApprox(self().plan(), timeoutMs, confidence, where);
    }
    /// The same for each value.
    PartialResult<std::map<Owned<T>, BoundedDouble>> countByValueApprox(int64_t timeoutMs, double confidence = 0.95,
                                                                        Where where = Where::current()) const
        requires(Hashable<T>&& Ordered<Owned<T>>) {
        return detail::countByValueApprox(self().plan(), timeoutMs, confidence, where);
    }
    /// An estimate of the number of distinct elements by HyperLogLog, with this relative standard deviation.
    /// @throws IllegalArgumentException  when relativeSD <= 0.000017
    int64_t countApproxDistinct(double relativeSD = 0.05, Where where = Where::current()) const requires Hashable<T> {
        return detail::countApproxDistinct(self().plan(), relativeSD, where);
    }
    /// The same by precision: p >= 4, sp <= 32, sp 0 or at least p, else IllegalArgument.
    int64_t countApproxDistinct(int p, int sp, Where where = Where::current()) const requires Hashable<T> {
        return detail::countApproxDistinct(self().plan(), p, sp, where);
    }
    /// Combines all elements; partition results are merged in partition order.
    /// @throws EmptyCollectionException  when there is no element
    template <class F>
    Owned<T> reduce(F f, Where where = Where::current()) const {
        return detail::reduce(self().plan(), "reduce", std::move(f), where);
    }
    /// @throws IllegalArgumentException  when depth < 1
    template <class F>
    Owned<T> treeReduce(F f, int depth = 2, Where where = Where::current()) const {
        detail::checkDepth(depth);
        return detail::reduce(self().plan(), "treeReduce", std::move(f), where);
    }
    /// `zero` is used once per partition and once more at the end.
    template <class F>
    Owned<T> fold(Owned<T> zero, F op, Where where = Where::current()) const {
        return detail::aggregate(self().plan(), "fold", std::move(zero), op, op, where);
    }
    template <class U, class Seq, class Comb>
    U aggregate(U zero, Seq seqOp, Comb combOp, Where where = Where::current()) const {
        return detail::aggregate(self().plan(), "aggregate", std::move(zero), std::move(seqOp), std::move(combOp),
                                 where);
    }
    /// `zero` is used once per partition and once more for each value that a level of the tree combines.
    template <class U, class Seq, class Comb>
    U treeAggregate(U zero, Seq seqOp, Comb combOp, int depth = 2, bool finalAggregateOnExecutor = false,
                    Where where = Where::current()) const {
        detail::checkDepth(depth);
        return detail::treeAggregate(self().plan(), std::move(zero), std::move(seqOp), std::move(combOp), depth,
                                     finalAggregateOnExecutor, where);
    }
    /// The first n elements in partition order: one partition first, then more until there are enough.
    std::vector<Owned<T>> take(int n, Where where = Where::current()) const {
        return detail::take<T>(this->node(), n, "take", where);
    }
    /// @throws EmptyCollectionException  when there is none
    Owned<T> first(Where where = Where::current()) const { return detail::first<T>(this->node(), where); }
    /// The n smallest, ascending by `less`. @throws IllegalArgumentException  when n is negative and there are
    /// elements
    template <class Compare = std::less<Owned<T>>>
    std::vector<Owned<T>> takeOrdered(int n, Compare less = {}, Where where = Where::current()) const {
        return detail::takeOrdered(self().plan(), n, std::move(less), "takeOrdered", where);
    }
    /// The n largest, descending. As takeOrdered.
    template <class Compare = std::less<Owned<T>>>
    std::vector<Owned<T>> top(int n, Compare less = {}, Where where = Where::current()) const {
        return detail::takeOrdered(
            self().plan(), n, [less](const Owned<T>& a, const Owned<T>& b) { return less(b, a); }, "top", where);
    }
    /// n random elements in random order; all of them if n is as many or more, without replacement. Several jobs.
    /// @throws IllegalArgumentException  when n is negative
    std::vector<Owned<T>> takeSample(bool withReplacement, int n, std::optional<int64_t> seed = std::nullopt,
                                     Where where = Where::current()) const {
        return detail::takeSample<T>(RDD<T>(self()), withReplacement, n, seed, where);
    }
    template <class Compare = std::less<Owned<T>>>
    Owned<T> max(Compare less = {}, Where where = Where::current()) const {
        return detail::reduce(
            self().plan(), "max",
            [less](const Owned<T>& a, const Owned<T>& b) -> const Owned<T>& { return less(a, b) ? b : a; }, where);
    }
    template <class Compare = std::less<Owned<T>>>
    Owned<T> min(Compare less = {}, Where where = Where::current()) const {
        return detail::reduce(
            self().plan(), "min",
            [less](const Owned<T>& a, const Owned<T>& b) -> const Owned<T>& { return less(b, a) ? b : a; }, where);
    }
    bool isEmpty(Where where = Where::current()) const {
        if (const auto known = this->node()->knownCount()) return *known == 0;
        return getNumPartitions() == 0 || detail::take<T>(this->node(), 1, "isEmpty", where).empty();
    }
    /// A directory of `part-NNNNN`, one line per element in text form, and `_SUCCESS`. `codec` "gzip" compresses.
    /// @throws FileAlreadyExistsException  when the path exists (not inside streaming jobs)
    void saveAsTextFile(const std::string& path, const std::string& codec = "", Where where = Where::current()) const {
        detail::saveAsTextFile(self().plan(), path, codec, where);
    }
    /// The same in serialised form, for SparkContext::objectFile. Needs a Codec<T>.
    void saveAsObjectFile(const std::string& path, Where where = Where::current()) const {
        detail::saveAsObjectFile<T>(this->node(), path, where);
    }

    // ---- actions in the background

    FutureAction<int64_t> countAsync(Where where = Where::current()) const {
        return detail::countAsync(self().plan(), where);
    }
    FutureAction<std::vector<Owned<T>>> collectAsync(Where where = Where::current()) const {
        return detail::collectAsync(self().plan(), where);
    }
    FutureAction<std::vector<Owned<T>>> takeAsync(int n, Where where = Where::current()) const {
        return detail::takeAsync<T>(this->node(), n, where);
    }
    template <class F>
    FutureAction<void> foreachAsync(F f, Where where = Where::current()) const {
        return detail::foreachAsync(self().plan(), std::move(f), where);
    }
    template <class F>
    FutureAction<void> foreachPartitionAsync(F f, Where where = Where::current()) const {
        return detail::foreachPartitionAsync<T>(this->node(), std::move(f), where);
    }
};

}  // namespace detail

/// An immutable, partitioned collection that knows how to compute itself from its parents. A handle: cheap to copy,
/// copies speak of the same node; safe to share between threads. Transformations are lazy; actions run a job on the
/// context's slots.
///
///     auto counts = sc.textFile("book.txt")
///                       .flatMap([](std::string_view line) { return splitWords(line); })
///                       .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
///                       .reduceByKey(std::plus<>{});
///     for (auto& [word, n] : counts.take(10)) std::cout << word << " " << n << "\n";
///
/// Narrow operators return a type derived from RDD<U> that remembers the fused stage: keep it with `auto` and
/// neighbours become one loop; store it as RDD<U> and a chunk edge stands there. `std::string_view` is a legal element
/// type (see Owned).
template <class T>
class RDD : public detail::RddOps<RDD<T>, T, detail::RddHandle<T>> {
public:
    using detail::RddOps<RDD<T>, T, detail::RddHandle<T>>::RddOps;

    /// For the library: how to compute it.
    detail::PlanOf<T> plan() const { return {this->node(), this->node(), &detail::kIdentityStage<T>}; }
};

/// An RDD whose last operators are fused; see RDD.
template <class PlanT>
class Narrow : public detail::RddOps<Narrow<PlanT>, typename PlanT::T, RDD<typename PlanT::T>> {
    using Ops = detail::RddOps<Narrow<PlanT>, typename PlanT::T, RDD<typename PlanT::T>>;

public:
    explicit Narrow(PlanT plan) : Ops(plan.node), plan_(std::move(plan)) {}
    const PlanT& plan() const { return plan_; }

private:
    PlanT plan_;
};

/// Lines of text. An RDD<std::string> whose first narrow operator calls the user with a `std::string_view` into the
/// buffer if the function takes one (a generic lambda does), else with a `const std::string&`.
class TextRDD : public detail::RddOps<TextRDD, std::string, RDD<std::string>> {
    using Ops = detail::RddOps<TextRDD, std::string, RDD<std::string>>;

public:
    using Plan = detail::Plan<std::string, std::string_view,
                              detail::FusedStage<detail::IdentityStage<std::string_view>, detail::ToStringStep>>;
    TextRDD() = default;
    explicit TextRDD(Plan plan);
    /// Lines as a node gives them.
    static TextRDD of(std::shared_ptr<RddNode<std::string_view>> lines, const char* operatorName, CallSite callSite);
    const Plan& plan() const { return plan_; }

private:
    Plan plan_;
};

/// The same for handles: `defaultPartitioner(clicks, users)`.
template <class T, class... Others>
Partitioner defaultPartitioner(const RDD<T>& rdd, const Others&... others) {
    return defaultPartitioner(std::vector<const RddBase*>{rdd.node().get(), others.node().get()...});
}

}  // namespace dstream

#include "rdd/spark_context.hpp"
// Last, for it needs all bodies.
#include "rdd/instances.hpp"
