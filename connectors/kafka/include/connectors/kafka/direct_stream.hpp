#pragma once

#include "connectors/kafka/consumer_strategies.hpp"
#include "connectors/kafka/offsets.hpp"
#include "dstream/streaming_context.hpp"
#include "dstream/streaming_listener.hpp"
#include "rdd/rdd_base.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What of the direct stream does not depend on the types of keys and values.

namespace dstream::kafka {

/// Where one partition of a stream stands.
struct PartitionMetrics {
    int64_t nextOffset = 0;        // the next batch begins here
    int64_t latestOffset = -1;     // end of the log when last asked; -1: not known yet
    int64_t committedOffset = -1;  // last committed by this program; -1: none
    int64_t lag = 0;               // latest - next
};

/// What a direct stream does: as of now from its `metrics()`, and as of its making in the events of each batch.
///
///     void onBatchSubmitted(const StreamingListenerBatchSubmitted& batch) override {
///         for (const auto& [id, input] : batch.batchInfo.streamIdToInputInfo) {
///             const auto metrics = input.metadata.find("metrics");  // of direct streams only
///             if (metrics != input.metadata.end()) show(std::any_cast<const KafkaMetrics&>(metrics->second).totalLag);
///         }
///     }
struct KafkaMetrics {
    std::map<TopicPartition, PartitionMetrics> partitions;
    int64_t totalLag = 0;
    int64_t fetchAgeMs = 0;          // since the broker last answered where the logs end
    int64_t missingOffsets = 0;      // offsets without a record: compacted, aborted, transaction markers
    int64_t undecodableRecords = 0;  // skipped or sent to the dead-letter topic
    int64_t repositions = 0;         // reads that could not go on where the last one ended
    int64_t failedCommits = 0;
    int consumerInstances = 0;
};

namespace detail {

/// One record in the client's buffers. A missing key or value has no data.
struct RawRecord {
    std::string_view key;
    std::string_view value;
    int64_t offset = 0;
    int64_t timestamp = -1;
    const void* message = nullptr;  // for its headers
    int8_t timestampType = -1;
};

/// Reads one range of offsets. Used by one task.
class RangeReader {
public:
    virtual ~RangeReader() = default;
    /// At most `max` records, none at the range's end; valid until the next call.
    virtual std::span<const RawRecord> next(std::size_t max) = 0;
};

/// Counts what readers meet.
struct ReadCounters {
    std::atomic<int64_t> missingOffsets{0}, undecodableRecords{0}, repositions{0};
    std::atomic<int> consumerInstances{0};
};

/// The clients that read a stream's records. Thread-safe.
class RecordSource {
public:
    virtual ~RecordSource() = default;
    /// How many partitions, or splits of them, a batch has: they share the memory for what is fetched ahead.
    virtual void expectPartitions(std::size_t count) = 0;
    /// A task opens the first of these ranges now, the tasks after it the others: as many of them as there are clients
    /// are fetched ahead, unless their partitions are read already.
    virtual void prepare(std::span<const OffsetRange> ranges) = 0;
    /// @param goesOn  the next range of the partition will begin where this one ends, so it may be fetched ahead
    virtual std::unique_ptr<RangeReader> open(const OffsetRange& range, bool goesOn, TaskContext& context) = 0;
    /// Deals with a record that did not decode as `dstream.kafka.onUndecodable` says.
    virtual void undecodable(const TopicPartition& of, const RawRecord& record, std::exception_ptr error) = 0;
    virtual const ReadCounters& counters() const = 0;
    /// True when every offset of a range may be taken for a record without reading it.
    virtual bool countsByOffsets() const = 0;
};
/// @param threads  that compute; up to twice as many clients share the partitions
std::shared_ptr<RecordSource> makeRecordSource(const Params& params, const SparkConf& conf, int threads);

/// An RDD that is made of offset ranges.
class RangesHolder {
public:
    explicit RangesHolder(std::vector<OffsetRange> ranges) : ranges_(std::move(ranges)) {}
    virtual ~RangesHolder() = default;
    const std::vector<OffsetRange>& offsetRanges() const { return ranges_; }

private:
    const std::vector<OffsetRange> ranges_;
};
/// @throws IllegalArgumentException  when the RDD is not straight from Kafka
const std::vector<OffsetRange>& rangesOf(const RddBase& rdd);
void checkRdd(const std::vector<OffsetRange>& ranges, const LocationStrategy& location);

/// Into how many tasks each range is cut: more than one only where there are fewer ranges than threads, and none of
/// fewer records than `dstream.kafka.minSplitRecords`.
std::vector<int> splitsOf(const std::vector<OffsetRange>& ranges, int parallelism, const SparkConf& conf);
OffsetRange splitOf(const OffsetRange& range, int split, int splits);

/// Decides what each batch reads, remembers it until it is no longer needed, and commits it. `plan`, `batchEnded`,
/// `save`, `restore` and `forgetBefore` are the generator's; the others may be called by any thread.
class DirectStream {
public:
    struct Plan {
        std::vector<OffsetRange> ranges;
        std::string failure;  // why the batch cannot be read; empty when it can
        KafkaMetrics metrics{};
        StreamInputInfo inputInfo(int streamId) const;
    };

    /// @param now  milliseconds that only grow, for the age of answers
    DirectStream(const StreamingContext& ssc, std::string name, std::shared_ptr<ConsumerStrategyBase> strategy,
                 std::shared_ptr<PerPartitionConfig> limits, std::function<int64_t()> now = steadyMillis);
    ~DirectStream();

    void start();
    /// Commits what may be, and closes the consumer.
    void stop();
    /// The ranges of a batch; the same ones whenever it is asked for the same batch.
    /// @param estimatedRate  records a second that the batches keep up with; 0: not known yet, negative: backpressure
    ///                       is off
    Plan plan(Time time, int64_t estimatedRate);
    void batchEnded(Time time, bool succeeded);
    void commitAsync(const std::vector<OffsetRange>& ranges, OffsetCommitCallback callback);
    void forgetBefore(Time time);
    std::string save() const;
    void restore(const std::string& saved);

    /// What a batch reads.
    /// @throws IllegalStateException  for a batch that is not known (any more)
    std::vector<OffsetRange> rangesOfBatch(Time time) const;
    /// For a transaction that commits for the stream's group.
    std::string groupMetadata() const;
    const std::string& groupId() const { return groupId_; }
    const std::shared_ptr<RecordSource>& source() const { return source_; }
    KafkaMetrics metrics() const;

private:
    struct Batch {
        std::vector<OffsetRange> ranges;
        bool done = false;    // all its output operations have succeeded
        bool ours = false;    // generated in this process
        bool passed = false;  // it and all before it are done
    };
    static int64_t steadyMillis();
    /// Takes in partitions that are new, and the ends of the logs; says what has gone wrong.
    std::string refresh(const std::shared_ptr<Consumer>& consumer);
    std::map<TopicPartition, int64_t> limits(int64_t estimatedRate) const;
    void passCompleted(Time ended);
    void sendCommits();
    /// The metrics; called with the lock.
    KafkaMetrics measure() const;

    const std::string name_;
    const std::shared_ptr<ConsumerStrategyBase> strategy_;
    const std::shared_ptr<PerPartitionConfig> limits_;
    const std::function<int64_t()> now_;
    const Params params_;
    const std::string groupId_;
    const bool commitsItself_;
    const double batchSeconds_;
    const int64_t initialRate_;
    const int64_t maxBatchRecords_;
    const int64_t maxRetries_;
    const std::shared_ptr<RecordSource> source_;

    mutable std::mutex mutex_;  // guards the fields below
    std::shared_ptr<Consumer> consumer_;
    std::map<Time, Batch> batches_;
    Offsets current_;
    Offsets latest_;
    Offsets passed_;                                        // how far all batches are done
    std::map<TopicPartition, std::set<int64_t>> toCommit_;  // queued
    Offsets committed_;
    OffsetCommitCallback callback_;
    int64_t answeredAt_ = 0;  // by now_; 0 before the start
    int64_t failedCommits_ = 0;
    std::string lastMembership_;  // in the group, once the consumer is closed
    bool silent_ = false;         // the broker does not answer
};

}  // namespace detail
}  // namespace dstream::kafka
