#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace dstream {

struct JobStatus {
    int jobId = 0;
    std::string group;
    std::vector<int> stageIds;
    enum class State { kRunning, kSucceeded, kFailed } state = State::kRunning;
};

struct StageStatus {
    int stageId = 0;
    int attempt = 0;
    std::string name;
    int tasks = 0;
    int active = 0;
    int completed = 0;
    int failed = 0;
    bool running = false;
};

/// What runs and what ran lately, for status queries and the progress line. Thread-safe.
class StatusStore {
public:
    void jobStarted(JobStatus job);
    void jobEnded(int jobId, bool succeeded);
    void stageStarted(StageStatus stage);
    void stageEnded(int stageId);
    void taskStarted(int stageId);
    void taskEnded(int stageId, bool succeeded);

    std::vector<int> activeJobs() const;
    std::vector<StageStatus> activeStages() const;
    std::vector<int> jobsOf(const std::string& group) const;
    std::optional<JobStatus> job(int jobId) const;
    std::optional<StageStatus> stage(int stageId) const;

private:
    static constexpr std::size_t kRetained = 1000;  // as spark.ui.retainedJobs and retainedStages

    mutable std::mutex mutex_;  // guards what follows
    std::map<int, JobStatus> jobs_;
    std::map<int, StageStatus> stages_;
};

}  // namespace dstream
