#include "dstream_graph.hpp"

#include "operator_fit.hpp"
#include "rdd/detail/block_codec.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/placement_hash.hpp"
#include "rdd/rdd_base.hpp"

#include <algorithm>
#include <exception>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace dstream::detail {

namespace {

constexpr const char* kLog = "DStreamGraph";

// A path of this many streams is evaluated on one stack; longer ones are cut.
constexpr int kMaxEvaluationDepth = 256;

// The upstream part of an id that is longer stands there as its hash.
constexpr std::size_t kMaxIdLength = 200;

}  // namespace

int DStreamGraph::newInputId() {
    std::lock_guard lock(mutex_);
    return nextInputId_++;
}

int DStreamGraph::newStreamNumber() {
    std::lock_guard lock(mutex_);
    return nextStreamNumber_++;
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

void DStreamGraph::claimSinkOperation(const std::string& name) {
    std::lock_guard lock(mutex_);
    if (!sinkOperations_.insert(name).second) {
        throw IllegalArgumentException(
            "saveToSink(\"" + name +
            "\") is there already; a sink tells outputs apart by this name, so they must differ");
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
    prepare(zeroTime);
    for (DStreamBase* node : order_) node->validateAtStart();
}

std::vector<OperatorDescription> DStreamGraph::describe() {
    prepare(Time(0));
    return {operators_.begin(), operators_.end()};
}

void DStreamGraph::prepare(Time zeroTime) {
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
    nameOperators();
}

std::vector<std::string> DStreamGraph::idsOf(const std::vector<DStreamBase*>& nodes,
                                             const std::unordered_set<const DStreamBase*>& operators,
                                             bool useUids) const {
    std::unordered_map<const DStreamBase*, std::vector<std::string>> nearest;  // the ids that children take up
    std::set<std::string> taken;
    if (useUids) {
        for (const DStreamBase* node : nodes) taken.insert(node->uid());
    }
    std::vector<std::string> ids;
    for (const DStreamBase* node : nodes) {
        std::vector<std::string> upstream;
        for (const auto& parent : node->dependencies()) {
            for (const std::string& id : nearest[parent.get()]) {
                if (std::find(upstream.begin(), upstream.end(), id) == upstream.end()) upstream.push_back(id);
            }
        }
        if (!operators.contains(node)) {
            nearest[node] = std::move(upstream);
            continue;
        }
        std::string id = useUids ? node->uid() : "";
        if (id.empty()) {
            std::string parents;
            for (const std::string& parent : upstream) parents += (parents.empty() ? "" : ", ") + parent;
            if (parents.size() > kMaxIdLength) parents = "#" + std::to_string(PlacementHash<std::string>{}(parents));
            const std::string kind = std::string(node->operatorName()) + "(" + parents + ")";
            id = kind;
            for (int place = 2; !taken.insert(id).second; ++place) id = kind + " " + std::to_string(place);
        }
        nearest[node] = {id};
        ids.push_back(std::move(id));
    }
    return ids;
}

void DStreamGraph::nameOperators() {
    std::vector<DStreamBase*> nodes = order_;
    std::sort(nodes.begin(), nodes.end(), [](auto* left, auto* right) { return left->number_ < right->number_; });
    std::unordered_set<const DStreamBase*> operators;
    {
        std::lock_guard lock(mutex_);
        for (const auto& output : outputs_) operators.insert(output.get());
    }
    for (DStreamBase* node : nodes) {
        // Windows are what makes parents remember longer.
        const bool window = node->parentRememberDuration() != node->rememberDuration();
        if (node->input() || node->mustCheckpoint() || window || !node->uid().empty()) operators.insert(node);
    }
    const std::vector<std::string> ids = idsOf(nodes, operators, true);
    const std::vector<std::string> derivedIds = idsOf(nodes, operators, false);
    operators_.clear();
    for (DStreamBase* node : nodes) {
        if (!operators.contains(node)) continue;
        Operator op;
        op.id = ids[operators_.size()];
        op.derivedId = derivedIds[operators_.size()];
        op.kind = node->operatorName();
        op.site = node->scopeText();
        op.hasUid = !node->uid().empty();
        op.input = node->input() != nullptr;
        op.state = node->mustCheckpoint();
        if (const BlockCodec* codec = op.state ? node->rddCodec() : nullptr) {
            op.codecName = codec->name();
            op.codecVersion = codec->version();
        }
        op.node = node;
        operators_.push_back(std::move(op));
    }
}

std::vector<DueRddCheckpoint> DStreamGraph::addTo(StreamingCheckpoint& checkpoint, Time completed) {
    std::unordered_map<const DStreamBase*, std::size_t> restored;
    for (const Operator& known : operators_) {
        if (known.state) restored.emplace(known.node, checkpoint.operators.size());
        OperatorCheckpoint& op =
            checkpoint.operators.emplace_back(OperatorCheckpoint{known, known.node->beginsAfter_, {}, {}});
        op.data = known.node->checkpointData(checkpoint.time);
        if (op.state) op.rdds = known.node->updateRddCheckpoints();
    }
    std::vector<DueRddCheckpoint> dues;
    for (auto at = order_.rbegin(); at != order_.rend(); ++at) {
        DStreamBase& node = **at;
        const auto op = restored.find(&node);
        if (op == restored.end()) {
            for (const auto& [time, rdd] : node.updateRddCheckpoints()) checkpoint.otherRdds.insert(rdd.directory);
        }
        if (auto due = node.dueRddCheckpoint(completed)) {
            if (op != restored.end()) due->op = op->second;
            due->rdd = hold(std::move(due->rdd));
            dues.push_back(*std::move(due));
        }
    }
    return dues;
}

/// An RDD whose checkpoint is to be written. When it was forgotten meanwhile, its blocks go with the last holder.
struct DStreamGraph::Due {
    explicit Due(std::shared_ptr<RddBase> due) : rdd(std::move(due)) {}
    ~Due() {
        if (forgotten) rdd->unpersist(false);
    }
    Due(const Due&) = delete;
    Due& operator=(const Due&) = delete;

    const std::shared_ptr<RddBase> rdd;
    bool forgotten = false;
};

std::shared_ptr<RddBase> DStreamGraph::hold(std::shared_ptr<RddBase> rdd) {
    std::erase_if(due_, [](const auto& entry) { return entry.second.expired(); });
    auto& known = due_[rdd->id()];
    std::shared_ptr<Due> due = known.lock();
    if (!due) known = due = std::make_shared<Due>(std::move(rdd));
    RddBase* const held = due->rdd.get();
    return {std::move(due), held};
}

void DStreamGraph::unpersist(RddBase& rdd) {
    const auto found = due_.find(rdd.id());
    if (const auto due = found == due_.end() ? nullptr : found->second.lock()) {
        due->forgotten = true;
    } else {
        rdd.unpersist(false);
    }
}

void DStreamGraph::restore(const StreamingCheckpoint& checkpoint, bool allowDropped, bool allowNew) {
    if (std::string streams = unrecoverable(); !streams.empty()) {
        throw NotSerializableException(
            "a restart cannot bring back " + streams +
            ": what was in the queue is lost; use another input, or start in an empty directory");
    }
    const std::vector<OperatorFit> fits = fitOperators(checkpoint.operators, {operators_.begin(), operators_.end()});
    std::string refusals;
    for (const OperatorFit& fit : fits) {
        if (isRefused(fit, allowDropped, allowNew)) {
            refusals += std::string("\n  ") + nameOf(fit.verdict) + ": " + fit.reason;
        } else if (fit.verdict != OperatorFit::Verdict::kLoads) {
            logMessage(LogLevel::kWarn, kLog,
                       std::string("started without the state of the checkpoint, as allowed: ") + nameOf(fit.verdict) +
                           ": " + fit.reason);
        }
    }
    if (!refusals.empty()) {
        throw SparkException(
            "the program does not fit its checkpoint of " + checkpoint.time.toString() + ":" + refusals +
            "\nGive operators that were moved or renamed the id of the checkpoint as their uid(\"…\"), set "
            "dstream.checkpoint.allowDroppedState or dstream.checkpoint.allowNewState to true (both, to begin a "
            "changed "
            "state anew), or start in an empty directory.");
    }
    Time firstRerun = checkpoint.time;
    for (Time time : checkpoint.pendingTimes) firstRerun = firstRerun.min(time);
    for (const OperatorFit& fit : fits) {
        if (!fit.program) continue;
        DStreamBase* const node = operators_[*fit.program].node;
        if (fit.verdict != OperatorFit::Verdict::kLoads) {
            if (node->mustCheckpoint()) node->beginAfter(firstRerun - batchDuration_);
            continue;
        }
        const OperatorCheckpoint& op = *fit.saved;
        if (op.beginsAfter) node->beginAfter(*op.beginsAfter);
        for (const auto& [time, rdd] : op.rdds) {
            if (posixFs().exists(rdd.directory)) continue;
            throw SparkException("the checkpoint of " + op.id + " for " + time.toString() + " should be in " +
                                 rdd.directory + ", which does not exist; restore it, or start in an empty directory");
        }
        if (!op.data.empty()) node->restoreCheckpointData(op.data);
        node->restoreRddCheckpoints(op.rdds);
    }
}

void DStreamGraph::catchUp(Time time) {
    for (auto node = order_.rbegin(); node != order_.rend(); ++node) {
        if ((*node)->mustCheckpoint()) (*node)->catchUp(time);
    }
}

Time DStreamGraph::checkReplayable(Time newest, Time time) const {
    const auto refuse = [&](const std::string& why) {
        throw IllegalArgumentException("replay of the batch of " + time.toString() + ": " + why);
    };
    if (time <= *zeroTime_ || time > newest || !(time - *zeroTime_).isMultipleOf(batchDuration_)) {
        refuse("the checkpoint knows the batches from " + (*zeroTime_ + batchDuration_).toString() + " to " +
               newest.toString() + ", every " + batchDuration_.toString());
    }
    // The input that is needed begins behind the state that is there, and windows reach back further.
    Time first = time;
    Duration window(0);
    std::string states;
    for (const DStreamBase* node : order_) {
        if (node->rememberDuration()) {
            window = window.max(*node->parentRememberDuration() - *node->rememberDuration());
        }
        if (!node->mustCheckpoint()) continue;
        const Time state = node->newestRddUpTo(time);
        first = first.min(state + node->slideDuration());
        if (state == *zeroTime_)
            states += " and all batches before it, as no state that old is kept of " + node->scopeText();
    }
    first = (first - window + batchDuration_.min(window)).max(*zeroTime_ + batchDuration_);
    for (DStreamBase* node : order_) {
        if (const auto remembered = node->rememberDuration(); remembered && node->depth_ == 0) {
            const Time oldest = newest - *remembered + batchDuration_;
            if (first >= oldest) continue;
            refuse("it needs the input of the batches from " + first.toString() + " on" + states + "; " +
                   node->scopeText() + " is recorded from " + oldest.toString() + " on");
        }
    }
    return first;
}

void DStreamGraph::forgetRdds() {
    for (DStreamBase* node : order_) {
        for (const auto& [time, generated] : node->generatedRdds_) node->forget(time, generated->base());
        node->generatedRdds_.clear();
        node->rddCheckpoints_.clear();
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
                LogLevel::kError, kLog,
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

void DStreamGraph::batchEnded(Time time, bool succeeded) {
    for (DStreamBase* node : order_) {
        if (auto* input = node->input()) input->batchEnded(time, succeeded);
    }
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
