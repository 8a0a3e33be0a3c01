#include "dstream_graph.hpp"

#include "rdd/detail/block_codec.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/placement_hash.hpp"

#include <algorithm>
#include <exception>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace dstream::detail {

namespace {

// A path of this many streams is evaluated on one stack; longer ones are cut.
constexpr int kMaxEvaluationDepth = 256;

// The upstream part of an id that is longer stands there as its hash.
constexpr std::size_t kMaxIdLength = 200;

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
    require(duration >= Duration(0), "the duration to remember must not be negative: " + duration.toString());
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
        throw IllegalArgumentException("uid(\"" + uid +
                                       "\") is taken by another operator of this context; ids must differ");
    }
}

void DStreamGraph::validate() const {
    std::lock_guard lock(mutex_);
    if (outputs_.empty()) {
        throw IllegalArgumentException(
            "No output operations registered, so nothing to execute: add one, such as print or foreachRDD, before "
            "start");
    }
}

void DStreamGraph::sortNodes() {
    // Depth-first with an explicit stack; a node is listed when its children have been, so parents come last when
    // reversed.
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
    nameOperators();
}

void DStreamGraph::nameOperators() {
    const std::vector<std::shared_ptr<DStreamBase>> inputs = this->inputs();
    std::set<const DStreamBase*> outputs;
    {
        std::lock_guard lock(mutex_);
        for (const auto& output : outputs_) outputs.insert(output.get());
    }
    operators_.clear();
    std::unordered_map<const DStreamBase*, std::vector<std::string>> nearest;  // the ids that children take up
    std::map<std::string, int> equals;
    auto addOperator = [&](DStreamBase* node, const std::vector<std::string>& upstream) {
        std::string id = node->uid();
        if (id.empty()) {
            std::string parents;
            for (const std::string& parent : upstream) parents += (parents.empty() ? "" : ", ") + parent;
            if (parents.size() > kMaxIdLength) parents = "#" + std::to_string(PlacementHash<std::string>{}(parents));
            id = std::string(node->operatorName()) + "(" + parents + ")";
            if (const int before = equals[id]++; before > 0) id += " " + std::to_string(before + 1);
        }
        nearest[node] = {id};
        operators_.emplace_back(std::move(id), node);
    };
    std::unordered_set<const DStreamBase*> used(order_.begin(), order_.end());
    for (const auto& input : inputs) {
        if (used.contains(input.get())) addOperator(input.get(), {});
    }
    for (auto at = order_.rbegin(); at != order_.rend(); ++at) {
        DStreamBase* const node = *at;
        if (nearest.contains(node)) continue;
        std::vector<std::string> upstream;
        for (const auto& parent : node->dependencies()) {
            for (const std::string& id : nearest[parent.get()]) {
                if (std::find(upstream.begin(), upstream.end(), id) == upstream.end()) upstream.push_back(id);
            }
        }
        // Windows are what makes parents remember longer.
        const bool window = node->parentRememberDuration() != node->rememberDuration();
        if (node->input() || node->mustCheckpoint() || window || !node->uid().empty() || outputs.contains(node)) {
            addOperator(node, upstream);
        } else {
            nearest[node] = std::move(upstream);
        }
    }
}

void DStreamGraph::addTo(StreamingCheckpoint& checkpoint) {
    std::unordered_set<const DStreamBase*> restored;
    for (const auto& [id, node] : operators_) {
        OperatorCheckpoint& op = checkpoint.operators.emplace_back();
        op.id = id;
        op.kind = node->operatorName();
        op.restored = node->input() != nullptr || node->mustCheckpoint();
        op.data = node->checkpointData(checkpoint.time);
        if (!node->mustCheckpoint()) continue;
        restored.insert(node);
        op.rdds = node->updateRddCheckpoints();
        if (const BlockCodec* codec = node->rddCodec()) {
            op.codecName = codec->name();
            op.codecVersion = codec->version();
        }
    }
    for (DStreamBase* node : order_) {
        if (restored.contains(node)) continue;
        for (const auto& [time, rdd] : node->updateRddCheckpoints()) checkpoint.otherRdds.insert(rdd.directory);
    }
}

void DStreamGraph::restore(const StreamingCheckpoint& checkpoint, bool allowDropped, bool allowNew) {
    if (std::string streams = unrecoverable(); !streams.empty()) {
        throw NotSerializableException(
            "a restart cannot bring back " + streams +
            ": what was in the queue is lost; use another input, or start in an empty directory");
    }
    std::map<std::string, const OperatorCheckpoint*> saved;
    for (const OperatorCheckpoint& op : checkpoint.operators) saved.emplace(op.id, &op);
    std::string refusals;
    std::vector<std::pair<DStreamBase*, const OperatorCheckpoint*>> found;
    for (const auto& [id, node] : operators_) {
        const auto match = saved.find(id);
        if (match == saved.end()) {
            const bool matters = node->input() != nullptr || node->mustCheckpoint();
            if (matters && !allowNew) refusals += "\n  new: " + id + ", " + node->scopeText();
            continue;
        }
        const OperatorCheckpoint& op = *match->second;
        const BlockCodec* const codec = op.rdds.empty() ? nullptr : node->rddCodec();
        if (codec && (codec->name() != op.codecName || codec->version() < op.codecVersion)) {
            refusals += "\n  changed: the state of " + id + " is " + op.codecName + " version " +
                        std::to_string(op.codecVersion) + " in the checkpoint, and " + codec->name() + " version " +
                        std::to_string(codec->version()) + " in " + node->scopeText();
        }
        found.emplace_back(node, &op);
        saved.erase(match);
    }
    for (const auto& [id, op] : saved) {
        if (op->restored && !allowDropped) refusals += "\n  missing: " + id;
    }
    if (!refusals.empty()) {
        throw SparkException(
            "the program does not fit its checkpoint of " + checkpoint.time.toString() + ":" + refusals +
            "\nGive operators that were moved the same uid(\"…\") as before, set "
            "dstream.checkpoint.allowDroppedState or dstream.checkpoint.allowNewState to true, or start in an "
            "empty directory.");
    }
    for (const auto& [node, op] : found) {
        for (const auto& [time, rdd] : op->rdds) {
            if (posixFs().exists(rdd.directory)) continue;
            throw SparkException("the checkpoint of " + op->id + " for " + time.toString() + " should be in " +
                                 rdd.directory + ", which does not exist; restore it, or start in an empty directory");
        }
        if (!op->data.empty()) node->restoreCheckpointData(op->data);
        node->restoreRddCheckpoints(op->rdds);
    }
}

void DStreamGraph::catchUp(Time time) {
    for (auto node = order_.rbegin(); node != order_.rend(); ++node) {
        if ((*node)->mustCheckpoint()) (*node)->catchUp(time);
    }
}

std::string DStreamGraph::unrecoverable() const {
    std::string streams;
    for (const DStreamBase* node : order_) {
        if (!node->isRecoverable()) streams += (streams.empty() ? "" : ", ") + node->scopeText();
    }
    return streams;
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
            logMessage(
                LogLevel::kError, "DStreamGraph",
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
