#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
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
    std::chrono::steady_clock::time_point since{};
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

    /// Blocks until a stage runs or stop is requested.
    void waitForStage(const std::stop_token& stop) const;
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
    int running_ = 0;
    mutable std::condition_variable_any stageStarted_;
};

}  // namespace dstream
