#include "dstream/dstream_base.hpp"

#include "dstream/streaming_context.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/rdd_base.hpp"
#include "streaming_core.hpp"

#include <cmath>

namespace dstream {

namespace {

/// Carries where the generation of a batch failed; only the innermost operator adds it.
class GenerationException : public SparkException {
public:
    using SparkException::SparkException;
};

std::shared_ptr<detail::StreamingOwner> lockContext(const std::weak_ptr<detail::StreamingOwner>& context) {
    auto owner = context.lock();
    if (!owner)
        throw IllegalStateException("the StreamingContext of this stream is gone; keep it while streams are in use");
    return owner;
}

}  // namespace

detail::RddCheckpoint detail::rddCheckpointOf(const RddBase& rdd, const std::string& directory,
                                              std::vector<std::string> bases, bool mayHaveChanges) {
    if (mayHaveChanges) {
        const std::string changes = directory + kChangesBeside;
        if (posixFs().exists(changes)) {
            bases.push_back(changes);
        } else {
            bases.clear();
        }
    }
    const auto partitioner = rdd.partitioner();
    return {directory, rdd.numPartitions(), partitioner && partitioner->impl().placesByHash(), std::move(bases)};
}

bool detail::isBeside(const std::string& changes, const std::string& whole) {
    return changes == whole + kChangesBeside;
}

DStreamBase::DStreamBase(std::weak_ptr<detail::StreamingOwner> context, const char* operatorName, Parents parents,
                         CallSite creationSite, std::optional<Duration> slide)
    : context_(std::move(context)),
      operatorName_(operatorName),
      parents_(std::move(parents)),
      creationSite_(creationSite),
      slideDuration_(slide              ? *slide
                     : parents_.empty() ? lockContext(context_)->core()->batchDuration
                                        : parents_.front()->slideDuration()) {
    const auto inside = lockContext(context_)->core();
    inside->checkCanAddStreams();
    number_ = inside->graph.newStreamNumber();
    for (const auto& parent : parents_) depth_ = std::max(depth_, parent->depth_ + 1);
}

DStreamBase::~DStreamBase() {
    // A long chain of streams ends one by one, not by recursion.
    Parents rest = std::move(parents_);
    while (!rest.empty()) {
        std::shared_ptr<DStreamBase> last = std::move(rest.back());
        rest.pop_back();
        if (last.use_count() == 1) {
            for (auto& parent : last->parents_) rest.push_back(std::move(parent));
            last->parents_.clear();
        }
    }
}

StreamingContext DStreamBase::context() const {
    return StreamingContext(lockContext(context_));
}

std::shared_ptr<detail::StreamingCore> DStreamBase::core() const {
    return lockContext(context_)->core();
}

std::string DStreamBase::scopeText() const {
    const std::string site = creationSite_.toString();
    return site.empty() ? std::string(operatorName_) : std::string(operatorName_) + " at " + site;
}

Time DStreamBase::zeroTime() const {
    if (!zeroTime_) throw SparkException(scopeText() + " has not been initialized: start the StreamingContext first");
    return *zeroTime_;
}

void DStreamBase::checkNotInitialized(const char* what) const {
    if (isInitialized()) {
        throw UnsupportedOperationException(std::string("Cannot change ") + what +
                                            " of a DStream after streaming context has started");
    }
}

void DStreamBase::persist(StorageLevel level) {
    checkNotInitialized("storage level");
    storageLevel_ = level;
}

void DStreamBase::checkpoint(Duration interval) {
    checkNotInitialized("checkpoint interval");
    persist(StorageLevel::MEMORY_ONLY_SER);
    checkpointDuration_ = interval;
}

void DStreamBase::setName(std::string name) {
    name_ = std::move(name);
}

void DStreamBase::setUid(std::string uid) {
    core()->graph.claimUid(uid);
    uid_ = std::move(uid);
}

Duration DStreamBase::defaultCheckpointInterval() const {
    return slideDuration_ * static_cast<int>(std::ceil(Seconds(10) / slideDuration_));
}

void DStreamBase::initialize(Time zeroTime) {
    DSTREAM_CHECK(!zeroTime_ || *zeroTime_ == zeroTime, scopeText() + " has been initialized with another zero time");
    zeroTime_ = zeroTime;
    if (mustCheckpoint() && !checkpointDuration_) checkpointDuration_ = defaultCheckpointInterval();
    Duration least = slideDuration_;
    if (checkpointDuration_ && least <= *checkpointDuration_) least = *checkpointDuration_ * 2;
    remember(least);
}

void DStreamBase::remember(std::optional<Duration> duration) {
    if (duration && (!rememberDuration_ || *duration > *rememberDuration_)) rememberDuration_ = duration;
}

void DStreamBase::validateAtStart() const {
    if (!mustCheckpoint() && !checkpointDuration_) return;
    require(checkpointDuration_.has_value(),
            "The checkpoint interval for " + scopeText() +
                " has not been set. Please use DStream.checkpoint() to set the interval.");
    require(core()->sparkContext.getCheckpointDir().has_value(),
            "The checkpoint directory has not been set, and " + scopeText() +
                " needs it. Please set it by StreamingContext.checkpoint().");
    const std::string interval =
        "The checkpoint interval for " + scopeText() + " has been set to " + checkpointDuration_->toString();
    require(*checkpointDuration_ >= slideDuration_, interval + " which is lower than its slide time (" +
                                                        slideDuration_.toString() +
                                                        "). Please set it to at least that.");
    require(checkpointDuration_->isMultipleOf(slideDuration_),
            interval + " which is not a multiple of its slide time (" + slideDuration_.toString() +
                "). Please set it to a multiple of it.");
    require(storageLevel_ != StorageLevel::NONE,
            scopeText() +
                " has been marked for checkpointing but the storage level has not been set to enable persisting. "
                "Please use DStream.persist() to set the storage level.");
    require(rememberDuration_ && *rememberDuration_ > *checkpointDuration_,
            interval + " but it remembers RDDs only for " + rememberDuration_->toString() +
                "; the interval must be shorter than that.");
}

bool DStreamBase::isTimeValid(Time time) const {
    return time > zeroTime() && (time - zeroTime()).isMultipleOf(slideDuration_);
}

detail::GeneratedRddPtr DStreamBase::getOrComputeRdd(Time time) {
    if (auto found = generatedRdds_.find(time); found != generatedRdds_.end()) return found->second;
    if (!isTimeValid(time) || (beginsAfter_ && time <= *beginsAfter_)) return nullptr;
    try {
        // A checkpoint that has become durable since is what the next one adds to.
        if (checkpointDuration_ && (time - zeroTime()).isMultipleOf(*checkpointDuration_)) updateRddCheckpoints();
        detail::GeneratedRddPtr generated = computeRdd(time);
        if (!generated) return nullptr;
        RddBase& rdd = generated->base();
        if (storageLevel_ != StorageLevel::NONE) rdd.persist(storageLevel_);
        if (!name_.empty()) rdd.setName(name_);
        generatedRdds_.emplace(time, generated);
        return generated;
    } catch (const GenerationException&) {
        throw;
    } catch (...) {
        std::throw_with_nested(
            GenerationException(scopeText() + " could not make the RDD of batch " + time.toString()));
    }
}

std::vector<detail::GeneratedRddPtr> DStreamBase::sliceRdds(Time from, Time to) {
    zeroTime();  // throws when not initialized
    auto onGrid = [&](Time time, const char* which) {
        if ((time - zeroTime()).isMultipleOf(slideDuration_)) return time;
        const Time floored = time.floor(slideDuration_, zeroTime());
        logMessage(LogLevel::kWarn, "DStream",
                   std::string("the ") + which + " of slice, " + time.toString() +
                       ", is not a multiple of the slide duration " + slideDuration_.toString() + "; using " +
                       floored.toString());
        return floored;
    };
    const Time first = onGrid(from, "begin");
    const Time last = onGrid(to, "end");
    std::vector<detail::GeneratedRddPtr> rdds;
    core()->jobGenerator.runOnLoop([&] {
        for (Time time = first.max(zeroTime()); time <= last; time = time + slideDuration_) {
            if (auto rdd = getOrComputeRdd(time)) rdds.push_back(std::move(rdd));
        }
    });
    return rdds;
}

detail::GeneratedRddPtr DStreamBase::readRddCheckpoint(const detail::RddCheckpoint& from) {
    throw IllegalStateException(scopeText() + " cannot go on from the RDD checkpoint " + from.directory +
                                ": a stream that must checkpoint has to override readRddCheckpoint");
}

const std::map<Time, detail::RddCheckpoint>& DStreamBase::updateRddCheckpoints() {
    if (!checkpointDuration_) return rddCheckpoints_;
    std::map<Time, detail::RddCheckpoint> current;
    for (const auto& [time, generated] : generatedRdds_) {
        if (auto known = rddCheckpoints_.find(time); known != rddCheckpoints_.end()) {
            current.insert(*known);
            continue;
        }
        const RddBase& rdd = generated->base();
        const auto directory = rdd.checkpointFile();
        if (!directory || directory->empty()) continue;
        current[time] = detail::rddCheckpointOf(rdd, *directory, checkpointBases(time), changesBeside(time) != nullptr);
        checkpointed(time, current[time]);
    }
    if (!current.empty()) rddCheckpoints_ = std::move(current);
    return rddCheckpoints_;
}

std::optional<detail::DueRddCheckpoint> DStreamBase::dueRddCheckpoint(Time upTo) {
    if (!checkpointDuration_) return std::nullopt;
    for (auto at = generatedRdds_.upper_bound(upTo); at != generatedRdds_.begin();) {
        const auto& [time, generated] = *--at;
        if (!(time - zeroTime()).isMultipleOf(*checkpointDuration_)) continue;
        // One that was written since updateRddCheckpoints is due: the checkpoint being made does not name it yet.
        if (rddCheckpoints_.contains(time)) return std::nullopt;
        return detail::DueRddCheckpoint{time,
                                        std::shared_ptr<RddBase>(generated, &generated->base()),
                                        checkpointBases(time),
                                        {},
                                        changesBeside(time)};
    }
    return std::nullopt;
}

void DStreamBase::restoreRddCheckpoints(const std::map<Time, detail::RddCheckpoint>& checkpoints) {
    for (const auto& [time, from] : checkpoints) generatedRdds_.emplace(time, readRddCheckpoint(from));
    rddCheckpoints_ = checkpoints;
}

Time DStreamBase::newestRddUpTo(Time time) const {
    const auto after = generatedRdds_.upper_bound(time);
    if (after != generatedRdds_.begin()) return std::prev(after)->first;
    return beginsAfter_ ? beginsAfter_->floor(slideDuration_, zeroTime()) : zeroTime();
}

void DStreamBase::catchUp(Time time) {
    for (Time next = newestRddUpTo(time) + slideDuration_; next < time; next = next + slideDuration_) {
        getOrComputeRdd(next);
    }
}

void DStreamBase::forget(Time, RddBase& rdd) {
    core()->graph.unpersist(rdd);
}

void DStreamBase::clearMetadata(Time time) {
    if (!rememberDuration_) return;
    const auto end = generatedRdds_.upper_bound(time - *rememberDuration_);
    if (end == generatedRdds_.begin()) return;
    if (core()->unpersist) {
        for (auto old = generatedRdds_.begin(); old != end; ++old) forget(old->first, old->second->base());
    }
    generatedRdds_.erase(generatedRdds_.begin(), end);
}

}  // namespace dstream
