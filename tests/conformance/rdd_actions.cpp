#include "any_rdd.hpp"
#include "listing.hpp"
#include "rdd/accumulator.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <memory>

namespace conformance {

using dstream::Iterator;
using dstream::RDD;
using dstream::RddBase;

namespace {

struct ActionCall {
    const AnyRdd& in;
    const Step& step;
    const std::string& directory;
};

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
    void doAdd(const Value& value) override { total_ = add_(total_, value); }
    void doMerge(const AccumulatorV2& other) override { doAdd(other.stateAs<Sum>().total_); }
    Value doValue() const override { return total_; }

    Fn2 add_ = parseFn2("add");
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

int64_t depth(const std::vector<dstream::DependencyPtr>& dependencies) {
    int64_t deepest = 0;
    for (const auto& dependency : dependencies) deepest = std::max(deepest, depth(*dependency->rdd().lineage()));
    return deepest + 1;
}

Values lineageDepth(const ActionCall& call) {
    return one(Value(depth(call.in.arePairs() ? call.in.pairs().dependencies() : call.in.values().dependencies())));
}

const std::map<std::string, Values (*)(const ActionCall&)>& actions() {
    using C = const ActionCall&;
    static const std::map<std::string, Values (*)(const ActionCall&)> kActions = {
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
        {"countByKey", [](C c) { return pairsOf(c.in.pairs().countByKey()); }},
        {"countByValue", [](C c) { return pairsOf(c.in.values().countByValue()); }},
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

}  // namespace

Values runAction(const AnyRdd& rdd, const Step& action, const std::string& directory) {
    const auto found = actions().find(action.op());
    if (found == actions().end()) throw CaseError("unknown action: " + action.notation());
    return found->second(ActionCall{rdd, action, directory});
}

Values collectAll(const AnyRdd& rdd) {
    return rdd.values().collect();
}

}  // namespace conformance
