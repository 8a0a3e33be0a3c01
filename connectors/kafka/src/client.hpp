#pragma once

#include "connectors/kafka/offsets.hpp"
#include "connectors/kafka/producer_record.hpp"
#include "rdd/exceptions.hpp"

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace dstream::kafka::detail {

template <auto kDestroy>
struct Destroyer {
    template <class T>
    void operator()(T* object) const {
        kDestroy(object);
    }
};
using ClientPtr = std::unique_ptr<rd_kafka_t, Destroyer<rd_kafka_destroy>>;
using TopicPtr = std::unique_ptr<rd_kafka_topic_t, Destroyer<rd_kafka_topic_destroy>>;
using QueuePtr = std::unique_ptr<rd_kafka_queue_t, Destroyer<rd_kafka_queue_destroy>>;
using PartitionListPtr =
    std::unique_ptr<rd_kafka_topic_partition_list_t, Destroyer<rd_kafka_topic_partition_list_destroy>>;
using MessagePtr = std::unique_ptr<rd_kafka_message_t, Destroyer<rd_kafka_message_destroy>>;
using ErrorPtr = std::unique_ptr<rd_kafka_error_t, Destroyer<rd_kafka_error_destroy>>;
using ConfPtr = std::unique_ptr<rd_kafka_conf_t, Destroyer<rd_kafka_conf_destroy>>;
using GroupMetadataPtr =
    std::unique_ptr<rd_kafka_consumer_group_metadata_t, Destroyer<rd_kafka_consumer_group_metadata_destroy>>;

/// What a client is for; decides which settings are forced and which have other defaults than librdkafka's.
enum class Role { kDriver, kReader, kProducer };

/// Translates settings of the reference's clients into librdkafka's.
/// @throws IllegalArgumentException  for a setting that neither knows
ConfPtr makeConf(const Params& params, Role role);
/// @throws IllegalArgumentException  when the settings do not go together
ClientPtr makeClient(rd_kafka_type_t type, ConfPtr conf);

/// The value of a setting, or `defaultValue`.
std::string settingOf(const Params& params, const std::string& key, const std::string& defaultValue = {});
/// Settings of a reader's client with what bounds the records that it fetches ahead; those that are set stay.
/// @param memory      of all partitions together, in bytes
/// @param partitions  that are read, by `clients` clients at most
Params withPrefetch(Params params, std::size_t memory, std::size_t partitions, std::size_t clients);

/// Says when a client is to be told to fetch again: one that found a partition's queue full looks at it again after a
/// second only, or when there is something else to do.
class QueueWatch {
public:
    /// @param messages  how many of them make a queue full
    /// @param bytes     the same in bytes of their keys and values
    QueueWatch(std::size_t messages, std::size_t bytes) : messages_(messages), bytes_(bytes) {}
    /// @param taken         from the queue just now
    /// @param left          in the queue since then
    /// @param messageBytes  of a message, roughly
    /// @return whether the queue may have been full and has room again
    bool hasRoomAgain(std::size_t taken, std::size_t left, std::size_t messageBytes) {
        // The client may have looked at any time since the last call, when it was as long as this at most.
        const std::size_t longest = taken + left;
        if (longest >= messages_ || 4 * longest * messageBytes >= 3 * bytes_) full_ = true;
        if (!full_ || 4 * left >= 3 * messages_ || 2 * left * messageBytes >= bytes_) return false;
        full_ = false;
        return true;
    }

private:
    const std::size_t messages_;
    const std::size_t bytes_;
    bool full_ = false;
};

/// How long a call to the cluster may take: "default.api.timeout.ms", 60 s.
std::chrono::milliseconds apiTimeout(const Params& params);
/// For messages: the servers.
std::string serversOf(const Params& params);

PartitionListPtr listOf(const Offsets& offsets);

inline std::string textOf(rd_kafka_resp_err_t error) {
    return std::string(rd_kafka_err2str(error)) + " (" + rd_kafka_err2name(error) + ")";
}

/// Hands a record to a producer; waits while its queue is full.
/// @throws SparkException  when the producer does not take it
void enqueue(rd_kafka_t* producer, const std::string& topic, const ProducerRecord& record);

/// Asks for the committed offsets of the client's group; waits for a coordinator that is not ready yet.
rd_kafka_resp_err_t fetchCommitted(rd_kafka_t* client, rd_kafka_topic_partition_list_t* list,
                                   std::chrono::milliseconds timeout);

/// A topic that is not there, or may not be read: waiting does not help.
bool isTopicGone(rd_kafka_resp_err_t error);

}  // namespace dstream::kafka::detail
