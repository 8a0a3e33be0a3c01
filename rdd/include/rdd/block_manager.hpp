#pragma once

#include "rdd/block.hpp"
#include "rdd/storage_level.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

struct BlockCodec;
class SparkConf;

/// Names a stored block: partition `partition` of RDD `owner`, or block `partition` of input stream `owner`.
struct BlockId {
    enum class Kind : uint8_t { kRdd, kInput };
    Kind kind = Kind::kRdd;
    int64_t owner = 0;
    int64_t partition = 0;
    auto operator<=>(const BlockId&) const = default;
    /// "rdd_3_0" or "input-0-1700000000000"
    std::string toString() const;
};

/// What one RDD keeps, as getRDDStorageInfo reports it.
struct RDDInfo {
    int id = 0;
    std::string name;
    StorageLevel storageLevel;
    int numPartitions = 0;
    int numCachedPartitions = 0;
    int64_t memSize = 0;
    int64_t diskSize = 0;
};

/// Keeps blocks in memory under one budget and on disk: least recently used blocks leave first, to disk when their
/// level has it, else for good (their owner recomputes them). Files are framed and checksummed; a damaged one counts as
/// lost. Thread-safe. Files lie in a directory of its own that goes with it.
class BlockManager {
public:
    explicit BlockManager(const SparkConf& conf);
    ~BlockManager();

    /// Stores a block; true when it is kept in memory or on disk. `codec` may be null: then it never goes to disk.
    bool put(const BlockId& id, BlockPtr block, StorageLevel level, const BlockCodec* codec);
    /// The block, from memory or read back from disk; null when it is not (or no longer) there.
    BlockPtr get(const BlockId& id);
    bool contains(const BlockId& id) const;
    /// Drops one block; it counts as lost.
    void remove(const BlockId& id);
    /// Removes all blocks of an RDD or input stream for good.
    void removeAll(BlockId::Kind kind, int64_t owner);
    /// Computes a block at most once at a time: a second caller waits for the first and takes its block.
    BlockPtr getOrCompute(const BlockId& id, StorageLevel level, const BlockCodec* codec,
                          const std::function<BlockPtr()>& compute);

    /// Bytes in memory that count against the budget (blocks and shuffle outputs).
    int64_t memoryUsed() const;
    int64_t memoryLimit() const;
    /// Reserves memory for shuffle data, evicting cached blocks for it; false when there is not enough.
    bool reserve(int64_t bytes);
    void release(int64_t bytes);
    /// The folder for spill files; made on first use, mode 0700.
    std::string localDirectory();
    /// True when the block was stored and then got lost (evicted, damaged, dropped).
    bool isLost(const BlockId& id) const;
    /// Counts bytes moved to disk because memory was out.
    void countSpill(int64_t bytes);
    int64_t spills() const;
    int64_t spilledBytes() const;
    /// Forgets all blocks and removes the folder.
    void clear();
    /// What is kept of one RDD.
    RDDInfo infoOf(int rddId) const;
    /// Partitions that were stored once, got lost (evicted, damaged, dropped) and were computed again.
    int64_t recomputedBlocks() const;

private:
    /// Reserves memory without evicting blocks of the same owner.
    bool reserveFor(int64_t bytes, const BlockId* owner);
    /// Writes a block to a new file; its path and size.
    std::pair<std::string, int64_t> writeFile(const Block& block, const BlockCodec& codec);

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstream
