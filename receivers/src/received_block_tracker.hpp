#pragma once

#include "receivers/received_block.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

namespace dstream::detail {

/// Assigns each received block to one batch. Thread-safe; additions may come from any thread, allocation and cleaning
/// from one at a time. Writes to the log first, then to memory.
class ReceivedBlockTracker {
public:
    explicit ReceivedBlockTracker(std::shared_ptr<BlockTrackerLog> log) : log_(std::move(log)) {}

    /// False when the log refused it.
    bool addBlock(ReceivedBlockInfo info);
    void allocateBlocksToBatch(Time batchTime);
    BlocksByStream blocksOfBatch(Time batchTime) const;
    std::vector<ReceivedBlockInfo> blocksOfBatch(Time batchTime, int streamId) const;
    bool hasUnallocatedBlocks() const;
    bool waitUntilAllAllocated(std::stop_token stop) const;
    void cleanup(Time threshold);

private:
    bool nothingWaits() const;

    const std::shared_ptr<BlockTrackerLog> log_;
    mutable std::mutex mutex_;  // guards the fields below
    mutable std::condition_variable_any allocated_;
    BlocksByStream waiting_;
    std::map<Time, BlocksByStream> batches_;
    std::optional<Time> lastBatch_;
};

}  // namespace dstream::detail
