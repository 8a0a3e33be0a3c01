#pragma once

#include "rdd/clock.hpp"
#include "rdd/detail/block_codec.hpp"
#include "received_block_tracker.hpp"
#include "receivers/received_block.hpp"
#include "receivers/write_ahead_log.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace dstream::detail {

/// Told of each failure while a writer waits to try again; streamId -1: the batches wait, not a receiver.
using WalReport = std::function<void(int streamId, const std::string& message, std::exception_ptr error)>;

/// A received block as one record, and back. Only blocks of records as objects need `codec`, that of their type.
/// @throws NotSerializableException  when there is none
ByteBuffer encodeReceivedBlock(const Block& block, const BlockCodec* codec);
/// @throws SparkException  naming `origin`, when the record is not of this type
BlockPtr decodeReceivedBlock(std::string_view bytes, const BlockCodec* codec, const std::string& origin);

/// Writes to a log and knows which records are still needed: these are held, by their times. Thread-safe.
class WalWriter {
public:
    /// @param stopping  ends waits for a log that fails, now and later
    WalWriter(std::unique_ptr<WriteAheadLog> log, std::shared_ptr<Clock> clock, std::stop_token stopping);

    /// A time for the next record, later than all before; held.
    int64_t takeTime();
    /// Holds a record that was written before.
    void hold(int64_t time);
    void release(int64_t time);

    /// Writes a record; durable on return.
    /// @param report  null: fails with the log. Else this is told, and after a second it is tried again, until
    /// stopping.
    WriteAheadLogRecordHandle write(const ByteBuffer& record, int64_t time, int streamId, const WalReport* report);
    /// Lets the log delete what is older than all that is held.
    void clean();
    WriteAheadLog& log() const { return *log_; }

private:
    const std::unique_ptr<WriteAheadLog> log_;
    const std::shared_ptr<Clock> clock_;
    const std::stop_token stopping_;
    std::mutex mutex_;  // guards the fields below
    std::multiset<int64_t> held_;
    int64_t lastTime_ = INT64_MIN;
};

/// Keeps blocks in memory and in the log of their stream; streams without a log in memory only.
class WalBlockStore final : public ReceivedBlockStore {
public:
    WalBlockStore(std::shared_ptr<ReceivedBlockStore> memory, std::shared_ptr<Clock> clock, std::stop_source stopping,
                  WalReport report);

    /// Before the first block of the stream.
    /// @param writes  false: the log is only read, for blocks of an earlier process
    void addStream(int streamId, std::unique_ptr<WriteAheadLog> log, const BlockCodec* codec, bool writes);
    std::shared_ptr<const StoredBlock> store(const StreamBlockId& id, BlockPtr block,
                                             const StorageLevel& level) override;
    void stopWaiting() override;
    /// Where a block of this store is, as describe() wrote it; null when its stream has no log.
    std::shared_ptr<const StoredBlock> recover(const StreamBlockId& id, ByteReader& in) const;
    /// Writes where a block is; what recover() reads.
    static void describe(ByteWriter& out, const StoredBlock* stored);
    /// Lets the logs delete what nobody refers to.
    void clean();
    void close();
    /// Of the log of a stream; all 0 when it has none.
    WriteAheadLogStats stats(int streamId) const;

private:
    struct Stream;
    class LoggedBlock;

    const std::shared_ptr<ReceivedBlockStore> memory_;
    const std::shared_ptr<Clock> clock_;
    std::stop_source stopping_;
    const WalReport report_;
    std::map<int, std::shared_ptr<Stream>> streams_;
};

/// The log of blocks added and batches allocated and cleaned.
class WalTrackerLog final : public BlockTrackerLog {
public:
    WalTrackerLog(std::unique_ptr<WriteAheadLog> log, std::shared_ptr<Clock> clock, std::stop_source stopping,
                  WalReport report);

    /// Reads what earlier processes have logged; once, before the first call of the others.
    /// @throws SparkException  when the log holds something else
    RecoveredBlocks recover(const WalBlockStore& store);

    bool blockAdded(const ReceivedBlockInfo& info) override;
    bool batchAllocated(Time batchTime, const BlocksByStream& blocks) override;
    bool batchesCleaned(const std::vector<Time>& batchTimes) override;
    void close() { writer_.log().close(); }
    WriteAheadLogStats stats() const { return writer_.log().stats(); }

private:
    struct Batch {
        std::vector<int64_t> recordTimes;  // of its allocation and of the additions of its blocks
        bool hasBlocks = false;
    };

    bool write(const ByteWriter& record, int64_t time, int streamId, bool patiently, int injectedError);
    void forget(const std::vector<Time>& batchTimes);

    WalWriter writer_;
    const WalReport report_;
    std::mutex mutex_;                        // guards the fields below
    std::map<StreamBlockId, int64_t> added_;  // record times of blocks that wait
    std::map<Time, Batch> batches_;
    Time latestCleaned_{INT64_MIN};  // of the batches that had blocks
};

}  // namespace dstream::detail
