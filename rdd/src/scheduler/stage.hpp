#pragma once

#include "rdd/detail/shuffle_dependency.hpp"
#include "rdd/rdd_base.hpp"
#include "rdd/spark_listener.hpp"
#include "scheduler/task_queue.hpp"

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace dstream {

/// A part of one or several jobs that runs without a shuffle. Belongs to the strand.
struct Stage {
    int id = 0;
    std::shared_ptr<RddBase> rdd;
    std::shared_ptr<const ShuffleDependency> shuffle;  // what its tasks write; null: the last stage of `job`
    std::shared_ptr<Job> job;
    int numTasks = 0;
    std::vector<std::shared_ptr<const RddBase::Lineage>> lineage;  // what its tasks run through
    std::vector<std::shared_ptr<Job>> jobs;                        // that need it, oldest first
    std::set<std::shared_ptr<Stage>> waitingFor;
    std::vector<std::weak_ptr<Stage>> children;
    int attempts = 0;
    int failedAttempts = 0;
    std::shared_ptr<TaskSet> running;  // the current attempt
    StageInfo info;
    bool complete = false;
};

}  // namespace dstream
