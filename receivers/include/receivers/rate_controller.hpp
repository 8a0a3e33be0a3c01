#pragma once

#include "rdd/spark_conf.hpp"
#include "rdd/time.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace dstream {

/// Estimates from completed batches how many records per second a stream should take in. Used by one thread at a time.
class RateEstimator {
public:
    virtual ~RateEstimator() = default;
    /// @param timeMs             when the batch completed, epoch ms
    /// @param numRecords         records of the stream in the batch
    /// @param processingDelayMs  from the start of the batch's first job to the end of its last
    /// @param schedulingDelayMs  how long the batch waited before
    /// @return records per second, absent when there is no new estimate
    virtual std::optional<double> compute(int64_t timeMs, int64_t numRecords, int64_t processingDelayMs,
                                          int64_t schedulingDelayMs) = 0;

    using Factory = std::function<std::unique_ptr<RateEstimator>(const SparkConf&, Duration batchInterval)>;

    /// Makes the one that spark.streaming.backpressure.rateEstimator names; "pid" is the default.
    /// @throws IllegalArgumentException  for an unknown name or wrong settings
    static std::unique_ptr<RateEstimator> create(const SparkConf& conf, Duration batchInterval);
    /// Adds one of one's own. Process-wide.
    static void registerEstimator(const std::string& name, Factory factory);
};

/// A proportional-integral-derivative controller on the difference between the last rate and the rate of processing.
/// Settings: spark.streaming.backpressure.pid.proportional, integral, derived, minRate.
class PidRateEstimator final : public RateEstimator {
public:
    /// @throws IllegalArgumentException  when the interval or minRate is not positive or a term is negative
    PidRateEstimator(int64_t batchIntervalMs, double proportional, double integral, double derivative, double minRate);

    std::optional<double> compute(int64_t timeMs, int64_t numRecords, int64_t processingDelayMs,
                                  int64_t schedulingDelayMs) override;

private:
    const double batchIntervalMs_;
    const double proportional_;
    const double integral_;
    const double derivative_;
    const double minRate_;
    bool firstRun_ = true;
    int64_t latestTime_ = -1;
    double latestRate_ = -1;
    double latestError_ = -1;
};

/// Keeps the rate of one stream up to date from its completed batches. Thread-safe.
class RateController {
public:
    /// @param publish  gets each new rate; may be empty for a source that asks for it with getLatestRate()
    RateController(int streamId, std::unique_ptr<RateEstimator> estimator, std::function<void(int64_t)> publish = {});

    /// True when spark.streaming.backpressure.enabled is set.
    static bool isBackPressureEnabled(const SparkConf& conf);

    int streamId() const { return streamId_; }
    /// Takes in a completed batch and publishes the new rate, if there is one, on the calling thread.
    void batchCompleted(int64_t processingEndTimeMs, int64_t numRecords, int64_t processingDelayMs,
                        int64_t schedulingDelayMs);
    /// Records per second; -1 until the first estimate.
    int64_t getLatestRate() const { return latestRate_; }

private:
    const int streamId_;
    const std::function<void(int64_t)> publish_;
    std::mutex mutex_;  // guards estimator_
    const std::unique_ptr<RateEstimator> estimator_;
    std::atomic<int64_t> latestRate_ = -1;
};

}  // namespace dstream
