#pragma once

#include "connectors/kafka/consumer_record.hpp"
#include "connectors/kafka/consumer_strategies.hpp"
#include "connectors/kafka/direct_stream.hpp"
#include "connectors/kafka/offsets.hpp"
#include "dstream/dstream.hpp"
#include "receivers/rate_controller.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dstream::kafka {

namespace detail {

/// Serves a range of records, decoded.
template <class K, class V>
class RecordCursor final : public Cursor<ConsumerRecord<K, V>> {
    using Record = ConsumerRecord<K, V>;

public:
    RecordCursor(std::shared_ptr<RecordSource> source, std::unique_ptr<RangeReader> reader, std::string topic,
                 int partition, TaskContext& context)
        : source_(std::move(source)),
          reader_(std::move(reader)),
          topic_(std::move(topic)),
          partition_(partition),
          context_(context) {}

private:
    Chunk<Record> doNext() override {
        do {
            const std::span<const RawRecord> raw = reader_->next(context_.chunkSize());
            if (raw.empty()) return {};
            context_.taskMetrics().recordsRead += static_cast<int64_t>(raw.size());
            records_.clear();
            for (const RawRecord& record : raw) add(record);
        } while (records_.empty());
        return Chunk<Record>::ownedBy(records_.data(), records_.size());
    }

    void add(const RawRecord& raw) {
        Record& record = records_.emplace_back(typename Record::Text(topic_), partition_, raw.offset, raw.timestamp,
                                               static_cast<TimestampType>(raw.timestampType));
        try {
            if (raw.key.data() != nullptr) record.setKey(Decoder<K>::decode(raw.key));
            if (raw.value.data() != nullptr) record.setValue(Decoder<V>::decode(raw.value));
        } catch (...) {
            records_.pop_back();
            source_->undecodable({topic_, partition_}, raw, std::current_exception());
            return;
        }
        record.setHeadersOf(raw.message);
    }

    const std::shared_ptr<RecordSource> source_;
    const std::unique_ptr<RangeReader> reader_;
    const std::string topic_;
    const int partition_;
    TaskContext& context_;
    std::vector<Record> records_;
};

/// One partition per offset range.
template <class K, class V>
class KafkaRddNode final : public RddNode<ConsumerRecord<K, V>>, public RangesHolder {
    using Record = ConsumerRecord<K, V>;

public:
    /// @param failure  why the batch cannot be read; empty when it can
    KafkaRddNode(const SparkContext& sc, std::shared_ptr<RecordSource> source, std::vector<OffsetRange> ranges,
                 std::string failure, const char* operatorName, CallSite site)
        : RddNode<Record>(sc.core(), {}, operatorName, site, std::nullopt),
          RangesHolder(std::move(ranges)),
          source_(std::move(source)),
          failure_(std::move(failure)),
          splits_(splitsOf(offsetRanges(), sc.defaultParallelism(), sc.getConf())) {
        source_->expectPartitions(std::accumulate(splits_.begin(), splits_.end(), std::size_t{0}));
    }
    const char* className() const override { return "KafkaRDD"; }
    std::optional<int64_t> knownCount() const override {
        if (!failure_.empty() || !source_->countsByOffsets()) return std::nullopt;
        int64_t count = 0;
        for (const OffsetRange& range : offsetRanges()) count += range.count();
        return count;
    }

private:
    int doNumPartitions() const override {
        return static_cast<int>(failure_.empty() ? offsetRanges().size()
                                                 : std::max<std::size_t>(1, offsetRanges().size()));
    }
    CursorPtr<Record> doCompute(int partition, TaskContext& context) const override {
        checkReadable();
        const auto soon = std::span(offsetRanges()).subspan(static_cast<std::size_t>(partition));
        source_->prepare(soon);
        return read(soon.front(), true, context);
    }
    int doSplitCount(int partition) const override {
        return failure_.empty() ? splits_[static_cast<std::size_t>(partition)] : 1;
    }
    CursorPtr<Record> doComputeSplit(int partition, int split, TaskContext& context) const override {
        checkReadable();
        const auto index = static_cast<std::size_t>(partition);
        return read(splitOf(offsetRanges()[index], split, splits_[index]), split + 1 == splits_[index], context);
    }

    void checkReadable() const {
        if (!failure_.empty()) throw SparkException(failure_);
    }
    CursorPtr<Record> read(const OffsetRange& range, bool goesOn, TaskContext& context) const {
        return std::make_unique<RecordCursor<K, V>>(source_, source_->open(range, goesOn, context), range.topic,
                                                    range.partition, context);
    }

    const std::shared_ptr<RecordSource> source_;
    const std::string failure_;
    const std::vector<int> splits_;
};

/// The node of a direct stream.
template <class K, class V>
class DirectNode final : public InputDStreamNode<ConsumerRecord<K, V>> {
public:
    DirectNode(const StreamingContext& ssc, std::shared_ptr<ConsumerStrategyBase> strategy,
               std::shared_ptr<PerPartitionConfig> limits, CallSite site)
        : InputDStreamNode<ConsumerRecord<K, V>>(ssc, "Kafka 0.10 direct stream", "createDirectStream", site),
          rateController_(dstream::detail::makeRateController(ssc, this->id())),
          stream_(std::make_shared<DirectStream>(ssc, this->name(), std::move(strategy), std::move(limits))) {}

    void start() override { stream_->start(); }
    void stop() override { stream_->stop(); }
    std::shared_ptr<RateController> rateController() const override { return rateController_; }
    void batchEnded(Time time, bool succeeded) override { stream_->batchEnded(time, succeeded); }
    void clearMetadata(Time time) override {
        InputDStreamNode<ConsumerRecord<K, V>>::clearMetadata(time);
        stream_->forgetBefore(time - *this->rememberDuration());
    }
    std::string checkpointData(Time) const override { return stream_->save(); }
    void restoreCheckpointData(const std::string& data) override { stream_->restore(data); }
    const std::shared_ptr<DirectStream>& stream() const { return stream_; }

private:
    std::optional<RDD<ConsumerRecord<K, V>>> compute(Time time) override {
        const StreamingContext ssc = this->context();
        DirectStream::Plan plan =
            stream_->plan(time, rateController_ ? std::max<int64_t>(0, rateController_->getLatestRate()) : -1);
        dstream::detail::reportInput(ssc, time, plan.inputInfo(this->id()));
        return RDD<ConsumerRecord<K, V>>(
            std::make_shared<KafkaRddNode<K, V>>(ssc.sparkContext(), stream_->source(), std::move(plan.ranges),
                                                 std::move(plan.failure), this->operatorName(), this->creationSite()));
    }

    const std::shared_ptr<RateController> rateController_;
    const std::shared_ptr<DirectStream> stream_;
};

}  // namespace detail

/// What an RDD straight from Kafka was read from: partition i from offsetRanges()[i]. To be taken of the RDD that the
/// first operation of a stream gets.
///
///     stream.foreachRDD([](const auto& rdd, Time) {
///         for (const OffsetRange& range : HasOffsetRanges(rdd).offsetRanges()) std::cout << range.toString() << '\n';
///     });
class HasOffsetRanges {
public:
    /// @throws IllegalArgumentException  for any other RDD
    template <class T>
    explicit HasOffsetRanges(const RDD<T>& rdd) : ranges_(detail::rangesOf(*rdd.node())) {}
    const std::vector<OffsetRange>& offsetRanges() const { return ranges_; }

private:
    std::vector<OffsetRange> ranges_;
};

/// A stream whose batches are ranges of offsets, one partition each.
template <class K, class V>
class DirectKafkaDStream : public dstream::detail::StorageOps<DirectKafkaDStream<K, V>, ConsumerRecord<K, V>,
                                                              InputDStream<ConsumerRecord<K, V>>> {
    using Ops =
        dstream::detail::StorageOps<DirectKafkaDStream<K, V>, ConsumerRecord<K, V>, InputDStream<ConsumerRecord<K, V>>>;

public:
    explicit DirectKafkaDStream(std::shared_ptr<detail::DirectNode<K, V>> node) : Ops(node), stream_(node->stream()) {}

    /// Queues offsets to be committed for the group: sent once their batch and all before it have completed, at the
    /// latest when the context stops. With "enable.auto.commit" not false, every batch is committed like that by
    /// itself.
    /// @param callback  is told how it went; the last one given counts. Called on a thread of the stream.
    void commitAsync(const std::vector<OffsetRange>& ranges, OffsetCommitCallback callback = nullptr) const {
        stream_->commitAsync(ranges, std::move(callback));
    }
    /// Lag, positions and counts as of now. Any thread.
    KafkaMetrics metrics() const { return stream_->metrics(); }
    const std::shared_ptr<detail::DirectStream>& stream() const { return stream_; }

private:
    std::shared_ptr<detail::DirectStream> stream_;
};

/// The reference's name for what commits offsets: `CanCommitOffsets(stream).commitAsync(ranges)`.
template <class K, class V>
class CanCommitOffsets : public DirectKafkaDStream<K, V> {
public:
    explicit CanCommitOffsets(const DirectKafkaDStream<K, V>& stream) : DirectKafkaDStream<K, V>(stream) {}
};

/// Makes streams and RDDs of what is in Kafka.
///
///     auto stream = KafkaUtils::createDirectStream<std::string_view, std::string_view>(
///         ssc, LocationStrategies::PreferConsistent,
///         ConsumerStrategies::Subscribe<std::string_view, std::string_view>({"clicks"}, params));
///     stream.map([](const auto& record) { return record.value(); }).count().print();
struct KafkaUtils {
    /// A stream that asks Kafka at each batch how far its partitions go, and reads exactly once what came since.
    /// @param limits  absent: `spark.streaming.kafka.maxRatePerPartition` and `minRatePerPartition`
    /// @throws IllegalArgumentException  for settings that cannot be
    template <class K, class V>
    static DirectKafkaDStream<K, V> createDirectStream(const StreamingContext& ssc, const LocationStrategy&,
                                                       std::shared_ptr<ConsumerStrategy<K, V>> strategy,
                                                       std::shared_ptr<PerPartitionConfig> limits = nullptr,
                                                       std::source_location where = std::source_location::current()) {
        auto node = std::make_shared<detail::DirectNode<K, V>>(ssc, std::move(strategy), std::move(limits),
                                                               CallSite::from(where));
        dstream::detail::registerInput(node);
        return DirectKafkaDStream<K, V>(std::move(node));
    }
    /// The records of these ranges, a partition each.
    /// @throws IllegalArgumentException  for PreferBrokers, and for a range that ends before it begins
    template <class K, class V>
    static RDD<ConsumerRecord<K, V>> createRDD(const SparkContext& sc, const Params& params,
                                               std::vector<OffsetRange> ranges, const LocationStrategy& location,
                                               std::source_location where = std::source_location::current()) {
        detail::checkRdd(ranges, location);
        return RDD<ConsumerRecord<K, V>>(std::make_shared<detail::KafkaRddNode<K, V>>(
            sc, detail::makeRecordSource(params, sc.getConf(), sc.defaultParallelism()), std::move(ranges), "",
            "createRDD", CallSite::from(where)));
    }

    /// The partitions of some topics.
    /// @throws SparkException  when one does not exist, or no broker answers
    static std::vector<TopicPartition> partitionsOf(const Params& params, const std::vector<std::string>& topics);
    /// The first offset of each partition whose record is not older than `time`; the end where there is none.
    static Offsets offsetsForTime(const Params& params, const std::vector<TopicPartition>& partitions, Time time);
    /// The first offsets that the partitions still have, and their ends.
    static std::vector<OffsetRange> availableRanges(const Params& params,
                                                    const std::vector<TopicPartition>& partitions);
};

}  // namespace dstream::kafka
