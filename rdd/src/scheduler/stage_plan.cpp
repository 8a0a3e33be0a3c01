#include "scheduler/stage_plan.hpp"

#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace dstream {
namespace {

bool isStored(const RddBase& rdd, const BlockManager& blocks) {
    if (!rdd.isEdge() || rdd.storageLevel() == StorageLevel::NONE) return false;
    for (int i = 0; i < rdd.numPartitions(); ++i) {
        if (!blocks.contains({BlockId::Kind::kRdd, rdd.id(), i})) return false;
    }
    return true;
}

}  // namespace

std::vector<StagePlan> planStages(std::shared_ptr<RddBase> rdd, std::shared_ptr<const ShuffleDependency> shuffle,
                                  const BlockManager& blocks, const ShuffleManager& shuffles) {
    std::vector<StagePlan> plan(1);
    plan[0].rdd = std::move(rdd);
    plan[0].shuffle = std::move(shuffle);
    std::unordered_map<int, std::size_t> byShuffle;
    for (std::size_t i = 0; i < plan.size(); ++i) {
        plan[i].numTasks = plan[i].rdd->numPartitions();
        std::vector<const RddBase*> open{plan[i].rdd.get()};
        std::unordered_set<const RddBase*> seen{open.front()};
        std::unordered_set<int> parents;
        while (!open.empty()) {
            const RddBase& current = *open.back();
            open.pop_back();
            if (isStored(current, blocks)) continue;
            const auto& lineage = plan[i].lineage.emplace_back(current.lineage());
            for (const DependencyPtr& dependency : *lineage) {
                const ShuffleDependency* const edge = dependency->shuffle();
                if (edge == nullptr) {
                    if (seen.insert(&dependency->rdd()).second) open.push_back(&dependency->rdd());
                    continue;
                }
                if (!parents.insert(edge->shuffleId()).second) continue;
                if (shuffles.isComplete(edge->shuffleId(), edge->rdd().numPartitions())) continue;
                const auto [place, isNew] = byShuffle.try_emplace(edge->shuffleId(), plan.size());
                const std::size_t parent = place->second;
                if (isNew) {
                    StagePlan& next =
                        plan.emplace_back();  // moves the others: `current` and `lineage` stay where they are
                    next.rdd = dependency->rddPtr();
                    next.shuffle = std::shared_ptr<const ShuffleDependency>(dependency, edge);
                }
                plan[i].parents.push_back(parent);
            }
        }
    }
    return plan;
}

std::vector<std::shared_ptr<RddBase>> awaitingCheckpoint(const std::shared_ptr<RddBase>& rdd) {
    std::vector<std::shared_ptr<RddBase>> marked;
    std::vector<std::shared_ptr<RddBase>> open{rdd};
    std::unordered_set<const RddBase*> seen{rdd.get()};
    while (!open.empty()) {
        const std::shared_ptr<RddBase> current = std::move(open.back());
        open.pop_back();
        if (current->awaitsCheckpoint()) {
            marked.push_back(current);
            continue;
        }
        const auto lineage = current->lineage();  // a checkpoint that another thread has just written may let go of it
        for (const DependencyPtr& dependency : *lineage) {
            if (seen.insert(&dependency->rdd()).second) open.push_back(dependency->rddPtr());
        }
    }
    return marked;
}

}  // namespace dstream
