#pragma once

#include "rdd/block.hpp"
#include "rdd/block_manager.hpp"
#include "rdd/detail/shuffle_dependency.hpp"
#include "rdd/task_context.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace dstream {

/// What one map task made: runs of one block per reduce partition, in memory or in a file each. Gives memory and files
/// back when it dies, so that the output of a failed or beaten attempt leaves nothing behind.
class MapOutput {
public:
    explicit MapOutput(BlockManager& blocks) : blocks_(blocks) {}
    ~MapOutput();
    MapOutput(const MapOutput&) = delete;
    MapOutput& operator=(const MapOutput&) = delete;

    void addMemoryRun(std::vector<BlockPtr> byPartition, int64_t bytes);
    void addFileRun(const std::vector<BlockPtr>& byPartition, const BlockCodec& codec, const std::string& path,
                    int64_t& written);
    /// Appends the blocks of a reduce partition in run order.
    /// @throws SparkException  when a file is gone or damaged
    void read(int reducePartition, const BlockCodec* codec, std::vector<BlockPtr>& out) const;
    /// Reads all of its files. @throws SparkException  when one is gone or damaged
    void verify(const BlockCodec* codec) const;
    std::vector<std::string> files() const;

private:
    struct Run {
        std::vector<BlockPtr> memory;  // empty when in a file
        int64_t memoryBytes = 0;
        std::string file;
        std::vector<uint64_t> offsets;  // one frame per reduce partition: [offsets[i], offsets[i + 1]), empty: no block
    };
    static BlockPtr readFrame(const Run& run, const class File& file, std::size_t partition, const BlockCodec& codec);

    BlockManager& blocks_;
    std::vector<Run> runs_;
};

/// Knows the map outputs of all shuffles. Thread-safe.
class ShuffleManager {
public:
    ShuffleManager(BlockManager& blocks, int slots);

    /// The map partitions of a shuffle whose output is not there, in order.
    std::vector<int> missing(int shuffleId, int numMaps) const;
    bool isComplete(int shuffleId, int numMaps) const;
    /// Where a map task writes; `output` is what it fills.
    std::unique_ptr<MapOutputSink> makeSink(const ShuffleDependency& shuffle, std::shared_ptr<MapOutput> output,
                                            TaskContext& context);
    std::shared_ptr<MapOutput> makeOutput() { return std::make_shared<MapOutput>(blocks_); }
    /// Makes the output of a successful map task known; the first one wins. True when it replaces one that was lost.
    bool add(int shuffleId, int mapPartition, int numMaps, std::shared_ptr<const MapOutput> output);
    /// See SparkContextCore::fetchShuffle.
    std::vector<BlockPtr> fetch(const ShuffleDependency& shuffle, int reducePartition, TaskContext& context);
    void remove(int shuffleId);
    void clear();

    /// For tests: makes a map output missing, and lists the spill files of a shuffle.
    void drop(int shuffleId, int mapPartition);
    std::vector<std::string> files(int shuffleId) const;
    int64_t recomputedOutputs() const;

private:
    struct Outputs {
        std::vector<std::shared_ptr<const MapOutput>> byMap;
        std::vector<bool> lost;
    };
    /// Forgets every output of the shuffle that cannot be read any more.
    void dropDamaged(const ShuffleDependency& shuffle, const std::vector<std::shared_ptr<const MapOutput>>& outputs);

    BlockManager& blocks_;
    const int slots_;
    mutable std::mutex mutex_;  // guards what follows
    std::map<int, Outputs> shuffles_;
    int64_t recomputed_ = 0;
};

}  // namespace dstream
