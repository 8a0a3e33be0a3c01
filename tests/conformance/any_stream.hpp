#pragma once

#include "any_rdd.hpp"
#include "dstream/dstream.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace conformance {

/// The result of a step of a streaming pipeline; see AnyRdd.
class AnyStream {
public:
    AnyStream(dstream::DStream<Value> values) : values_(std::move(values)) {}  // NOLINT(google-explicit-constructor)
    AnyStream(dstream::DStream<Pair> pairs) : pairs_(std::move(pairs)) {}      // NOLINT(google-explicit-constructor)

    bool arePairs() const { return pairs_.has_value(); }
    dstream::DStream<Value> values() const;
    dstream::DStream<Pair> pairs() const;

    /// What only the result of mapWithState has.
    std::function<AnyStream()> stateSnapshots;
    std::function<AnyStream(dstream::Duration)> stateCheckpoint;

private:
    std::optional<dstream::DStream<Value>> values_;
    std::optional<dstream::DStream<Pair>> pairs_;
};

using NamedStreams = std::map<std::string, AnyStream>;
const AnyStream& named(const NamedStreams& names, const std::string& name);

/// What an operator works on.
struct StreamCall {
    const AnyStream& in;
    const Step& step;
    const NamedStreams& names;
    /// The RDDs of the field `static`.
    const NamedRdds& rdds;

    std::vector<AnyStream> with() const;
    AnyStream other() const;
    dstream::Duration duration(const char* field) const;
    dstream::Duration window() const { return duration("window_ms"); }
    dstream::Duration slide() const { return duration("slide_ms"); }
    /// The slide that the step names; absent: the default.
    std::optional<dstream::Duration> maybeSlide() const;
    /// The steps of a transform, as a function of the RDD of a batch and those that it may name.
    std::function<dstream::RDD<Value>(const dstream::RDD<Value>&, const NamedRdds&, dstream::Time)> rddSteps() const;
    dstream::StreamingContext context() const;
    dstream::SparkContext sparkContext() const { return context().sparkContext(); }
};

/// One operator: exactly one call of the public API.
using StreamOp = AnyStream (*)(const StreamCall&);
using StreamOps = std::map<std::string, StreamOp>;
const StreamOps& streamOps();

/// Runs the steps from `in` on; adds the names they give to `names`.
AnyStream runStreamPipeline(AnyStream in, const nlohmann::json& steps, NamedStreams& names, const NamedRdds& rdds,
                            CallCounts* counts);

/// Hands an RDD to a queue stream.
using Push = std::function<void(std::vector<Values> partitions)>;
/// Makes the input stream written down; for a queue sets `push`.
AnyStream makeInput(const dstream::StreamingContext& ssc, const nlohmann::json& input, Push& push);

/// As takeTypedSteps of typed_chain.hpp, for a scripted input stream.
AnyStream takeTypedStreamSteps(const dstream::StreamingContext& ssc, const nlohmann::json& input, nlohmann::json& steps,
                               CallCounts* counts);

// What the runner itself does with streams, here so that few files know their inside.
/// An input stream with the RDD of each batch written down; absent: the batch has none.
using Batches = std::vector<std::optional<std::vector<Values>>>;
dstream::DStream<Value> scriptedStream(const dstream::StreamingContext& ssc, Batches batches);
dstream::DStream<Value> constantStream(const dstream::StreamingContext& ssc, std::vector<Values> partitions);
dstream::DStream<Value> queueStream(const dstream::StreamingContext& ssc, bool oneAtATime, Push& push);
/// @param otherwise  of the RDD for batches without one; absent: they have none
dstream::DStream<Value> queueStream(const dstream::StreamingContext& ssc, bool oneAtATime,
                                    std::optional<std::vector<Values>> otherwise, Push& push);
/// Registers foreachRDD; the function gets the batch time and either the collected elements or what collect threw.
using OnBatch = std::function<void(dstream::Time, const Values&, std::exception_ptr)>;
void collectBatches(const AnyStream& stream, OnBatch onBatch);
void print(const AnyStream& stream, std::optional<int> num);
void saveAsTextFiles(const AnyStream& stream, const std::string& prefix, const std::string& suffix);
/// The contents of the RDDs that slice returns.
std::vector<Values> slice(const AnyStream& stream, dstream::Time from, dstream::Time to);

}  // namespace conformance
