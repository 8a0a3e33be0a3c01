#pragma once

#include "connectors/kafka/offsets.hpp"
#include "connectors/kafka/producer_record.hpp"
#include "support/child_process.hpp"
#include "support/test_files.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dstream::kafka {

/// The longest that a test goes on asking for what must come.
class Deadline {
public:
    explicit Deadline(std::chrono::milliseconds left) : at_(std::chrono::steady_clock::now() + left) {}
    bool passed() const { return std::chrono::steady_clock::now() > at_; }

private:
    const std::chrono::steady_clock::time_point at_;
};

/// A real broker on a free port, started for the first test that asks for it and stopped after the last test.
class Broker {
public:
    static Broker& get();

    /// @param secret  makes it listen with SASL and TLS, too: the password of the user "reader"
    explicit Broker(std::string secret = {});
    ~Broker();
    Params params(Params more = {}) const;
    /// The same with SASL; in the clear, or with TLS.
    Params saslParams(const std::string& password, bool encrypted) const;
    std::string servers() const { return "127.0.0.1:" + std::to_string(port_); }
    /// Makes a topic that no other test has; returns its name.
    std::string topic(int partitions, const std::map<std::string, std::string>& settings = {});
    void createTopic(const std::string& name, int partitions, const std::map<std::string, std::string>& settings = {});
    void deleteTopic(const std::string& name);
    void addPartitions(const std::string& name, int total);
    /// The offset that a group has committed; -1: none.
    int64_t committed(const std::string& group, const TopicPartition& of);
    /// Ends it as a crash does.
    void kill();
    /// Runs it again on the data it had; returns when it answers.
    void restart();

private:
    void start();
    void awaitPartitions(const std::string& topic, int partitions);

    const testsupport::TemporaryDirectory directory_;
    const std::string secret_;
    std::string data_;
    int port_ = 0;
    int topics_ = 0;
    std::unique_ptr<testsupport::ChildProcess> process_;
};

/// The values of a topic's records from its beginning.
std::vector<std::string> valuesOf(const std::string& topic, const std::string& isolation);

/// A transaction written by hand: begun, and committed or aborted.
void transaction(const std::string& id, const std::string& topic, const std::vector<std::string>& values, bool commit);
/// Locks out the producer that has this transactional.id.
void fence(const std::string& id);

}  // namespace dstream::kafka
