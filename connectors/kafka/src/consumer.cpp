#include "client.hpp"
#include "connectors/kafka/kafka_utils.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace dstream::kafka {

namespace detail {

namespace {

constexpr const char* kLog = "KafkaConsumer";
using std::chrono::milliseconds;

int millis(milliseconds time) {
    return static_cast<int>(std::min<int64_t>(time.count(), INT32_MAX));
}

PartitionListPtr listWith(const std::set<TopicPartition>& partitions, int64_t offset) {
    Offsets offsets;
    for (const TopicPartition& of : partitions) offsets.emplace(of, offset);
    return listOf(offsets);
}

TopicPartition partitionOf(const rd_kafka_topic_partition_t& of) {
    return {of.topic, of.partition};
}

/// Asks the leaders for offsets: by time in ms, or one of librdkafka's logical ones. Absent where there was no answer.
/// @throws SparkException  for a topic that is gone
Offsets askForOffsets(rd_kafka_t* client, const std::set<TopicPartition>& partitions, int64_t what,
                      milliseconds timeout) {
    Offsets offsets;
    if (partitions.empty()) return offsets;
    PartitionListPtr list = listWith(partitions, what);
    const rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(client, list.get(), millis(timeout));
    for (int i = 0; i < list->cnt; ++i) {
        const rd_kafka_topic_partition_t& of = list->elems[i];
        const rd_kafka_resp_err_t own = of.err != RD_KAFKA_RESP_ERR_NO_ERROR ? of.err : error;
        if (isTopicGone(own)) {
            throw SparkException("Kafka has no partition " + partitionOf(of).toString() +
                                 " (any more): " + textOf(own) + "; was the topic deleted, or is its name wrong?");
        }
        if (own == RD_KAFKA_RESP_ERR_NO_ERROR) offsets.emplace(partitionOf(of), of.offset);
    }
    return offsets;
}

/// The partitions of a topic.
std::set<TopicPartition> findPartitions(rd_kafka_t* client, const std::string& topic, const Params& params) {
    TopicPtr handle(rd_kafka_topic_new(client, topic.c_str(), nullptr));
    if (!handle) throw IllegalArgumentException("not a name of a topic: \"" + topic + "\"");
    const rd_kafka_metadata_t* metadata = nullptr;
    const auto error = rd_kafka_metadata(client, 0, handle.get(), &metadata, millis(apiTimeout(params)));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        throw SparkException("Kafka at " + serversOf(params) + " does not say which partitions topic " + topic +
                             " has: " + textOf(error));
    }
    const std::unique_ptr<const rd_kafka_metadata_t, Destroyer<rd_kafka_metadata_destroy>> owned(metadata);
    std::set<TopicPartition> partitions;
    for (int i = 0; i < metadata->topic_cnt; ++i) {
        const rd_kafka_metadata_topic_t& found = metadata->topics[i];
        if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            throw SparkException("topic " + topic + " cannot be read from Kafka at " + serversOf(params) + ": " +
                                 textOf(found.err) + "; create it, or mend its name");
        }
        for (int p = 0; p < found.partition_cnt; ++p) partitions.insert({topic, found.partitions[p].id});
    }
    return partitions;
}

ClientPtr makeAsker(const Params& params) {
    return makeClient(RD_KAFKA_CONSUMER, makeConf(params, Role::kReader));
}

/// The built-in consumer. A thread of its own serves rebalances and the answers to commits.
class GroupConsumer final : public Consumer {
public:
    GroupConsumer(const Params& params, const Subscription& subscription, const Offsets& sought)
        : params_(params), subscribed_(subscription.kind != Subscription::Kind::kPartitions), sought_(sought) {
        ConfPtr conf = makeConf(params, Role::kDriver);
        rd_kafka_conf_set_opaque(conf.get(), this);
        if (subscribed_) rd_kafka_conf_set_rebalance_cb(conf.get(), rebalance);
        client_ = makeClient(RD_KAFKA_CONSUMER, std::move(conf));
        const bool inGroup = params.contains("group.id");
        if (inGroup) {
            rd_kafka_poll_set_consumer(client_.get());
            queue_.reset(rd_kafka_queue_get_consumer(client_.get()));
        }
        if (subscribed_) {
            subscribe(subscription);
        } else {
            require(!subscription.partitions.empty(), "ConsumerStrategies::Assign needs at least one partition");
            assignment_ = subscription.partitions;
            assigned_ = true;
        }
        if (inGroup) poller_ = std::jthread([this](std::stop_token stop) { serve(stop); });
    }
    ~GroupConsumer() override { close(); }

    std::set<TopicPartition> assignment() override {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, apiTimeout(params_), [&] { return assigned_; })) {
            throw SparkException("Kafka at " + serversOf(params_) + " gave group " + settingOf(params_, "group.id") +
                                 " no partitions within " + std::to_string(apiTimeout(params_).count()) +
                                 " ms; is the cluster up, and may the group read the topics?");
        }
        return assignment_;
    }

    Offsets positions(const std::set<TopicPartition>& partitions, bool discovered) override {
        Offsets positions;
        std::set<TopicPartition> left;
        for (const TopicPartition& of : partitions) {
            if (const auto found = sought_.find(of); found != sought_.end()) {
                positions.insert(*found);
            } else {
                left.insert(of);
            }
        }
        if (left.empty()) return positions;
        if (params_.contains("group.id")) takeCommitted(left, positions);
        if (left.empty()) return positions;
        std::string reset = settingOf(params_, "auto.offset.reset", "latest");
        if (discovered) reset = "earliest";  // its records are all new
        int64_t where = RD_KAFKA_OFFSET_END;
        if (reset == "earliest" || reset == "smallest" || reset == "beginning") {
            where = RD_KAFKA_OFFSET_BEGINNING;
        } else if (reset == "none" || reset == "error") {
            throw SparkException("there is no committed offset for " + left.begin()->toString() + " in group " +
                                 settingOf(params_, "group.id") +
                                 ", and auto.offset.reset is none; give starting offsets, or set it to earliest or "
                                 "latest");
        }
        const Offsets found = askForOffsets(client_.get(), left, where, apiTimeout(params_));
        for (const TopicPartition& of : left) {
            const auto at = found.find(of);
            if (at == found.end()) {
                throw SparkException("Kafka at " + serversOf(params_) + " does not say where " + of.toString() +
                                     (where == RD_KAFKA_OFFSET_END ? " ends" : " begins") + "; is its leader up?");
            }
            positions.insert(*at);
        }
        return positions;
    }

    Offsets endOffsets(const std::set<TopicPartition>& partitions, milliseconds timeout) override {
        return askForOffsets(client_.get(), partitions, RD_KAFKA_OFFSET_END, timeout);
    }

    void commitAsync(const Offsets& offsets, OffsetCommitCallback callback) override {
        bool owned = true;
        {
            const std::lock_guard lock(mutex_);
            ++commitsInFlight_;
            owned = !closed_;
            for (const auto& [of, offset] : offsets) owned = owned && assignment_.contains(of);
        }
        auto commit = std::make_unique<Commit>(Commit{this, offsets, std::move(callback)});
        if (!owned)
            return finish(
                *commit,
                "the consumer is closed, or the group is being rebalanced and a partition is not this member's");
        const PartitionListPtr list = listOf(offsets);
        const auto error = rd_kafka_commit_queue(client_.get(), list.get(), queue_.get(), committed, commit.get());
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            finish(*commit, textOf(error));
        } else {
            static_cast<void>(commit.release());  // the callback's
        }
    }

    void flushCommits() override {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, std::min(apiTimeout(params_), milliseconds(10'000)),
                               [&] { return commitsInFlight_ == 0; })) {
            lock.unlock();
            logMessage(LogLevel::kWarn, kLog, "the last commit of offsets was not answered; a restart may repeat it");
        }
    }

    std::string groupMetadata() override {
        const GroupMetadataPtr metadata(rd_kafka_consumer_group_metadata(client_.get()));
        require(metadata != nullptr, "offsets can be part of a transaction only with \"group.id\" set");
        const void* bytes = nullptr;
        std::size_t size = 0;
        const ErrorPtr error(rd_kafka_consumer_group_metadata_write(metadata.get(), const_cast<void**>(&bytes), &size));
        if (error) throw SparkException(rd_kafka_error_string(error.get()));
        std::string text(static_cast<const char*>(bytes), size);
        rd_kafka_mem_free(nullptr, const_cast<void*>(bytes));
        return text;
    }

    /// The client itself lives as long as this: the generator may be asking it just now.
    void close() override {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        if (!poller_.joinable()) return;
        poller_.request_stop();
        poller_.join();
        rd_kafka_consumer_close(client_.get());
    }

private:
    struct Commit {
        GroupConsumer* consumer;
        Offsets offsets;
        OffsetCommitCallback callback;
    };

    void subscribe(const Subscription& subscription) {
        require(params_.contains("group.id"), "a Kafka subscription needs \"group.id\"; or assign partitions");
        require(!subscription.topics.empty(), "a Kafka subscription needs at least one topic");
        PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(subscription.topics.size())));
        for (const std::string& topic : subscription.topics) {
            const bool pattern = subscription.kind == Subscription::Kind::kPattern;
            if (!pattern) findPartitions(client_.get(), topic, params_);  // or say what is wrong with it
            const std::string name = pattern ? "^(" + topic + ")$" : topic;
            rd_kafka_topic_partition_list_add(list.get(), name.c_str(), RD_KAFKA_PARTITION_UA);
        }
        const auto error = rd_kafka_subscribe(client_.get(), list.get());
        require(error == RD_KAFKA_RESP_ERR_NO_ERROR, "cannot subscribe to Kafka topics: " + textOf(error));
    }

    void takeCommitted(std::set<TopicPartition>& left, Offsets& positions) {
        PartitionListPtr list = listWith(left, RD_KAFKA_OFFSET_INVALID);
        const auto error = fetchCommitted(client_.get(), list.get(), apiTimeout(params_));
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            throw SparkException("Kafka at " + serversOf(params_) + " does not tell the committed offsets of group " +
                                 settingOf(params_, "group.id") + ": " + textOf(error));
        }
        for (int i = 0; i < list->cnt; ++i) {
            const rd_kafka_topic_partition_t& of = list->elems[i];
            if (of.offset < 0) continue;
            positions.emplace(partitionOf(of), of.offset);
            left.erase(partitionOf(of));
        }
    }

    /// The records are read by others: here only events are served.
    void serve(const std::stop_token& stop) {
        const std::stop_callback wake(stop, [this] { rd_kafka_queue_yield(queue_.get()); });
        while (!stop.stop_requested()) {
            const MessagePtr message(rd_kafka_consumer_poll(client_.get(), -1));
            if (message && message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                logMessage(LogLevel::kWarn, kLog, rd_kafka_message_errstr(message.get()));
            }
        }
    }

    static void rebalance(rd_kafka_t* client, rd_kafka_resp_err_t event, rd_kafka_topic_partition_list_t* partitions,
                          void* opaque) {
        auto& self = *static_cast<GroupConsumer*>(opaque);
        const bool cooperative = std::string_view(rd_kafka_rebalance_protocol(client)) == "COOPERATIVE";
        const bool assign = event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if (cooperative) {
            const ErrorPtr error(assign ? rd_kafka_incremental_assign(client, partitions)
                                        : rd_kafka_incremental_unassign(client, partitions));
            if (error) logMessage(LogLevel::kError, kLog, rd_kafka_error_string(error.get()));
        } else {
            rd_kafka_assign(client, assign ? partitions : nullptr);
        }
        if (assign) rd_kafka_pause_partitions(client, partitions);
        {
            const std::lock_guard lock(self.mutex_);
            if (self.closed_) return;  // the last batch is still of what was its own
            if (!cooperative) self.assignment_.clear();
            for (int i = 0; i < partitions->cnt; ++i) {
                if (assign) {
                    self.assignment_.insert(partitionOf(partitions->elems[i]));
                } else {
                    self.assignment_.erase(partitionOf(partitions->elems[i]));
                }
            }
            self.assigned_ = assign || cooperative;
        }
        self.changed_.notify_all();
    }

    static void committed(rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* partitions,
                          void* opaque) noexcept {
        const std::unique_ptr<Commit> commit(static_cast<Commit*>(opaque));
        for (int i = 0; partitions != nullptr && i < partitions->cnt; ++i) {
            if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = partitions->elems[i].err;
        }
        commit->consumer->finish(
            *commit, error == RD_KAFKA_RESP_ERR_NO_ERROR ? std::nullopt : std::optional<std::string>(textOf(error)));
    }

    void finish(const Commit& commit, const std::optional<std::string>& error) noexcept {
        try {
            if (commit.callback) commit.callback(commit.offsets, error);
        } catch (...) {
            logMessage(LogLevel::kError, kLog,
                       "the callback of a commit threw: " + describeException(std::current_exception()));
        }
        {
            const std::lock_guard lock(mutex_);
            --commitsInFlight_;
        }
        changed_.notify_all();
    }

    const Params params_;
    const bool subscribed_;
    const Offsets sought_;
    ClientPtr client_;
    QueuePtr queue_;
    std::mutex mutex_;  // guards the fields below
    std::condition_variable changed_;
    std::set<TopicPartition> assignment_;
    bool assigned_ = false;
    bool closed_ = false;
    int commitsInFlight_ = 0;
    std::jthread poller_;
};

}  // namespace

std::shared_ptr<Consumer> makeConsumer(const Params& params, const Subscription& subscription, const Offsets& sought) {
    return std::make_shared<GroupConsumer>(params, subscription, sought);
}

}  // namespace detail

std::vector<TopicPartition> KafkaUtils::partitionsOf(const Params& params, const std::vector<std::string>& topics) {
    const detail::ClientPtr client = detail::makeAsker(params);
    std::vector<TopicPartition> all;
    for (const std::string& topic : topics) {
        const auto partitions = detail::findPartitions(client.get(), topic, params);
        all.insert(all.end(), partitions.begin(), partitions.end());
    }
    return all;
}

Offsets KafkaUtils::offsetsForTime(const Params& params, const std::vector<TopicPartition>& partitions, Time time) {
    const detail::ClientPtr client = detail::makeAsker(params);
    const std::set<TopicPartition> all(partitions.begin(), partitions.end());
    Offsets offsets = detail::askForOffsets(client.get(), all, time.milliseconds(), detail::apiTimeout(params));
    std::set<TopicPartition> atEnd;
    for (const TopicPartition& of : all) {
        const auto found = offsets.find(of);
        if (found == offsets.end()) {
            throw SparkException("Kafka at " + detail::serversOf(params) + " does not say which offset " +
                                 of.toString() + " had at " + time.toString());
        }
        if (found->second < 0) atEnd.insert(of);
    }
    for (const auto& [of, end] :
         detail::askForOffsets(client.get(), atEnd, RD_KAFKA_OFFSET_END, detail::apiTimeout(params))) {
        offsets[of] = end;
    }
    return offsets;
}

std::vector<OffsetRange> KafkaUtils::availableRanges(const Params& params,
                                                     const std::vector<TopicPartition>& partitions) {
    const detail::ClientPtr client = detail::makeAsker(params);
    const std::set<TopicPartition> all(partitions.begin(), partitions.end());
    const auto timeout = detail::apiTimeout(params);
    const Offsets begins = detail::askForOffsets(client.get(), all, RD_KAFKA_OFFSET_BEGINNING, timeout);
    const Offsets ends = detail::askForOffsets(client.get(), all, RD_KAFKA_OFFSET_END, timeout);
    std::vector<OffsetRange> ranges;
    for (const TopicPartition& of : partitions) {
        if (!begins.contains(of) || !ends.contains(of)) {
            throw SparkException("Kafka at " + detail::serversOf(params) + " does not say which offsets " +
                                 of.toString() + " has; is its leader up?");
        }
        ranges.push_back(OffsetRange::create(of, begins.at(of), ends.at(of)));
    }
    return ranges;
}

}  // namespace dstream::kafka
