#include "scheduler/task_queue.hpp"

#include "scheduler/stage.hpp"
#include "scheduler/task_runner.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace dstream {

TaskRun::TaskRun(SparkContextCore& core, std::shared_ptr<TaskSet> owner)
    : set(std::move(owner)), context(core, *set->properties) {}

void TaskQueue::add(const std::shared_ptr<TaskSet>& set, const std::vector<std::size_t>& tasks) {
    const std::lock_guard lock(mutex_);
    if (set->closed || tasks.empty()) return;
    if (set->attempts.empty()) set->attempts.resize(set->tasks.size());
    if (set->pending.empty()) ready_.push_back(set);
    set->pending.insert(set->pending.end(), tasks.begin(), tasks.end());
}

std::size_t TaskQueue::runningIn(const std::string& pool) const {
    const auto found = std::ranges::find(pools_, pool, [](const auto& entry) { return entry.first; });
    return found == pools_.end() ? 0 : found->second;
}

std::shared_ptr<TaskRun> TaskQueue::take(SparkContextCore& core, int64_t nowMs) {
    const std::lock_guard lock(mutex_);
    if (ready_.empty()) return nullptr;
    auto next = ready_.begin();
    if (ready_.size() > 1) {
        // FAIR: the pool with the fewest running tasks; within it, as in FIFO, the oldest job and stage.
        const auto rank = [this](const std::shared_ptr<TaskSet>& set) {
            return std::tuple(fair_ ? runningIn(set->pool) : 0, set->jobId, set->stage->id);
        };
        next = std::ranges::min_element(ready_, {}, rank);
    }
    if (random_) {
        next = ready_.begin() + static_cast<std::ptrdiff_t>((*random_)() % ready_.size());
        std::deque<std::size_t>& pending = (*next)->pending;
        std::swap(pending.front(), pending[(*random_)() % pending.size()]);
    }
    const std::shared_ptr<TaskSet> set = *next;
    const std::size_t task = set->pending.front();
    set->pending.pop_front();
    if (set->pending.empty()) ready_.erase(next);
    auto run = std::make_shared<TaskRun>(core, set);
    run->index = static_cast<int>(task);
    run->attempt = set->attempts[task]++;
    run->launchTime = nowMs;
    run->speculative = !set->speculated.empty() && set->speculated[task];
    run->place = set->running.size();
    set->running.push_back(run);
    if (fair_) {
        const auto found = std::ranges::find(pools_, set->pool, [](const auto& entry) { return entry.first; });
        if (found == pools_.end()) {
            pools_.emplace_back(set->pool, 1);
        } else {
            ++found->second;
        }
    }
    return run;
}

bool TaskQueue::ended(const TaskRun& run) {
    TaskSet& set = *run.set;
    const std::lock_guard lock(mutex_);
    set.running.back()->place = run.place;
    std::swap(set.running[run.place], set.running.back());
    set.running.pop_back();
    if (fair_) {
        const auto found = std::ranges::find(pools_, set.pool, [](const auto& entry) { return entry.first; });
        if (--found->second == 0) pools_.erase(found);
    }
    return set.running.empty();
}

bool TaskQueue::stopLaunching(TaskSet& set) {
    const std::lock_guard lock(mutex_);
    if (!set.pending.empty()) {
        set.pending.clear();
        std::erase_if(ready_, [&](const auto& other) { return other.get() == &set; });
    }
    return set.running.empty();
}

bool TaskQueue::close(TaskSet& set) {
    stopLaunching(set);
    const std::lock_guard lock(mutex_);
    set.closed = true;
    for (const auto& run : set.running) TaskRunner::interrupt(run->context);
    return set.running.empty();
}

bool TaskQueue::isClosed(const TaskSet& set) const {
    const std::lock_guard lock(mutex_);
    return set.closed;
}

bool TaskQueue::hasCopy(const TaskRun& run) const {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(run.set->running,
                               [&](const auto& other) { return other.get() != &run && other->index == run.index; });
}

int TaskQueue::speculate(const std::shared_ptr<TaskSet>& set, int64_t nowMs, double thresholdMs) {
    std::vector<std::size_t> slow;
    {
        const std::lock_guard lock(mutex_);
        if (set->closed) return 0;
        set->speculated.resize(set->tasks.size());
        for (const auto& run : set->running) {
            const auto task = static_cast<std::size_t>(run->index);
            if (set->speculated[task] || set->tasks[task].done) continue;
            if (static_cast<double>(nowMs - run->launchTime) <= thresholdMs) continue;
            set->speculated[task] = true;
            slow.push_back(task);
        }
    }
    add(set, slow);
    return static_cast<int>(slow.size());
}

void TaskQueue::interruptOthers(const TaskRun& winner) {
    const std::lock_guard lock(mutex_);
    for (const auto& run : winner.set->running) {
        if (run.get() != &winner && run->index == winner.index) TaskRunner::interrupt(run->context);
    }
}

}  // namespace dstream
