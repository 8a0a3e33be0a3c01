#pragma once

#include "rdd/block.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/storage_level.hpp"
#include "rdd/time.hpp"

#include <any>
#include <compare>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dstream {

/// Bytes in the framework's serialised form: what Codec<T>::write makes of a run of records.
struct ByteBuffer {
    std::string bytes;
};

/// Names a received block; unique within its stream, rising in the order of arrival.
struct StreamBlockId {
    int streamId = -1;
    int64_t uniqueId = 0;

    auto operator<=>(const StreamBlockId&) const = default;
    /// "input-<streamId>-<uniqueId>"
    std::string toString() const;
};

/// Where a stored block can be read again. The block may be freed when the last reference to this goes.
class StoredBlock {
public:
    virtual ~StoredBlock() = default;
    /// The block; null when it has been lost.
    virtual BlockPtr load() const = 0;
    /// The same block as it can be read after the process has ended, without keeping it in memory; null when nothing of
    /// it would be left.
    virtual std::shared_ptr<const StoredBlock> withoutMemory() const { return nullptr; }
};

/// What the tracker knows of a block. Copies are cheap and keep the block readable.
struct ReceivedBlockInfo {
    StreamBlockId blockId;
    std::optional<int64_t> numRecords;
    /// What the receiver gave to store().
    std::any metadata;
    std::shared_ptr<const StoredBlock> stored;

    /// The block; null when it has been lost.
    BlockPtr load() const { return stored ? stored->load() : nullptr; }
};

/// Keeps received blocks until they have been processed. Thread-safe.
class ReceivedBlockStore {
public:
    virtual ~ReceivedBlockStore() = default;
    /// Stores a block and returns where; durable on return if the store promises durability. May wait for room.
    /// @throws SparkException  when it cannot be stored
    virtual std::shared_ptr<const StoredBlock> store(const StreamBlockId& id, BlockPtr block,
                                                     const StorageLevel& level) = 0;
    /// Ends waits for room, now and later: the receivers are stopping and what they have is to be kept.
    virtual void stopWaiting() {}
};

/// Makes a store that keeps blocks in memory as they are. When their bytes would exceed `maxBytes`, storing waits until
/// blocks have been processed and freed; a single block always fits.
std::shared_ptr<ReceivedBlockStore> memoryBlockStore(int64_t maxBytes = std::numeric_limits<int64_t>::max());

/// The same with the bytes that dstream.receiver.maxStoredBytes allows. Default: what arrives within a batch interval
/// at 512 MiB/s, at least 128 MiB, at most a quarter of the machine's memory.
/// @throws IllegalArgumentException  when the setting is not positive
std::shared_ptr<ReceivedBlockStore> memoryBlockStore(const SparkConf& conf, Duration batchInterval);

using BlocksByStream = std::map<int, std::vector<ReceivedBlockInfo>>;

/// Makes what the tracker decides durable. Each call returns only when its record is, false when that failed: then what
/// it describes has not happened. Called from several threads, without a lock held.
class BlockTrackerLog {
public:
    virtual ~BlockTrackerLog() = default;
    virtual bool blockAdded(const ReceivedBlockInfo& info) = 0;
    virtual bool batchAllocated(Time batchTime, const BlocksByStream& blocks) = 0;
    virtual bool batchesCleaned(const std::vector<Time>& batchTimes) = 0;
};

}  // namespace dstream
