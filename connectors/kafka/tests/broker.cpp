#include "broker.hpp"

#include "client.hpp"
#include "connectors/kafka/kafka_utils.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iostream>
#include <netinet/in.h>
#include <random>
#include <sstream>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dstream::kafka {

namespace {

using namespace detail;
constexpr int kPatienceMs = 120'000;
constexpr int kStarts = 3;

std::unique_ptr<Broker> broker;

class StopBroker final : public testing::Environment {
    void TearDown() override { broker.reset(); }
};
[[maybe_unused]] const testing::Environment* const stopBroker = testing::AddGlobalTestEnvironment(new StopBroker);

/// Tells whether nobody listens on the port.
bool bindable(int port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool bound = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    return bound;
}

/// A port that is free together with the three after it, where controller and secure listeners are; not one of those
/// that the system gives to outgoing connections while the broker is starting, or is down.
int freePort() {
    std::random_device random;
    std::uniform_int_distribution<int> ports(12'000, 32'000);
    for (int left = 10'000; left > 0; --left) {
        const int port = ports(random);
        if (bindable(port) && bindable(port + 1) && bindable(port + 2) && bindable(port + 3)) return port;
    }
    throw SparkException("no four free ports in a row between 12000 and 32000 for a Kafka broker");
}

/// Whether it has not ended.
bool isAlive(pid_t process) {
    siginfo_t state{};
    return ::waitid(P_PID, static_cast<id_t>(process), &state, WEXITED | WNOHANG | WNOWAIT) == 0 && state.si_pid == 0;
}

ClientPtr makeAdmin(const Params& params) {
    return makeClient(RD_KAFKA_PRODUCER, makeConf(params, Role::kProducer));
}

/// Waits for the answer to one request about one topic.
void await(rd_kafka_queue_t* queue, const std::string& what) {
    const std::unique_ptr<rd_kafka_event_t, Destroyer<rd_kafka_event_destroy>> event(
        rd_kafka_queue_poll(queue, kPatienceMs));
    if (!event) throw SparkException(what + ": the broker does not answer");
    rd_kafka_resp_err_t error = rd_kafka_event_error(event.get());
    const rd_kafka_topic_result_t** topics = nullptr;
    std::size_t count = 0;
    if (const auto* created = rd_kafka_event_CreateTopics_result(event.get())) {
        topics = rd_kafka_CreateTopics_result_topics(created, &count);
    } else if (const auto* deleted = rd_kafka_event_DeleteTopics_result(event.get())) {
        topics = rd_kafka_DeleteTopics_result_topics(deleted, &count);
    } else if (const auto* grown = rd_kafka_event_CreatePartitions_result(event.get())) {
        topics = rd_kafka_CreatePartitions_result_topics(grown, &count);
    }
    for (std::size_t i = 0; i < count && error == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
        error = rd_kafka_topic_result_error(topics[i]);
    }
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw SparkException(what + ": " + textOf(error));
}

void check(const char* what, rd_kafka_error_t* reported) {
    const ErrorPtr error(reported);
    if (error) throw SparkException(std::string(what) + ": " + rd_kafka_error_string(error.get()));
}

ClientPtr transactionalProducer(const std::string& id) {
    ClientPtr producer = makeAdmin(Broker::get().params({{"transactional.id", id}}));
    check("init", rd_kafka_init_transactions(producer.get(), kPatienceMs));
    return producer;
}

}  // namespace

Broker& Broker::get() {
    if (!broker) broker = std::make_unique<Broker>();
    return *broker;
}

Broker::Broker(std::string secret) : secret_(std::move(secret)) {
    for (int attempt = 1;; ++attempt) {  // another port and a new directory each
        port_ = freePort();
        data_ = directory_ / ("broker" + std::to_string(attempt));
        try {
            start();
            return;
        } catch (const SparkException& error) {
            if (attempt == kStarts) throw;
            std::cerr << error.what() << '\n';
        }
    }
}

Broker::~Broker() {
    if (process_) ::kill(process_->id(), SIGTERM);
}

Params Broker::params(Params more) const {
    more.insert({"bootstrap.servers", servers()});
    return more;
}

Params Broker::saslParams(const std::string& password, bool encrypted) const {
    Params all{{"bootstrap.servers", "127.0.0.1:" + std::to_string(port_ + (encrypted ? 3 : 2))},
               {"security.protocol", encrypted ? "SASL_SSL" : "SASL_PLAINTEXT"},
               {"sasl.mechanism", "PLAIN"},
               {"sasl.username", "reader"},
               {"sasl.password", password}};
    if (encrypted) all["ssl.ca.location"] = data_ + "/ca.pem";
    return all;
}

void Broker::start() {
    process_ = std::make_unique<testsupport::ChildProcess>(
        std::vector<std::string>{KAFKA_BROKER_SCRIPT, "run", data_, std::to_string(port_)},
        std::vector<std::pair<std::string, std::string>>{{"KAFKA_SECRET", secret_}});
    const ClientPtr admin = makeAdmin(params({{"reconnect.backoff.max.ms", "200"}, {"log_level", "0"}}));
    const Deadline deadline(std::chrono::milliseconds{kPatienceMs});
    while (isAlive(process_->id()) && !deadline.passed()) {
        const rd_kafka_metadata_t* metadata = nullptr;
        if (rd_kafka_metadata(admin.get(), 1, nullptr, &metadata, 2'000) != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        const bool ready = metadata->broker_cnt == 1;  // one whose port is open may know of no other broker yet
        rd_kafka_metadata_destroy(metadata);
        if (ready) return;
    }
    std::ifstream log(data_ + "/broker.log");
    std::stringstream text;
    text << log.rdbuf();
    ::kill(process_->id(), SIGKILL);
    const int status = process_->finish();
    throw SparkException("the Kafka broker on port " + std::to_string(port_) + " does not start (exit status " +
                         std::to_string(status) + "). Its output:\n" + process_->output() + "\nits log:\n" +
                         text.str());
}

void Broker::restart() {
    for (int left = kStarts;; --left) {
        try {
            return start();
        } catch (const SparkException& error) {
            if (left == 1) throw;
            std::cerr << error.what() << '\n';
        }
    }
}

void Broker::kill() {
    ::kill(process_->id(), SIGKILL);
    process_->finish();
}

std::string Broker::topic(int partitions, const std::map<std::string, std::string>& settings) {
    std::string name = "topic" + std::to_string(++topics_);
    createTopic(name, partitions, settings);
    return name;
}

void Broker::createTopic(const std::string& name, int partitions, const std::map<std::string, std::string>& settings) {
    const ClientPtr admin = makeAdmin(params());
    const QueuePtr queue(rd_kafka_queue_new(admin.get()));
    rd_kafka_NewTopic_t* request = rd_kafka_NewTopic_new(name.c_str(), partitions, 1, nullptr, 0);
    for (const auto& [key, value] : settings) rd_kafka_NewTopic_set_config(request, key.c_str(), value.c_str());
    rd_kafka_CreateTopics(admin.get(), &request, 1, nullptr, queue.get());
    rd_kafka_NewTopic_destroy(request);
    await(queue.get(), "create topic " + name);
    awaitPartitions(name, partitions);
}

void Broker::deleteTopic(const std::string& name) {
    const ClientPtr admin = makeAdmin(params());
    const QueuePtr queue(rd_kafka_queue_new(admin.get()));
    rd_kafka_DeleteTopic_t* request = rd_kafka_DeleteTopic_new(name.c_str());
    rd_kafka_DeleteTopics(admin.get(), &request, 1, nullptr, queue.get());
    rd_kafka_DeleteTopic_destroy(request);
    await(queue.get(), "delete topic " + name);
}

void Broker::addPartitions(const std::string& name, int total) {
    const ClientPtr admin = makeAdmin(params());
    const QueuePtr queue(rd_kafka_queue_new(admin.get()));
    rd_kafka_NewPartitions_t* request =
        rd_kafka_NewPartitions_new(name.c_str(), static_cast<std::size_t>(total), nullptr, 0);
    rd_kafka_CreatePartitions(admin.get(), &request, 1, nullptr, queue.get());
    rd_kafka_NewPartitions_destroy(request);
    await(queue.get(), "add partitions to topic " + name);
    awaitPartitions(name, total);
}

void Broker::awaitPartitions(const std::string& topic, int partitions) {
    for (const Deadline deadline(std::chrono::milliseconds{kPatienceMs}); !deadline.passed();) {  // a round trip each
        try {
            if (KafkaUtils::partitionsOf(params(), {topic}).size() == static_cast<std::size_t>(partitions)) return;
        } catch (const SparkException&) {
        }
    }
    throw SparkException("topic " + topic + " does not get its partitions");
}

int64_t Broker::committed(const std::string& group, const TopicPartition& of) {
    const ClientPtr client =
        makeClient(RD_KAFKA_CONSUMER,
                   makeConf(params({{"group.id", group}, {"isolation.level", "read_committed"}}), Role::kDriver));
    const PartitionListPtr list = listOf({{of, RD_KAFKA_OFFSET_INVALID}});
    const auto error = fetchCommitted(client.get(), list.get(), std::chrono::milliseconds(kPatienceMs));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw SparkException(textOf(error));
    return list->elems[0].offset < 0 ? -1 : list->elems[0].offset;
}

std::vector<std::string> valuesOf(const std::string& topic, const std::string& isolation) {
    const Params params = Broker::get().params({{"isolation.level", isolation}});
    SparkContext sc(SparkConf().setAppName("reader").setMaster("local[2]"));
    const auto ranges = KafkaUtils::availableRanges(params, KafkaUtils::partitionsOf(params, {topic}));
    return KafkaUtils::createRDD<std::string, std::string>(sc, params, ranges, LocationStrategies::PreferConsistent)
        .map([](const auto& record) { return record.value(); })
        .collect();
}

void transaction(const std::string& id, const std::string& topic, const std::vector<std::string>& values, bool commit) {
    const ClientPtr producer = transactionalProducer(id);
    check("begin", rd_kafka_begin_transaction(producer.get()));
    for (const std::string& value : values) enqueue(producer.get(), topic, ProducerRecord::of("key", value));
    rd_kafka_flush(producer.get(), kPatienceMs);
    check("end", commit ? rd_kafka_commit_transaction(producer.get(), kPatienceMs)
                        : rd_kafka_abort_transaction(producer.get(), kPatienceMs));
}

void fence(const std::string& id) {
    transactionalProducer(id);
}

}  // namespace dstream::kafka
