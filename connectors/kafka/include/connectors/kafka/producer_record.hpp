#pragma once

#include "connectors/kafka/consumer_record.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dstream::kafka {

/// One record to be written.
struct ProducerRecord {
    /// Empty: the topic of the sink.
    std::string topic{};
    std::optional<std::string> key{};
    /// Without one, a compacted topic forgets the key.
    std::optional<std::string> value{};
    std::vector<Header<std::string>> headers{};
    /// Negative: chosen by the key.
    int partition = -1;
    /// Milliseconds since the epoch; 0: now.
    int64_t timestamp = 0;

    static ProducerRecord of(std::string key, std::string value) { return {{}, std::move(key), std::move(value)}; }
};

}  // namespace dstream::kafka
