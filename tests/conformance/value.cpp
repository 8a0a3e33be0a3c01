#include "value.hpp"

#include "rdd/to_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace conformance {

namespace {

const char* kindName(Value::Kind kind) {
    switch (kind) {
        case Value::Kind::kBool:
            return "a bool";
        case Value::Kind::kInt:
            return "an int";
        case Value::Kind::kReal:
            return "a double";
        case Value::Kind::kText:
            return "a string";
        case Value::Kind::kTuple:
            return "a tuple";
        case Value::Kind::kList:
            return "a list";
        case Value::Kind::kBag:
            return "a bag";
        case Value::Kind::kOptional:
            return "an optional";
    }
    return "a value";
}

[[noreturn]] void wrongKind(const char* wanted, const Value& found) {
    throw CaseError(std::string("expected ") + wanted + ", found " + kindName(found.kind()) + ": " + found.notation());
}

Values sorted(Values items) {
    std::sort(items.begin(), items.end());
    return items;
}

std::string joined(const Values& items, const char* separator, std::string (Value::*text)() const) {
    std::string out;
    for (const Value& item : items) {
        if (&item != items.data()) out += separator;
        out += (item.*text)();
    }
    return out;
}

int sign(std::weak_ordering order) {
    return order < 0 ? -1 : order > 0 ? 1 : 0;
}

}  // namespace

Value::Value(const Value& other) = default;
Value::Value(Value&& other) noexcept = default;
Value& Value::operator=(const Value& other) = default;
Value& Value::operator=(Value&& other) noexcept = default;
Value::~Value() = default;

Value Value::pair(Value first, Value second) {
    Values parts;
    parts.reserve(2);
    parts.push_back(std::move(first));
    parts.push_back(std::move(second));
    return tuple(std::move(parts));
}

Value Value::optional(const std::optional<Value>& value) {
    return Value(Kind::kOptional, value ? Values{*value} : Values{});
}

bool Value::boolean() const {
    if (kind_ != Kind::kBool) wrongKind("a bool", *this);
    return std::get<bool>(data_);
}
int64_t Value::integer() const {
    if (kind_ != Kind::kInt) wrongKind("an int", *this);
    return std::get<int64_t>(data_);
}
double Value::real() const {
    if (kind_ == Kind::kInt) return static_cast<double>(std::get<int64_t>(data_));
    if (kind_ != Kind::kReal) wrongKind("a number", *this);
    return std::get<double>(data_);
}
const std::string& Value::text() const {
    if (kind_ != Kind::kText) wrongKind("a string", *this);
    return std::get<std::string>(data_);
}
const Values& Value::items() const {
    if (kind_ < Kind::kTuple) wrongKind("a tuple, list, bag or optional", *this);
    return std::get<Values>(data_);
}
const Value& Value::part(size_t index) const {
    if (kind_ != Kind::kTuple || items().size() != 2) wrongKind("a pair", *this);
    return items()[index];
}

Pair toPair(const Value& value) {
    return {value.first(), value.second()};
}

std::string Value::toString() const {
    switch (kind_) {
        case Kind::kBool:
            return dstream::toText(boolean());
        case Kind::kInt:
            return dstream::toText(integer());
        case Kind::kReal:
            return dstream::toText(real());
        case Kind::kText:
            return text();
        case Kind::kTuple:
            return "(" + joined(items(), ",", &Value::toString) + ")";
        case Kind::kList:
        case Kind::kBag:
            return "[" + joined(items(), ", ", &Value::toString) + "]";
        case Kind::kOptional:
            return items().empty() ? "None" : "Some(" + items()[0].toString() + ")";
    }
    return {};
}

std::string Value::notation() const {
    switch (kind_) {
        case Kind::kBool:
        case Kind::kInt:
            return toString();
        case Kind::kReal:
            return std::isfinite(real()) ? toString() : "{\"double\":\"" + toString() + "\"}";
        case Kind::kText:
            return nlohmann::json(text()).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        case Kind::kTuple:
            return "[" + joined(items(), ",", &Value::notation) + "]";
        case Kind::kList:
            return "{\"list\":[" + joined(items(), ",", &Value::notation) + "]}";
        case Kind::kBag:
            return "{\"bag\":[" + joined(items(), ",", &Value::notation) + "]}";
        case Kind::kOptional:
            return items().empty() ? "null" : "{\"some\":" + items()[0].notation() + "}";
    }
    return {};
}

int Value::compare(const Value& a, const Value& b) {
    if (a.isNumber() && b.isNumber()) {
        int order = 0;
        if (a.kind_ == Kind::kInt && b.kind_ == Kind::kInt) {
            order = sign(a.integer() <=> b.integer());
        } else if (std::isnan(a.real()) || std::isnan(b.real())) {
            order = int{std::isnan(a.real())} - int{std::isnan(b.real())};
        } else {
            order = a.real() < b.real() ? -1 : int{a.real() > b.real()};
        }
        return order != 0 ? order : static_cast<int>(a.kind_) - static_cast<int>(b.kind_);
    }
    if (a.kind_ != b.kind_) return static_cast<int>(a.kind_) - static_cast<int>(b.kind_);
    switch (a.kind_) {
        case Kind::kBool:
            return int{a.boolean()} - int{b.boolean()};
        case Kind::kText:
            return a.text().compare(b.text());
        case Kind::kBag: {
            const Values left = sorted(a.items());
            const Values right = sorted(b.items());
            return sign(std::lexicographical_compare_three_way(left.begin(), left.end(), right.begin(), right.end()));
        }
        default:
            return sign(std::lexicographical_compare_three_way(a.items().begin(), a.items().end(), b.items().begin(),
                                                               b.items().end()));
    }
}

Value parseValue(const nlohmann::json& json) {
    const auto values = [](const nlohmann::json& array) {
        Values items;
        for (const auto& item : array) items.push_back(parseValue(item));
        return items;
    };
    if (json.is_null()) return Value::optional(std::nullopt);
    if (json.is_boolean()) return Value(json.get<bool>());
    if (json.is_number_integer()) return Value(json.get<int64_t>());
    if (json.is_number_float()) return Value(json.get<double>());
    if (json.is_string()) return Value(json.get<std::string>());
    if (json.is_array()) {
        if (json.size() < 2 || json.size() > 4) throw CaseError("expected a tuple of 2 to 4 values: " + json.dump());
        return Value::tuple(values(json));
    }
    if (json.size() == 1) {
        const std::string& key = json.begin().key();
        const nlohmann::json& inner = json.begin().value();
        if (key == "list") return Value::list(values(inner));
        if (key == "bag") return Value::bag(values(inner));
        if (key == "some") return Value::optional(parseValue(inner));
        if (key == "double" && inner == "NaN") return Value(std::numeric_limits<double>::quiet_NaN());
        if (key == "double" && inner == "Infinity") return Value(std::numeric_limits<double>::infinity());
        if (key == "double" && inner == "-Infinity") return Value(-std::numeric_limits<double>::infinity());
    }
    throw CaseError("unknown notation of a value: " + json.dump());
}

std::vector<Values> parsePartitions(const nlohmann::json& json) {
    std::vector<Values> parts;
    for (const auto& partition : json) {
        Values& part = parts.emplace_back();
        for (const auto& item : partition) part.push_back(parseValue(item));
    }
    return parts;
}

bool matches(const Value& expected, const Value& actual) {
    if (expected.kind() != actual.kind()) return false;
    switch (expected.kind()) {
        case Value::Kind::kReal: {
            const double wanted = expected.real();
            const double found = actual.real();
            if (!std::isfinite(wanted) || !std::isfinite(found)) return expected == actual;
            return std::abs(wanted - found) <= 1e-9 * std::max(1.0, std::max(std::abs(wanted), std::abs(found)));
        }
        case Value::Kind::kTuple:
        case Value::Kind::kList:
        case Value::Kind::kOptional:
            return matchesAll(expected.items(), actual.items(), true);
        case Value::Kind::kBag:
            return matchesAll(expected.items(), actual.items(), false);
        default:
            return expected == actual;
    }
}

bool matchesAll(const Values& expected, const Values& actual, bool ordered) {
    if (expected.size() != actual.size()) return false;
    if (ordered) return std::equal(expected.begin(), expected.end(), actual.begin(), matches);
    std::vector<bool> used(actual.size());
    for (const Value& wanted : expected) {
        size_t index = 0;
        while (index < actual.size() && (used[index] || !matches(wanted, actual[index]))) ++index;
        if (index == actual.size()) return false;
        used[index] = true;
    }
    return true;
}

}  // namespace conformance

namespace dstream {

using conformance::Value;
using conformance::Values;

uint64_t PlacementHash<Value>::operator()(const Value& value) const {
    switch (value.kind()) {
        case Value::Kind::kBool:
            return placementHash(value.boolean());
        case Value::Kind::kInt:
            return placementHash(value.integer());
        case Value::Kind::kReal:
            return placementHash(value.real());
        case Value::Kind::kText:
            return placementHash(value.text());
        case Value::Kind::kTuple: {
            const Values& parts = value.items();
            if (parts.size() == 2) return placementHash(std::pair(parts[0], parts[1]));
            if (parts.size() == 3) return placementHash(std::tuple(parts[0], parts[1], parts[2]));
            return placementHash(std::tuple(parts[0], parts[1], parts[2], parts[3]));
        }
        case Value::Kind::kBag: {
            Values items = value.items();
            std::sort(items.begin(), items.end());
            return placementHash(items);
        }
        case Value::Kind::kList:
            return placementHash(value.items());
        case Value::Kind::kOptional: {
            std::optional<Value> inner;
            if (!value.items().empty()) inner = value.items()[0];
            return placementHash(inner);
        }
    }
    return 0;
}

namespace {

void writeOne(ByteWriter& out, const Value& value) {
    out.u8(static_cast<uint8_t>(value.kind()));
    switch (value.kind()) {
        case Value::Kind::kBool:
            return out.u8(value.boolean());
        case Value::Kind::kInt:
            return out.i64(value.integer());
        case Value::Kind::kReal:
            return out.f64(value.real());
        case Value::Kind::kText:
            return out.text(value.text());
        default:
            out.u64(value.items().size());
            for (const Value& item : value.items()) writeOne(out, item);
    }
}

Value readOne(ByteReader& in) {
    const auto kind = static_cast<Value::Kind>(in.u8());
    switch (kind) {
        case Value::Kind::kBool:
            return Value(in.u8() != 0);
        case Value::Kind::kInt:
            return Value(in.i64());
        case Value::Kind::kReal:
            return Value(in.f64());
        case Value::Kind::kText:
            return Value(in.text());
        default:
            break;
    }
    Values items(in.count());
    for (Value& item : items) item = readOne(in);
    switch (kind) {
        case Value::Kind::kTuple:
            return Value::tuple(std::move(items));
        case Value::Kind::kList:
            return Value::list(std::move(items));
        case Value::Kind::kBag:
            return Value::bag(std::move(items));
        case Value::Kind::kOptional:
            return Value::optional(items.empty() ? std::nullopt : std::optional(std::move(items[0])));
        default:
            throw SparkException("unknown kind of a conformance value: " + std::to_string(int(kind)));
    }
}

}  // namespace

void Codec<Value>::write(ByteWriter& out, std::span<const Value> values) {
    out.u64(values.size());
    for (const Value& value : values) writeOne(out, value);
}

void Codec<Value>::read(ByteReader& in, std::vector<Value>& values) {
    const size_t count = in.count();
    values.reserve(values.size() + count);
    for (size_t index = 0; index < count; ++index) values.push_back(readOne(in));
}

}  // namespace dstream
