#pragma once

#include "any_rdd.hpp"

#include <nlohmann/json_fwd.hpp>

namespace conformance {

/// Makes the RDD that `input` describes with its plain element type and runs as many of the first steps over it as the
/// table of typed steps has, kept as `auto`: fused, text as views. Removes them from `steps`.
AnyRdd takeTypedSteps(const dstream::SparkContext& sc, const nlohmann::json& input, nlohmann::json& steps,
                      CallCounts* counts);

}  // namespace conformance
