#pragma once

#include "rdd/clock.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/time.hpp"
#include "receivers/received_block.hpp"
#include "receivers/receiver.hpp"
#include "receivers/receiver_info.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <vector>

namespace dstream {

/// Runs the receivers of a streaming program and hands the blocks they store to batches: each block to exactly one, in
/// the order of arrival. Knows nothing of what is computed. Thread-safe, but for start() and addReceiver().
class ReceiverTracker {
public:
    /// @param events  hears of receivers; may be null
    /// @param store   keeps the blocks; null: memoryBlockStore() for batches of a second
    /// @param log     makes additions and allocations durable; may be null
    /// @throws IllegalArgumentException  for wrong receiver settings
    ReceiverTracker(const SparkConf& conf, std::shared_ptr<Clock> clock,
                    std::shared_ptr<ReceiverEvents> events = nullptr,
                    std::shared_ptr<ReceivedBlockStore> store = nullptr,
                    std::shared_ptr<BlockTrackerLog> log = nullptr);
    /// Stops at once.
    ~ReceiverTracker();
    ReceiverTracker(const ReceiverTracker&) = delete;
    ReceiverTracker& operator=(const ReceiverTracker&) = delete;

    /// Takes a receiver in and tells it its stream id.
    /// @throws IllegalStateException  after start()
    void addReceiver(int streamId, std::shared_ptr<ReceiverBase> receiver);
    /// Keeps the write-ahead logs in a directory: of the blocks of each receiver that wants one (see
    /// spark.streaming.receiver.writeAheadLog.enable), and of what becomes of all blocks. Between addReceiver() and
    /// start().
    /// @param recover  true: goes on from what the directory holds: batches keep their blocks, and blocks that were in
    ///                 none wait for the next one. False: what it holds is set aside.
    /// @return false when there is no receiver, and no log then
    /// @throws SparkException  when a log cannot be read or written
    /// @throws NotSerializableException  when the log was asked for and the records have no Codec
    bool openLogs(const std::string& directory, bool recover);
    /// Ends writing to the logs, once nothing is stored and allocated any more.
    void closeLogs();
    /// Starts all receivers, each on threads of its own, and returns at once.
    /// @throws IllegalStateException  when called twice or for a receiver that belongs to another stream
    /// @throws SparkException  when a write-ahead log is asked for and openLogs() has not been called
    void start();
    /// Has the receivers stop and waits until what they have received is stored: at most 10 s of the clock, and without
    /// limit if `graceful`. No block is added afterwards. A receiver that does not stop is logged and left alone. May
    /// be repeated.
    void stop(bool graceful);

    /// Gives all blocks that wait to the batch, unless a batch of this time or a later one has been given some before,
    /// also by an earlier process.
    /// @throws SparkException  when its blocks were recorded and have been cleaned, or cannot be recorded
    void allocateBlocksToBatch(Time batchTime);
    /// The blocks of one stream in a batch, in the order of arrival.
    std::vector<ReceivedBlockInfo> blocksOfBatch(Time batchTime, int streamId) const;
    BlocksByStream blocksOfBatch(Time batchTime) const;
    /// @throws SparkException  when a block of the batches from `first` to `last` cannot be read any more
    void checkReadable(Time first, Time last) const;
    bool hasUnallocatedBlocks() const;
    /// Waits until no block waits for a batch; false when `stop` was requested first.
    bool waitUntilAllAllocated(std::stop_token stop) const;
    /// Forgets the batches before `threshold`. Their blocks are freed when nobody else refers to them.
    /// Not before a checkpoint that does without them is durable.
    /// @param needed  batches that a restart would run again: they and those within `remember` before them stay
    /// @throws IllegalArgumentException  when `threshold` is not in the past
    void cleanupOldBlocksAndBatches(Time threshold, const std::vector<Time>& needed = {},
                                    Duration remember = Duration(0));
    /// Takes the blocks of those batches out of memory; what is logged of them can still be read, and be run again by a
    /// restart from an older checkpoint, until it is cleaned up. Without a log, cleans up.
    void releaseOldBlocks(Time threshold, const std::vector<Time>& needed, Duration remember);

    /// Sets the rate limit of a stream's receiver.
    void sendRateUpdate(int streamId, int64_t recordsPerSecond);
    /// The receivers that have been registered, by stream id.
    std::vector<ReceiverInfo> receivers() const;
    /// What a receiver has done; zeros for an unknown stream.
    ReceiverMetrics metrics(int streamId) const;

private:
    class Core;
    std::shared_ptr<Core> core_;
};

}  // namespace dstream
