#include "any_stream.hpp"

namespace conformance {

using dstream::DStream;
using dstream::HashPartitioner;
using dstream::PartitionChoice;

namespace {

Value toValue(const Value& value) {
    return value;
}
Value toValue(const std::vector<Value>& group) {
    return Value::bag(group);
}
Value toValue(const std::optional<Value>& value) {
    return Value::optional(value);
}

/// Puts the value that a keyed operator returned into the variant; keeps the partitioner.
struct ToValue {
    Value operator()(const std::vector<Value>& group) const { return toValue(group); }
    template <class A, class B>
    Value operator()(const std::pair<A, B>& both) const {
        return Value::pair(toValue(both.first), toValue(both.second));
    }
};
template <class T>
AnyStream keyed(const DStream<std::pair<Value, T>>& stream) {
    return DStream<Pair>(stream.mapValues(ToValue()));
}

PartitionChoice partitions(const Step& step) {
    const auto n = step.maybeNumber("partitions");
    return n ? PartitionChoice(*n) : PartitionChoice();
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
    };
    return kOps;
}

}  // namespace conformance
