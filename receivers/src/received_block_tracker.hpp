#pragma once

#include "receivers/received_block.hpp"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

namespace dstream::detail {

/// What a log knows of the blocks of an earlier process.
struct RecoveredBlocks {
    BlocksByStream waiting;  // for a batch
    std::map<Time, BlocksByStream> batches;
    std::optional<Time> lastBatch;     // that was given blocks, or could have been
    Time latestCleaned{INT64_MIN};     // the latest batch with blocks that is gone
    std::map<int, int64_t> latestIds;  // of the blocks of each stream
};

/// Assigns each received block to one batch. Thread-safe; additions may come from any thread, allocation and cleaning
/// from one at a time. Writes to the log first, then to memory.
class ReceivedBlockTracker {
public:
    explicit ReceivedBlockTracker(std::shared_ptr<BlockTrackerLog> log) : log_(std::move(log)) {}

    /// Goes on from what `log` has recorded and writes to it. Before any other call.
    void restore(std::shared_ptr<BlockTrackerLog> log, RecoveredBlocks recovered);
    /// False when the log refused it.
    bool addBlock(ReceivedBlockInfo info);
    /// Gives what waits to the batch; one that has been given blocks before, also by an earlier process, keeps them.
    /// @throws SparkException  when it had blocks and they have been cleaned, or the log cannot be written
    void allocateBlocksToBatch(Time batchTime);
    BlocksByStream blocksOfBatch(Time batchTime) const;
    /// @throws SparkException  when a block of the batches from `first` to `last` is not stored, or has been cleaned
    void checkReadable(Time first, Time last) const;
    std::vector<ReceivedBlockInfo> blocksOfBatch(Time batchTime, int streamId) const;
    bool hasUnallocatedBlocks() const;
    bool waitUntilAllAllocated(std::stop_token stop) const;
    /// Keeps of the blocks of those batches what is in the log only, as long as there is one; else as cleanup.
    void release(Time threshold, const std::vector<Time>& needed, Duration remember);
    /// Forgets the batches before `threshold`, but for those from a needed time's `remember` before it up to it.
    void cleanup(Time threshold, const std::vector<Time>& needed = {}, Duration remember = Duration(0));

private:
    bool nothingWaits() const;
    std::vector<Time> batchesBefore(Time threshold, const std::vector<Time>& needed, Duration remember) const;

    std::shared_ptr<BlockTrackerLog> log_;
    mutable std::mutex mutex_;  // guards the fields below
    mutable std::condition_variable_any allocated_;
    BlocksByStream waiting_;
    std::map<Time, BlocksByStream> batches_;
    std::set<Time> released_;  // of these
    std::optional<Time> lastBatch_;
    Time latestCleaned_{INT64_MIN};
};

}  // namespace dstream::detail
