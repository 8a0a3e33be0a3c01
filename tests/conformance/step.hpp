#pragma once

#include "functions.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conformance {

/// The counters that the `calls` fields of a case's steps name.
using CallCounts = std::map<std::string, CallCount>;

/// A step of a pipeline, an action, an output: an operator with its arguments. Getters throw CaseError, naming operator
/// and field, for a missing or wrong one. The case must outlive it.
class Step {
public:
    /// @param counts  where functions that are to be counted are; null: none are
    Step(const nlohmann::json& fields, CallCounts* counts) : fields_(&fields), counts_(counts) {}

    std::string op() const { return text("op"); }
    std::string notation() const;
    bool has(std::string_view field) const;
    int64_t integer(std::string_view field) const;
    int number(std::string_view field) const { return static_cast<int>(integer(field)); }
    std::optional<int> maybeNumber(std::string_view field) const;
    bool flag(std::string_view field, bool otherwise) const;
    std::string text(std::string_view field) const;
    Value value(std::string_view field) const;
    Values values(std::string_view field) const;
    /// One name or a list of names.
    std::vector<std::string> names(std::string_view field) const;
    const nlohmann::json& json(std::string_view field) const;
    bool isArray(std::string_view field) const;

    // The functions, counted when the step says so.
    Fn1 fn1(std::string_view field = "fn") const;
    Predicate predicate(std::string_view field = "fn") const;
    PairPredicate pairPredicate(std::string_view field) const;
    FnMany fnMany(std::string_view field = "fn") const;
    Fn2 fn2(std::string_view field = "fn") const;
    FnPartition fnPartition(std::string_view field = "fn") const;
    FnPartitionWithIndex fnPartitionWithIndex(std::string_view field = "fn") const;
    FnTwoPartitions fnTwoPartitions(std::string_view field = "fn") const;
    Combiner combiner() const;
    UpdateFunction update() const;
    IteratorUpdateFunction iteratorUpdate() const;
    StateFunction stateFunction() const;

    CallCounts* counts() const { return counts_; }

private:
    template <class F>
    F counted(F function) const;

    const nlohmann::json* fields_;
    CallCounts* counts_;
};

}  // namespace conformance
