#pragma once

#include "rdd/spark_conf.hpp"
#include "step.hpp"

#include <nlohmann/json_fwd.hpp>

#include <exception>
#include <optional>
#include <string>

namespace conformance {

/// One way of running a case.
struct Variant {
    int chunkSize = 1024;
    /// The narrow steps that a chain begins with run over plain types, fused.
    bool typed = false;
    std::string name() const;
};

/// Nothing when the case holds, else what was expected and what came.
using Verdict = std::optional<std::string>;

Verdict runRddCase(const nlohmann::json& testCase, const Variant& variant);
Verdict runStreamCase(const nlohmann::json& testCase, const Variant& variant);
Verdict runLifecycleCase(const nlohmann::json& testCase, const Variant& variant);
/// Tells whether the case begins with steps that can run typed.
bool hasTypedPart(const nlohmann::json& testCase);

/// The settings of the contexts that cases run in.
dstream::SparkConf caseConf(const Variant& variant);

/// Zeroed counters for every `calls` field of a pipeline.
CallCounts makeCounts(const nlohmann::json& pipeline);

/// The kind of an error as the cases name it, by its innermost cause; for one that has no kind, its text.
std::string errorKind(std::exception_ptr error);
/// Compares the kinds of two errors.
bool sameKind(const std::string& expected, const std::string& actual);

/// Compares elements as the case's `order` says.
Verdict compareElements(const nlohmann::json& expected, const Values& actual, const std::string& order);
/// Compares (file name, lines) as a listing. @param all  false: only the names given are compared
Verdict compareFiles(const nlohmann::json& expected, const Values& actual, bool all);

std::string mismatch(const std::string& expected, const std::string& actual);

}  // namespace conformance
