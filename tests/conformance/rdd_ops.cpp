#include "any_rdd.hpp"
#include "listing.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace conformance {

using dstream::Iterator;
using dstream::RDD;
using dstream::RddBase;
using dstream::SparkContext;
using dstream::Time;

namespace {

Value toValue(const std::vector<Value>& items) {
    return Value::list(items);
}
Value toValue(const std::pair<Value, int64_t>& pair) {
    return Value::pair(pair.first, Value(pair.second));
}

/// Puts what an operator returned into the variant.
struct ToValue {
    template <class T>
    Value operator()(const T& x) const {
        return toValue(x);
    }
};

struct OnPartition {
    FnPartition f;
    Values operator()(Iterator<Value> part) const { return f.f(drain(part)); }
};
struct OnPartitionWithIndex {
    FnPartitionWithIndex f;
    Values operator()(int index, Iterator<Value> part) const { return f.f(index, drain(part)); }
};
struct OnTwoPartitions {
    FnTwoPartitions f;
    Values operator()(Iterator<Value> a, Iterator<Value> b) const {
        const Values first = drain(a);
        return f.f(first, drain(b));
    }
};

/// The values that the field `with` names, one or several.
std::vector<RDD<Value>> others(const RddCall& call) {
    std::vector<RDD<Value>> result;
    for (const AnyRdd& rdd : call.with()) result.push_back(rdd.values());
    return result;
}
RDD<Value> other(const RddCall& call) {
    const auto all = others(call);
    if (all.size() != 1) throw CaseError("needs one name in \"with\": " + call.step.notation());
    return all[0];
}

AnyRdd unite(const RddCall& call) {
    std::vector<RDD<Value>> all = others(call);
    if (!call.step.isArray("with")) return call.in.values().unionWith(all.at(0));
    all.insert(all.begin(), call.in.values());
    const SparkContext sc = all[0].sparkContext();
    return sc.unionAll(all);
}

AnyRdd broadcastLookup(const RddCall& call) {
    std::map<Value, Value> table;
    for (const Value& entry : call.step.values("table")) table[entry.first()] = entry.second();
    const RDD<Value> in = call.in.values();
    const auto sent = in.sparkContext().broadcast(std::move(table));
    return RDD<Value>(in.map(Fn1{[sent, otherwise = call.step.value("default")](const Value& x) {
        const auto found = sent.value().find(x);
        return Value::pair(x, found == sent.value().end() ? otherwise : found->second);
    }}));
}

AnyRdd tagTime(const RddCall& call) {
    if (!call.batchTime) throw CaseError("tagTime is for transform only");
    return RDD<Value>(call.in.values().map(
        Fn1{[ms = call.batchTime->milliseconds()](const Value& x) { return Value::pair(Value(ms), x); }}));
}

}  // namespace

RDD<Value> AnyRdd::values() const {
    if (values_) return values_;
    return pairs_.map([](const Pair& pair) { return fromPair(pair); });
}
RDD<Pair> AnyRdd::pairs() const {
    if (pairs_) return pairs_;
    return values_.map([](const Value& value) { return toPair(value); });
}

const AnyRdd& named(const NamedRdds& names, const std::string& name) {
    const auto found = names.find(name);
    if (found == names.end()) throw CaseError("no RDD is named " + name);
    return found->second;
}

std::vector<AnyRdd> RddCall::with() const {
    std::vector<AnyRdd> result;
    for (const std::string& name : step.names("with")) result.push_back(named(names, name));
    return result;
}

Values drain(Iterator<Value>& partition) {
    Values all;
    while (partition.hasNext()) all.push_back(partition.next());
    return all;
}

const RddOps& rddOps() {
    using C = const RddCall&;
    using Result = RDD<Value>;
    static const RddOps kOps = {
        {"map", [](C c) -> AnyRdd { return Result(c.in.values().map(c.step.fn1())); }},
        {"filter", [](C c) -> AnyRdd { return Result(c.in.values().filter(c.step.predicate())); }},
        {"flatMap", [](C c) -> AnyRdd { return Result(c.in.values().flatMap(c.step.fnMany())); }},
        {"glom", [](C c) -> AnyRdd { return Result(c.in.values().glom().map(ToValue())); }},
        {"mapPartitions",
         [](C c) -> AnyRdd { return Result(c.in.values().mapPartitions(OnPartition{c.step.fnPartition()})); }},
        {"mapPartitionsWithIndex",
         [](C c) -> AnyRdd {
             return Result(c.in.values().mapPartitionsWithIndex(OnPartitionWithIndex{c.step.fnPartitionWithIndex()}));
         }},
        {"zip", [](C c) -> AnyRdd { return c.in.values().zip(other(c)); }},
        {"zipWithIndex", [](C c) -> AnyRdd { return Result(c.in.values().zipWithIndex().map(ToValue())); }},
        {"zipWithUniqueId", [](C c) -> AnyRdd { return Result(c.in.values().zipWithUniqueId().map(ToValue())); }},
        {"zipPartitions",
         [](C c) -> AnyRdd {
             return Result(c.in.values().zipPartitions(other(c), OnTwoPartitions{c.step.fnTwoPartitions()}));
         }},
        {"coalesce",
         [](C c) -> AnyRdd {
             return c.in.values().coalesce(c.step.number("partitions"), c.step.flag("shuffle", false));
         }},
        {"repartition", [](C c) -> AnyRdd { return c.in.values().repartition(c.step.number("partitions")); }},
        {"distinct", [](C c) -> AnyRdd { return c.in.values().distinct(c.step.maybeNumber("partitions")); }},
        {"union", unite},
        {"intersection",
         [](C c) -> AnyRdd {
             const auto n = c.step.maybeNumber("partitions");
             return n ? c.in.values().intersection(other(c), *n) : c.in.values().intersection(other(c));
         }},
        {"subtract",
         [](C c) -> AnyRdd {
             const auto n = c.step.maybeNumber("partitions");
             return n ? c.in.values().subtract(other(c), *n) : c.in.values().subtract(other(c));
         }},
        {"cartesian", [](C c) -> AnyRdd { return c.in.values().cartesian(other(c)); }},
        {"groupBy",
         [](C c) -> AnyRdd {
             return RDD<Pair>(
                 c.in.values().groupBy(c.step.fn1()).mapValues([](const Values& group) { return Value::bag(group); }));
         }},
        {"keyBy", [](C c) -> AnyRdd { return RDD<Pair>(c.in.values().keyBy(c.step.fn1())); }},
        {"sortBy",
         [](C c) -> AnyRdd {
             return c.in.values().sortBy(c.step.fn1(), c.step.flag("ascending", true),
                                         c.step.maybeNumber("partitions"));
         }},
        {"broadcastLookup", broadcastLookup},
        {"tagTime", tagTime},
        {"persist",
         [](C c) -> AnyRdd {
             if (c.in.arePairs()) return c.in.pairs().persist();
             return c.in.values().persist();
         }},
        {"unpersist",
         [](C c) -> AnyRdd {
             if (c.in.arePairs()) return c.in.pairs().unpersist();
             return c.in.values().unpersist();
         }},
        {"checkpoint",
         [](C c) -> AnyRdd {
             c.in.arePairs() ? c.in.pairs().checkpoint() : c.in.values().checkpoint();
             return c.in;
         }},
        {"materialize",
         [](C c) -> AnyRdd {
             c.in.arePairs() ? c.in.pairs().count() : c.in.values().count();
             return c.in;
         }},
    };
    return kOps;
}

std::vector<Values> parsePartitions(const nlohmann::json& partitions) {
    std::vector<Values> parts;
    for (const auto& partition : partitions) {
        Values& part = parts.emplace_back();
        for (const auto& item : partition) part.push_back(parseValue(item));
    }
    return parts;
}

RDD<Value> makePartitions(const SparkContext& sc, const nlohmann::json& partitions) {
    return sc.fromPartitions(parsePartitions(partitions));
}

RDD<Value> makeRdd(const SparkContext& sc, const nlohmann::json& written) {
    if (written.contains("partitions")) return makePartitions(sc, written["partitions"]);
    Values items;
    for (const auto& item : written.at("parallelize")) items.push_back(parseValue(item));
    if (!written.contains("slices")) return sc.parallelize(std::move(items));
    return sc.parallelize(std::move(items), written["slices"].get<int>());
}

AnyRdd runRddPipeline(const SparkContext&, AnyRdd in, const nlohmann::json& steps, NamedRdds names, CallCounts* counts,
                      std::optional<Time> batchTime) {
    AnyRdd current = std::move(in);
    for (const auto& written : steps) {
        const Step step(written, counts);
        const std::string op = step.op();
        auto found = rddOps().find(op);
        if (found == rddOps().end()) {
            found = rddPairOps().find(op);
            if (found == rddPairOps().end()) throw CaseError("unknown RDD operator: " + op);
        }
        if (step.has("from")) current = named(names, step.text("from"));
        current = found->second(RddCall{current, step, names, batchTime});
        if (step.has("as")) names.insert_or_assign(step.text("as"), current);
    }
    return current;
}

}  // namespace conformance
