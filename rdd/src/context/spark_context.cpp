#include "rdd/spark_context.hpp"

#include "context/context.hpp"

#include <utility>

namespace dstream {
namespace {

constexpr const char* kGroup = "spark.jobGroup.id";
constexpr const char* kDescription = "spark.job.description";
constexpr const char* kInterrupt = "spark.job.interruptOnCancel";

void setProperty(const std::string& key, const std::optional<std::string>& value) {
    Properties changed = *localProperties();
    if (value) {
        changed[key] = *value;
    } else {
        changed.erase(key);
    }
    setLocalProperties(std::make_shared<const Properties>(std::move(changed)));
}

Context& contextOf(const std::shared_ptr<SparkContextCore>& core) {
    return Context::of(core);
}

}  // namespace

SparkContext::SparkContext(const SparkConf& conf) : core_(Context::start(conf)) {}

SparkContext::SparkContext(const std::string& master, const std::string& appName, const SparkConf& conf)
    : SparkContext(conf.clone().setMaster(master).setAppName(appName)) {}

SparkContext SparkContext::getOrCreate(const SparkConf& conf) {
    if (auto active = Context::active()) {
        if (!conf.getAll().empty()) {
            logMessage(LogLevel::kWarn, "context",
                       "getOrCreate: a SparkContext is active already, the given settings are ignored");
        }
        return SparkContext(active);
    }
    return SparkContext(conf);
}

// ---- shared variables

LongAccumulator SparkContext::longAccumulator(const std::string& name) const {
    LongAccumulator accumulator;
    registerAccumulator(accumulator, name);
    return accumulator;
}

DoubleAccumulator SparkContext::doubleAccumulator(const std::string& name) const {
    DoubleAccumulator accumulator;
    registerAccumulator(accumulator, name);
    return accumulator;
}

// ---- jobs

void SparkContext::setJobGroup(const std::string& groupId, const std::string& description,
                               bool interruptOnCancel) const {
    setProperty(kGroup, groupId);
    setProperty(kDescription, description);
    setProperty(kInterrupt, interruptOnCancel ? "true" : "false");
}

void SparkContext::clearJobGroup() const {
    for (const char* key : {kGroup, kDescription, kInterrupt}) setProperty(key, std::nullopt);
}

void SparkContext::setJobDescription(const std::optional<std::string>& description) const {
    setProperty(kDescription, description);
}

void SparkContext::cancelJobGroup(const std::string& groupId) const {
    contextOf(core_).scheduler().cancelGroup(groupId);
}

void SparkContext::cancelAllJobs() const {
    contextOf(core_).scheduler().cancelAll("all jobs were cancelled");
}

void SparkContext::cancelJob(int jobId, const std::string& reason) const {
    contextOf(core_).scheduler().cancelJob(jobId, reason);
}

void SparkContext::cancelStage(int stageId, const std::string& reason) const {
    contextOf(core_).scheduler().cancelStage(stageId, reason);
}

void SparkContext::setLocalProperty(const std::string& key, const std::optional<std::string>& value) const {
    setProperty(key, value);
}

std::optional<std::string> SparkContext::getLocalProperty(const std::string& key) const {
    const auto properties = localProperties();
    const auto found = properties->find(key);
    return found == properties->end() ? std::nullopt : std::optional(found->second);
}

Properties SparkContext::getLocalProperties() const {
    return *localProperties();
}

SparkContext::PropertiesScope::PropertiesScope(Properties properties) : saved_(*localProperties()) {
    setLocalProperties(std::make_shared<const Properties>(std::move(properties)));
}

SparkContext::PropertiesScope::~PropertiesScope() {
    setLocalProperties(std::make_shared<const Properties>(std::move(saved_)));
}

// ---- settings and information

SparkContext::PropertiesScope SparkContext::inheritProperties(Properties properties) const {
    return PropertiesScope(std::move(properties));
}

SparkConf SparkContext::getConf() const {
    return core_->conf();
}

std::string SparkContext::appName() const {
    return core_->conf().get("spark.app.name");
}

std::string SparkContext::master() const {
    return core_->conf().get("spark.master");
}

std::optional<std::string> SparkContext::getCheckpointDir() const {
    return core_->checkpointDirectory();
}

void SparkContext::setCheckpointDir(const std::string& directory) const {
    contextOf(core_).setCheckpointDirectory(directory);
}

void SparkContext::addFile(const std::string& path, bool recursive) const {
    contextOf(core_).addFile(path, recursive);
}

std::vector<std::string> SparkContext::listFiles() const {
    return contextOf(core_).files();
}

std::map<int, std::shared_ptr<RddBase>> SparkContext::getPersistentRDDs() const {
    return contextOf(core_).persisted();
}

std::vector<RDDInfo> SparkContext::getRDDStorageInfo() const {
    std::vector<RDDInfo> infos;
    for (const auto& [id, rdd] : getPersistentRDDs()) {
        RDDInfo info = core_->blockManager().infoOf(id);
        if (info.numCachedPartitions == 0) continue;
        info.name = rdd->name();
        info.storageLevel = rdd->storageLevel();
        info.numPartitions = rdd->numPartitions();
        infos.push_back(std::move(info));
    }
    return infos;
}

void SparkContext::setLogLevel(const std::string& level) const {
    dstream::setLogLevel(parseLogLevel(level));
}

std::string SparkContext::applicationId() const {
    return contextOf(core_).applicationId();
}

int64_t SparkContext::startTime() const {
    return contextOf(core_).startTime();
}

std::string SparkContext::version() {
    return "0.1.0";
}

std::optional<std::string> SparkContext::uiWebUrl() const {
    return std::nullopt;
}

void SparkContext::addSparkListener(std::shared_ptr<SparkListener> listener) const {
    contextOf(core_).addListener(std::move(listener));
}

void SparkContext::removeSparkListener(const std::shared_ptr<SparkListener>& listener) const {
    contextOf(core_).removeListener(listener);
}

void SparkContext::waitUntilListenersAreIdle() const {
    contextOf(core_).bus().waitUntilEmpty();
}

void SparkContext::stop() const {
    contextOf(core_).stop();
}

// ---- SparkStatusTracker

std::vector<int> SparkStatusTracker::getActiveJobIds() const {
    const auto core = core_.lock();
    return core ? contextOf(core).status().activeJobs() : std::vector<int>{};
}

std::vector<int> SparkStatusTracker::getActiveStageIds() const {
    std::vector<int> ids;
    if (const auto core = core_.lock()) {
        for (const StageStatus& stage : contextOf(core).status().activeStages()) ids.push_back(stage.stageId);
    }
    return ids;
}

std::vector<int> SparkStatusTracker::getJobIdsForGroup(const std::string& group) const {
    const auto core = core_.lock();
    return core ? contextOf(core).status().jobsOf(group) : std::vector<int>{};
}

std::optional<SparkJobInfo> SparkStatusTracker::getJobInfo(int jobId) const {
    const auto core = core_.lock();
    const auto job = core ? contextOf(core).status().job(jobId) : std::nullopt;
    if (!job) return std::nullopt;
    SparkJobInfo info{job->jobId, job->stageIds};
    if (job->state == JobStatus::State::kSucceeded) info.status = SparkJobInfo::Status::kSucceeded;
    if (job->state == JobStatus::State::kFailed) info.status = SparkJobInfo::Status::kFailed;
    return info;
}

std::optional<SparkStageInfo> SparkStatusTracker::getStageInfo(int stageId) const {
    const auto core = core_.lock();
    const auto stage = core ? contextOf(core).status().stage(stageId) : std::nullopt;
    if (!stage) return std::nullopt;
    return SparkStageInfo{stage->stageId, stage->attempt,   stage->name,  stage->tasks,
                          stage->active,  stage->completed, stage->failed};
}

}  // namespace dstream
