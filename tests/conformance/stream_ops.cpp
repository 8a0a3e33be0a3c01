#include "any_stream.hpp"
#include "dstream/testkit.hpp"

#include <nlohmann/json.hpp>

namespace conformance {

using dstream::DStream;
using dstream::Duration;
using dstream::Iterator;
using dstream::RDD;
using dstream::StreamingContext;
using dstream::Time;

namespace {

struct OnPartition {
    FnPartition f;
    Values operator()(Iterator<Value> part) const { return f.f(drain(part)); }
};

struct CountToValue {
    Value operator()(int64_t count) const { return Value(count); }
};

std::vector<DStream<Value>> withThis(const StreamCall& call) {
    std::vector<DStream<Value>> all{call.in.values()};
    for (const AnyStream& stream : call.with()) all.push_back(stream.values());
    return all;
}

/// The RDD pipeline of a transform, applied to the RDD of a batch.
RDD<Value> transformed(const RDD<Value>& rdd, const nlohmann::json& steps, const NamedRdds& names, CallCounts* counts,
                       Time time) {
    return runRddPipeline(rdd.sparkContext(), rdd, steps, names, counts, time).values();
}

AnyStream transform(const StreamCall& c) {
    return DStream<Value>(c.in.values().transform(
        [steps = c.step.json("rdd"), rdds = c.rdds, counts = c.step.counts()](const RDD<Value>& rdd, Time time) {
            return transformed(rdd, steps, rdds, counts, time);
        }));
}

AnyStream transformWith(const StreamCall& c) {
    return DStream<Value>(c.in.values().transformWith(
        c.other().values(), [steps = c.step.json("rdd"), rdds = c.rdds, counts = c.step.counts(),
                             name = c.step.text("with")](const RDD<Value>& rdd, const RDD<Value>& other, Time time) {
            NamedRdds names = rdds;
            names.insert_or_assign(name, other);
            return transformed(rdd, steps, names, counts, time);
        }));
}

AnyStream transformAll(const StreamCall& c) {
    return DStream<Value>(c.context().transform(
        withThis(c), [steps = c.step.json("rdd"), rdds = c.rdds, counts = c.step.counts(), with = c.step.names("with")](
                         const std::vector<RDD<Value>>& all, Time time) {
            NamedRdds names = rdds;
            for (size_t i = 0; i < with.size(); ++i) names.insert_or_assign(with[i], all.at(i + 1));
            return transformed(all.at(0), steps, names, counts, time);
        }));
}

template <class T>
AnyStream unite(const StreamCall& c, const std::vector<DStream<T>>& all) {
    if (c.step.isArray("with")) return c.context().unionAll(all);
    return all[0].unionWith(all.at(1));
}

/// Pairs stay pairs: their partitioner decides how the RDDs are united.
AnyStream unite(const StreamCall& c) {
    std::vector<DStream<Pair>> pairs;
    for (const AnyStream& stream : c.with()) {
        if (c.in.arePairs() && stream.arePairs()) pairs.push_back(stream.pairs());
    }
    if (pairs.empty() || pairs.size() != c.with().size()) return unite(c, withThis(c));
    pairs.insert(pairs.begin(), c.in.pairs());
    return unite(c, pairs);
}

AnyStream filter(const StreamCall& c) {
    if (c.in.arePairs()) return DStream<Pair>(c.in.pairs().filter(c.step.pairPredicate("fn")));
    return DStream<Value>(c.in.values().filter(c.step.predicate()));
}

AnyStream countByValue(const StreamCall& c) {
    const auto counted = c.in.values().countByValue(c.step.maybeNumber("partitions"));
    return DStream<Pair>(counted.mapValues(CountToValue()));
}

AnyStream reduceByWindow(const StreamCall& c) {
    const DStream<Value> in = c.in.values();
    if (c.step.has("inv")) return in.reduceByWindow(c.step.fn2(), c.step.fn2("inv"), c.window(), c.slide());
    return in.reduceByWindow(c.step.fn2(), c.window(), c.slide());
}

AnyStream countByWindow(const StreamCall& c) {
    const DStream<int64_t> counted = c.in.values().countByWindow(c.window(), c.slide());
    return DStream<Value>(counted.map(CountToValue()));
}

AnyStream countByValueAndWindow(const StreamCall& c) {
    const auto counted = c.in.values().countByValueAndWindow(c.window(), c.slide(), c.step.maybeNumber("partitions"));
    return DStream<Pair>(counted.mapValues(CountToValue()));
}

/// An input stream with the RDD of each batch written down.
DStream<Value> scripted(const StreamingContext& ssc, const nlohmann::json& batches) {
    std::vector<dstream::testkit::Batch<Value>> script;
    for (const auto& batch : batches) {
        script.emplace_back();
        if (!batch.is_null()) script.back() = parsePartitions(batch);
    }
    return dstream::testkit::partitionedBatches<Value>(ssc, std::move(script));
}

AnyStream makeQueue(const StreamingContext& ssc, const nlohmann::json& input, Push& push) {
    const auto queue = std::make_shared<dstream::RDDQueue<Value>>();
    push = [queue, sc = ssc.sparkContext()](const nlohmann::json& partitions) {
        queue->push(makePartitions(sc, partitions));
    };
    const bool oneAtATime = input.at("one_at_a_time");
    if (!input.contains("default")) return ssc.queueStream(queue, oneAtATime);
    std::optional<RDD<Value>> otherwise;
    if (!input["default"].is_null()) otherwise = makePartitions(ssc.sparkContext(), input["default"]);
    return ssc.queueStream(queue, oneAtATime, otherwise);
}

}  // namespace

DStream<Value> AnyStream::values() const {
    if (values_) return *values_;
    return pairs_->map(FromPair());
}
DStream<Pair> AnyStream::pairs() const {
    if (pairs_) return *pairs_;
    return values_->map(ToPair());
}

const AnyStream& named(const NamedStreams& names, const std::string& name) {
    const auto found = names.find(name);
    if (found == names.end()) throw CaseError("no stream is named " + name);
    return found->second;
}

std::vector<AnyStream> StreamCall::with() const {
    std::vector<AnyStream> result;
    for (const std::string& name : step.names("with")) result.push_back(named(names, name));
    return result;
}
AnyStream StreamCall::other() const {
    const auto all = with();
    if (all.size() != 1) throw CaseError("needs one name in \"with\": " + step.notation());
    return all[0];
}
Duration StreamCall::duration(const char* field) const {
    return Duration(step.integer(field));
}
std::optional<Duration> StreamCall::maybeSlide() const {
    return step.has("slide_ms") ? std::optional(slide()) : std::nullopt;
}
StreamingContext StreamCall::context() const {
    return in.arePairs() ? in.pairs().context() : in.values().context();
}

const StreamOps& streamOps() {
    using C = const StreamCall&;
    using Result = DStream<Value>;
    static const StreamOps kOps = {
        {"map", [](C c) -> AnyStream { return Result(c.in.values().map(c.step.fn1())); }},
        {"filter", filter},
        {"flatMap", [](C c) -> AnyStream { return Result(c.in.values().flatMap(c.step.fnMany())); }},
        {"glom",
         [](C c) -> AnyStream {
             return Result(c.in.values().glom().map([](const Values& part) { return Value::list(part); }));
         }},
        {"mapPartitions",
         [](C c) -> AnyStream { return Result(c.in.values().mapPartitions(OnPartition{c.step.fnPartition()})); }},
        {"repartition", [](C c) -> AnyStream { return c.in.values().repartition(c.step.number("partitions")); }},
        {"reduce", [](C c) -> AnyStream { return c.in.values().reduce(c.step.fn2()); }},
        {"count", [](C c) -> AnyStream { return Result(c.in.values().count().map(CountToValue())); }},
        {"countByValue", countByValue},
        {"union", unite},
        {"transform", transform},
        {"transformWith", transformWith},
        {"transformAll", transformAll},
        {"window",
         [](C c) -> AnyStream {
             if (c.in.arePairs()) return c.in.pairs().window(c.window(), c.maybeSlide());
             return c.in.values().window(c.window(), c.maybeSlide());
         }},
        {"reduceByWindow", reduceByWindow},
        {"countByWindow", countByWindow},
        {"countByValueAndWindow", countByValueAndWindow},
        {"persist",
         [](C c) -> AnyStream {
             if (c.in.arePairs()) return c.in.pairs().persist();
             return c.in.values().persist();
         }},
        {"checkpoint",
         [](C c) -> AnyStream {
             if (c.in.stateCheckpoint) return c.in.stateCheckpoint(c.duration("interval_ms"));
             if (c.in.arePairs()) return c.in.pairs().checkpoint(c.duration("interval_ms"));
             return c.in.values().checkpoint(c.duration("interval_ms"));
         }},
    };
    return kOps;
}

AnyStream runStreamPipeline(AnyStream in, const nlohmann::json& steps, NamedStreams& names, const NamedRdds& rdds,
                            CallCounts* counts) {
    AnyStream current = std::move(in);
    for (const auto& written : steps) {
        const Step step(written, counts);
        const StreamOp op = [&]() -> StreamOp {
            for (const auto* ops : {&streamOps(), &streamPairOps()}) {
                if (const auto found = ops->find(step.op()); found != ops->end()) return found->second;
            }
            throw CaseError("unknown stream operator: " + step.op());
        }();
        if (step.has("from")) current = named(names, step.text("from"));
        current = op(StreamCall{current, step, names, rdds});
        if (step.has("as")) names.insert_or_assign(step.text("as"), current);
    }
    return current;
}

DStream<Value> makeConstant(const StreamingContext& ssc, const nlohmann::json& partitions) {
    return dstream::ConstantInputDStream<Value>(ssc, makePartitions(ssc.sparkContext(), partitions));
}

AnyStream makeInput(const StreamingContext& ssc, const nlohmann::json& input, Push& push) {
    const std::string source = input.value("source", "scripted");
    if (source == "scripted") return scripted(ssc, input.at("batches"));
    if (source == "constant") return makeConstant(ssc, input.at("partitions"));
    if (source == "queue") return makeQueue(ssc, input, push);
    throw CaseError("unknown source of an input: " + source);
}

void collectBatches(const AnyStream& stream, OnBatch onBatch) {
    stream.values().foreachRDD([onBatch = std::move(onBatch)](const RDD<Value>& rdd, Time time) {
        Values elements;
        try {
            elements = rdd.collect();
        } catch (...) {
            onBatch(time, {}, std::current_exception());
            throw;
        }
        onBatch(time, elements, nullptr);
    });
}

void print(const AnyStream& stream, std::optional<int> num) {
    num ? stream.values().print(*num) : stream.values().print();
}

void saveAsTextFiles(const AnyStream& stream, const std::string& prefix, const std::string& suffix) {
    stream.values().saveAsTextFiles(prefix, suffix);
}

std::vector<Values> slice(const AnyStream& stream, Time from, Time to) {
    std::vector<Values> result;
    if (stream.arePairs()) {
        for (const RDD<Pair>& rdd : stream.pairs().slice(from, to)) result.push_back(AnyRdd(rdd).values().collect());
    } else {
        for (const RDD<Value>& rdd : stream.values().slice(from, to)) result.push_back(rdd.collect());
    }
    return result;
}

}  // namespace conformance
