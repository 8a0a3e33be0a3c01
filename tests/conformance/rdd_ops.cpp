#include "any_rdd.hpp"
#include "listing.hpp"

#include <algorithm>

CONFORMANCE_VALUES(template)
CONFORMANCE_PAIRS(template)

namespace conformance {

using dstream::HashPartitioner;
using dstream::Iterator;
using dstream::PartitionChoice;
using dstream::RDD;
using dstream::RddBase;
using dstream::SparkContext;
using dstream::Time;

namespace {

struct ToList {
    Value operator()(const Values& items) const { return Value::list(items); }
};
struct WithNumber {
    Value operator()(const std::pair<Value, int64_t>& pair) const {
        return Value::pair(pair.first, Value(pair.second));
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

template <class T>
AnyRdd unite(const RddCall& call, std::vector<RDD<T>> all) {
    if (!call.step.isArray("with")) return all[0].unionWith(all.at(1));
    return all[0].sparkContext().unionAll(all);
}

/// Pairs stay pairs: their partitioner decides how they are united.
AnyRdd unite(const RddCall& call) {
    std::vector<AnyRdd> all = call.with();
    all.insert(all.begin(), call.in);
    if (std::all_of(all.begin(), all.end(), [](const AnyRdd& rdd) { return rdd.arePairs(); })) {
        std::vector<RDD<Pair>> pairs;
        for (const AnyRdd& rdd : all) pairs.push_back(rdd.pairs());
        return unite(call, std::move(pairs));
    }
    std::vector<RDD<Value>> values;
    for (const AnyRdd& rdd : all) values.push_back(rdd.values());
    return unite(call, std::move(values));
}

AnyRdd filter(const RddCall& call) {
    if (call.in.arePairs()) return RDD<Pair>(call.in.pairs().filter(call.step.pairPredicate("fn")));
    return RDD<Value>(call.in.values().filter(call.step.predicate()));
}

AnyRdd distinct(const RddCall& call) {
    const auto n = call.step.maybeNumber("partitions");
    if (call.in.arePairs()) return call.in.pairs().distinct(n);
    return call.in.values().distinct(n);
}

AnyRdd groupBy(const RddCall& call) {
    const auto n = call.step.maybeNumber("partitions");
    const auto grouped =
        call.in.values().groupBy(call.step.fn1(), n ? dstream::PartitionChoice(*n) : dstream::PartitionChoice());
    return RDD<Pair>(grouped.mapValues(ToValue()));
}

// ---- of pairs

/// Keeps the partitioner.
template <class T>
AnyRdd keyed(const RDD<std::pair<Value, T>>& rdd) {
    return RDD<Pair>(rdd.mapValues(ToValue()));
}

HashPartitioner hashed(const Step& step) {
    return HashPartitioner(step.number("partitions"));
}

RDD<Pair> otherPairs(const RddCall& call, size_t index = 0) {
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
            return keyed(in.cogroup(otherPairs(c), partitions(c.step)));
        case 2:
            return keyed(in.cogroup(otherPairs(c, 0), otherPairs(c, 1), partitions(c.step)));
        case 3:
            return keyed(in.cogroup(otherPairs(c, 0), otherPairs(c, 1), otherPairs(c, 2), partitions(c.step)));
        default:
            throw CaseError("cogroup with more than three others: " + c.step.notation());
    }
}

// ---- with shared variables

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

Values one(Value value) {
    return {std::move(value)};
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

RDD<double> reals(const ActionCall& call) {
    return call.in.values().map([](const Value& x) { return x.real(); });
}

Values listOf(const std::vector<double>& numbers) {
    Values items;
    for (const double number : numbers) items.emplace_back(number);
    return items;
}
Values listOf(const std::vector<int64_t>& numbers) {
    Values items;
    for (const int64_t number : numbers) items.emplace_back(number);
    return items;
}

Values stats(const ActionCall& call) {
    const dstream::StatCounter counter = reals(call).stats();
    const auto field = [](const char* name, auto value) { return Value::pair(Value(name), Value(value)); };
    return {field("count", int64_t{counter.count()}),
            field("mean", counter.mean()),
            field("sum", counter.sum()),
            field("min", counter.min()),
            field("max", counter.max()),
            field("variance", counter.variance()),
            field("sampleVariance", counter.sampleVariance()),
            field("stdev", counter.stdev()),
            field("sampleStdev", counter.sampleStdev())};
}

Values histogram(const ActionCall& call) {
    if (!call.step.isArray("buckets")) {
        const auto [bounds, counts] = reals(call).histogram(call.step.number("buckets"));
        return one(Value::pair(Value::list(listOf(bounds)), Value::list(listOf(counts))));
    }
    std::vector<double> bounds;
    for (const Value& bound : call.step.values("buckets")) bounds.push_back(bound.real());
    return one(Value::list(listOf(reals(call).histogram(std::move(bounds), call.step.flag("even", false)))));
}

/// Adds up values.
class Sum final : public dstream::AccumulatorV2<Value, Value> {
private:
    bool doIsZero() const override { return total_ == Value(0); }
    std::unique_ptr<AccumulatorV2> doCopy() const override { return std::make_unique<Sum>(*this); }
    void doReset() override { total_ = Value(0); }
    void doAdd(const Value& value) override { total_ = conformance::add(total_, value); }
    void doMerge(const AccumulatorV2& other) override { doAdd(other.stateAs<Sum>().total_); }
    Value doValue() const override { return total_; }

    Value total_;
};

Values accumulate(const ActionCall& call) {
    const RDD<Value> in = call.in.values();
    Sum total;
    in.sparkContext().registerAccumulator(total);
    in.foreach ([total, f = call.step.fn1()](const Value& x) { total.add(f(x)); });
    return one(total.value());
}

Values accumulateInMap(const ActionCall& call) {
    const RDD<Value> in = call.in.values();
    Sum total;
    in.sparkContext().registerAccumulator(total);
    const RDD<Value> mapped = in.map(Fn1{[total, f = call.step.fn1()](const Value& x) {
        total.add(f(x));
        return x;
    }});
    for (int64_t i = 0; i < call.step.integer("actions"); ++i) mapped.count();
    return one(total.value());
}

Values foreachPartitionCount(const ActionCall& call) {
    const auto calls = std::make_shared<std::atomic<int64_t>>(0);
    call.in.values().foreachPartition([calls](Iterator<Value>) { calls->fetch_add(1); });
    return one(Value(calls->load()));
}

Values saveAsTextFile(const ActionCall& call) {
    const std::string target = call.directory + "/saved";
    for (int times = call.step.flag("twice", false) ? 2 : 1; times > 0; --times) {
        call.in.values().saveAsTextFile(target);
    }
    return listFiles(target);
}

/// The name of the RDDs that turn one form of AnyRdd into the other.
constexpr const char* kOtherForm = "the other form";

int64_t depth(const std::vector<dstream::DependencyPtr>& dependencies) {
    int64_t deepest = 0;
    for (const auto& dependency : dependencies) {
        const RddBase& rdd = dependency->rdd();
        deepest = std::max(deepest, depth(*rdd.lineage()) - (rdd.name() == kOtherForm ? 1 : 0));
    }
    return deepest + 1;
}

Values lineageDepth(const ActionCall& call) {
    return one(Value(depth(call.in.arePairs() ? call.in.pairs().dependencies() : call.in.values().dependencies())));
}

}  // namespace

RDD<Value> AnyRdd::values() const {
    if (values_) return values_;
    return RDD<Value>(pairs_.map(FromPair())).setName(kOtherForm);
}
RDD<Pair> AnyRdd::pairs() const {
    if (pairs_) return pairs_;
    return RDD<Pair>(values_.map(ToPair())).setName(kOtherForm);
}

const AnyRdd& named(const NamedRdds& names, const std::string& name) {
    const auto found = names.find(name);
    if (found == names.end()) throw CaseError("no RDD is named " + name);
    return found->second;
}

PartitionChoice partitions(const Step& step) {
    const auto n = step.maybeNumber("partitions");
    return n ? PartitionChoice(*n) : PartitionChoice();
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
        {"filter", filter},
        {"flatMap", [](C c) -> AnyRdd { return Result(c.in.values().flatMap(c.step.fnMany())); }},
        {"glom", [](C c) -> AnyRdd { return Result(c.in.values().glom().map(ToList())); }},
        {"mapPartitions",
         [](C c) -> AnyRdd { return Result(c.in.values().mapPartitions(OnPartition{c.step.fnPartition()})); }},
        {"mapPartitionsWithIndex",
         [](C c) -> AnyRdd {
             return Result(c.in.values().mapPartitionsWithIndex(OnPartitionWithIndex{c.step.fnPartitionWithIndex()}));
         }},
        {"zip", [](C c) -> AnyRdd { return c.in.values().zip(other(c)); }},
        {"zipWithIndex", [](C c) -> AnyRdd { return Result(c.in.values().zipWithIndex().map(WithNumber())); }},
        {"zipWithUniqueId", [](C c) -> AnyRdd { return Result(c.in.values().zipWithUniqueId().map(WithNumber())); }},
        {"zipPartitions",
         [](C c) -> AnyRdd {
             return Result(c.in.values().zipPartitions(other(c), OnTwoPartitions{c.step.fnTwoPartitions()}));
         }},
        {"coalesce",
         [](C c) -> AnyRdd {
             return c.in.values().coalesce(c.step.number("partitions"), c.step.flag("shuffle", false));
         }},
        {"repartition", [](C c) -> AnyRdd { return c.in.values().repartition(c.step.number("partitions")); }},
        {"distinct", distinct},
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
        {"groupBy", groupBy},
        {"keyBy", [](C c) -> AnyRdd { return RDD<Pair>(c.in.values().keyBy(c.step.fn1())); }},
        {"sortBy",
         [](C c) -> AnyRdd {
             return c.in.values().sortBy(c.step.fn1(), c.step.flag("ascending", true),
                                         c.step.maybeNumber("partitions"));
         }},
        {"mapValues", [](C c) -> AnyRdd { return RDD<Pair>(c.in.pairs().mapValues(c.step.fn1())); }},
        {"flatMapValues", [](C c) -> AnyRdd { return RDD<Pair>(c.in.pairs().flatMapValues(c.step.fnMany())); }},
        {"keys", [](C c) -> AnyRdd { return RDD<Value>(c.in.pairs().keys()); }},
        {"values", [](C c) -> AnyRdd { return RDD<Value>(c.in.pairs().values()); }},
        {"subtractByKey", [](C c) -> AnyRdd { return c.in.pairs().subtractByKey(otherPairs(c), partitions(c.step)); }},
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
        {"join", [](C c) -> AnyRdd { return keyed(c.in.pairs().join(otherPairs(c), partitions(c.step))); }},
        {"leftOuterJoin",
         [](C c) -> AnyRdd { return keyed(c.in.pairs().leftOuterJoin(otherPairs(c), partitions(c.step))); }},
        {"rightOuterJoin",
         [](C c) -> AnyRdd { return keyed(c.in.pairs().rightOuterJoin(otherPairs(c), partitions(c.step))); }},
        {"fullOuterJoin",
         [](C c) -> AnyRdd { return keyed(c.in.pairs().fullOuterJoin(otherPairs(c), partitions(c.step))); }},
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

RDD<Value> makePartitions(const SparkContext& sc, std::vector<Values> partitions) {
    return sc.fromPartitions(std::move(partitions));
}
RDD<Value> parallelize(const SparkContext& sc, Values items, std::optional<int> slices) {
    return slices ? sc.parallelize(std::move(items), *slices) : sc.parallelize(std::move(items));
}

const Actions& rddActions() {
    using C = const ActionCall&;
    static const Actions kActions = {
        {"collect", [](C c) { return c.in.values().collect(); }},
        {"count", [](C c) { return one(Value(c.in.arePairs() ? c.in.pairs().count() : c.in.values().count())); }},
        {"first", [](C c) { return one(c.in.values().first()); }},
        {"take", [](C c) { return c.in.values().take(c.step.number("n")); }},
        {"top", [](C c) { return c.in.values().top(c.step.number("n")); }},
        {"takeOrdered", [](C c) { return c.in.values().takeOrdered(c.step.number("n")); }},
        {"reduce", [](C c) { return one(c.in.values().reduce(c.step.fn2())); }},
        {"treeReduce", [](C c) { return one(c.in.values().treeReduce(c.step.fn2())); }},
        {"fold", [](C c) { return one(c.in.values().fold(c.step.value("zero"), c.step.fn2())); }},
        {"aggregate",
         [](C c) { return one(c.in.values().aggregate(c.step.value("zero"), c.step.fn2("seq"), c.step.fn2("comb"))); }},
        {"treeAggregate",
         [](C c) {
             return one(c.in.values().treeAggregate(c.step.value("zero"), c.step.fn2("seq"), c.step.fn2("comb")));
         }},
        {"countByValue", [](C c) { return pairsOf(c.in.values().countByValue()); }},
        {"countByKey", [](C c) { return pairsOf(c.in.pairs().countByKey()); }},
        {"collectAsMap", [](C c) { return pairsOf(c.in.pairs().collectAsMap()); }},
        {"reduceByKeyLocally", [](C c) { return pairsOf(c.in.pairs().reduceByKeyLocally(c.step.fn2())); }},
        {"lookup", [](C c) { return c.in.pairs().lookup(c.step.value("key")); }},
        {"max", [](C c) { return one(c.in.values().max()); }},
        {"min", [](C c) { return one(c.in.values().min()); }},
        {"isEmpty", [](C c) { return one(Value(c.in.values().isEmpty())); }},
        {"numPartitions",
         [](C c) {
             return one(Value(c.in.arePairs() ? c.in.pairs().getNumPartitions() : c.in.values().getNumPartitions()));
         }},
        {"sum", [](C c) { return one(Value(reals(c).sum())); }},
        {"mean", [](C c) { return one(Value(reals(c).mean())); }},
        {"variance", [](C c) { return one(Value(reals(c).variance())); }},
        {"sampleVariance", [](C c) { return one(Value(reals(c).sampleVariance())); }},
        {"stdev", [](C c) { return one(Value(reals(c).stdev())); }},
        {"sampleStdev", [](C c) { return one(Value(reals(c).sampleStdev())); }},
        {"stats", stats},
        {"histogram", histogram},
        {"accumulate", accumulate},
        {"accumulateInMap", accumulateInMap},
        {"foreachPartitionCount", foreachPartitionCount},
        {"saveAsTextFile", saveAsTextFile},
        {"lineageDepth", lineageDepth},
    };
    return kActions;
}

Values runAction(const AnyRdd& rdd, const Step& action, const std::string& directory) {
    const auto found = rddActions().find(action.op());
    if (found == rddActions().end()) throw CaseError("unknown action: " + action.notation());
    return found->second(ActionCall{rdd, action, directory});
}

}  // namespace conformance
