#pragma once

#include "rdd/block_manager.hpp"
#include "rdd/detail/shuffle_dependency.hpp"
#include "rdd/rdd_base.hpp"
#include "shuffle/shuffle_manager.hpp"

#include <memory>
#include <vector>

namespace dstream {

/// One stage that a computation needs: the RDD its tasks compute and, but for the last stage, the shuffle they write.
struct StagePlan {
    std::shared_ptr<RddBase> rdd;
    std::shared_ptr<const ShuffleDependency> shuffle;
    std::vector<std::size_t> parents;  // places in the list
    int numTasks = 0;
    std::vector<std::shared_ptr<const RddBase::Lineage>> lineage;  // keeps the RDDs alive that its tasks run through
};

/// Cuts a lineage at its shuffles: the stage of `rdd` first, then those whose outputs it lacks, directly or not. Stops
/// at RDDs whose partitions are all stored. A loop, not a recursion. May touch files and throws what counting
/// partitions throws.
std::vector<StagePlan> planStages(std::shared_ptr<RddBase> rdd, std::shared_ptr<const ShuffleDependency> shuffle,
                                  const BlockManager& blocks, const ShuffleManager& shuffles);

/// The RDDs of a lineage that are marked for a checkpoint not yet written, the nearest one of each path.
std::vector<std::shared_ptr<RddBase>> awaitingCheckpoint(const std::shared_ptr<RddBase>& rdd);

}  // namespace dstream
