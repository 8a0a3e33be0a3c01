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
    if (set->attempts.empty()) {
        set->attempts.resize(set->tasks.size());
        if (fair_) {
            const auto found =
                std::ranges::find(pools_, set->pool, [](const Pool& pool) { return pool.settings.name; });
            set->poolIndex = static_cast<std::size_t>(found - pools_.begin());
            if (found == pools_.end()) pools_.push_back({{set->pool}});
        }
    }
    if (set->pending.empty()) ready_.push_back(set);
    set->pending.insert(set->pending.end(), tasks.begin(), tasks.end());
}

bool TaskQueue::isBefore(const Pool& a, const Pool& b) {
    // Who has less than its minimum comes first, and of two such who has the smaller part of it; else who has fewer
    // tasks for its weight.
    const auto isNeedy = [](const Pool& pool) { return pool.running < pool.settings.minShare; };
    if (isNeedy(a) != isNeedy(b)) return isNeedy(a);
    const int64_t shareOfA = isNeedy(a) ? a.settings.minShare : a.settings.weight;
    const int64_t shareOfB = isNeedy(a) ? b.settings.minShare : b.settings.weight;
    const int64_t partOfA = a.running * shareOfB, partOfB = b.running * shareOfA;
    return partOfA != partOfB ? partOfA < partOfB : a.settings.name < b.settings.name;
}

bool TaskQueue::isBefore(const TaskSet& a, const TaskSet& b) const {
    if (fair_) {
        if (a.poolIndex != b.poolIndex) return isBefore(pools_[a.poolIndex], pools_[b.poolIndex]);
        if (pools_[a.poolIndex].settings.fair && a.running.size() != b.running.size())
            return a.running.size() < b.running.size();
    }
    return std::pair(a.jobId, a.stage->id) < std::pair(b.jobId, b.stage->id);
}

int TaskQueue::size() const {
    const std::lock_guard lock(mutex_);
    std::size_t tasks = 0;
    for (const auto& set : ready_) tasks += set->pending.size();
    return static_cast<int>(tasks);
}

std::shared_ptr<TaskRun> TaskQueue::take(SparkContextCore& core, int64_t nowMs, std::optional<int64_t> onlyJob) {
    const std::lock_guard lock(mutex_);
    if (ready_.empty()) return nullptr;
    auto next = ready_.begin();
    if (ready_.size() > 1) {
        next =
            std::ranges::min_element(ready_, [this](const auto& a, const auto& b) { return this->isBefore(*a, *b); });
    }
    if (random_) {
        next = ready_.begin() + static_cast<std::ptrdiff_t>((*random_)() % ready_.size());
        std::deque<std::size_t>& pending = (*next)->pending;
        std::swap(pending.front(), pending[(*random_)() % pending.size()]);
    }
    const std::shared_ptr<TaskSet> set = *next;
    if (onlyJob && set->jobId != *onlyJob) return nullptr;
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
    if (fair_) ++pools_[set->poolIndex].running;
    return run;
}

bool TaskQueue::ended(const TaskRun& run) {
    TaskSet& set = *run.set;
    const std::lock_guard lock(mutex_);
    set.running.back()->place = run.place;
    std::swap(set.running[run.place], set.running.back());
    set.running.pop_back();
    if (fair_) --pools_[set.poolIndex].running;
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
    std::vector<std::shared_ptr<TaskRun>> running;
    {
        const std::lock_guard lock(mutex_);
        set.closed = true;
        running = set.running;
    }
    for (const auto& run : running) TaskRunner::interrupt(run->context);
    return running.empty();
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

int TaskQueue::speculate(const std::shared_ptr<TaskSet>& set, int64_t nowMs, const SlowTasks& slow) {
    std::vector<std::size_t> copies;
    {
        const std::lock_guard lock(mutex_);
        if (set->closed) return 0;
        set->speculated.resize(set->tasks.size());
        for (const auto& run : set->running) {
            const auto task = static_cast<std::size_t>(run->index);
            if (set->speculated[task] || set->tasks[task].done) continue;
            const auto runtime = static_cast<double>(nowMs - run->launchTime);
            if (runtime <= slow.thresholdMs) continue;
            if (runtime <= slow.certainMs &&
                static_cast<double>(run->context.recordsSoFar()) >= slow.recordsPerMs * runtime)
                continue;
            set->speculated[task] = true;
            copies.push_back(task);
        }
    }
    add(set, copies);
    return static_cast<int>(copies.size());
}

void TaskQueue::interruptOthers(const TaskRun& winner) {
    std::vector<std::shared_ptr<TaskRun>> others;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& run : winner.set->running) {
            if (run.get() != &winner && run->index == winner.index) others.push_back(run);
        }
    }
    for (const auto& run : others) TaskRunner::interrupt(run->context);
}

}  // namespace dstream
