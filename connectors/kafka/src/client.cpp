#include "client.hpp"

#include "rdd/log.hpp"
#include "rdd/spark_conf.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <string_view>

namespace dstream::kafka {

namespace {

constexpr const char* kLog = "Kafka";

bool isSecret(std::string_view key) {
    return isSecretKey(key) || key.find("oauthbearer.config") != std::string_view::npos;
}

/// Settings of the reference's clients that have no meaning here.
bool isIgnored(const std::string& key) {
    static const std::set<std::string> keys{"key.deserializer",       "value.deserializer", "key.serializer",
                                            "value.serializer",       "max.poll.records",   "exclude.internal.topics",
                                            "interceptor.classes",    "metric.reporters",   "max.block.ms",
                                            "default.api.timeout.ms", "client.dns.lookup"};
    return keys.contains(key);
}

/// The same setting under librdkafka's name.
std::string nameOf(const std::string& key, detail::Role role) {
    static const std::map<std::string, std::string> names{{"receive.buffer.bytes", "socket.receive.buffer.bytes"},
                                                          {"send.buffer.bytes", "socket.send.buffer.bytes"},
                                                          {"fetch.max.wait.ms", "fetch.wait.max.ms"},
                                                          {"max.partition.fetch.bytes", "fetch.message.max.bytes"},
                                                          {"metadata.max.age.ms", "topic.metadata.refresh.interval.ms"},
                                                          {"buffer.memory", "queue.buffering.max.kbytes"}};
    if (key == "request.timeout.ms" && role != detail::Role::kProducer) return "socket.timeout.ms";
    const auto found = names.find(key);
    return found == names.end() ? key : found->second;
}

void log(const rd_kafka_t* client, int level, const char* facility, const char* text) {
    const LogLevel as = level <= 3 ? LogLevel::kError : level == 4 ? LogLevel::kWarn : LogLevel::kDebug;
    logMessage(as, kLog, std::string(rd_kafka_name(client)) + " " + facility + ": " + text);
}

}  // namespace

std::string describe(const Params& params) {
    std::string text;
    for (const auto& [key, value] : params) {
        text += key + "=" + (isSecret(key) ? "*********(redacted)" : value) + "\n";
    }
    return text;
}

std::string OffsetRange::toString() const {
    return "OffsetRange(topic: '" + topic + "', partition: " + std::to_string(partition) + ", range: [" +
           std::to_string(fromOffset) + " -> " + std::to_string(untilOffset) + "])";
}

DefaultPerPartitionConfig::DefaultPerPartitionConfig(const SparkConf& conf)
    : max_(conf.getLong("spark.streaming.kafka.maxRatePerPartition", 0)),
      min_(conf.getLong("spark.streaming.kafka.minRatePerPartition", 1)) {
    require(max_ >= 0, "spark.streaming.kafka.maxRatePerPartition must not be negative: " + std::to_string(max_));
    require(min_ >= 0, "spark.streaming.kafka.minRatePerPartition must not be negative: " + std::to_string(min_));
}

namespace detail {

std::string settingOf(const Params& params, const std::string& key, const std::string& defaultValue) {
    const auto found = params.find(key);
    return found == params.end() ? defaultValue : found->second;
}

Params withPrefetch(Params params, std::size_t memory, std::size_t partitions, std::size_t clients) {
    const auto unlessSet = [&](const std::string& name, std::size_t value) {
        const bool isSet = std::any_of(params.begin(), params.end(),
                                       [&](const auto& one) { return nameOf(one.first, Role::kReader) == name; });
        if (!isSet) params[name] = std::to_string(value);
    };
    // A quarter for an answer of the broker, the others for what may be there when it is asked for. The client needs
    // about 300 bytes a message besides its key and value.
    const std::size_t share = memory / std::max<std::size_t>(1, partitions);
    unlessSet("fetch.message.max.bytes", std::clamp<std::size_t>(share / 4, 65'536, 8'388'608));
    unlessSet("queued.max.messages.kbytes", std::clamp<std::size_t>(share / 2048, 128, 2'000'000));
    unlessSet("queued.min.messages", std::clamp<std::size_t>(share / 800, 1'000, 1'000'000));
    // A client has one request under way at a time. One for partitions without new records is answered after this time
    // only, and a partition whose queue was full when it was sent is not part of it.
    if (partitions > clients) unlessSet("fetch.wait.max.ms", 20);
    return params;
}

std::chrono::milliseconds apiTimeout(const Params& params) {
    return std::chrono::milliseconds(parseTimeMs(settingOf(params, "default.api.timeout.ms", "60000")));
}

std::string serversOf(const Params& params) {
    return settingOf(params, "bootstrap.servers", "the embedded mock cluster");
}

ConfPtr makeConf(const Params& params, Role role) {
    require(params.contains("bootstrap.servers") || params.contains("test.mock.num.brokers"),
            "the Kafka settings need \"bootstrap.servers\", a list of host:port");
    // The reference's defaults where librdkafka has others, and what suits a stream.
    Params settings{{"reconnect.backoff.max.ms", "1000"}};
    if (role != Role::kProducer) settings["isolation.level"] = "read_uncommitted";
    if (role == Role::kDriver) settings["topic.metadata.refresh.interval.ms"] = "10000";
    for (const auto& [key, value] : params) {
        if (isIgnored(key)) continue;
        if (key == "sasl.jaas.config") {
            throw IllegalArgumentException(
                "sasl.jaas.config is a setting of Java clients; use sasl.username and sasl.password, or those of "
                "librdkafka for Kerberos and OAuth");
        }
        if (key.starts_with("ssl.truststore.") || (key.starts_with("ssl.keystore.") && key.ends_with(".type"))) {
            throw IllegalArgumentException(key +
                                           " is a setting of Java clients; use ssl.ca.location (PEM) and "
                                           "ssl.certificate.location, ssl.key.location or ssl.keystore.location "
                                           "(PKCS#12)");
        }
        settings[nameOf(key, role)] = key == "buffer.memory" ? std::to_string(parseSizeBytes(value) / 1024) : value;
    }
    if (settings.contains("auto.offset.reset") && settings["auto.offset.reset"] == "none") {
        settings["auto.offset.reset"] = "error";
    }
    if (role != Role::kProducer) {
        settings["enable.auto.commit"] = "false";
        settings["enable.auto.offset.store"] = "false";
        const auto buffer = settings.find("socket.receive.buffer.bytes");
        if (buffer != settings.end() && parseSizeBytes(buffer->second) < 65536) buffer->second = "65536";
    }
    if (role == Role::kReader) {
        // Readers belong to no group: the driver's consumer is the member.
        settings.erase("group.id");
        settings.erase("group.instance.id");
        settings["auto.offset.reset"] = "error";
        settings["enable.partition.eof"] = "true";
    }
    ConfPtr conf(rd_kafka_conf_new());
    std::array<char, 512> reason{};
    for (const auto& [key, value] : settings) {
        if (rd_kafka_conf_set(conf.get(), key.c_str(), value.c_str(), reason.data(), reason.size()) !=
            RD_KAFKA_CONF_OK) {
            throw IllegalArgumentException("the Kafka setting " + key + " is not accepted" +
                                           (isSecret(key) ? "" : std::string(": ") + reason.data()));
        }
    }
    rd_kafka_conf_set_log_cb(conf.get(), log);
    return conf;
}

ClientPtr makeClient(rd_kafka_type_t type, ConfPtr conf) {
    std::array<char, 512> reason{};
    ClientPtr client(rd_kafka_new(type, conf.get(), reason.data(), reason.size()));
    require(client != nullptr, std::string("the Kafka settings do not make a client: ") + reason.data());
    static_cast<void>(conf.release());  // the client's now
    return client;
}

PartitionListPtr listOf(const Offsets& offsets) {
    PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(offsets.size())));
    for (const auto& [of, offset] : offsets) {
        rd_kafka_topic_partition_list_add(list.get(), of.topic.c_str(), of.partition)->offset = offset;
    }
    return list;
}

void enqueue(rd_kafka_t* producer, const std::string& topic, const ProducerRecord& record) {
    const std::string& to = record.topic.empty() ? topic : record.topic;
    rd_kafka_headers_t* headers = nullptr;
    if (!record.headers.empty()) {
        headers = rd_kafka_headers_new(record.headers.size());
        for (const auto& header : record.headers) {
            rd_kafka_header_add(headers, header.key.data(), static_cast<ssize_t>(header.key.size()),
                                header.value ? header.value->data() : nullptr,
                                header.value ? static_cast<ssize_t>(header.value->size()) : 0);
        }
    }
    const auto bytes = [](const std::optional<std::string>& text) { return text ? text->data() : nullptr; };
    const auto size = [](const std::optional<std::string>& text) { return text ? text->size() : 0; };
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    do {
        if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) rd_kafka_poll(producer, 1000);
        error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(to.c_str()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                  RD_KAFKA_V_PARTITION(record.partition), RD_KAFKA_V_TIMESTAMP(record.timestamp),
                                  RD_KAFKA_V_KEY(bytes(record.key), size(record.key)),
                                  RD_KAFKA_V_VALUE(const_cast<char*>(bytes(record.value)), size(record.value)),
                                  RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    } while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (headers != nullptr) rd_kafka_headers_destroy(headers);
        throw SparkException("Kafka does not take a record of " +
                             std::to_string(record.value ? record.value->size() : 0) + " bytes for topic " + to + ": " +
                             textOf(error));
    }
}

rd_kafka_resp_err_t fetchCommitted(rd_kafka_t* client, rd_kafka_topic_partition_list_t* list,
                                   std::chrono::milliseconds timeout) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + timeout;
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        auto error = rd_kafka_committed(client, list, static_cast<int>(std::clamp<int64_t>(left, 1, INT32_MAX)));
        for (int i = 0; i < list->cnt && error == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) error = list->elems[i].err;
        const bool transient =
            error == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
            error == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE || error == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
            error == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT || error == RD_KAFKA_RESP_ERR__WAIT_COORD;
        if (!transient || Clock::now() >= deadline) return error;
        rd_kafka_poll(client, 100);
    }
}

bool isTopicGone(rd_kafka_resp_err_t error) {
    switch (error) {
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
            return true;
        default:
            return false;
    }
}

}  // namespace detail
}  // namespace dstream::kafka
