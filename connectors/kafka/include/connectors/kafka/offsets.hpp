#pragma once

#include "rdd/spark_conf.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dstream::kafka {

/// Settings of Kafka clients: names of the reference's clients and those of librdkafka, such as "bootstrap.servers",
/// "group.id", "security.protocol".
using Params = std::map<std::string, std::string>;

/// Returns one "key=value" line per setting, sorted, passwords and keys redacted.
std::string describe(const Params& params);

/// One partition of a topic.
struct TopicPartition {
    std::string topic;
    int partition = 0;

    auto operator<=>(const TopicPartition&) const = default;
    /// "clicks-3"
    std::string toString() const { return topic + "-" + std::to_string(partition); }
};

/// A position in each of some partitions: the offset of the next record.
using Offsets = std::map<TopicPartition, int64_t>;

/// The records of one partition from an offset on, up to another one that is not part of it.
struct OffsetRange {
    std::string topic;
    int partition = 0;
    int64_t fromOffset = 0;
    int64_t untilOffset = 0;

    static OffsetRange create(std::string topic, int partition, int64_t fromOffset, int64_t untilOffset) {
        return {std::move(topic), partition, fromOffset, untilOffset};
    }
    static OffsetRange create(const TopicPartition& of, int64_t fromOffset, int64_t untilOffset) {
        return {of.topic, of.partition, fromOffset, untilOffset};
    }
    TopicPartition topicPartition() const { return {topic, partition}; }
    /// Offsets in the range; the number of records where none is missing.
    int64_t count() const { return untilOffset - fromOffset; }
    std::string toString() const;

    bool operator==(const OffsetRange&) const = default;
};

/// How many records a second one partition may and must give to a batch; derive for limits of one's own.
class PerPartitionConfig {
public:
    virtual ~PerPartitionConfig() = default;
    /// Records a second, 0: no limit.
    virtual int64_t maxRatePerPartition(const TopicPartition& partition) const = 0;
    /// Records a batch that are taken whatever the rate says.
    virtual int64_t minRatePerPartition(const TopicPartition&) const { return 1; }
};

/// The settings `spark.streaming.kafka.maxRatePerPartition` and `minRatePerPartition`.
class DefaultPerPartitionConfig final : public PerPartitionConfig {
public:
    explicit DefaultPerPartitionConfig(const SparkConf& conf);
    int64_t maxRatePerPartition(const TopicPartition&) const override { return max_; }
    int64_t minRatePerPartition(const TopicPartition&) const override { return min_; }

private:
    const int64_t max_;
    const int64_t min_;
};

/// Where tasks should run. All run in this process: kept so that ported programs compile.
struct LocationStrategy {
    enum class Kind { kPreferBrokers, kPreferConsistent, kPreferFixed };
    Kind kind = Kind::kPreferConsistent;
    std::map<TopicPartition, std::string> hosts{};
};

struct LocationStrategies {
    inline static const LocationStrategy PreferBrokers{LocationStrategy::Kind::kPreferBrokers};
    inline static const LocationStrategy PreferConsistent{LocationStrategy::Kind::kPreferConsistent};
    static LocationStrategy PreferFixed(std::map<TopicPartition, std::string> hostMap) {
        return {LocationStrategy::Kind::kPreferFixed, std::move(hostMap)};
    }
};

}  // namespace dstream::kafka

template <>
struct std::hash<dstream::kafka::TopicPartition> {
    std::size_t operator()(const dstream::kafka::TopicPartition& of) const noexcept {
        return std::hash<std::string>()(of.topic) * 31 + static_cast<std::size_t>(of.partition);
    }
};
template <>
struct std::hash<dstream::kafka::OffsetRange> {
    std::size_t operator()(const dstream::kafka::OffsetRange& range) const noexcept {
        return std::hash<dstream::kafka::TopicPartition>()(range.topicPartition()) * 31 +
               static_cast<std::size_t>(range.fromOffset * 31 + range.untilOffset);
    }
};
