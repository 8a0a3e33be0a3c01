#pragma once

#include "rdd/task_context.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dstream {

/// One stage of a job as events describe it.
struct StageInfo {
    int stageId = 0;
    int attemptNumber = 0;
    std::string name;  // "reduceByKey at main.cpp:12"
    int numTasks = 0;
    int64_t submissionTime = 0;  // epoch ms
    int64_t completionTime = 0;  // epoch ms, 0 while it runs
    std::optional<std::string> failureReason;
    TaskMetrics metrics;  // sum over its successful tasks so far
};

struct TaskInfo {
    int64_t taskId = 0;
    int index = 0;  // the partition
    int attemptNumber = 0;
    bool speculative = false;
    int64_t launchTime = 0;  // epoch ms
    int64_t finishTime = 0;  // epoch ms, 0 while it runs
    bool successful = false;
    bool killed = false;
};

struct SparkListenerApplicationStart {
    std::string appName;
    std::string appId;
    int64_t time = 0;
};
struct SparkListenerApplicationEnd {
    int64_t time = 0;
};
struct SparkListenerJobStart {
    int jobId = 0;
    int64_t time = 0;  // epoch ms
    std::vector<StageInfo> stageInfos;
    Properties properties;
};
struct SparkListenerJobEnd {
    int jobId = 0;
    int64_t time = 0;  // epoch ms
    std::optional<std::string> failureReason;
};
struct SparkListenerStageSubmitted {
    StageInfo stageInfo;
    Properties properties;
};
struct SparkListenerStageCompleted {
    StageInfo stageInfo;
};
struct SparkListenerTaskStart {
    int stageId = 0;
    int stageAttemptId = 0;
    TaskInfo taskInfo;
};
struct SparkListenerTaskEnd {
    int stageId = 0;
    int stageAttemptId = 0;
    TaskInfo taskInfo;
    std::optional<std::string> failureReason;
    TaskMetrics taskMetrics;
};

/// Receives the engine's events. All callbacks do nothing by default. Called on one listener thread, in the order
/// things happened, after the fact; a slow listener delays the others, never the engine.
class SparkListener {
public:
    virtual ~SparkListener() = default;
    /// Called when the listener is added, with when the application began.
    virtual void onApplicationStart(const SparkListenerApplicationStart&) {}
    virtual void onApplicationEnd(const SparkListenerApplicationEnd&) {}
    virtual void onJobStart(const SparkListenerJobStart&) {}
    virtual void onJobEnd(const SparkListenerJobEnd&) {}
    virtual void onStageSubmitted(const SparkListenerStageSubmitted&) {}
    virtual void onStageCompleted(const SparkListenerStageCompleted&) {}
    virtual void onTaskStart(const SparkListenerTaskStart&) {}
    virtual void onTaskEnd(const SparkListenerTaskEnd&) {}
};

}  // namespace dstream
