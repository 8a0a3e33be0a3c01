#include "scheduler/status_store.hpp"

#include <chrono>
#include <utility>

namespace dstream {

void StatusStore::jobStarted(JobStatus job) {
    const std::lock_guard lock(mutex_);
    const int id = job.jobId;
    jobs_[id] = std::move(job);
    for (auto it = jobs_.begin(); jobs_.size() > kRetained && it != jobs_.end();) {
        it = it->second.state == JobStatus::State::kRunning ? std::next(it) : jobs_.erase(it);
    }
}

void StatusStore::jobEnded(int jobId, bool succeeded) {
    const std::lock_guard lock(mutex_);
    if (const auto found = jobs_.find(jobId); found != jobs_.end()) {
        found->second.state = succeeded ? JobStatus::State::kSucceeded : JobStatus::State::kFailed;
    }
}

void StatusStore::stageStarted(StageStatus stage) {
    const std::lock_guard lock(mutex_);
    const int id = stage.stageId;
    stage.running = true;
    stage.since = std::chrono::steady_clock::now();
    StageStatus& place = stages_[id];
    if (!place.running && running_++ == 0) stageStarted_.notify_all();
    place = std::move(stage);
    for (auto it = stages_.begin(); stages_.size() > kRetained && it != stages_.end();) {
        it = it->second.running ? std::next(it) : stages_.erase(it);
    }
}

void StatusStore::stageEnded(int stageId) {
    const std::lock_guard lock(mutex_);
    if (const auto found = stages_.find(stageId); found != stages_.end() && std::exchange(found->second.running, false))
        --running_;
}

void StatusStore::taskStarted(int stageId) {
    const std::lock_guard lock(mutex_);
    if (const auto found = stages_.find(stageId); found != stages_.end()) ++found->second.active;
}

void StatusStore::taskEnded(int stageId, bool succeeded) {
    const std::lock_guard lock(mutex_);
    const auto found = stages_.find(stageId);
    if (found == stages_.end()) return;
    --found->second.active;
    ++(succeeded ? found->second.completed : found->second.failed);
}

void StatusStore::waitForStage(const std::stop_token& stop) const {
    std::unique_lock lock(mutex_);
    stageStarted_.wait(lock, stop, [this] { return running_ > 0; });
}

std::vector<int> StatusStore::activeJobs() const {
    std::vector<int> ids;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, job] : jobs_) {
        if (job.state == JobStatus::State::kRunning) ids.push_back(id);
    }
    return ids;
}

std::vector<StageStatus> StatusStore::activeStages() const {
    std::vector<StageStatus> stages;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, stage] : stages_) {
        if (stage.running) stages.push_back(stage);
    }
    return stages;
}

std::vector<int> StatusStore::jobsOf(const std::string& group) const {
    std::vector<int> ids;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, job] : jobs_) {
        if (job.group == group) ids.push_back(id);
    }
    return ids;
}

std::optional<JobStatus> StatusStore::job(int jobId) const {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(jobId);
    return found == jobs_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<StageStatus> StatusStore::stage(int stageId) const {
    const std::lock_guard lock(mutex_);
    const auto found = stages_.find(stageId);
    return found == stages_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace dstream
