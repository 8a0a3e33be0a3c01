#include "receivers/rate_controller.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace dstream {

namespace {

struct Registry {
    std::mutex mutex;  // guards factories
    std::map<std::string, RateEstimator::Factory> factories;
};

std::unique_ptr<RateEstimator> makePid(const SparkConf& conf, Duration batchInterval) {
    const std::string prefix = "spark.streaming.backpressure.pid.";
    return std::make_unique<PidRateEstimator>(
        batchInterval.milliseconds(), conf.getDouble(prefix + "proportional", 1.0),
        conf.getDouble(prefix + "integral", 0.2), conf.getDouble(prefix + "derived", 0.0),
        conf.getDouble(prefix + "minRate", 100));
}

Registry& registry() {
    static Registry instance{{}, {{"pid", makePid}}};
    return instance;
}

void require(bool holds, const char* what, double found) {
    if (!holds) throw IllegalArgumentException(what + std::to_string(found));
}

}  // namespace

std::unique_ptr<RateEstimator> RateEstimator::create(const SparkConf& conf, Duration batchInterval) {
    const std::string name = conf.get("spark.streaming.backpressure.rateEstimator", "pid");
    Factory factory;
    std::string known;
    {
        std::lock_guard lock(registry().mutex);
        const auto& factories = registry().factories;
        if (const auto found = factories.find(name); found != factories.end()) factory = found->second;
        for (const auto& entry : factories) known += (known.empty() ? "" : ", ") + entry.first;
    }
    if (!factory) {
        throw IllegalArgumentException("spark.streaming.backpressure.rateEstimator must be one of " + known + ": " +
                                       name);
    }
    return factory(conf, batchInterval);
}

void RateEstimator::registerEstimator(const std::string& name, Factory factory) {
    std::lock_guard lock(registry().mutex);
    registry().factories[name] = std::move(factory);
}

PidRateEstimator::PidRateEstimator(int64_t batchIntervalMs, double proportional, double integral, double derivative,
                                   double minRate)
    : batchIntervalMs_(static_cast<double>(batchIntervalMs)),
      proportional_(proportional),
      integral_(integral),
      derivative_(derivative),
      minRate_(minRate) {
    require(batchIntervalMs > 0, "the batch interval in ms must be positive: ", batchIntervalMs_);
    require(proportional >= 0, "spark.streaming.backpressure.pid.proportional must be 0 or more: ", proportional);
    require(integral >= 0, "spark.streaming.backpressure.pid.integral must be 0 or more: ", integral);
    require(derivative >= 0, "spark.streaming.backpressure.pid.derived must be 0 or more: ", derivative);
    require(minRate > 0, "spark.streaming.backpressure.pid.minRate must be positive: ", minRate);
}

std::optional<double> PidRateEstimator::compute(int64_t timeMs, int64_t numRecords, int64_t processingDelayMs,
                                                int64_t schedulingDelayMs) {
    if (timeMs <= latestTime_ || numRecords <= 0 || processingDelayMs <= 0) return std::nullopt;
    const double seconds = static_cast<double>(timeMs - latestTime_) / 1000;
    const double processingRate = static_cast<double>(numRecords) / static_cast<double>(processingDelayMs) * 1000;
    const double error = latestRate_ - processingRate;
    const double historicalError = static_cast<double>(schedulingDelayMs) * processingRate / batchIntervalMs_;
    const double errorChange = (error - latestError_) / seconds;
    latestTime_ = timeMs;
    if (firstRun_) {
        firstRun_ = false;
        latestRate_ = processingRate;
        latestError_ = 0;
        return std::nullopt;
    }
    latestRate_ = std::max(
        minRate_, latestRate_ - proportional_ * error - integral_ * historicalError - derivative_ * errorChange);
    latestError_ = error;
    return latestRate_;
}

RateController::RateController(int streamId, std::unique_ptr<RateEstimator> estimator,
                               std::function<void(int64_t)> publish)
    : streamId_(streamId), publish_(std::move(publish)), estimator_(std::move(estimator)) {}

bool RateController::isBackPressureEnabled(const SparkConf& conf) {
    return conf.getBoolean("spark.streaming.backpressure.enabled", false);
}

void RateController::batchCompleted(int64_t processingEndTimeMs, int64_t numRecords, int64_t processingDelayMs,
                                    int64_t schedulingDelayMs) {
    std::optional<double> rate;
    {
        std::lock_guard lock(mutex_);
        // A batch that took less than a millisecond says something too, at least about a rate that is far too low.
        rate = estimator_->compute(processingEndTimeMs, numRecords, std::max<int64_t>(processingDelayMs, 1),
                                   schedulingDelayMs);
    }
    if (!rate) return;
    latestRate_ = std::max<int64_t>(static_cast<int64_t>(*rate), 1);
    if (publish_) publish_(latestRate_);
}

}  // namespace dstream
