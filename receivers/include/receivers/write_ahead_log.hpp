#pragma once

#include "rdd/iterator.hpp"
#include "rdd/spark_conf.hpp"
#include "receivers/received_block.hpp"
#include "receivers/receiver_info.hpp"

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace dstream {

/// Where a record of a write-ahead log is; only the log that wrote it knows what the bytes mean. Kept durably.
struct WriteAheadLogRecordHandle {
    std::string bytes;
    bool operator==(const WriteAheadLogRecordHandle&) const = default;
};

/// Keeps records durably until they are cleaned. Derive from it for a log of one's own and register it by name:
///
///     class ReplicatedLog : public WriteAheadLog { … };
///     registerWriteAheadLog<ReplicatedLog>("replicated");
///     conf.set("spark.streaming.receiver.writeAheadLog.class", "replicated");
///
/// All functions are called from any thread, write() from several at once.
class WriteAheadLog {
public:
    virtual ~WriteAheadLog() = default;

    /// Writes a record; durable on return.
    /// @param time  milliseconds, later than that of every record written before through the same writer; see clean()
    /// @throws SparkException  when it cannot be made durable; the caller may try again
    virtual WriteAheadLogRecordHandle write(const ByteBuffer& record, int64_t time) = 0;
    /// Reads one record, one of an earlier process included.
    /// @throws SparkException  when it cannot be read
    virtual ByteBuffer read(const WriteAheadLogRecordHandle& handle) = 0;
    /// All records that have not been cleaned, oldest first, those of earlier processes included.
    virtual Iterator<ByteBuffer> readAll() = 0;
    /// Allows the log to delete the records older than `threshTime`.
    /// @param waitForCompletion  false: return at once, another thread deletes
    virtual void clean(int64_t threshTime, bool waitForCompletion) = 0;
    /// Ends writing; what was written stays readable.
    virtual void close() = 0;
    /// For the metrics of the receiver.
    virtual WriteAheadLogStats stats() const { return {}; }
};

/// Makes the log of one directory. The directory belongs to this log alone and may not exist yet.
using WriteAheadLogFactory =
    std::function<std::unique_ptr<WriteAheadLog>(const SparkConf&, const std::string& directory)>;

/// Makes a kind of log available by name, process-wide; the last one registered under a name wins.
void registerWriteAheadLog(const std::string& name, WriteAheadLogFactory factory);

/// The same for a class with a constructor from settings and directory, from settings, or without arguments.
template <std::derived_from<WriteAheadLog> Log>
void registerWriteAheadLog(const std::string& name) {
    registerWriteAheadLog(name,
                          [](const SparkConf& conf, const std::string& directory) -> std::unique_ptr<WriteAheadLog> {
                              if constexpr (std::constructible_from<Log, const SparkConf&, const std::string&>) {
                                  return std::make_unique<Log>(conf, directory);
                              } else if constexpr (std::constructible_from<Log, const SparkConf&>) {
                                  return std::make_unique<Log>(conf);
                              } else {
                                  return std::make_unique<Log>();
                              }
                          });
}

}  // namespace dstream
