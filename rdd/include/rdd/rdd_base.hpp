#pragma once

#include "rdd/call_site.hpp"
#include "rdd/partitioner.hpp"
#include "rdd/storage_level.hpp"
#include "rdd/task_context.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

namespace dstream {

class RddBase;
class SparkContextCore;
class ShuffleDependency;

/// One partition of an RDD.
struct Partition {
    int index = 0;
};

/// An edge of the lineage: which parent, and which of its partitions a partition of the child reads.
class Dependency {
public:
    explicit Dependency(std::shared_ptr<RddBase> parent);
    virtual ~Dependency();
    RddBase& rdd() const { return *rdd_; }
    const std::shared_ptr<RddBase>& rddPtr() const { return rdd_; }
    /// Appends the parent partitions that `partition` of the child reads. Narrow dependencies only.
    virtual void parents(int partition, std::vector<int>& out) const = 0;
    /// Not null when the edge is a shuffle, where every partition may read every other.
    virtual const ShuffleDependency* shuffle() const { return nullptr; }

private:
    std::shared_ptr<RddBase> rdd_;
};

using DependencyPtr = std::shared_ptr<const Dependency>;

/// Partition i reads partition i of the parent.
class OneToOneDependency final : public Dependency {
public:
    using Dependency::Dependency;
    void parents(int partition, std::vector<int>& out) const override;
};

/// Partitions [outStart, outStart + length) read [inStart, …) of the parent.
class RangeDependency final : public Dependency {
public:
    RangeDependency(std::shared_ptr<RddBase> parent, int inStart, int outStart, int length)
        : Dependency(std::move(parent)), inStart_(inStart), outStart_(outStart), length_(length) {}
    void parents(int partition, std::vector<int>& out) const override;

private:
    int inStart_, outStart_, length_;
};

/// Partition i reads the partitions listed for it.
class ListDependency final : public Dependency {
public:
    ListDependency(std::shared_ptr<RddBase> parent, std::vector<std::vector<int>> lists);
    void parents(int partition, std::vector<int>& out) const override;

private:
    std::vector<std::vector<int>> lists_;
};

/// Decides which partitions `coalesce` puts together.
class PartitionCoalescer {
public:
    virtual ~PartitionCoalescer() = default;
    /// The partitions of `parent` in at most `maxPartitions` groups; each partition in one of them. Called once, on the
    /// thread that calls `coalesce`.
    virtual std::vector<std::vector<int>> coalesce(int maxPartitions, const RddBase& parent) const = 0;
};

/// The part of an RDD's node that does not depend on its element type: identity, lineage, partitions, storage.
/// Immutable after construction but for name, storage level and the cut of a checkpoint. Safe to share between threads.
class RddBase : public std::enable_shared_from_this<RddBase> {
public:
    virtual ~RddBase();
    RddBase(const RddBase&) = delete;
    RddBase& operator=(const RddBase&) = delete;

    int id() const { return id_; }
    std::string name() const;
    void setName(std::string name);
    /// The class name of the reference's RDD of this kind, e.g. "MapPartitionsRDD".
    virtual const char* className() const = 0;
    /// The operator that made this RDD, e.g. "map".
    const char* operatorName() const { return operatorName_; }
    const CallSite& callSite() const { return callSite_; }
    /// "map at main.cpp:12"
    std::string scopeText() const;

    /// @throws IllegalStateException  when the context is gone
    std::shared_ptr<SparkContextCore> context() const;
    std::weak_ptr<SparkContextCore> weakContext() const { return context_; }

    /// The lineage as it is now: cut to nothing after a checkpoint. Keep the pointer to keep the parents alive.
    using Lineage = std::vector<DependencyPtr>;
    std::shared_ptr<const Lineage> lineage() const;
    /// Computed once, on first use.
    int numPartitions() const;
    std::optional<Partitioner> partitioner() const { return partitioner_; }
    std::vector<std::string> preferredLocations(int partition) const { return doPreferredLocations(partition); }

    /// How many elements it has, when that is known without computing them: for count, countApprox and isEmpty.
    virtual std::optional<int64_t> knownCount() const { return std::nullopt; }

    StorageLevel storageLevel() const;
    /// @throws UnsupportedOperationException  when another level is set already
    void persist(StorageLevel level);
    void unpersist(bool blocking);
    /// True when the partitions of this RDD may come from somewhere else than its parents (cache, checkpoint, block in
    /// a long lineage): fused chains stop here.
    bool isEdge() const { return edge_.load(std::memory_order_acquire); }

    void markForCheckpoint();
    void markForLocalCheckpoint();
    bool awaitsCheckpoint() const;
    bool isCheckpointed() const;
    std::optional<std::string> checkpointFile() const;
    /// Writes the checkpoint of this RDD if it is marked and not yet written, and cuts the lineage. Runs a job.
    void doCheckpoint();

    /// The narrow chain from here to the source of its fused stage, or this when not fused.
    RddBase* narrowParent() const { return narrowParent_; }
    /// Narrow operators since the last one whose block a long lineage is computed through.
    int narrowDepth() const { return narrowDepth_; }
    /// Computes the partition into a block (for caching, checkpoints, long lineages); type-erased.
    virtual std::shared_ptr<const Block> computeBlock(int partition, TaskContext& context) const = 0;
    /// Computes, bottom up and without recursion, the blocks that a lineage of more than kMaxNarrowDepth narrow
    /// operators is computed through; each is let go once the last block that reads it is there. Called at the start of
    /// a task.
    void prepareLongLineage(int partition, TaskContext& context) const;
    /// Converts blocks of this element type to bytes and back; null when the element type has no codec.
    virtual const struct BlockCodec* blockCodec() const = 0;
    virtual std::string elementTypeName() const = 0;
    std::string toDebugString() const;
    std::string toString() const;

    static constexpr int kMaxNarrowDepth = 500;

protected:
    RddBase(const std::shared_ptr<SparkContextCore>& context, Lineage dependencies, const char* operatorName,
            CallSite callSite, std::optional<Partitioner> partitioner);
    /// A node whose partition i is made of partition i of `parent`, placed as that one's or in no known way.
    RddBase(RddBase& parent, bool keepsPartitioner, const char* operatorName, CallSite callSite);
    /// A node that reads a shuffle and is placed by its partitioner.
    RddBase(std::shared_ptr<const ShuffleDependency> shuffle, const char* operatorName, CallSite callSite);

    /// Called once; may touch files or run jobs.
    virtual int doNumPartitions() const = 0;
    virtual std::vector<std::string> doPreferredLocations(int) const { return {}; }
    void setNarrowParent(RddBase* parent) { narrowParent_ = parent; }
    /// The RDD that reads this one's checkpoint; null before it is written.
    std::shared_ptr<RddBase> checkpointRdd() const;
    /// Makes the RDD that reads the checkpoint files of this one's element type.
    virtual std::shared_ptr<RddBase> makeCheckpointRdd(const std::string& directory) const = 0;
    /// The block of a partition that is kept somewhere: in this task, cached, checkpointed; else computed, and cached
    /// if marked.
    std::shared_ptr<const Block> edgeBlock(int partition, TaskContext& context) const;

private:
    enum class CheckpointState { kNone, kMarked, kMarkedLocal, kWriting, kDone };

    const int id_;
    const char* const operatorName_;
    const CallSite callSite_;
    const std::weak_ptr<SparkContextCore> context_;
    const std::optional<Partitioner> partitioner_;
    RddBase* narrowParent_ = nullptr;
    int narrowDepth_ = 0;
    std::atomic<bool> edge_{false};
    bool blockInLongLineage_ = false;  // this node's block is kept while a task runs
    bool belowLongLineage_ = false;    // some narrow ancestor's is
    mutable std::once_flag partitionsOnce_;
    mutable std::atomic<int> numPartitions_{-1};

    mutable std::mutex mutex_;  // guards the fields below
    std::string name_;
    StorageLevel storageLevel_;
    std::shared_ptr<const Lineage> lineage_;
    CheckpointState checkpointState_ = CheckpointState::kNone;
    bool checkpointIsLocal_ = false;
    bool wasPersisted_ = false;
    std::shared_ptr<RddBase> checkpointRdd_;
    std::string checkpointFile_;

    void setLevel(StorageLevel level, bool replace);
    void markCheckpoint(CheckpointState mark);
    void writeCheckpoint(bool local);
    void updateEdge();
};

}  // namespace dstream
