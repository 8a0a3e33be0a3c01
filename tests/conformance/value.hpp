#pragma once

#include "rdd/bytes.hpp"
#include "rdd/codec.hpp"
#include "rdd/placement_hash.hpp"

#include <nlohmann/json_fwd.hpp>

#include <compare>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace conformance {

/// Reports a case that cannot be interpreted: an unknown operator or function, or a value that a function is not for.
class CaseError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class Value;
using Values = std::vector<Value>;

/// Any value of a case. Text form, hash and equality are those of the plain C++ type it stands for: int64_t, double,
/// std::string, bool, std::pair or std::tuple, std::vector, std::optional.
class Value {
public:
    enum class Kind : uint8_t { kBool, kInt, kReal, kText, kTuple, kList, kBag, kOptional };

    Value() : Value(int64_t{0}) {}
    explicit Value(bool value) : kind_(Kind::kBool), data_(value) {}
    explicit Value(int64_t value) : kind_(Kind::kInt), data_(value) {}
    explicit Value(int value) : Value(int64_t{value}) {}
    explicit Value(double value) : kind_(Kind::kReal), data_(value) {}
    explicit Value(std::string value) : kind_(Kind::kText), data_(std::move(value)) {}
    explicit Value(std::string_view value) : Value(std::string(value)) {}
    explicit Value(const char* value) : Value(std::string(value)) {}
    static Value tuple(Values parts) { return Value(Kind::kTuple, std::move(parts)); }
    static Value pair(Value first, Value second);
    static Value list(Values items) { return Value(Kind::kList, std::move(items)); }
    static Value bag(Values items) { return Value(Kind::kBag, std::move(items)); }
    static Value optional(const std::optional<Value>& value);
    // Compiled once: every operator copies values.
    Value(const Value& other);
    Value(Value&& other) noexcept;
    Value& operator=(const Value& other);
    Value& operator=(Value&& other) noexcept;
    ~Value();

    Kind kind() const { return kind_; }
    bool isNumber() const { return kind_ == Kind::kInt || kind_ == Kind::kReal; }
    // Each throws CaseError, naming the value, when it is of another kind.
    bool boolean() const;
    int64_t integer() const;
    /// An int or a double.
    double real() const;
    const std::string& text() const;
    /// The parts of a tuple, the items of a list or bag, nothing or the one value of an optional.
    const Values& items() const;
    const Value& first() const { return part(0); }
    const Value& second() const { return part(1); }

    /// Text form of print() and saveAsTextFile().
    std::string toString() const;
    /// The value in the notation of the case files.
    std::string notation() const;

    friend bool operator==(const Value& a, const Value& b) { return compare(a, b) == 0; }
    friend std::weak_ordering operator<=>(const Value& a, const Value& b) { return compare(a, b) <=> 0; }

private:
    Value(Kind kind, Values items) : kind_(kind), data_(std::move(items)) {}
    const Value& part(size_t index) const;
    /// Numbers by value (NaN last), texts by bytes, false before true, tuples and lists element by element, bags
    /// sorted.
    static int compare(const Value& a, const Value& b);

    Kind kind_;
    std::variant<int64_t, double, bool, std::string, Values> data_;
};

using Pair = std::pair<Value, Value>;

inline Value fromPair(const Pair& pair) {
    return Value::pair(pair.first, pair.second);
}
/// @throws CaseError  when `value` is not a 2-tuple
Pair toPair(const Value& value);

/// Reads a value in the notation of the case files.
Value parseValue(const nlohmann::json& json);
/// Reads a list of lists of values.
std::vector<Values> parsePartitions(const nlohmann::json& json);

/// Tells whether `actual` is what `expected` says: doubles with relative tolerance 1e-9 (absolute near 0), bags as
/// multisets.
bool matches(const Value& expected, const Value& actual);
/// Compares two sequences of elements, as sequences or as multisets.
bool matchesAll(const Values& expected, const Values& actual, bool ordered);

}  // namespace conformance

template <>
struct dstream::PlacementHash<conformance::Value> {
    uint64_t operator()(const conformance::Value& value) const;
};

template <>
struct dstream::Codec<conformance::Value> {
    static constexpr const char* kName = "conformance.Value";
    static constexpr uint32_t kVersion = 1;
    static void write(ByteWriter& out, std::span<const conformance::Value> values);
    static void read(ByteReader& in, std::vector<conformance::Value>& values);
};
