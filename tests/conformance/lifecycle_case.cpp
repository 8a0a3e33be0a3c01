#include "any_stream.hpp"
#include "case_runner.hpp"
#include "dstream/testkit.hpp"
#include "listing.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <future>
#include <mutex>
#include <thread>

namespace conformance {

using dstream::Duration;
using dstream::StorageLevel;
using dstream::StreamingContext;
using dstream::StreamingContextState;
using dstream::Time;
using nlohmann::json;

namespace {

/// What the outputs recorded; shared with the functions that record it.
class Record {
public:
    void add(Time time, const Values& elements) {
        const std::lock_guard lock(mutex_);
        batches_.insert_or_assign(time.milliseconds(), Value::bag(elements));
    }
    Value list() const {
        const std::lock_guard lock(mutex_);
        Values entries;
        for (const auto& [time, elements] : batches_) entries.push_back(Value::pair(Value(time), elements));
        return Value::list(std::move(entries));
    }

private:
    mutable std::mutex mutex_;  // guards the field below
    std::map<int64_t, Value> batches_;
};

/// The contexts that a script works on.
class Script {
public:
    Script(const json& testCase, const Variant& variant)
        : variant_(variant), batch_(testCase.at("batch_ms").get<int64_t>()) {}
    ~Script() {
        if (ssc_) ssc_->stop(true, false);
    }
    Script(const Script&) = delete;
    Script& operator=(const Script&) = delete;

    /// Carries out one step; returns what it shows, if anything.
    MaybeValue carryOut(const json& written);

private:
    using Action = MaybeValue (Script::*)(const Step&);
    static const std::map<std::string, Action>& actions();

    MaybeValue create(const Step&) {
        ssc_.emplace(caseConf(variant_), batch_);
        return std::nullopt;
    }
    MaybeValue addInput(const Step&) {
        input_ = constantStream(*ssc_, parsePartitions(json::parse("[[1,2],[3]]")));
        last_ = input_;
        return std::nullopt;
    }
    /// An operator of the stream tables, on the input.
    MaybeValue add(const json& step, const AnyStream& in) {
        NamedStreams names;
        last_ = runStreamPipeline(in, json::array({step}), names, {}, nullptr);
        return std::nullopt;
    }
    MaybeValue addMap(const Step&) { return add({{"op", "map"}, {"fn", "identity"}}, *input_); }
    MaybeValue addWindow(const Step& step) {
        return add({{"op", "window"}, {"window_ms", step.integer("window_ms")}, {"slide_ms", step.integer("slide_ms")}},
                   *input_);
    }
    MaybeValue addUpdateState(const Step&) {
        add({{"op", "map"}, {"fn", "to_pair_1"}}, *input_);
        return add({{"op", "updateStateByKey"}, {"update", "running_sum"}}, *last_);
    }
    MaybeValue addOutput(const Step&) {
        collectBatches(*last_, [record = record_](Time time, const Values& elements, std::exception_ptr error) {
            if (!error) record->add(time, elements);
        });
        return std::nullopt;
    }
    MaybeValue setCheckpointDir(const Step&) {
        ssc_->checkpoint(directory_.path() + "/checkpoint");
        return std::nullopt;
    }
    MaybeValue checkpointStream(const Step& step) {
        return add({{"op", "checkpoint"}, {"interval_ms", step.integer("interval_ms")}}, *last_);
    }
    MaybeValue persistStream(const Step&) { return add({{"op", "persist"}}, *last_); }
    MaybeValue persistTwiceDifferent(const Step&) {
        last_->values().persist(StorageLevel::MEMORY_ONLY);
        last_->values().persist(StorageLevel::DISK_ONLY);
        return std::nullopt;
    }
    MaybeValue remember(const Step& step) {
        ssc_->remember(Duration(step.integer("ms")));
        return std::nullopt;
    }
    MaybeValue start(const Step&) {
        ssc_->start();
        return std::nullopt;
    }
    MaybeValue stop(const Step&) {
        ssc_->stop(false, false);
        return std::nullopt;
    }
    MaybeValue stopGraceful(const Step&);
    MaybeValue state(const Step&) {
        switch (ssc_->getState()) {
            case StreamingContextState::INITIALIZED:
                return Value("INITIALIZED");
            case StreamingContextState::ACTIVE:
                return Value("ACTIVE");
            case StreamingContextState::STOPPED:
                return Value("STOPPED");
        }
        return std::nullopt;
    }
    MaybeValue advance(const Step& step) {
        for (int64_t i = step.integer("batches"); i > 0; --i) dstream::testkit::manualClock(*ssc_).advance(batch_);
        return std::nullopt;
    }
    MaybeValue await(const Step&) { return Value(ssc_->awaitTerminationOrTimeout(50)); }
    MaybeValue outputs(const Step&) { return record_->list(); }
    MaybeValue sliceLast(const Step& step) {
        slice(*last_, Time(step.integer("from_ms")), Time(step.integer("to_ms")));
        return std::nullopt;
    }
    MaybeValue createSecond(const Step&) {
        second_.emplace(ssc_->sparkContext(), batch_);
        return std::nullopt;
    }
    MaybeValue secondInputOutput(const Step&) {
        collectBatches(constantStream(*second_, {{Value(1)}}), [](Time, const Values&, std::exception_ptr) {});
        return std::nullopt;
    }
    MaybeValue startSecond(const Step&) {
        second_->start();
        return std::nullopt;
    }
    MaybeValue stopSecond(const Step&) {
        second_->stop(false, false);
        return std::nullopt;
    }

    const Variant variant_;
    const Duration batch_;
    const TemporaryDirectory directory_;
    const std::shared_ptr<Record> record_ = std::make_shared<Record>();
    std::optional<StreamingContext> ssc_;
    std::optional<StreamingContext> second_;
    std::optional<AnyStream> input_;
    std::optional<AnyStream> last_;
};

MaybeValue Script::stopGraceful(const Step&) {
    if (ssc_->getState() != StreamingContextState::ACTIVE) {
        ssc_->stop(false, true);
        return std::nullopt;
    }
    auto& clock = dstream::testkit::manualClock(*ssc_);
    // A timer that is stopped before it waits for the next tick would fire once, not twice.
    if (!clock.awaitTimer()) throw CaseError("the timer of the context does not wait for a tick");
    auto stopping = std::async(std::launch::async, [this] { ssc_->stop(false, true); });
    // The stop waits for ticks of the clock: advance() returns when the batch of the tick has completed.
    for (int i = 0; i < 2; ++i) {
        stopping.wait_for(std::chrono::milliseconds(400));
        clock.advance(batch_);
    }
    stopping.get();
    return std::nullopt;
}

const std::map<std::string, Script::Action>& Script::actions() {
    static const std::map<std::string, Action> kActions = {
        {"create", &Script::create},
        {"add_input", &Script::addInput},
        {"add_map", &Script::addMap},
        {"add_window", &Script::addWindow},
        {"add_update_state", &Script::addUpdateState},
        {"add_output", &Script::addOutput},
        {"set_checkpoint_dir", &Script::setCheckpointDir},
        {"checkpoint_stream", &Script::checkpointStream},
        {"persist_stream", &Script::persistStream},
        {"persist_twice_different", &Script::persistTwiceDifferent},
        {"remember", &Script::remember},
        {"start", &Script::start},
        {"stop", &Script::stop},
        {"stop_graceful", &Script::stopGraceful},
        {"state", &Script::state},
        {"advance", &Script::advance},
        {"await", &Script::await},
        {"outputs", &Script::outputs},
        {"slice", &Script::sliceLast},
        {"create_second", &Script::createSecond},
        {"second_input_output", &Script::secondInputOutput},
        {"start_second", &Script::startSecond},
        {"stop_second", &Script::stopSecond},
    };
    return kActions;
}

MaybeValue Script::carryOut(const json& written) {
    const std::string name = written.at("do");
    const auto found = actions().find(name);
    if (found == actions().end()) throw CaseError("unknown step of a script: " + name);
    return (this->*found->second)(Step(written, nullptr));
}

Verdict compareStep(const json& expect, const MaybeValue& value, std::exception_ptr error) {
    if (error) {
        const std::string kind = errorKind(error);
        if (expect.is_object() && expect.contains("error") && sameKind(expect["error"].at("kind"), kind))
            return std::nullopt;
        return mismatch(expect.dump(), kind + " (" + dstream::describeException(error) + ")");
    }
    if (expect == "ok") return std::nullopt;
    if (expect.is_object() && expect.contains("value") && value && matches(parseValue(expect["value"]), *value)) {
        return std::nullopt;
    }
    return mismatch(expect.dump(), value ? value->notation() : "ok");
}

}  // namespace

Verdict runLifecycleCase(const json& testCase, const Variant& variant) {
    Script script(testCase, variant);
    int number = 0;
    for (const json& step : testCase.at("script")) {
        ++number;
        MaybeValue value;
        std::exception_ptr error;
        try {
            value = script.carryOut(step);
        } catch (...) {
            error = std::current_exception();
        }
        if (Verdict verdict = compareStep(step.at("expect"), value, error)) {
            return "step " + std::to_string(number) + " (" + step["do"].get<std::string>() + "): " + *verdict;
        }
    }
    return std::nullopt;
}

}  // namespace conformance
