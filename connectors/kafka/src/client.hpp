#pragma once

#include "connectors/kafka/offsets.hpp"
#include "connectors/kafka/producer_record.hpp"
#include "rdd/exceptions.hpp"

#include <librdkafka/rdkafka.h>

#include <chrono>
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
