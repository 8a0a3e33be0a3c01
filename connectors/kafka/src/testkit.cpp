#include "connectors/kafka/testkit.hpp"

#include "client.hpp"

#include <librdkafka/rdkafka_mock.h>

#include <algorithm>
#include <atomic>

namespace dstream::kafka::testkit {

struct MockCluster::Impl {
    detail::ClientPtr client;
    std::unique_ptr<rd_kafka_mock_cluster_t, detail::Destroyer<rd_kafka_mock_cluster_destroy>> cluster;
};

MockCluster::MockCluster(int brokers) : impl_(std::make_unique<Impl>()) {
    require(brokers > 0, "a cluster needs at least one broker: " + std::to_string(brokers));
    detail::ConfPtr conf(rd_kafka_conf_new());
    rd_kafka_conf_set(conf.get(), "log_level", "0", nullptr, 0);  // it misses servers to talk to
    impl_->client = detail::makeClient(RD_KAFKA_PRODUCER, std::move(conf));
    impl_->cluster.reset(rd_kafka_mock_cluster_new(impl_->client.get(), brokers));
    if (!impl_->cluster) throw SparkException("the mock cluster does not start");
}

MockCluster::~MockCluster() = default;

std::string MockCluster::bootstrapServers() const {
    return rd_kafka_mock_cluster_bootstraps(impl_->cluster.get());
}

void MockCluster::createTopic(const std::string& topic, int partitions) {
    const auto error = rd_kafka_mock_topic_create(impl_->cluster.get(), topic.c_str(), partitions, 1);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        throw SparkException("cannot create topic " + topic + ": " + detail::textOf(error));
    }
}

void MockCluster::setTopicError(const std::string& topic, int error) {
    rd_kafka_mock_topic_set_error(impl_->cluster.get(), topic.c_str(), static_cast<rd_kafka_resp_err_t>(error));
}

void MockCluster::setDown(int broker) {
    rd_kafka_mock_broker_set_down(impl_->cluster.get(), broker);
}

void MockCluster::setUp(int broker) {
    rd_kafka_mock_broker_set_up(impl_->cluster.get(), broker);
}

void MockCluster::failNext(int requestKind, const std::vector<int>& errors) {
    std::vector<rd_kafka_resp_err_t> all;
    for (const int error : errors) all.push_back(static_cast<rd_kafka_resp_err_t>(error));
    rd_kafka_mock_push_request_errors_array(impl_->cluster.get(), static_cast<int16_t>(requestKind), all.size(),
                                            all.data());
}

void produce(const Params& params, const std::string& topic, const std::vector<ProducerRecord>& records) {
    std::atomic<int> failed{0};
    detail::ConfPtr conf = detail::makeConf(params, detail::Role::kProducer);
    rd_kafka_conf_set_opaque(conf.get(), &failed);
    rd_kafka_conf_set_dr_msg_cb(conf.get(), [](rd_kafka_t*, const rd_kafka_message_t* message, void* count) {
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) ++*static_cast<std::atomic<int>*>(count);
    });
    const detail::ClientPtr client = detail::makeClient(RD_KAFKA_PRODUCER, std::move(conf));
    for (const ProducerRecord& record : records) detail::enqueue(client.get(), topic, record);
    const auto error = rd_kafka_flush(client.get(), static_cast<int>(detail::apiTimeout(params).count()));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR || failed > 0) {
        rd_kafka_purge(client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        throw SparkException("records were not written to topic " + topic + " of " + detail::serversOf(params));
    }
}

}  // namespace dstream::kafka::testkit
