#include "any_stream.hpp"
#include "case_runner.hpp"
#include "dstream/testkit.hpp"
#include "listing.hpp"
#include "pipeline.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <mutex>
#include <set>
#include <sstream>

namespace conformance {

using dstream::Duration;
using dstream::RDD;
using dstream::StreamingContext;
using dstream::Time;
using nlohmann::json;

namespace {

/// What a batch put out; the last time it ran counts.
struct Output {
    Values elements;
    bool failed = false;
};

/// Takes what is printed while it lives.
class CapturedOutput {
public:
    CapturedOutput() : before_(std::cout.rdbuf(text_.rdbuf())) {}
    ~CapturedOutput() { std::cout.rdbuf(before_); }
    CapturedOutput(const CapturedOutput&) = delete;
    CapturedOutput& operator=(const CapturedOutput&) = delete;
    std::string text() const { return text_.str(); }

private:
    std::ostringstream text_;
    std::streambuf* before_;
};

/// One run of a streaming case, with what it shows.
class StreamRun {
public:
    StreamRun(const json& testCase, const Variant& variant)
        : case_(testCase),
          variant_(variant),
          steps_(testCase.at("pipeline")),
          batch_(testCase.at("batch_ms").get<int64_t>()),
          counts_(makeCounts(steps_)) {}

    /// Runs all batches. Errors are kept with the phase they came in.
    void run();
    Verdict compare() const;

private:
    bool checkpointing() const;
    /// A context with the whole pipeline.
    StreamingContext define();
    void registerOutput(const AnyStream& stream);
    void runBatches(StreamingContext& ssc);
    void fail(const char* phase) {
        phase_ = phase;
        error_ = std::current_exception();
    }
    bool failsInRun() const { return case_.contains("error") && case_["error"].at("phase") == "run"; }
    /// Batches that are made; the one that cannot be is the last.
    int64_t lastBatch() const { return case_.value("aborted_at_batch", case_.at("num_batches").get<int64_t>()); }
    std::string checkpointDirectory() const { return directory_.path() + "/checkpoint"; }

    Verdict compareError() const;
    Verdict compareBatches() const;
    Verdict compareSlice() const;
    Verdict compareCalls() const;

    const json& case_;
    const Variant variant_;
    json steps_;
    const Duration batch_;
    const TemporaryDirectory directory_;
    CallCounts counts_;
    std::map<std::string, Push> queues_;
    std::optional<AnyStream> sliced_;

    std::mutex mutex_;  // guards the field below
    std::map<int64_t, Output> outputs_;
    std::map<std::string, std::vector<int64_t>> callsAfterBatch_;
    std::vector<Values> slices_;
    std::string printed_;
    Values files_;
    std::string phase_;
    std::exception_ptr error_;
};

bool StreamRun::checkpointing() const {
    if (case_.contains("checkpoint_dir")) return case_["checkpoint_dir"].get<bool>();
    static const std::set<std::string> kNeedIt = {"updateStateByKey", "mapWithState", "checkpoint", "countByWindow",
                                                  "countByValueAndWindow"};
    for (const json& step : case_.at("pipeline")) {
        if (kNeedIt.contains(step.at("op")) || step.contains("inv")) return true;
    }
    return case_.contains("restart_after");
}

StreamingContext StreamRun::define() {
    StreamingContext ssc(caseConf(variant_), batch_);
    try {
        if (checkpointing()) ssc.checkpoint(checkpointDirectory());
        if (case_.contains("remember_ms")) ssc.remember(Duration(case_["remember_ms"].get<int64_t>()));
        NamedRdds rdds;
        for (const json& written : case_.value("static", json::array())) {
            rdds.emplace(written.at("name"), makeRdd(ssc.sparkContext(), written));
        }
        NamedStreams streams;
        std::optional<AnyStream> first;
        steps_ = case_.at("pipeline");
        for (const json& input : case_.at("inputs")) {
            const std::string name = input.at("name");
            const AnyStream stream = makeInput(ssc, input, queues_[name]);
            if (!first) first = stream;
            streams.emplace(name, stream);
        }
        if (variant_.typed) first = takeTypedStreamSteps(ssc, case_["inputs"][0], steps_, &counts_);
        const AnyStream last = runStreamPipeline(*first, steps_, streams, rdds, &counts_);
        registerOutput(last);
        if (case_.contains("slice")) sliced_ = named(streams, case_["slice"].at("stream"));
    } catch (...) {
        ssc.stop(true, false);
        throw;
    }
    return ssc;
}

void StreamRun::registerOutput(const AnyStream& stream) {
    const json output = case_.value("output", json{{"type", "collect"}});
    const std::string type = output.at("type");
    if (type == "collect") {
        collectBatches(stream, [this](Time time, const Values& elements, std::exception_ptr error) {
            const std::lock_guard lock(mutex_);
            outputs_[time.milliseconds()] = Output{elements, error != nullptr};
        });
    } else if (type == "print") {
        print(stream, output.contains("num") ? std::optional(output["num"].get<int>()) : std::nullopt);
    } else if (type == "saveAsTextFiles") {
        saveAsTextFiles(stream, directory_.path() + "/files/" + output.at("prefix").get<std::string>(),
                        output.value("suffix", ""));
    } else if (type != "none") {
        throw CaseError("unknown output: " + output.dump());
    }
}

void StreamRun::runBatches(StreamingContext& ssc) {
    const std::vector<int64_t> restarts = case_.value("restart_after", std::vector<int64_t>());
    for (int64_t batch = 1; batch <= lastBatch(); ++batch) {
        for (const json& input : case_.at("inputs")) {
            if (input.value("source", "") != "queue") continue;
            for (const json& rdd : input.at("pushes").at(static_cast<size_t>(batch - 1)))
                queues_.at(input["name"])(parsePartitions(rdd));
        }
        dstream::testkit::manualClock(ssc).advance(batch_);
        for (const auto& [name, count] : counts_) callsAfterBatch_[name].push_back(count->load());
        if (std::find(restarts.begin(), restarts.end(), batch) != restarts.end()) {
            ssc.stop(true, false);
            ssc = StreamingContext::getOrCreate(checkpointDirectory(), [this] { return define(); });
            ssc.start();
        }
    }
}

void StreamRun::run() {
    const CapturedOutput captured;
    std::optional<StreamingContext> ssc;
    try {
        ssc = define();
    } catch (...) {
        return fail("define");
    }
    try {
        ssc->start();
    } catch (...) {
        fail("start");
        ssc->stop(true, false);
        return;
    }
    try {
        runBatches(*ssc);
        if (case_.contains("slice")) {
            const json& asked = case_["slice"];
            slices_ = slice(*sliced_, Time(asked.at("from_ms").get<int64_t>()), Time(asked.at("to_ms").get<int64_t>()));
        }
        // Reported at once when there is one; the time is for a case that fails.
        if (failsInRun()) ssc->awaitTerminationOrTimeout(10'000);
    } catch (...) {
        fail("run");
    }
    ssc->stop(true, false);
    if (!error_) {
        try {
            ssc->awaitTermination();
        } catch (...) {
            fail("run");
        }
    }
    printed_ = captured.text();
    if (case_.contains("expected_files")) files_ = listFiles(directory_.path() + "/files");
}

Verdict StreamRun::compareError() const {
    const std::string wanted = case_.contains("error") ? case_["error"].at("phase").get<std::string>() + " " +
                                                             case_["error"].at("kind").get<std::string>()
                                                       : "no error";
    const std::string found = error_ ? phase_ + " " + errorKind(error_) : "no error";
    if (case_.contains("error") && error_ && case_["error"]["phase"] == phase_ &&
        sameKind(case_["error"]["kind"], errorKind(error_))) {
        return std::nullopt;
    }
    if (wanted == found) return std::nullopt;
    return mismatch(wanted, error_ ? found + " (" + dstream::describeException(error_) + ")" : found);
}

Verdict StreamRun::compareBatches() const {
    if (!case_.contains("expected")) return std::nullopt;
    const json& expected = case_["expected"];
    const auto text = [](const Output* output) -> std::string {
        if (output == nullptr) return "no job";
        return output->failed ? "a failed job" : Value::list(output->elements).notation();
    };
    for (size_t i = 0; i < expected.size(); ++i) {
        const int64_t time = static_cast<int64_t>(i + 1) * batch_.milliseconds();
        const auto found = outputs_.find(time);
        const Output* const output = found == outputs_.end() ? nullptr : &found->second;
        const auto differs = [&](const std::string& wanted) {
            return "batch " + std::to_string(time) + " ms: " + mismatch(wanted, text(output));
        };
        if (expected[i].is_null()) {
            if (output != nullptr) return differs("no job");
        } else if (expected[i].is_object()) {
            if (output == nullptr || !output->failed) return differs("a failed job");
        } else if (output == nullptr || output->failed ||
                   compareElements(expected[i], output->elements, case_.at("order"))) {
            return differs(expected[i].dump());
        }
    }
    if (case_.contains("aborted_at_batch")) return std::nullopt;
    const int64_t end = lastBatch() * batch_.milliseconds();
    if (!outputs_.empty() && outputs_.rbegin()->first > end) {
        return mismatch("no batch after " + std::to_string(end) + " ms",
                        "one at " + std::to_string(outputs_.rbegin()->first));
    }
    return std::nullopt;
}

Verdict StreamRun::compareSlice() const {
    if (!case_.contains("expected_slice")) return std::nullopt;
    const json& expected = case_["expected_slice"];
    bool same = expected.size() == slices_.size();
    for (size_t i = 0; same && i < slices_.size(); ++i)
        same = !compareElements(expected[i], slices_[i], case_.at("order"));
    if (same) return std::nullopt;
    Values found;
    for (const Values& elements : slices_) found.push_back(Value::list(elements));
    return "slice: " + mismatch(expected.dump(), Value::list(std::move(found)).notation());
}

Verdict StreamRun::compareCalls() const {
    const json calls = case_.value("calls", json::object());
    for (const auto& [name, expected] : calls.items()) {
        const auto wanted = expected.get<std::vector<int64_t>>();
        const std::vector<int64_t>& found = callsAfterBatch_.at(name);
        const bool atMost = case_.value("calls_rule", "") == "at_most";
        bool holds = wanted.size() == found.size();
        for (size_t i = 0; holds && i < wanted.size(); ++i)
            holds = atMost ? found[i] <= wanted[i] : found[i] == wanted[i];
        if (!holds) return "calls: " + mismatch(expected.dump(), json(found).dump());
    }
    return std::nullopt;
}

Verdict StreamRun::compare() const {
    if (Verdict verdict = compareError()) return verdict;
    if (phase_ == "define" || phase_ == "start") return std::nullopt;
    if (Verdict verdict = compareBatches()) return verdict;
    if (case_.contains("expected_text") && printed_ != case_["expected_text"].get<std::string>()) {
        return mismatch(case_["expected_text"].dump(), json(printed_).dump());
    }
    if (case_.contains("expected_files")) {
        json flat = json::object();
        for (const auto& [directory, files] : case_["expected_files"].items()) {
            for (const auto& [name, lines] : files.items()) flat[directory + "/" + name] = lines;
        }
        if (Verdict verdict = compareFiles(flat, files_, false)) return verdict;
    }
    if (Verdict verdict = compareSlice()) return verdict;
    return compareCalls();
}

}  // namespace

std::function<RDD<Value>(const RDD<Value>&, const NamedRdds&, Time)> StreamCall::rddSteps() const {
    return
        [steps = step.json("rdd"), counts = step.counts()](const RDD<Value>& rdd, const NamedRdds& known, Time time) {
            return runRddPipeline(rdd, steps, known, counts, time).values();
        };
}

AnyStream runStreamPipeline(AnyStream in, const json& steps, NamedStreams& names, const NamedRdds& rdds,
                            CallCounts* counts) {
    return runPipeline(std::move(in), steps, "stream", streamOps(), names, counts,
                       [&](const AnyStream& current, const Step& step) {
                           return StreamCall{current, step, names, rdds};
                       });
}

AnyStream makeInput(const StreamingContext& ssc, const json& input, Push& push) {
    const std::string source = input.value("source", "scripted");
    if (source == "scripted") {
        Batches batches;
        for (const auto& batch : input.at("batches")) {
            batches.emplace_back();
            if (!batch.is_null()) batches.back() = parsePartitions(batch);
        }
        return scriptedStream(ssc, std::move(batches));
    }
    if (source == "constant") return constantStream(ssc, parsePartitions(input.at("partitions")));
    if (source == "queue") {
        const bool oneAtATime = input.at("one_at_a_time");
        if (!input.contains("default")) return queueStream(ssc, oneAtATime, push);
        std::optional<std::vector<Values>> otherwise;
        if (!input["default"].is_null()) otherwise = parsePartitions(input["default"]);
        return queueStream(ssc, oneAtATime, std::move(otherwise), push);
    }
    throw CaseError("unknown source of an input: " + source);
}

Verdict runStreamCase(const json& testCase, const Variant& variant) {
    StreamRun run(testCase, variant);
    run.run();
    return run.compare();
}

}  // namespace conformance
