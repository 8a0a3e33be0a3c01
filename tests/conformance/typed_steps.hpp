#pragma once

#include "step.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Narrow steps over plain types. Shared by RDDs and streams: both have the same operators.
namespace conformance {

/// What a typed step does to the element type.
enum class Shape { kNone, kMap, kFilter, kFlatMap, kPair };

/// Element types as the cases name them: "int", "string", "pair_si", "pair_ii".
Shape shapeOf(const std::string& type, const nlohmann::json& step);

template <class R, class A>
struct TypedFn {
    std::function<R(A)> f;
    R operator()(A x) const { return f(x); }
};

using Text = std::string_view;
std::vector<Text> splitWords(Text text);
std::vector<Text> splitChars(Text text);

struct PlainToValue {
    Value operator()(int64_t x) const { return Value(x); }
    Value operator()(Text x) const { return Value(x); }
    template <class A, class B>
    Value operator()(const std::pair<A, B>& x) const {
        return Value::pair((*this)(x.first), (*this)(x.second));
    }
};

template <class T>
constexpr const char* kTypeName = "string";
template <>
inline constexpr const char* kTypeName<int64_t> = "int";
template <class K>
inline constexpr const char* kTypeName<std::pair<K, int64_t>> = std::is_same_v<K, int64_t> ? "pair_ii" : "pair_si";

inline auto intFn(const Step& step) {
    return TypedFn<int64_t, int64_t>{[f = step.fn1()](int64_t x) { return f(Value(x)).integer(); }};
}
inline auto intsFn(const Step& step) {
    return TypedFn<std::vector<int64_t>, int64_t>{[f = step.fnMany()](int64_t x) {
        std::vector<int64_t> result;
        for (const Value& value : f(Value(x))) result.push_back(value.integer());
        return result;
    }};
}
inline auto textFn(const Step& step) {
    return TypedFn<std::string, Text>{[f = step.fn1()](Text x) { return f(Value(x)).text(); }};
}
/// Views into the text.
inline auto viewsFn(const Step& step) {
    return TypedFn<std::vector<Text>, Text>{step.json("fn") == "chars" ? splitChars : splitWords};
}
inline auto pairFn() {
    return TypedFn<std::pair<Text, int64_t>, Text>{[](Text x) { return std::pair(x, int64_t{1}); }};
}
template <class A>
auto testFn(const Step& step) {
    return TypedFn<bool, A>{[f = step.predicate()](A x) { return f(PlainToValue()(x)); }};
}

/// True when a chain of the table is `path` or begins with it.
template <class Chains, char... kPath>
constexpr bool kInTable = [] {
    constexpr char path[] = {kPath...};
    for (const Text chain : Chains::kTable) {
        if (chain.starts_with(Text(path, sizeof path))) return true;
    }
    return false;
}();

/// Applies as many of the first steps to `source` as the table has and puts the result into `Any` as values.
///
/// The table has one letter for the input (i int, s string, k (string,int), n (int,int)) and one for each step: m map
/// or mapValues, f filter, F flatMap or flatMapValues, p to_pair_1. It is short because each chain costs compile time.
/// @tparam Handle  RDD<Value> or DStream<Value>
template <class Any, class Handle, class Chains, char... kPath, class Source>
Any typedChain(const Source& source, nlohmann::json& steps, CallCounts* counts) {
    using T = typename Source::Element;
    const nlohmann::json first = steps.empty() ? nlohmann::json() : steps[0];
    const Step step(first, counts);
    const Shape shape = shapeOf(kTypeName<T>, first);
    const auto onward = [&]<char kStep>(const auto& next) {
        steps.erase(0);
        return typedChain<Any, Handle, Chains, kPath..., kStep>(next, steps, counts);
    };
    constexpr bool kInt = std::is_same_v<T, int64_t>;
    constexpr bool kText = std::is_convertible_v<T, Text>;
    if constexpr (kInTable<Chains, kPath..., 'm'>) {
        if (shape == Shape::kMap) {
            if constexpr (kInt) {
                return onward.template operator()<'m'>(source.map(intFn(step)));
            } else if constexpr (kText) {
                return onward.template operator()<'m'>(source.map(textFn(step)));
            } else {
                return onward.template operator()<'m'>(source.mapValues(intFn(step)));
            }
        }
    }
    if constexpr (kInTable<Chains, kPath..., 'f'>) {
        using Argument = std::conditional_t<kInt, int64_t, std::conditional_t<kText, Text, const T&>>;
        if (shape == Shape::kFilter) return onward.template operator()<'f'>(source.filter(testFn<Argument>(step)));
    }
    if constexpr (kInTable<Chains, kPath..., 'F'>) {
        if (shape == Shape::kFlatMap) {
            if constexpr (kInt) {
                return onward.template operator()<'F'>(source.flatMap(intsFn(step)));
            } else if constexpr (kText) {
                return onward.template operator()<'F'>(source.flatMap(viewsFn(step)));
            } else {
                return onward.template operator()<'F'>(source.flatMapValues(intsFn(step)));
            }
        }
    }
    if constexpr (kInTable<Chains, kPath..., 'p'>) {
        if (shape == Shape::kPair) return onward.template operator()<'p'>(source.map(pairFn()));
    }
    return Any(Handle(source.map(PlainToValue())));
}

template <class T>
T plainValue(const Value& value) {
    if constexpr (std::is_same_v<T, int64_t>) {
        return value.integer();
    } else if constexpr (std::is_same_v<T, std::string>) {
        return value.text();
    } else {
        return T(plainValue<typename T::first_type>(value.first()),
                 plainValue<typename T::second_type>(value.second()));
    }
}

/// The partitions of an RDD written down.
template <class T>
std::vector<std::vector<T>> plainPartitions(const nlohmann::json& partitions) {
    std::vector<std::vector<T>> result;
    for (const auto& partition : partitions) {
        auto& part = result.emplace_back();
        for (const auto& item : partition) part.push_back(plainValue<T>(parseValue(item)));
    }
    return result;
}

/// Calls `f.template operator()<T, letter>()` with the plain type of this name and its letter in the table.
template <class F>
auto withPlainType(const std::string& type, F f) {
    if (type == "int") return f.template operator()<int64_t, 'i'>();
    if (type == "string") return f.template operator()<std::string, 's'>();
    if (type == "pair_si") return f.template operator()<std::pair<std::string, int64_t>, 'k'>();
    if (type == "pair_ii") return f.template operator()<std::pair<int64_t, int64_t>, 'n'>();
    throw CaseError("no typed form for inputs of type " + type);
}

}  // namespace conformance
