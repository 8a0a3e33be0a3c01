#pragma once

#include "rdd/time.hpp"
#include "receivers/receiver_info.hpp"

#include <any>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace dstream {

/// What one input stream contributed to one batch.
struct StreamInputInfo {
    /// @throws IllegalArgumentException  when numRecords is negative
    StreamInputInfo(int inputStreamId, int64_t numRecords, std::map<std::string, std::any> metadata = {});

    int inputStreamId;
    int64_t numRecords;
    std::map<std::string, std::any> metadata;

    /// The text under the key "Description", if the stream gave one.
    std::optional<std::string> metadataDescription() const;
};

/// One output operation of one batch. Times are milliseconds since the epoch.
struct OutputOperationInfo {
    Time batchTime;
    /// Position among the jobs that the batch generated, from 0.
    int id = 0;
    std::string name;
    std::string description;
    std::optional<int64_t> startTime;
    std::optional<int64_t> endTime;
    std::optional<std::string> failureReason;

    /// Milliseconds from start to end.
    std::optional<int64_t> duration() const;
};

/// One batch. Times are milliseconds since the epoch.
struct BatchInfo {
    Time batchTime;
    std::map<int, StreamInputInfo> streamIdToInputInfo;
    int64_t submissionTime = 0;
    std::optional<int64_t> processingStartTime;
    std::optional<int64_t> processingEndTime;
    std::map<int, OutputOperationInfo> outputOperationInfos;

    /// Milliseconds the batch waited for its first job to begin.
    std::optional<int64_t> schedulingDelay() const;
    /// Milliseconds from the begin of the first job to the end of the last.
    std::optional<int64_t> processingDelay() const;
    /// schedulingDelay + processingDelay.
    std::optional<int64_t> totalDelay() const;
    /// Records of all input streams.
    int64_t numRecords() const;
};

struct StreamingListenerStreamingStarted {
    int64_t time;
};
struct StreamingListenerReceiverStarted {
    ReceiverInfo receiverInfo;
};
struct StreamingListenerReceiverError {
    ReceiverInfo receiverInfo;
};
struct StreamingListenerReceiverStopped {
    ReceiverInfo receiverInfo;
};
/// What a receiver has done up to a batch, and its rate limit then; each batch.
struct StreamingListenerReceiverMetrics {
    Time batchTime;
    int streamId;
    ReceiverMetrics metrics;
};
struct StreamingListenerBatchSubmitted {
    BatchInfo batchInfo;
};
struct StreamingListenerBatchStarted {
    BatchInfo batchInfo;
};
struct StreamingListenerBatchCompleted {
    BatchInfo batchInfo;
};
struct StreamingListenerOutputOperationStarted {
    OutputOperationInfo outputOperationInfo;
};
struct StreamingListenerOutputOperationCompleted {
    OutputOperationInfo outputOperationInfo;
};
/// The checkpoint of a batch is durable.
struct StreamingListenerCheckpointWritten {
    Time batchTime;
    int64_t sizeBytes;
    /// Milliseconds that the write took on its own thread.
    int64_t durationMs;
};
/// The checkpoint of a batch could not be written; the batches go on, and a restart would begin at an older one.
struct StreamingListenerCheckpointFailed {
    Time batchTime;
    std::string reason;
};
/// A damaged checkpoint was found by the start, and renamed to *.corrupt.
struct StreamingListenerCheckpointDamaged {
    std::string path;
    std::string reason;
};

/// Is told what happens in a StreamingContext. All callbacks do nothing unless overridden; they run one after the other
/// on one thread, in the order of the events. A slow listener delays the others, and when 10000 events wait, further
/// ones are dropped, counted and logged. What a callback throws is logged and counted.
///
///     struct Delays : StreamingListener {
///         void onBatchCompleted(const StreamingListenerBatchCompleted& batch) override {
///             std::cout << batch.batchInfo.totalDelay().value_or(0) << " ms\n";
///         }
///     };
///     ssc.addStreamingListener(std::make_shared<Delays>());
class StreamingListener {
public:
    virtual ~StreamingListener() = default;
    virtual void onStreamingStarted(const StreamingListenerStreamingStarted&) {}
    virtual void onReceiverStarted(const StreamingListenerReceiverStarted&) {}
    virtual void onReceiverError(const StreamingListenerReceiverError&) {}
    virtual void onReceiverStopped(const StreamingListenerReceiverStopped&) {}
    virtual void onReceiverMetrics(const StreamingListenerReceiverMetrics&) {}
    virtual void onBatchSubmitted(const StreamingListenerBatchSubmitted&) {}
    virtual void onBatchStarted(const StreamingListenerBatchStarted&) {}
    virtual void onBatchCompleted(const StreamingListenerBatchCompleted&) {}
    virtual void onOutputOperationStarted(const StreamingListenerOutputOperationStarted&) {}
    virtual void onOutputOperationCompleted(const StreamingListenerOutputOperationCompleted&) {}
    virtual void onCheckpointWritten(const StreamingListenerCheckpointWritten&) {}
    virtual void onCheckpointFailed(const StreamingListenerCheckpointFailed&) {}
    virtual void onCheckpointDamaged(const StreamingListenerCheckpointDamaged&) {}
};

/// Logs, after every batch, how total delay and processing time of the last batches are distributed.
class StatsReportListener : public StreamingListener {
public:
    /// @param numBatchInfos  how many of the last batches count
    explicit StatsReportListener(int numBatchInfos = 10);
    void onBatchCompleted(const StreamingListenerBatchCompleted& batchCompleted) override;

    /// The lines of the last report.
    std::string lastReport() const;

private:
    const std::size_t numBatchInfos_;
    mutable std::mutex mutex_;  // guards the fields below
    std::deque<BatchInfo> batchInfos_;
    std::string lastReport_;
};

}  // namespace dstream
