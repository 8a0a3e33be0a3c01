#include "any_stream.hpp"

namespace conformance {

using dstream::DStream;
using dstream::Duration;
using dstream::HashPartitioner;
using dstream::Iterator;
using dstream::PartitionChoice;
using dstream::RDD;
using dstream::State;
using dstream::StateSpec;
using dstream::Time;

namespace {

/// Keeps the partitioner.
template <class T>
AnyStream keyed(const DStream<std::pair<Value, T>>& stream) {
    return DStream<Pair>(stream.mapValues(ToValue()));
}

PartitionChoice partitions(const Step& step) {
    const auto n = step.maybeNumber("partitions");
    return n ? PartitionChoice(*n) : PartitionChoice();
}

// ---- windows

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

}  // namespace

const StreamOps& streamPairOps() {
    using C = const StreamCall&;
    static const StreamOps kOps = {
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
    };
    return kOps;
}

}  // namespace conformance
