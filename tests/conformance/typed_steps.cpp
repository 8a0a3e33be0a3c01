#include "typed_steps.hpp"

#include "case_runner.hpp"

#include <algorithm>
#include <set>

namespace conformance {

using nlohmann::json;

namespace {

using Names = std::set<std::string>;

std::string nameOf(const json& function) {
    return function.is_array() ? function.at(0) : function;
}

/// True when `function` is one of `names`, or a sequence of such, and makes no double of an int.
bool isOneOf(const json& function, const Names& names) {
    if (function.is_array() && function.size() == 2 && function[1].is_number_float()) return false;
    if (nameOf(function) != "seq") return names.contains(nameOf(function));
    return std::all_of(function.begin() + 1, function.end(), [&](const json& step) { return isOneOf(step, names); });
}

const Names kIntToInt = {"identity", "negate", "square", "plus", "times", "mod", "fail_on", "fail_first_attempt"};
const Names kIntToInts = {"dup", "none", "range", "copies", "keep_if"};
const Names kTextToText = {"identity", "to_upper", "to_lower", "first_char", "append", "fail_on", "fail_first_attempt"};
const Names kTextToViews = {"split_ws", "chars"};

}  // namespace

Shape shapeOf(const std::string& type, const json& step) {
    if (!step.is_object() || step.contains("from") || step.contains("as") || !step.contains("fn")) return Shape::kNone;
    const std::string op = step["op"];
    const json& fn = step["fn"];
    if (op == "filter") return Shape::kFilter;
    if (type == "int") {
        if (op == "map" && isOneOf(fn, kIntToInt)) return Shape::kMap;
        if (op == "flatMap" && isOneOf(fn, kIntToInts)) return Shape::kFlatMap;
    } else if (type == "string") {
        if (op == "map" && isOneOf(fn, kTextToText)) return Shape::kMap;
        if (step.contains("calls")) return Shape::kNone;
        if (op == "flatMap" && isOneOf(fn, kTextToViews)) return Shape::kFlatMap;
        if (op == "map" && fn == "to_pair_1") return Shape::kPair;
    } else {
        if (op == "mapValues" && isOneOf(fn, kIntToInt)) return Shape::kMap;
        if (op == "flatMapValues" && isOneOf(fn, kIntToInts)) return Shape::kFlatMap;
    }
    return Shape::kNone;
}

std::vector<Text> splitWords(Text text) {
    std::vector<Text> words;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find(' ', begin), text.size());
        if (end > begin) words.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return words;
}

std::vector<Text> splitChars(Text text) {
    std::vector<Text> chars;
    for (size_t i = 0; i < text.size(); ++i) chars.push_back(text.substr(i, 1));
    return chars;
}

bool hasTypedPart(const json& testCase) {
    static const Names kTypes = {"int", "string", "pair_si", "pair_ii"};
    if (!testCase.contains("pipeline") || testCase["pipeline"].empty()) return false;
    // The runner's own map back to values would count.
    if (testCase.contains("action") && testCase["action"].at("op") == "lineageDepth") return false;
    const json& input = testCase.at("inputs").at(0);
    if (input.contains("source") || !kTypes.contains(input.at("type"))) return false;
    return shapeOf(input["type"], testCase["pipeline"][0]) != Shape::kNone;
}

}  // namespace conformance
