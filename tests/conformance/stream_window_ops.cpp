#include "any_stream.hpp"

namespace conformance {

using dstream::DStream;
using dstream::Duration;
using dstream::PartitionChoice;

namespace {

Duration windowOf(const StreamCall& c) {
    return c.duration("window_ms");
}
Duration slideOf(const StreamCall& c) {
    return c.duration("slide_ms");
}
/// The slide that the step names, or the default.
std::optional<Duration> maybeSlide(const StreamCall& c) {
    return c.step.has("slide_ms") ? std::optional(slideOf(c)) : std::nullopt;
}
PartitionChoice partitions(const StreamCall& c) {
    const auto n = c.step.maybeNumber("partitions");
    return n ? PartitionChoice(*n) : PartitionChoice();
}

AnyStream reduceByWindow(const StreamCall& c) {
    const DStream<Value> in = c.in.values();
    if (c.step.has("inv")) return in.reduceByWindow(c.step.fn2(), c.step.fn2("inv"), windowOf(c), slideOf(c));
    return in.reduceByWindow(c.step.fn2(), windowOf(c), slideOf(c));
}

AnyStream countByWindow(const StreamCall& c) {
    const auto counted = c.in.values().countByWindow(windowOf(c), slideOf(c));
    return DStream<Value>(counted.map([](int64_t count) { return Value(count); }));
}

AnyStream countByValueAndWindow(const StreamCall& c) {
    const auto counted = c.in.values().countByValueAndWindow(windowOf(c), slideOf(c), c.step.maybeNumber("partitions"));
    return DStream<Pair>(counted.mapValues([](int64_t count) { return Value(count); }));
}

AnyStream groupByKeyAndWindow(const StreamCall& c) {
    const auto grouped = c.in.pairs().groupByKeyAndWindow(windowOf(c), maybeSlide(c), partitions(c));
    return DStream<Pair>(grouped.mapValues([](const Values& group) { return Value::bag(group); }));
}

AnyStream reduceByKeyAndWindow(const StreamCall& c) {
    const DStream<Pair> in = c.in.pairs();
    if (!c.step.has("inv")) return in.reduceByKeyAndWindow(c.step.fn2(), windowOf(c), maybeSlide(c), partitions(c));
    if (!c.step.has("filter")) {
        return in.reduceByKeyAndWindow(c.step.fn2(), c.step.fn2("inv"), windowOf(c), maybeSlide(c), partitions(c));
    }
    return in.reduceByKeyAndWindow(c.step.fn2(), c.step.fn2("inv"), windowOf(c), maybeSlide(c), partitions(c),
                                   c.step.pairPredicate("filter"));
}

}  // namespace

const StreamOps& streamWindowOps() {
    static const StreamOps kOps = {
        {"window", [](const StreamCall& c) -> AnyStream { return c.in.values().window(windowOf(c), maybeSlide(c)); }},
        {"reduceByWindow", reduceByWindow},
        {"countByWindow", countByWindow},
        {"countByValueAndWindow", countByValueAndWindow},
        {"groupByKeyAndWindow", groupByKeyAndWindow},
        {"reduceByKeyAndWindow", reduceByKeyAndWindow},
    };
    return kOps;
}

}  // namespace conformance
