#include "any_rdd.hpp"
#include "case_runner.hpp"
#include "listing.hpp"
#include "pipeline.hpp"
#include "typed_chain.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace conformance {

using dstream::RDD;
using dstream::SparkContext;
using nlohmann::json;

namespace {

struct Outcome {
    Values result;
    std::exception_ptr error;
};

Outcome run(const json& testCase, const Variant& variant, CallCounts& counts) {
    const TemporaryDirectory directory;
    const dstream::SparkContext sc(caseConf(variant));
    Outcome outcome;
    try {
        sc.setCheckpointDir(directory.path() + "/checkpoints");
        NamedRdds names;
        for (const auto& input : testCase.at("inputs")) names.emplace(input.at("name"), makeRdd(sc, input));
        const json& first = testCase["inputs"].at(0);
        json steps = testCase.at("pipeline");
        AnyRdd start = names.at(first["name"].get<std::string>());
        if (variant.typed) start = takeTypedSteps(sc, first, steps, &counts);
        const AnyRdd last = runRddPipeline(start, steps, names, &counts);
        const Step action(testCase.at("action"), &counts);
        for (int i = testCase.value("repeat", 1); i > 0; --i) {
            const std::string place = directory.path() + "/" + std::to_string(i);
            std::filesystem::create_directory(place);
            outcome.result = runAction(last, action, place);
        }
    } catch (...) {
        outcome.error = std::current_exception();
    }
    sc.stop();
    return outcome;
}

}  // namespace

RDD<Value> makeRdd(const SparkContext& sc, const json& written) {
    if (written.contains("partitions")) return makePartitions(sc, parsePartitions(written["partitions"]));
    Values items;
    for (const auto& item : written.at("parallelize")) items.push_back(parseValue(item));
    return parallelize(sc, std::move(items),
                       written.contains("slices") ? std::optional(written["slices"].get<int>()) : std::nullopt);
}

AnyRdd runRddPipeline(AnyRdd in, const json& steps, NamedRdds names, CallCounts* counts,
                      std::optional<dstream::Time> batchTime) {
    return runPipeline(std::move(in), steps, "RDD", rddOps(), names, counts,
                       [&](const AnyRdd& current, const Step& step) {
                           return RddCall{current, step, names, batchTime};
                       });
}

Verdict runRddCase(const json& testCase, const Variant& variant) {
    CallCounts counts = makeCounts(testCase.at("pipeline"));
    const Outcome outcome = run(testCase, variant, counts);
    if (outcome.error || testCase.contains("error")) {
        const std::string wanted =
            testCase.contains("error") ? testCase["error"].at("kind").get<std::string>() : "no error";
        const std::string found = outcome.error ? errorKind(outcome.error) : "no error";
        if (!sameKind(wanted, found)) {
            return mismatch(wanted,
                            outcome.error ? found + " (" + dstream::describeException(outcome.error) + ")" : found);
        }
        return std::nullopt;
    }
    if (testCase.value("placement", "") != "jvm-specific") {
        const std::string order = testCase.at("order");
        const json& expected = testCase.at("expected");
        Verdict verdict = order == "files" ? compareFiles(expected, outcome.result, true)
                                           : compareElements(expected, outcome.result, order);
        if (verdict) return verdict;
    }
    const json calls = testCase.value("calls", json::object());
    for (const auto& [name, expected] : calls.items()) {
        const int64_t wanted = expected.get<int64_t>();
        const int64_t found = counts.at(name)->load();
        const bool atMost = testCase.value("calls_rule", "") == "at_most";
        if (atMost ? found > wanted : found != wanted) {
            return mismatch((atMost ? "at most " : "") + std::to_string(wanted) + " calls", std::to_string(found));
        }
    }
    return std::nullopt;
}

}  // namespace conformance
