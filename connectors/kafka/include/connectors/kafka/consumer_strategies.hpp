#pragma once

#include "connectors/kafka/offsets.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dstream::kafka {

/// Called when a commit of offsets has ended: what was committed, and what went wrong, if anything did.
using OffsetCommitCallback = std::function<void(const Offsets& committed, const std::optional<std::string>& error)>;

/// The positions of a stream's partitions, as the driver sees them; reads no records. Thread-safe.
class Consumer {
public:
    virtual ~Consumer() = default;
    /// The partitions that are this consumer's now; waits for a rebalance in progress.
    virtual std::set<TopicPartition> assignment() = 0;
    /// Where to begin: what was sought, else the committed offset, else what `auto.offset.reset` says.
    /// @param discovered  the partitions have appeared while the stream ran: without a committed offset at their
    ///                    beginning
    /// @throws SparkException  when there is none of these
    virtual Offsets positions(const std::set<TopicPartition>& partitions, bool discovered) = 0;
    /// The ends of the partitions' logs; absent where no broker answered in time.
    /// @throws SparkException  naming a topic that is gone or may not be read
    virtual Offsets endOffsets(const std::set<TopicPartition>& partitions, std::chrono::milliseconds timeout) = 0;
    /// Sends a commit and returns; the callback comes later on a thread of the consumer.
    virtual void commitAsync(const Offsets& offsets, OffsetCommitCallback callback) = 0;
    /// Waits until the commits that were sent have ended.
    virtual void flushCommits() = 0;
    /// The membership in the group, as bytes for a transaction that commits for it.
    virtual std::string groupMetadata() = 0;
    virtual void close() = 0;
};

/// Makes the consumer of a direct stream. The built-in ones are ConsumerStrategies; derive for another way.
class ConsumerStrategyBase {
public:
    virtual ~ConsumerStrategyBase() = default;
    /// The settings of the clients that read the records.
    virtual Params executorKafkaParams() const = 0;
    /// Makes a consumer that is subscribed or assigned, and positioned.
    /// @param currentOffsets  positions of a restart; if there are any, they win over configured ones
    virtual std::shared_ptr<Consumer> onStart(const Offsets& currentOffsets) = 0;
};

/// A strategy for records of these types.
template <class K, class V>
class ConsumerStrategy : public ConsumerStrategyBase {};

namespace detail {
struct Subscription {
    enum class Kind { kTopics, kPattern, kPartitions };
    Kind kind = Kind::kTopics;
    std::vector<std::string> topics{};  // or the one pattern
    std::set<TopicPartition> partitions{};
};
/// @throws IllegalArgumentException  for settings that the client does not know, or without what it needs
/// @throws SparkException            when a topic does not exist, or no broker answers
std::shared_ptr<Consumer> makeConsumer(const Params& params, const Subscription& subscription, const Offsets& sought);

template <class K, class V>
class SubscriptionStrategy final : public ConsumerStrategy<K, V> {
public:
    SubscriptionStrategy(Subscription subscription, Params params, Offsets offsets)
        : subscription_(std::move(subscription)), params_(std::move(params)), offsets_(std::move(offsets)) {}
    Params executorKafkaParams() const override { return params_; }
    std::shared_ptr<Consumer> onStart(const Offsets& currentOffsets) override {
        return makeConsumer(params_, subscription_, currentOffsets.empty() ? offsets_ : currentOffsets);
    }

private:
    const Subscription subscription_;
    const Params params_;
    const Offsets offsets_;
};
}  // namespace detail

/// Which partitions a direct stream reads, and where it begins: at the given offsets, else at those committed for
/// "group.id", else where "auto.offset.reset" says (earliest, latest, none). KafkaUtils::offsetsForTime begins by time.
struct ConsumerStrategies {
    /// Topics, as a member of the group: several programs of one group share the partitions.
    template <class K, class V>
    static std::shared_ptr<ConsumerStrategy<K, V>> Subscribe(std::vector<std::string> topics, Params params,
                                                             Offsets offsets = {}) {
        return make<K, V>({detail::Subscription::Kind::kTopics, std::move(topics)}, std::move(params),
                          std::move(offsets));
    }
    /// Topics whose whole name matches a POSIX extended regular expression; new ones join while the program runs.
    template <class K, class V>
    static std::shared_ptr<ConsumerStrategy<K, V>> SubscribePattern(std::string pattern, Params params,
                                                                    Offsets offsets = {}) {
        return make<K, V>({detail::Subscription::Kind::kPattern, {std::move(pattern)}}, std::move(params),
                          std::move(offsets));
    }
    /// Exactly these partitions, without joining the group.
    template <class K, class V>
    static std::shared_ptr<ConsumerStrategy<K, V>> Assign(const std::vector<TopicPartition>& partitions, Params params,
                                                          Offsets offsets = {}) {
        return make<K, V>({detail::Subscription::Kind::kPartitions, {}, {partitions.begin(), partitions.end()}},
                          std::move(params), std::move(offsets));
    }

private:
    template <class K, class V>
    static std::shared_ptr<ConsumerStrategy<K, V>> make(detail::Subscription subscription, Params params,
                                                        Offsets offsets) {
        return std::make_shared<detail::SubscriptionStrategy<K, V>>(std::move(subscription), std::move(params),
                                                                    std::move(offsets));
    }
};

}  // namespace dstream::kafka
