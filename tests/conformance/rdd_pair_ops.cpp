#include "any_rdd.hpp"

CONFORMANCE_PAIRS(template)

namespace conformance {

using dstream::HashPartitioner;
using dstream::PartitionChoice;
using dstream::RDD;

namespace {

/// Keeps the partitioner.
template <class T>
AnyRdd keyed(const RDD<std::pair<Value, T>>& rdd) {
    return RDD<Pair>(rdd.mapValues(ToValue()));
}

/// The number of partitions that the step names, or the default rule.
PartitionChoice partitions(const Step& step) {
    const auto n = step.maybeNumber("partitions");
    return n ? PartitionChoice(*n) : PartitionChoice();
}
HashPartitioner hashed(const Step& step) {
    return HashPartitioner(step.number("partitions"));
}

RDD<Pair> other(const RddCall& call, size_t index = 0) {
    return call.with().at(index).pairs();
}

AnyRdd reduceByKey(const RddCall& c) {
    const auto n = c.step.maybeNumber("partitions");
    return n ? c.in.pairs().reduceByKey(c.step.fn2(), *n) : c.in.pairs().reduceByKey(c.step.fn2());
}

AnyRdd cogroup(const RddCall& c) {
    const RDD<Pair> in = c.in.pairs();
    switch (c.with().size()) {
        case 1:
            return keyed(in.cogroup(other(c), partitions(c.step)));
        case 2:
            return keyed(in.cogroup(other(c, 0), other(c, 1), partitions(c.step)));
        case 3:
            return keyed(in.cogroup(other(c, 0), other(c, 1), other(c, 2), partitions(c.step)));
        default:
            throw CaseError("cogroup with more than three others: " + c.step.notation());
    }
}

Values pairsOf(const std::map<Value, Value>& map) {
    Values result;
    for (const auto& entry : map) result.push_back(fromPair(entry));
    return result;
}
Values pairsOf(const std::map<Value, int64_t>& map) {
    Values result;
    for (const auto& [key, count] : map) result.push_back(Value::pair(key, Value(count)));
    return result;
}

}  // namespace

const RddOps& rddPairOps() {
    using C = const RddCall&;
    static const RddOps kOps = {
        {"mapValues", [](C c) -> AnyRdd { return RDD<Pair>(c.in.pairs().mapValues(c.step.fn1())); }},
        {"flatMapValues", [](C c) -> AnyRdd { return RDD<Pair>(c.in.pairs().flatMapValues(c.step.fnMany())); }},
        {"keys", [](C c) -> AnyRdd { return RDD<Value>(c.in.pairs().keys()); }},
        {"values", [](C c) -> AnyRdd { return RDD<Value>(c.in.pairs().values()); }},
        {"subtractByKey", [](C c) -> AnyRdd { return c.in.pairs().subtractByKey(other(c), partitions(c.step)); }},
        {"sortByKey",
         [](C c) -> AnyRdd {
             return c.in.pairs().sortByKey(c.step.flag("ascending", true), c.step.maybeNumber("partitions"));
         }},
        {"filterByRange",
         [](C c) -> AnyRdd { return c.in.pairs().filterByRange(c.step.value("from_key"), c.step.value("to_key")); }},
        {"repartitionAndSortWithinPartitions",
         [](C c) -> AnyRdd { return c.in.pairs().repartitionAndSortWithinPartitions(hashed(c.step)); }},
        {"partitionBy", [](C c) -> AnyRdd { return c.in.pairs().partitionBy(hashed(c.step)); }},
        {"reduceByKey", reduceByKey},
        {"groupByKey", [](C c) -> AnyRdd { return keyed(c.in.pairs().groupByKey(partitions(c.step))); }},
        {"aggregateByKey",
         [](C c) -> AnyRdd {
             return c.in.pairs().aggregateByKey(c.step.value("zero"), partitions(c.step), c.step.fn2("seq"),
                                                c.step.fn2("comb"));
         }},
        {"foldByKey",
         [](C c) -> AnyRdd { return c.in.pairs().foldByKey(c.step.value("zero"), partitions(c.step), c.step.fn2()); }},
        {"combineByKey",
         [](C c) -> AnyRdd {
             const Combiner combiner = c.step.combiner();
             return c.in.pairs().combineByKey(combiner.create, combiner.mergeValue, combiner.mergeCombiners,
                                              partitions(c.step));
         }},
        {"cogroup", cogroup},
        {"join", [](C c) -> AnyRdd { return keyed(c.in.pairs().join(other(c), partitions(c.step))); }},
        {"leftOuterJoin",
         [](C c) -> AnyRdd { return keyed(c.in.pairs().leftOuterJoin(other(c), partitions(c.step))); }},
        {"rightOuterJoin",
         [](C c) -> AnyRdd { return keyed(c.in.pairs().rightOuterJoin(other(c), partitions(c.step))); }},
        {"fullOuterJoin",
         [](C c) -> AnyRdd { return keyed(c.in.pairs().fullOuterJoin(other(c), partitions(c.step))); }},
    };
    return kOps;
}

const Actions& rddPairActions() {
    using C = const ActionCall&;
    static const Actions kActions = {
        {"countByKey", [](C c) { return pairsOf(c.in.pairs().countByKey()); }},
        {"collectAsMap", [](C c) { return pairsOf(c.in.pairs().collectAsMap()); }},
        {"reduceByKeyLocally", [](C c) { return pairsOf(c.in.pairs().reduceByKeyLocally(c.step.fn2())); }},
        {"lookup", [](C c) { return c.in.pairs().lookup(c.step.value("key")); }},
    };
    return kActions;
}

}  // namespace conformance
