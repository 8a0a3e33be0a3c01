#pragma once

#include "rdd/instances.hpp"
#include "rdd/rdd.hpp"
#include "rdd/spark_context.hpp"
#include "rdd/time.hpp"
#include "step.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

// Compiled in rdd_pair_ops.cpp.
DSTREAM_ELEMENT(extern template, conformance::Value)
DSTREAM_PAIR(extern template, conformance::Value, conformance::Value)

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

/// One operator: exactly one call of the public API.
using RddOp = AnyRdd (*)(const RddCall&);
using RddOps = std::map<std::string, RddOp>;
const RddOps& rddOps();
const RddOps& rddPairOps();

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
const Actions& rddPairActions();

/// Runs the steps from `in` on; a step with `from` begins at a name, one with `as` adds a name.
AnyRdd runRddPipeline(const dstream::SparkContext& sc, AnyRdd in, const nlohmann::json& steps, NamedRdds names,
                      CallCounts* counts, std::optional<dstream::Time> batchTime = std::nullopt);

/// The RDD written down as `{"partitions":…}` or `{"parallelize":…,"slices":…}`.
dstream::RDD<Value> makeRdd(const dstream::SparkContext& sc, const nlohmann::json& written);
/// Partitions written down, a list of lists.
std::vector<Values> parsePartitions(const nlohmann::json& partitions);
/// The RDD with these partitions, a list of lists.
dstream::RDD<Value> makePartitions(const dstream::SparkContext& sc, const nlohmann::json& partitions);

/// Runs the action and returns its result: elements, or a single value, or (name, value) pairs of an object or listing.
/// @param directory  an empty directory that it may write to
Values runAction(const AnyRdd& rdd, const Step& action, const std::string& directory);

/// A whole partition.
Values drain(dstream::Iterator<Value>& partition);

}  // namespace conformance
