#include "received_block_tracker.hpp"

#include "rdd/log.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace dstream {

std::string StreamBlockId::toString() const {
    return "input-" + std::to_string(streamId) + "-" + std::to_string(uniqueId);
}

namespace {

class MemoryBlock final : public StoredBlock {
public:
    explicit MemoryBlock(BlockPtr block) : block_(std::move(block)) {}
    BlockPtr load() const override { return block_; }

private:
    const BlockPtr block_;
};

class MemoryBlockStore final : public ReceivedBlockStore {
public:
    std::shared_ptr<const StoredBlock> store(const StreamBlockId&, BlockPtr block, const StorageLevel&) override {
        return std::make_shared<const MemoryBlock>(std::move(block));
    }
};

}  // namespace

std::shared_ptr<ReceivedBlockStore> memoryBlockStore() {
    return std::make_shared<MemoryBlockStore>();
}

namespace detail {

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
        if (lastBatch_ && batchTime <= *lastBatch_) return;
        blocks = waiting_;
    }
    const bool logged = !log_ || log_->batchAllocated(batchTime, blocks);
    if (!logged) {
        logMessage(
            LogLevel::kError, "receivers",
            "the blocks of batch " + batchTime.toString() + " could not be logged; they wait for the next batch");
        blocks.clear();
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

void ReceivedBlockTracker::cleanup(Time threshold) {
    std::vector<Time> times;
    {
        std::lock_guard lock(mutex_);
        for (auto batch = batches_.begin(); batch != batches_.end() && batch->first < threshold; ++batch) {
            times.push_back(batch->first);
        }
    }
    if (times.empty()) return;
    if (log_ && !log_->batchesCleaned(times)) {
        logMessage(LogLevel::kWarn, "receivers",
                   "the cleaning of old batches could not be logged; it is tried again later");
        return;
    }
    std::vector<BlocksByStream> freed;  // destroyed without the lock
    std::lock_guard lock(mutex_);
    for (const Time time : times) {
        if (auto batch = batches_.extract(time)) freed.push_back(std::move(batch.mapped()));
    }
}

}  // namespace detail
}  // namespace dstream
