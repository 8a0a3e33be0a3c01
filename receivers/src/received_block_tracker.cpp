#include "received_block_tracker.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace dstream {

namespace detail {

namespace {

[[noreturn]] void throwCleaned(Time batchTime) {
    throw SparkException("the received blocks of batch " + batchTime.toString() +
                         " have been removed, as a later checkpoint did not need them; restore that checkpoint, or "
                         "start in an empty directory");
}

}  // namespace

void ReceivedBlockTracker::restore(std::shared_ptr<BlockTrackerLog> log, RecoveredBlocks recovered) {
    log_ = std::move(log);
    std::lock_guard lock(mutex_);
    waiting_ = std::move(recovered.waiting);
    batches_ = std::move(recovered.batches);
    lastBatch_ = recovered.lastBatch;
    latestCleaned_ = recovered.latestCleaned;
}

bool ReceivedBlockTracker::addBlock(ReceivedBlockInfo info) {
    if (log_ && !log_->blockAdded(info)) return false;
    std::lock_guard lock(mutex_);
    waiting_[info.blockId.streamId].push_back(std::move(info));
    return true;
}

void ReceivedBlockTracker::allocateBlocksToBatch(Time batchTime) {
    BlocksByStream blocks;
    {
        std::lock_guard lock(mutex_);
        if (lastBatch_ && batchTime <= *lastBatch_) {
            if (batchTime > latestCleaned_ || batches_.contains(batchTime)) return;
            throwCleaned(batchTime);
        }
        blocks = waiting_;
    }
    // Not without them: a sink would have the batch by then, and skip it when it runs with them after a restart.
    if (log_ && !log_->batchAllocated(batchTime, blocks)) {
        throw SparkException("which received blocks batch " + batchTime.toString() +
                             " has could not be logged, so it does not run; the blocks wait for the next batch");
    }
    {
        std::lock_guard lock(mutex_);
        for (const auto& [streamId, taken] : blocks) {
            auto& queue = waiting_[streamId];
            queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(taken.size()));
        }
        batches_[batchTime] = std::move(blocks);
        lastBatch_ = batchTime;
    }
    allocated_.notify_all();
}

BlocksByStream ReceivedBlockTracker::blocksOfBatch(Time batchTime) const {
    std::lock_guard lock(mutex_);
    const auto batch = batches_.find(batchTime);
    return batch == batches_.end() ? BlocksByStream() : batch->second;
}

std::vector<ReceivedBlockInfo> ReceivedBlockTracker::blocksOfBatch(Time batchTime, int streamId) const {
    std::lock_guard lock(mutex_);
    const auto batch = batches_.find(batchTime);
    if (batch == batches_.end()) return {};
    const auto blocks = batch->second.find(streamId);
    return blocks == batch->second.end() ? std::vector<ReceivedBlockInfo>() : blocks->second;
}

void ReceivedBlockTracker::checkReadable(Time first, Time last) const {
    std::lock_guard lock(mutex_);
    if (first <= latestCleaned_ && !batches_.contains(first)) throwCleaned(first);
    for (auto batch = batches_.lower_bound(first); batch != batches_.end() && batch->first <= last; ++batch) {
        for (const auto& [streamId, blocks] : batch->second) {
            for (const ReceivedBlockInfo& info : blocks) {
                if (info.stored) continue;
                throw SparkException("block " + info.blockId.toString() + " of batch " + batch->first.toString() +
                                     " is in no write-ahead log, so it went with the process that received it; what is "
                                     "to be read again must be received with "
                                     "spark.streaming.receiver.writeAheadLog.enable=true");
            }
        }
    }
}

bool ReceivedBlockTracker::nothingWaits() const {
    return std::ranges::all_of(waiting_, [](const auto& queue) { return queue.second.empty(); });
}

bool ReceivedBlockTracker::hasUnallocatedBlocks() const {
    std::lock_guard lock(mutex_);
    return !nothingWaits();
}

bool ReceivedBlockTracker::waitUntilAllAllocated(std::stop_token stop) const {
    std::unique_lock lock(mutex_);
    return allocated_.wait(lock, std::move(stop), [this] { return nothingWaits(); });
}

std::vector<Time> ReceivedBlockTracker::batchesBefore(Time threshold, const std::vector<Time>& needed,
                                                      Duration remember) const {
    const auto isNeeded = [&](Time time) {
        return std::ranges::any_of(needed, [&](Time at) { return at - remember <= time && time <= at; });
    };
    std::vector<Time> times;
    std::lock_guard lock(mutex_);
    for (auto batch = batches_.begin(); batch != batches_.end() && batch->first < threshold; ++batch) {
        if (!isNeeded(batch->first)) times.push_back(batch->first);
    }
    return times;
}

void ReceivedBlockTracker::release(Time threshold, const std::vector<Time>& needed, Duration remember) {
    if (!log_) return cleanup(threshold, needed, remember);
    for (const Time time : batchesBefore(threshold, needed, remember)) {
        BlocksByStream blocks;
        {
            std::lock_guard lock(mutex_);
            if (!released_.insert(time).second) continue;
            blocks = batches_[time];
        }
        BlocksByStream kept = blocks;
        for (auto& entry : kept) {
            for (ReceivedBlockInfo& info : entry.second) {
                info.metadata.reset();
                if (info.stored) info.stored = info.stored->withoutMemory();
            }
        }
        std::lock_guard lock(mutex_);
        std::swap(batches_[time], kept);  // what it held is destroyed without the lock
    }
}

void ReceivedBlockTracker::cleanup(Time threshold, const std::vector<Time>& needed, Duration remember) {
    const std::vector<Time> times = batchesBefore(threshold, needed, remember);
    if (times.empty()) return;
    if (log_ && !log_->batchesCleaned(times)) {
        logMessage(LogLevel::kWarn, "receivers",
                   "the cleaning of old batches could not be logged; it is tried again later");
        return;
    }
    std::vector<BlocksByStream> freed;  // destroyed without the lock
    std::lock_guard lock(mutex_);
    for (const Time time : times) {
        released_.erase(time);
        if (auto batch = batches_.extract(time)) freed.push_back(std::move(batch.mapped()));
    }
}

}  // namespace detail
}  // namespace dstream
