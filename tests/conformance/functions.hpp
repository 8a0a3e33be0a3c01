#pragma once

#include "value.hpp"

#include <nlohmann/json_fwd.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

/// The functions of section 3 of the README, each made from its name or `[name, argument, ...]`. Making an unknown one
/// throws CaseError.
namespace conformance {

/// What the functions that are meant to fail throw.
class UserFunctionError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// One value to one value.
struct Fn1 {
    std::function<Value(const Value&)> f;
    Value operator()(const Value& x) const { return f(x); }
};
struct Predicate {
    std::function<Value(const Value&)> f;
    bool operator()(const Value& x) const { return f(x).boolean(); }
};
/// A predicate over a pair, called with its parts.
struct PairPredicate {
    std::function<Value(const Value&)> f;
    bool operator()(const Pair& x) const { return f(fromPair(x)).boolean(); }
};
/// One value to many.
struct FnMany {
    std::function<Values(const Value&)> f;
    Values operator()(const Value& x) const { return f(x); }
};
/// Two values to one.
struct Fn2 {
    std::function<Value(const Value&, const Value&)> f;
    Value operator()(const Value& a, const Value& b) const { return f(a, b); }
};
/// A whole partition, or two of them, to a partition.
struct FnPartition {
    std::function<Values(const Values&)> f;
};
struct FnPartitionWithIndex {
    std::function<Values(int, const Values&)> f;
};
struct FnTwoPartitions {
    std::function<Values(const Values&, const Values&)> f;
};
struct Combiner {
    Fn1 create;
    Fn2 mergeValue;
    Fn2 mergeCombiners;
};

/// The function `add`.
Value add(const Value& a, const Value& b);

Fn1 parseFn1(const nlohmann::json& spec);
FnMany parseFnMany(const nlohmann::json& spec);
Fn2 parseFn2(const nlohmann::json& spec);
FnPartition parseFnPartition(const nlohmann::json& spec);
FnPartitionWithIndex parseFnPartitionWithIndex(const nlohmann::json& spec);
FnTwoPartitions parseFnTwoPartitions(const nlohmann::json& spec);
Combiner parseCombiner(const nlohmann::json& spec);

using MaybeValue = std::optional<Value>;

/// updateStateByKey: (batch time in ms, key, new values, state) to state; the simple form ignores time and key.
using UpdateFunction = std::function<MaybeValue(int64_t, const Value&, const Values&, const MaybeValue&)>;
UpdateFunction parseUpdate(const nlohmann::json& spec);

/// The iterator form: all (key, values, state) of a partition to (key, state).
struct KeyedUpdate {
    Value key;
    Values values;
    MaybeValue state;
};
using IteratorUpdateFunction = std::function<std::vector<Pair>(const std::vector<KeyedUpdate>&)>;
IteratorUpdateFunction parseIteratorUpdate(const nlohmann::json& spec);

/// The state that a mapWithState function is given.
class StateAccess {
public:
    virtual ~StateAccess() = default;
    virtual bool exists() const = 0;
    virtual Value get() const = 0;
    virtual void update(const Value& value) = 0;
    virtual void remove() = 0;
    virtual bool isTimingOut() const = 0;
};
/// mapWithState: (batch time in ms, key, value, state) to output.
using StateFunction = std::function<MaybeValue(int64_t, const Value&, const MaybeValue&, StateAccess&)>;
StateFunction parseStateFunction(const nlohmann::json& spec);

/// How often a function ran, whichever copy of it.
using CallCount = std::shared_ptr<std::atomic<int64_t>>;

template <class R, class... A>
void countCalls(std::function<R(A...)>& f, CallCount count) {
    f = [inner = std::move(f), count = std::move(count)](A... arguments) -> R {
        count->fetch_add(1);
        return inner(arguments...);
    };
}

}  // namespace conformance
