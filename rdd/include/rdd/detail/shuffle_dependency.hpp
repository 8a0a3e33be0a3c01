#pragma once

#include "rdd/block.hpp"
#include "rdd/detail/block_codec.hpp"
#include "rdd/rdd_base.hpp"

#include <memory>
#include <vector>

namespace dstream {

/// Where one map task puts its output: one block (or null, when empty) per reduce partition and run.
/// Keeps the run in memory under the block manager's budget, else writes it to disk with the codec.
class MapOutputSink {
public:
    virtual ~MapOutputSink() = default;
    /// Adds a run: element i belongs to reduce partition i. Sizes are taken from the blocks.
    /// @throws SparkException  when memory is out and the element type has no codec to spill with, naming the type
    virtual void addRun(std::vector<BlockPtr> byPartition) = 0;
    /// Bytes a writer may gather before it should add a run.
    virtual int64_t runBytes() const = 0;
};

/// A shuffle edge of the lineage. Removes its outputs when it dies.
class ShuffleDependency : public Dependency {
public:
    ShuffleDependency(std::shared_ptr<RddBase> parent, Partitioner partitioner);
    ~ShuffleDependency() override;

    int shuffleId() const { return shuffleId_; }
    const Partitioner& partitioner() const { return partitioner_; }
    int numReducePartitions() const { return partitioner_.numPartitions(); }

    /// Runs the map side of one partition of the parent. Called in a task.
    virtual void writeMap(int mapPartition, TaskContext& context, MapOutputSink& out) const = 0;
    /// Null when the pairs have no codec.
    virtual const BlockCodec* codec() const = 0;
    virtual std::string elementTypeName() const = 0;

    void parents(int, std::vector<int>&) const override {}
    const ShuffleDependency* shuffle() const override { return this; }

private:
    const int shuffleId_;
    const Partitioner partitioner_;
};

namespace detail {

std::shared_ptr<const ShuffleDependency> asShared(const ShuffleDependency* made);

/// A map output that is missing or damaged: the scheduler runs that map task again and then the reader.
struct FetchFailed {
    int shuffleId;
    int mapPartition;
    std::string why;
};

}  // namespace detail
}  // namespace dstream
