#pragma once

#include "connectors/kafka/offsets.hpp"
#include "connectors/kafka/producer_record.hpp"

#include <memory>
#include <string>
#include <vector>

/// What examples and a program's own tests need: a Kafka cluster inside of the process, and something in its topics.
///
///     kafka::testkit::MockCluster cluster;
///     kafka::testkit::produce(cluster.params(), "lines", {ProducerRecord::of("1", "to be or not to be")});
namespace dstream::kafka::testkit {

/// A cluster that keeps about 5 MB per partition and knows no transactions. Its servers listen on the loopback
/// interface until it is destroyed.
class MockCluster {
public:
    explicit MockCluster(int brokers = 1);
    ~MockCluster();
    MockCluster(const MockCluster&) = delete;
    MockCluster& operator=(const MockCluster&) = delete;

    /// "bootstrap.servers" of the cluster.
    std::string bootstrapServers() const;
    /// Settings that reach it.
    Params params() const { return {{"bootstrap.servers", bootstrapServers()}}; }
    /// @throws SparkException  when the topic exists
    void createTopic(const std::string& topic, int partitions);
    /// Makes every request that speaks of the topic fail with this error code of the protocol; 0 ends it.
    void setTopicError(const std::string& topic, int error);
    /// Brokers are numbered from 1.
    void setDown(int broker);
    void setUp(int broker);
    /// Makes the next requests of a kind (its number in the protocol) fail, one error each.
    void failNext(int requestKind, const std::vector<int>& errors);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Writes records and returns when all are acknowledged.
/// @throws SparkException  when one is not
void produce(const Params& params, const std::string& topic, const std::vector<ProducerRecord>& records);

}  // namespace dstream::kafka::testkit
