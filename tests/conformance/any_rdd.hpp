#pragma once

#include "rdd/instances.hpp"
#include "rdd/rdd.hpp"
#include "rdd/spark_context.hpp"
#include "rdd/time.hpp"
#include "step.hpp"

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace conformance {

// What keyed operators return.
using Group = std::pair<Value, Values>;
using Groups = std::pair<Value, std::pair<Values, Values>>;
template <dstream::detail::JoinKind kKind>
using Joined = std::pair<Value, dstream::detail::Joined<kKind, Value, Value>>;
using InnerJoined = Joined<dstream::detail::JoinKind::kInner>;
using LeftJoined = Joined<dstream::detail::JoinKind::kLeft>;
using RightJoined = Joined<dstream::detail::JoinKind::kRight>;
using FullJoined = Joined<dstream::detail::JoinKind::kFull>;

struct FromPair {
    Value operator()(const Pair& pair) const { return fromPair(pair); }
};
struct ToPair {
    Pair operator()(const Value& value) const { return toPair(value); }
};
/// Puts the value that a keyed operator returned into the variant.
struct ToValue {
    Value operator()(const Value& value) const { return value; }
    Value operator()(const Values& group) const { return Value::bag(group); }
    template <class T>
    Value operator()(const std::optional<T>& value) const {
        return Value::optional(value);
    }
    template <class A, class B>
    Value operator()(const std::pair<A, B>& both) const {
        return Value::pair((*this)(both.first), (*this)(both.second));
    }
    template <class... A>
    Value operator()(const std::tuple<A...>& parts) const {
        return std::apply([this](const auto&... part) { return Value::tuple({(*this)(part)...}); }, parts);
    }
};

using ValuePlan = dstream::detail::PlanOf<Value>;
using PairPlan = dstream::detail::PlanOf<Pair>;

}  // namespace conformance

// What RDDs and streams both need, compiled once. A step of the narrow operators:
#define CONFORMANCE_STEP(linkage, From, To, step, ...)                                                               \
    linkage class dstream::detail::StageCursor<                                                                      \
        To, From,                                                                                                    \
        dstream::detail::FusedStage<dstream::detail::IdentityStage<From>, dstream::detail::step<__VA_ARGS__>>>;      \
    linkage class dstream::detail::NarrowNode<                                                                       \
        From, dstream::detail::FusedStage<dstream::detail::IdentityStage<From>, dstream::detail::step<__VA_ARGS__>>, \
        From, dstream::detail::step<__VA_ARGS__>>;
// and the results of a keyed operator, which ToValue makes values:
#define CONFORMANCE_KEYED(linkage, Result)                                            \
    linkage class dstream::VectorBlock<Result>;                                       \
    linkage const dstream::BlockCodec* dstream::detail::blockCodecFor<Result>();      \
    linkage class dstream::detail::SharedArrayCursor<Result, dstream::BlockPtr>;      \
    linkage class dstream::RddNode<Result>;                                           \
    linkage class dstream::detail::BlockFilesNode<Result>;                            \
    linkage class dstream::detail::StageCursorBase<conformance::Pair, Result, false>; \
    CONFORMANCE_STEP(linkage, Result, conformance::Pair, MapValuesStep, Result, conformance::ToValue)
#define CONFORMANCE_JOIN(linkage, kKind, Result)                                          \
    CONFORMANCE_KEYED(linkage, Result)                                                    \
    linkage dstream::RDD<Result> dstream::detail::join<dstream::detail::JoinKind::kKind>( \
        const conformance::PairPlan&, const conformance::PairPlan&, const PartitionChoice&, std::source_location);

// Of values, in rdd_ops.cpp.
#define CONFORMANCE_VALUES(linkage)                                                                                    \
    DSTREAM_ELEMENT(linkage, conformance::Value)                                                                       \
    linkage class dstream::detail::StageCursorBase<conformance::Value, conformance::Value, false>;                     \
    linkage class dstream::detail::StageCursorBase<conformance::Pair, conformance::Value, false>;                      \
    linkage class dstream::detail::StageCursorBase<conformance::Value, conformance::Pair, false>;                      \
    CONFORMANCE_STEP(linkage, conformance::Value, conformance::Value, MapStep, conformance::Value, conformance::Value, \
                     conformance::Fn1)                                                                                 \
    CONFORMANCE_STEP(linkage, conformance::Value, conformance::Value, FilterStep, conformance::Value,                  \
                     conformance::Value, conformance::Predicate)                                                       \
    CONFORMANCE_STEP(linkage, conformance::Value, conformance::Value, FlatMapStep, conformance::Value,                 \
                     conformance::Value, conformance::FnMany)                                                          \
    CONFORMANCE_STEP(linkage, conformance::Value, conformance::Pair, MapStep, conformance::Value, conformance::Value,  \
                     conformance::ToPair)                                                                              \
    CONFORMANCE_STEP(linkage, conformance::Pair, conformance::Value, MapStep, conformance::Pair, conformance::Pair,    \
                     conformance::FromPair)                                                                            \
    linkage dstream::RDD<conformance::Value> dstream::detail::unionAll(                                                \
        const std::shared_ptr<SparkContextCore>&, std::vector<std::shared_ptr<RddNode<conformance::Value>>>,           \
        std::source_location);                                                                                         \
    linkage dstream::RDD<conformance::Value> dstream::detail::coalesce(                                                \
        const std::shared_ptr<RddNode<conformance::Value>>&, int, bool, const char*, std::source_location,             \
        const PartitionCoalescer*);

// Of pairs, there too.
#define CONFORMANCE_PAIRS(linkage)                                                                                    \
    DSTREAM_PAIR(linkage, conformance::Value, conformance::Value)                                                     \
    linkage class dstream::detail::PlainShuffle<conformance::PairPlan>;                                               \
    linkage class dstream::detail::StageCursorBase<conformance::Pair, conformance::Pair, false>;                      \
    CONFORMANCE_STEP(linkage, conformance::Pair, conformance::Pair, MapValuesStep, conformance::Pair,                 \
                     conformance::Fn1)                                                                                \
    CONFORMANCE_STEP(linkage, conformance::Pair, conformance::Pair, FlatMapValuesStep, conformance::Pair,             \
                     conformance::FnMany)                                                                             \
    CONFORMANCE_STEP(linkage, conformance::Pair, conformance::Pair, FilterStep, conformance::Pair, conformance::Pair, \
                     conformance::PairPredicate)                                                                      \
    linkage dstream::RDD<conformance::Pair> dstream::detail::unionAll(                                                \
        const std::shared_ptr<SparkContextCore>&, std::vector<std::shared_ptr<RddNode<conformance::Pair>>>,           \
        std::source_location);                                                                                        \
    linkage dstream::RDD<conformance::Pair> dstream::detail::partitionBy(const conformance::PairPlan&, Partitioner,   \
                                                                         const char*, std::source_location);          \
    linkage dstream::RDD<conformance::Pair> dstream::detail::reduceByKey(                                             \
        const conformance::PairPlan&, conformance::Fn2, const PartitionChoice&, const char*, std::source_location);   \
    linkage dstream::RDD<conformance::Pair> dstream::detail::combineByKey<conformance::Value>(                        \
        const conformance::PairPlan&, conformance::Fn1, conformance::Fn2, conformance::Fn2, const PartitionChoice&,   \
        bool, const char*, std::source_location);                                                                     \
    CONFORMANCE_KEYED(linkage, conformance::Group)                                                                    \
    CONFORMANCE_KEYED(linkage, conformance::Groups)                                                                   \
    linkage dstream::RDD<conformance::Groups> dstream::detail::cogroup(                                               \
        const PartitionChoice&, std::source_location, const conformance::PairPlan&, const conformance::PairPlan&);    \
    CONFORMANCE_JOIN(linkage, kInner, conformance::InnerJoined)                                                       \
    CONFORMANCE_JOIN(linkage, kLeft, conformance::LeftJoined)                                                         \
    CONFORMANCE_JOIN(linkage, kRight, conformance::RightJoined)                                                       \
    CONFORMANCE_JOIN(linkage, kFull, conformance::FullJoined)

CONFORMANCE_VALUES(extern template)
CONFORMANCE_PAIRS(extern template)

namespace conformance {

/// The result of a step: an RDD of values, or, straight after a keyed operator, of pairs. The next step takes it in the
/// form it needs; turning one form into the other is a map of the runner, not an operator of the case.
class AnyRdd {
public:
    AnyRdd(dstream::RDD<Value> values) : values_(std::move(values)) {}  // NOLINT(google-explicit-constructor)
    AnyRdd(dstream::RDD<Pair> pairs) : pairs_(std::move(pairs)) {}      // NOLINT(google-explicit-constructor)

    bool arePairs() const { return static_cast<bool>(pairs_); }
    dstream::RDD<Value> values() const;
    dstream::RDD<Pair> pairs() const;

private:
    dstream::RDD<Value> values_;
    dstream::RDD<Pair> pairs_;
};

using NamedRdds = std::map<std::string, AnyRdd>;
const AnyRdd& named(const NamedRdds& names, const std::string& name);

/// What an operator works on.
struct RddCall {
    const AnyRdd& in;
    const Step& step;
    const NamedRdds& names;
    std::optional<dstream::Time> batchTime;

    /// The RDDs that the field `with` names.
    std::vector<AnyRdd> with() const;
};

/// The number of partitions that the step names, or the default rule.
dstream::PartitionChoice partitions(const Step& step);

/// One operator: exactly one call of the public API.
using RddOp = AnyRdd (*)(const RddCall&);
using RddOps = std::map<std::string, RddOp>;
const RddOps& rddOps();

/// What an action works on.
struct ActionCall {
    const AnyRdd& in;
    const Step& step;
    /// An empty directory that it may write to.
    const std::string& directory;
};

/// One action: exactly one call of the public API.
using Action = Values (*)(const ActionCall&);
using Actions = std::map<std::string, Action>;
const Actions& rddActions();

/// Runs the steps from `in` on; a step with `from` begins at a name, one with `as` adds a name.
AnyRdd runRddPipeline(AnyRdd in, const nlohmann::json& steps, NamedRdds names, CallCounts* counts,
                      std::optional<dstream::Time> batchTime = std::nullopt);

/// The RDD written down as `{"partitions":…}` or `{"parallelize":…,"slices":…}`.
dstream::RDD<Value> makeRdd(const dstream::SparkContext& sc, const nlohmann::json& written);
dstream::RDD<Value> makePartitions(const dstream::SparkContext& sc, std::vector<Values> partitions);
/// @param slices  absent: the default
dstream::RDD<Value> parallelize(const dstream::SparkContext& sc, Values items, std::optional<int> slices);

/// Runs the action and returns its result: elements, or a single value, or (name, value) pairs of an object or listing.
/// @param directory  an empty directory that it may write to
Values runAction(const AnyRdd& rdd, const Step& action, const std::string& directory);

/// A whole partition.
Values drain(dstream::Iterator<Value>& partition);

}  // namespace conformance
