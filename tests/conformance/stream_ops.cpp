#include "any_stream.hpp"
#include "dstream/testkit.hpp"

namespace conformance {

using dstream::DStream;
using dstream::Duration;
using dstream::HashPartitioner;
using dstream::Iterator;
using dstream::RDD;
using dstream::State;
using dstream::StateSpec;
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

AnyStream transform(const StreamCall& c) {
    return DStream<Value>(c.in.values().transform(
        [steps = c.rddSteps(), rdds = c.rdds](const RDD<Value>& rdd, Time time) { return steps(rdd, rdds, time); }));
}

AnyStream transformWith(const StreamCall& c) {
    return DStream<Value>(c.in.values().transformWith(c.other().values(),
                                                      [steps = c.rddSteps(), rdds = c.rdds, name = c.step.text("with")](
                                                          const RDD<Value>& rdd, const RDD<Value>& other, Time time) {
                                                          NamedRdds names = rdds;
                                                          names.insert_or_assign(name, other);
                                                          return steps(rdd, names, time);
                                                      }));
}

AnyStream transformAll(const StreamCall& c) {
    return DStream<Value>(
        c.context().transform(withThis(c), [steps = c.rddSteps(), rdds = c.rdds, with = c.step.names("with")](
                                               const std::vector<RDD<Value>>& all, Time time) {
            NamedRdds names = rdds;
            for (size_t i = 0; i < with.size(); ++i) names.insert_or_assign(with[i], all.at(i + 1));
            return steps(all.at(0), names, time);
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

// ---- of pairs

/// Keeps the partitioner.
template <class T>
AnyStream keyed(const DStream<std::pair<Value, T>>& stream) {
    return DStream<Pair>(stream.mapValues(ToValue()));
}

AnyStream groupByKeyAndWindow(const StreamCall& c) {
    const auto grouped = c.in.pairs().groupByKeyAndWindow(c.window(), c.maybeSlide(), partitions(c.step));
    return keyed(grouped);
}

AnyStream reduceByKeyAndWindow(const StreamCall& c) {
    const DStream<Pair> in = c.in.pairs();
    if (!c.step.has("inv"))
        return in.reduceByKeyAndWindow(c.step.fn2(), c.window(), c.maybeSlide(), partitions(c.step));
    if (!c.step.has("filter")) {
        return in.reduceByKeyAndWindow(c.step.fn2(), c.step.fn2("inv"), c.window(), c.maybeSlide(), partitions(c.step));
    }
    return in.reduceByKeyAndWindow(c.step.fn2(), c.step.fn2("inv"), c.window(), c.maybeSlide(), partitions(c.step),
                                   c.step.pairPredicate("filter"));
}

// ---- state

/// The simple form: (values, state).
struct Update {
    UpdateFunction f;
    MaybeValue operator()(const Values& values, const MaybeValue& state) const { return f(0, Value(), values, state); }
};
struct TimedUpdate {
    UpdateFunction f;
    MaybeValue operator()(Time time, const Value& key, const Values& values, const MaybeValue& state) const {
        return f(time.milliseconds(), key, values, state);
    }
};
struct IteratorUpdate {
    using Element = std::tuple<Value, Values, MaybeValue>;
    IteratorUpdateFunction f;
    std::vector<Pair> operator()(Iterator<Element> part) const {
        std::vector<KeyedUpdate> updates;
        while (part.hasNext()) {
            auto [key, values, state] = part.next();
            updates.push_back({std::move(key), std::move(values), std::move(state)});
        }
        return f(updates);
    }
};

AnyStream updateStateByKey(const StreamCall& c) {
    const DStream<Pair> in = c.in.pairs();
    const Step& step = c.step;
    const std::string form = step.has("form") ? step.text("form") : "simple";
    const auto n = step.maybeNumber("partitions");
    const bool remember = step.flag("remember_partitioner", true);
    std::optional<RDD<Pair>> initial;
    if (step.has("initial")) initial = named(c.rdds, step.text("initial")).pairs();
    if (form == "simple") return in.updateStateByKey<Value>(Update{step.update()}, partitions(step), initial);
    const HashPartitioner partitioner(n.value_or(c.sparkContext().defaultParallelism()));
    if (form == "partitioner") return in.updateStateByKey<Value>(Update{step.update()}, partitioner, initial);
    if (form == "iterator") {
        return in.updateStateByKey<Value>(IteratorUpdate{step.iteratorUpdate()}, partitioner, remember, initial);
    }
    if (form == "time") {
        return in.updateStateByKey<Value>(TimedUpdate{step.update()}, partitioner, remember, initial);
    }
    throw CaseError("unknown form of updateStateByKey: " + form);
}

class Access final : public StateAccess {
public:
    explicit Access(State<Value>& state) : state_(state) {}
    bool exists() const override { return state_.exists(); }
    Value get() const override { return state_.get(); }
    void update(const Value& value) override { state_.update(value); }
    void remove() override { state_.remove(); }
    bool isTimingOut() const override { return state_.isTimingOut(); }

private:
    State<Value>& state_;
};

struct Mapping {
    StateFunction f;
    MaybeValue operator()(Time time, const Value& key, const MaybeValue& value, State<Value>& state) const {
        Access access(state);
        return f(time.milliseconds(), key, value, access);
    }
};

AnyStream mapWithState(const StreamCall& c) {
    auto spec = StateSpec<Value, Value, Value, Value>::function(Mapping{c.step.stateFunction()});
    if (c.step.has("timeout_ms")) spec.timeout(c.duration("timeout_ms"));
    if (const auto n = c.step.maybeNumber("partitions")) spec.numPartitions(*n);
    if (c.step.has("initial")) spec.initialState(named(c.rdds, c.step.text("initial")).pairs());
    const auto stream = c.in.pairs().mapWithState(spec);
    AnyStream result(DStream<Value>{stream});
    result.stateSnapshots = [stream]() -> AnyStream { return stream.stateSnapshots(); };
    result.stateCheckpoint = [stream, snapshots = result.stateSnapshots](Duration interval) {
        AnyStream checkpointed(DStream<Value>{stream.checkpoint(interval)});
        checkpointed.stateSnapshots = snapshots;
        return checkpointed;
    };
    return result;
}

AnyStream stateSnapshots(const StreamCall& c) {
    if (!c.in.stateSnapshots) throw CaseError("stateSnapshots of a stream that is no mapWithState's");
    return c.in.stateSnapshots();
}

std::shared_ptr<dstream::RDDQueue<Value>> makeQueue(const StreamingContext& ssc, Push& push) {
    auto queue = std::make_shared<dstream::RDDQueue<Value>>();
    push = [queue, sc = ssc.sparkContext()](std::vector<Values> partitions) {
        queue->push(makePartitions(sc, std::move(partitions)));
    };
    return queue;
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
        {"mapValues", [](C c) -> AnyStream { return DStream<Pair>(c.in.pairs().mapValues(c.step.fn1())); }},
        {"flatMapValues", [](C c) -> AnyStream { return DStream<Pair>(c.in.pairs().flatMapValues(c.step.fnMany())); }},
        {"groupByKey", [](C c) -> AnyStream { return keyed(c.in.pairs().groupByKey(partitions(c.step))); }},
        {"reduceByKey", [](C c) -> AnyStream { return c.in.pairs().reduceByKey(c.step.fn2(), partitions(c.step)); }},
        {"combineByKey",
         [](C c) -> AnyStream {
             const Combiner combiner = c.step.combiner();
             return DStream<Pair>(c.in.pairs().combineByKey(combiner.create, combiner.mergeValue,
                                                            combiner.mergeCombiners,
                                                            HashPartitioner(c.step.number("partitions"))));
         }},
        {"cogroup",
         [](C c) -> AnyStream { return keyed(c.in.pairs().cogroup(c.other().pairs(), partitions(c.step))); }},
        {"join", [](C c) -> AnyStream { return keyed(c.in.pairs().join(c.other().pairs(), partitions(c.step))); }},
        {"leftOuterJoin",
         [](C c) -> AnyStream { return keyed(c.in.pairs().leftOuterJoin(c.other().pairs(), partitions(c.step))); }},
        {"rightOuterJoin",
         [](C c) -> AnyStream { return keyed(c.in.pairs().rightOuterJoin(c.other().pairs(), partitions(c.step))); }},
        {"fullOuterJoin",
         [](C c) -> AnyStream { return keyed(c.in.pairs().fullOuterJoin(c.other().pairs(), partitions(c.step))); }},
        {"groupByKeyAndWindow", groupByKeyAndWindow},
        {"reduceByKeyAndWindow", reduceByKeyAndWindow},
        {"updateStateByKey", updateStateByKey},
        {"mapWithState", mapWithState},
        {"stateSnapshots", stateSnapshots},
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

DStream<Value> scriptedStream(const StreamingContext& ssc, Batches batches) {
    return dstream::testkit::partitionedBatches<Value>(ssc, std::move(batches));
}
DStream<Value> constantStream(const StreamingContext& ssc, std::vector<Values> partitions) {
    return dstream::ConstantInputDStream<Value>(ssc, makePartitions(ssc.sparkContext(), std::move(partitions)));
}
DStream<Value> queueStream(const StreamingContext& ssc, bool oneAtATime, Push& push) {
    return ssc.queueStream(makeQueue(ssc, push), oneAtATime);
}
DStream<Value> queueStream(const StreamingContext& ssc, bool oneAtATime, std::optional<std::vector<Values>> otherwise,
                           Push& push) {
    std::optional<RDD<Value>> defaultRdd;
    if (otherwise) defaultRdd = makePartitions(ssc.sparkContext(), *std::move(otherwise));
    return ssc.queueStream(makeQueue(ssc, push), oneAtATime, defaultRdd);
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
