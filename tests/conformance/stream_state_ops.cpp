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
    const PartitionChoice partitions = n ? PartitionChoice(*n) : PartitionChoice();
    const bool remember = step.flag("remember_partitioner", true);
    std::optional<RDD<Pair>> initial;
    if (step.has("initial")) initial = named(c.rdds, step.text("initial")).pairs();
    if (form == "simple") return in.updateStateByKey<Value>(Update{step.update()}, partitions, initial);
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

const StreamOps& streamStateOps() {
    static const StreamOps kOps = {
        {"updateStateByKey", updateStateByKey},
        {"mapWithState", mapWithState},
        {"stateSnapshots", stateSnapshots},
    };
    return kOps;
}

}  // namespace conformance
