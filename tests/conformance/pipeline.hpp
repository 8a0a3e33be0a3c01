#pragma once

#include "step.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace conformance {

/// Runs the steps from `current` on: of RDDs or of streams. A step with `from` begins at a name, one with `as` adds a
/// name.
/// @param kind  what the operators work on, for messages
/// @param call  `call(current, step)` makes what an operator takes
template <class Any, class Ops, class MakeCall>
Any runPipeline(Any current, const nlohmann::json& steps, const char* kind, const Ops& ops,
                std::map<std::string, Any>& names, CallCounts* counts, MakeCall call) {
    for (const auto& written : steps) {
        const Step step(written, counts);
        const auto found = ops.find(step.op());
        if (found == ops.end()) throw CaseError("unknown " + std::string(kind) + " operator: " + step.op());
        if (step.has("from")) current = named(names, step.text("from"));
        current = found->second(call(current, step));
        if (step.has("as")) names.insert_or_assign(step.text("as"), current);
    }
    return current;
}

}  // namespace conformance
