#include "dstream_graph.hpp"

#include <algorithm>
#include <exception>
#include <thread>
#include <unordered_map>

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

namespace dstream::detail {

namespace {

// A path of this many streams is evaluated on one stack; longer ones are cut.
constexpr int kMaxEvaluationDepth = 256;

}  // namespace

int DStreamGraph::newInputId() {
    std::lock_guard lock(mutex_);
    return nextInputId_++;
}

void DStreamGraph::addInput(std::shared_ptr<DStreamBase> input) {
    std::lock_guard lock(mutex_);
    inputs_.push_back(std::move(input));
}

void DStreamGraph::addOutput(std::shared_ptr<DStreamBase> output) {
    std::lock_guard lock(mutex_);
    outputs_.push_back(std::move(output));
}

void DStreamGraph::remember(Duration duration) {
    std::lock_guard lock(mutex_);
    if (rememberDuration_) {
        throw IllegalArgumentException("Remember duration already set as " + rememberDuration_->toString() +
                                       ". Cannot set it again.");
    }
    rememberDuration_ = duration;
}

void DStreamGraph::claimUid(const std::string& uid) {
    std::lock_guard lock(mutex_);
    if (!uids_.insert(uid).second) {
        throw IllegalArgumentException("uid(\"" + uid + "\") is taken by another operator of this context; ids must differ");
    }
}

void DStreamGraph::validate() const {
    std::lock_guard lock(mutex_);
    if (outputs_.empty()) {
        throw IllegalArgumentException(
            "No output operations registered, so nothing to execute: add one, such as print or foreachRDD, before start");
    }
}

void DStreamGraph::sortNodes() {
    // Depth-first with an explicit stack; a node is listed when its children have been, so parents come last when reversed.
    order_.clear();
    std::unordered_map<DStreamBase*, bool> listed;
    std::vector<std::pair<DStreamBase*, std::size_t>> path;
    std::vector<DStreamBase*> parentsFirst;
    for (const auto& output : outputs_) {
        if (!listed.emplace(output.get(), true).second) continue;
        path.emplace_back(output.get(), 0);
        while (!path.empty()) {
            auto& [node, next] = path.back();
            if (next == node->dependencies().size()) {
                parentsFirst.push_back(node);
                path.pop_back();
                continue;
            }
            DStreamBase* parent = node->dependencies()[next++].get();
            if (listed.emplace(parent, true).second) path.emplace_back(parent, 0);
        }
    }
    order_.assign(parentsFirst.rbegin(), parentsFirst.rend());
}

void DStreamGraph::initialize(Time zeroTime) {
    std::optional<Duration> remembered;
    {
        std::lock_guard lock(mutex_);
        sortNodes();
        remembered = rememberDuration_;
    }
    zeroTime_ = zeroTime;
    for (DStreamBase* node : order_) node->initialize(zeroTime);
    for (DStreamBase* node : order_) {
        node->remember(remembered);
        for (const auto& parent : node->dependencies()) parent->remember(node->parentRememberDuration());
    }
    for (DStreamBase* node : order_) node->validateAtStart();
}

void DStreamGraph::startInputs() {
    std::vector<std::shared_ptr<DStreamBase>> inputs = this->inputs();
    std::vector<std::exception_ptr> errors(inputs.size());
    auto startOne = [&](std::size_t i) noexcept {
        try {
            inputs[i]->input()->start();
        } catch (...) {
            errors[i] = std::current_exception();
        }
    };
    {
        std::vector<std::jthread> starters;
        for (std::size_t i = 1; i < inputs.size(); ++i) starters.emplace_back(startOne, i);
        if (!inputs.empty()) startOne(0);
    }
    {
        std::lock_guard lock(mutex_);
        inputsStarted_ = true;
    }
    for (const std::exception_ptr& error : errors) {
        if (error) std::rethrow_exception(error);
    }
}

void DStreamGraph::stopInputs() {
    {
        std::lock_guard lock(mutex_);
        if (!inputsStarted_) return;
        inputsStarted_ = false;
    }
    for (const auto& input : inputs()) {
        try {
            input->input()->stop();
        } catch (...) {
            logMessage(LogLevel::kError, "DStreamGraph",
                       "stopping " + input->input()->name() + " failed: " + describeException(std::current_exception()));
        }
    }
}

std::vector<Job> DStreamGraph::generateJobs(Time time) {
    for (auto node = order_.rbegin(); node != order_.rend(); ++node) {
        if ((*node)->depth_ > 0 && (*node)->depth_ % kMaxEvaluationDepth == 0) (*node)->getOrComputeRdd(time);
    }
    std::vector<std::shared_ptr<DStreamBase>> outputs;
    {
        std::lock_guard lock(mutex_);
        outputs = outputs_;
    }
    std::vector<Job> jobs;
    for (const auto& output : outputs) {
        if (auto job = output->generateJob(time)) jobs.push_back(std::move(*job));
    }
    return jobs;
}

void DStreamGraph::clearMetadata(Time time) {
    for (DStreamBase* node : order_) node->clearMetadata(time);
}

Duration DStreamGraph::maxInputRememberDuration() const {
    Duration longest;
    for (DStreamBase* node : order_) {
        if (node->input() && node->rememberDuration()) longest = longest.max(*node->rememberDuration());
    }
    return longest;
}

std::vector<std::shared_ptr<DStreamBase>> DStreamGraph::inputs() const {
    std::lock_guard lock(mutex_);
    return inputs_;
}

}  // namespace dstream::detail
