#include "step.hpp"

#include <nlohmann/json.hpp>

namespace conformance {

std::string Step::notation() const {
    return fields_->dump();
}

const nlohmann::json& Step::json(std::string_view field) const {
    const auto found = fields_->find(field);
    if (found == fields_->end()) throw CaseError("field \"" + std::string(field) + "\" is missing: " + fields_->dump());
    return *found;
}

bool Step::has(std::string_view field) const {
    return fields_->contains(field);
}
bool Step::isArray(std::string_view field) const {
    return json(field).is_array();
}

Value Step::value(std::string_view field) const {
    return parseValue(json(field));
}
int64_t Step::integer(std::string_view field) const {
    return value(field).integer();
}
std::string Step::text(std::string_view field) const {
    return value(field).text();
}

std::optional<int> Step::maybeNumber(std::string_view field) const {
    return has(field) ? std::optional(number(field)) : std::nullopt;
}

bool Step::flag(std::string_view field, bool otherwise) const {
    return has(field) ? value(field).boolean() : otherwise;
}

Values Step::values(std::string_view field) const {
    Values result;
    for (const auto& item : json(field)) result.push_back(parseValue(item));
    return result;
}

std::vector<std::string> Step::names(std::string_view field) const {
    const nlohmann::json& written = json(field);
    if (written.is_string()) return {written.get<std::string>()};
    return written.get<std::vector<std::string>>();
}

template <class F>
F Step::counted(F function) const {
    if (counts_ != nullptr && has("calls")) countCalls(function.f, counts_->at(text("calls")));
    return function;
}

Fn1 Step::fn1(std::string_view field) const {
    return counted(parseFn1(json(field)));
}
Predicate Step::predicate(std::string_view field) const {
    return {fn1(field).f};
}
PairPredicate Step::pairPredicate(std::string_view field) const {
    return {fn1(field).f};
}
FnMany Step::fnMany(std::string_view field) const {
    return counted(parseFnMany(json(field)));
}
Fn2 Step::fn2(std::string_view field) const {
    return counted(parseFn2(json(field)));
}
FnPartition Step::fnPartition(std::string_view field) const {
    return counted(parseFnPartition(json(field)));
}
FnPartitionWithIndex Step::fnPartitionWithIndex(std::string_view field) const {
    return counted(parseFnPartitionWithIndex(json(field)));
}
FnTwoPartitions Step::fnTwoPartitions(std::string_view field) const {
    return counted(parseFnTwoPartitions(json(field)));
}
Combiner Step::combiner() const {
    return parseCombiner(json("combiner"));
}
UpdateFunction Step::update() const {
    struct Counted {
        UpdateFunction f;
    };
    return counted(Counted{parseUpdate(json("update"))}).f;
}
IteratorUpdateFunction Step::iteratorUpdate() const {
    return parseIteratorUpdate(json("update"));
}
StateFunction Step::stateFunction() const {
    struct Counted {
        StateFunction f;
    };
    return counted(Counted{parseStateFunction(json("spec"))}).f;
}

}  // namespace conformance
