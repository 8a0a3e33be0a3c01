#include "case_runner.hpp"

#include "rdd/exceptions.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace conformance {

using nlohmann::json;

std::string Variant::name() const {
    return std::string(typed ? "typed" : "dynamic") + ", chunk " + std::to_string(chunkSize);
}

dstream::SparkConf caseConf(const Variant& variant) {
    dstream::SparkConf conf;
    conf.setMaster("local[2,4]").setAppName("conformance");
    conf.set("spark.ui.showConsoleProgress", "false");
    conf.set("spark.streaming.clock", "manual");
    conf.set("dstream.chunkSize", std::to_string(variant.chunkSize));
    return conf;
}

CallCounts makeCounts(const json& pipeline) {
    CallCounts counts;
    for (const auto& step : pipeline) {
        if (step.contains("calls"))
            counts[step["calls"].get<std::string>()] = std::make_shared<std::atomic<int64_t>>(0);
        if (step.contains("rdd")) counts.merge(makeCounts(step["rdd"]));
    }
    return counts;
}

namespace {

template <class E>
bool is(const std::exception& error) {
    return dynamic_cast<const E*>(&error) != nullptr;
}

std::string kindOf(const std::exception& error) {
    if (is<UserFunctionError>(error)) return "user_function";
    if (is<CaseError>(error)) return std::string("not interpretable: ") + error.what();
    if (is<dstream::IllegalArgumentException>(error)) return "invalid_argument";
    if (is<dstream::IllegalStateException>(error)) return "illegal_state";
    if (is<dstream::EmptyCollectionException>(error)) return "empty_collection";
    if (is<dstream::UnsupportedOperationException>(error)) return "unsupported";
    if (is<dstream::NoSuchElementException>(error)) return "no_such_element";
    if (is<dstream::FileAlreadyExistsException>(error)) return "already_exists";
    if (is<dstream::SparkException>(error)) return "illegal_state";
    return std::string("an exception outside of the table: ") + error.what();
}

/// A case's own notation of what an action returned.
std::string notationOf(const Values& values) {
    std::string out = "[";
    for (const Value& value : values) out += (out.size() > 1 ? "," : "") + value.notation();
    return out + "]";
}

}  // namespace

std::string errorKind(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& outer) {
        try {
            std::rethrow_if_nested(outer);
        } catch (...) {
            return errorKind(std::current_exception());
        }
        return kindOf(outer);
    } catch (...) {
        return "something that is not a std::exception";
    }
}

bool sameKind(const std::string& expected, const std::string& actual) {
    const auto folded = [](const std::string& kind) { return kind == "illegal_state" ? "invalid_argument" : kind; };
    return folded(expected) == folded(actual);
}

std::string mismatch(const std::string& expected, const std::string& actual) {
    return "expected " + expected + ", got " + actual;
}

Verdict compareElements(const json& expected, const Values& actual, const std::string& order) {
    Values wanted;
    bool ordered = order != "unordered";
    if (order != "scalar") {
        for (const auto& item : expected) wanted.push_back(parseValue(item));
    } else if (expected.is_object() && expected.size() > 1) {
        for (const auto& [name, value] : expected.items())
            wanted.push_back(Value::pair(Value(name), parseValue(value)));
        ordered = false;
    } else {
        wanted.push_back(parseValue(expected));
    }
    if (matchesAll(wanted, actual, ordered)) return std::nullopt;
    return mismatch(expected.dump(), notationOf(actual));
}

Verdict compareFiles(const json& expected, const Values& actual, bool all) {
    if (all && actual.size() != expected.size()) return mismatch(expected.dump(), notationOf(actual));
    for (const auto& [name, lines] : expected.items()) {
        Values wanted;
        for (const auto& line : lines) wanted.push_back(parseValue(line));
        const Value entry = Value::pair(Value(name), Value::list(std::move(wanted)));
        if (std::find(actual.begin(), actual.end(), entry) == actual.end()) {
            return mismatch(entry.notation(), notationOf(actual));
        }
    }
    return std::nullopt;
}

}  // namespace conformance
