#include "wal_block_store.hpp"

#include "rdd/bytes.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace dstream::detail {

namespace {

constexpr const char* kComponent = "wal";
constexpr int64_t kRetryMs = 1000;

enum class BlockForm : uint8_t { kBytes = 0, kText = 1, kRecords = 2 };
enum class TrackerRecord : uint8_t { kAdded = 1, kAllocated = 2, kCleaned = 3 };

}  // namespace

ByteBuffer encodeReceivedBlock(const Block& block, const BlockCodec* codec) {
    ByteWriter out;
    if (const auto* text = dynamic_cast<const TextBlock*>(&block)) {
        out.u8(static_cast<uint8_t>(BlockForm::kText));
        out.u64(text->numLines());
        uint32_t begin = 0;
        for (const uint32_t end : text->lineEnds()) {
            out.varint(end - begin);
            begin = end;
        }
        out.bytes(text->bytes());
    } else if (const auto* bytes = dynamic_cast<const BytesBlock*>(&block)) {
        out.u8(static_cast<uint8_t>(BlockForm::kBytes));
        out.i64(bytes->numRecords().value_or(-1));
        out.bytes(bytes->bytes());
    } else {
        if (!codec) throw NotSerializableException("a received block cannot be logged: its records have no Codec");
        out.u8(static_cast<uint8_t>(BlockForm::kRecords));
        out.text(codec->name());
        out.u32(codec->version());
        codec->write(out, block);
    }
    return {out.takeString()};
}

BlockPtr decodeReceivedBlock(std::string_view bytes, const BlockCodec* codec, const std::string& origin) {
    ByteReader in(bytes);
    const auto rest = [&in] { return std::string(asText(in.bytes(in.remaining()))); };
    switch (static_cast<BlockForm>(in.u8())) {
        case BlockForm::kText: {
            std::vector<uint32_t> lineEnds(in.count());
            uint64_t end = 0;
            for (uint32_t& lineEnd : lineEnds) {
                end += in.varint();
                if (end > bytes.size()) break;
                lineEnd = static_cast<uint32_t>(end);
            }
            if (end != in.remaining()) throw SparkException(origin + " holds lines that do not add up to its bytes");
            return std::make_shared<const TextBlock>(rest(), std::move(lineEnds));
        }
        case BlockForm::kBytes: {
            const int64_t records = in.i64();
            return std::make_shared<const BytesBlock>(rest(), records < 0 ? std::nullopt : std::optional(records));
        }
        case BlockForm::kRecords: {
            const std::string name(in.text());
            const uint32_t version = in.u32();
            if (!codec || name != codec->name() || version > codec->version()) {
                throw SparkException(origin + " holds records of type " + name + " version " + std::to_string(version) +
                                     ", the receiver stores " +
                                     (codec ? codec->name() + " version " + std::to_string(codec->version())
                                            : "records without a Codec") +
                                     "; run the program that wrote it");
            }
            return codec->read(in);
        }
    }
    throw SparkException(origin + " is not a received block");
}

WalWriter::WalWriter(std::unique_ptr<WriteAheadLog> log, std::shared_ptr<Clock> clock, std::stop_token stopping)
    : log_(std::move(log)), clock_(std::move(clock)), stopping_(std::move(stopping)) {}

int64_t WalWriter::takeTime() {
    const int64_t now = clock_->getTimeMillis();
    std::lock_guard lock(mutex_);
    lastTime_ = lastTime_ < now ? now : lastTime_ + 1;
    held_.insert(lastTime_);
    return lastTime_;
}

void WalWriter::hold(int64_t time) {
    std::lock_guard lock(mutex_);
    lastTime_ = std::max(lastTime_, time);
    held_.insert(time);
}

void WalWriter::release(int64_t time) {
    std::lock_guard lock(mutex_);
    if (const auto found = held_.find(time); found != held_.end()) held_.erase(found);
}

WriteAheadLogRecordHandle WalWriter::write(const ByteBuffer& record, int64_t time, int streamId,
                                           const WalReport* report) {
    for (;;) {
        try {
            return log_->write(record, time);
        } catch (const SparkException&) {
            if (!report || stopping_.stop_requested()) throw;
            const std::string who = streamId < 0 ? "batches wait" : "the receiver waits";
            (*report)(streamId, "the write-ahead log cannot be written; " + who + " until it can be",
                      std::current_exception());
        }
        clock_->waitTillTime(clock_->getTimeMillis() + kRetryMs, stopping_);
    }
}

void WalWriter::clean() {
    int64_t threshold;
    {
        std::lock_guard lock(mutex_);
        if (lastTime_ == INT64_MIN) return;
        threshold = held_.empty() ? lastTime_ + 1 : *held_.begin();
    }
    log_->clean(threshold, false);
}

struct WalBlockStore::Stream {
    Stream(std::unique_ptr<WriteAheadLog> log, std::shared_ptr<Clock> clock, std::stop_token stopping,
           const BlockCodec* blockCodec, bool toBeWritten)
        : writer(std::move(log), std::move(clock), std::move(stopping)), codec(blockCodec), writes(toBeWritten) {}
    WalWriter writer;
    const BlockCodec* const codec;
    const bool writes;
};

/// A block that is in a log, and in memory unless an earlier process received it.
class WalBlockStore::LoggedBlock final : public StoredBlock {
public:
    LoggedBlock(const StreamBlockId& id, std::shared_ptr<Stream> stream, std::shared_ptr<const StoredBlock> memory,
                WriteAheadLogRecordHandle handle, int64_t time)
        : id_(id), stream_(std::move(stream)), memory_(std::move(memory)), handle_(std::move(handle)), time_(time) {}
    ~LoggedBlock() override { stream_->writer.release(time_); }

    BlockPtr load() const override {
        if (memory_) return memory_->load();
        return decodeReceivedBlock(stream_->writer.log().read(handle_).bytes, stream_->codec,
                                   "block " + id_.toString() + " of the write-ahead log");
    }
    std::shared_ptr<const StoredBlock> withoutMemory() const override {
        stream_->writer.hold(time_);
        return std::make_shared<const LoggedBlock>(id_, stream_, nullptr, handle_, time_);
    }
    int64_t time() const { return time_; }
    const WriteAheadLogRecordHandle& handle() const { return handle_; }

private:
    const StreamBlockId id_;
    const std::shared_ptr<Stream> stream_;
    const std::shared_ptr<const StoredBlock> memory_;
    const WriteAheadLogRecordHandle handle_;
    const int64_t time_;
};

WalBlockStore::WalBlockStore(std::shared_ptr<ReceivedBlockStore> memory, std::shared_ptr<Clock> clock,
                             std::stop_source stopping, WalReport report)
    : memory_(std::move(memory)),
      clock_(std::move(clock)),
      stopping_(std::move(stopping)),
      report_(std::move(report)) {}

void WalBlockStore::addStream(int streamId, std::unique_ptr<WriteAheadLog> log, const BlockCodec* codec, bool writes) {
    streams_[streamId] = std::make_shared<Stream>(std::move(log), clock_, stopping_.get_token(), codec, writes);
}

std::shared_ptr<const StoredBlock> WalBlockStore::store(const StreamBlockId& id, BlockPtr block,
                                                        const StorageLevel& level) {
    const auto found = streams_.find(id.streamId);
    if (found == streams_.end() || !found->second->writes) return memory_->store(id, std::move(block), level);
    Stream& stream = *found->second;
    std::shared_ptr<const StoredBlock> memory = memory_->store(id, block, level);  // waits for room
    const ByteBuffer record = encodeReceivedBlock(*block, stream.codec);
    const int64_t time = stream.writer.takeTime();
    try {
        DSTREAM_FAILPOINT("wal.before_block_logged");
        WriteAheadLogRecordHandle handle = stream.writer.write(record, time, id.streamId, &report_);
        return std::make_shared<const LoggedBlock>(id, found->second, std::move(memory), std::move(handle), time);
    } catch (...) {
        stream.writer.release(time);
        throw;
    }
}

void WalBlockStore::stopWaiting() {
    memory_->stopWaiting();
    stopping_.request_stop();
}

std::shared_ptr<const StoredBlock> WalBlockStore::recover(const StreamBlockId& id, ByteReader& in) const {
    if (in.u8() == 0) return nullptr;
    const int64_t time = in.i64();
    WriteAheadLogRecordHandle handle{std::string(in.text())};
    const auto stream = streams_.find(id.streamId);
    if (stream == streams_.end()) return nullptr;
    stream->second->writer.hold(time);
    return std::make_shared<const LoggedBlock>(id, stream->second, nullptr, std::move(handle), time);
}

void WalBlockStore::describe(ByteWriter& out, const StoredBlock* stored) {
    const auto* logged = dynamic_cast<const LoggedBlock*>(stored);
    out.u8(logged ? 1 : 0);
    if (!logged) return;
    out.i64(logged->time());
    out.text(logged->handle().bytes);
}

void WalBlockStore::clean() {
    for (const auto& entry : streams_) entry.second->writer.clean();
}

void WalBlockStore::close() {
    for (const auto& entry : streams_) entry.second->writer.log().close();
}

WriteAheadLogStats WalBlockStore::stats(int streamId) const {
    const auto stream = streams_.find(streamId);
    return stream == streams_.end() ? WriteAheadLogStats() : stream->second->writer.log().stats();
}

WalTrackerLog::WalTrackerLog(std::unique_ptr<WriteAheadLog> log, std::shared_ptr<Clock> clock,
                             std::stop_source stopping, WalReport report)
    : writer_(std::move(log), std::move(clock), stopping.get_token()), report_(std::move(report)) {}

RecoveredBlocks WalTrackerLog::recover(const WalBlockStore& store) {
    RecoveredBlocks recovered;
    std::map<StreamBlockId, ReceivedBlockInfo> waiting;
    std::map<int, std::vector<StreamBlockId>> order;  // of arrival
    Iterator<ByteBuffer> records = writer_.log().readAll();
    while (records.hasNext()) {
        const ByteBuffer record = records.next();
        ByteReader in(record.bytes);
        const int64_t time = in.i64();
        switch (static_cast<TrackerRecord>(in.u8())) {
            case TrackerRecord::kAdded: {
                StreamBlockId id;
                id.streamId = static_cast<int>(in.u32());
                id.uniqueId = in.i64();
                const int64_t numRecords = in.i64();
                ReceivedBlockInfo info{id, numRecords < 0 ? std::nullopt : std::optional(numRecords), {}, nullptr};
                info.stored = store.recover(id, in);
                if (!waiting.emplace(id, std::move(info)).second) break;
                order[id.streamId].push_back(id);
                added_[id] = time;
                writer_.hold(time);
                int64_t& latest = recovered.latestIds.try_emplace(id.streamId, id.uniqueId).first->second;
                latest = std::max(latest, id.uniqueId);
                break;
            }
            case TrackerRecord::kAllocated: {
                const Time batchTime(in.i64());
                latestCleaned_ = latestCleaned_.max(Time(in.i64()));
                BlocksByStream& blocks = recovered.batches[batchTime];
                Batch& batch = batches_[batchTime];
                batch.recordTimes.push_back(time);
                writer_.hold(time);
                for (size_t left = in.count(12); left > 0; --left) {
                    StreamBlockId id;
                    id.streamId = static_cast<int>(in.u32());
                    id.uniqueId = in.i64();
                    auto info = waiting.extract(id);
                    if (!info) {
                        logMessage(LogLevel::kError, kComponent,
                                   "block " + id.toString() + " of batch " + batchTime.toString() +
                                       " is lost: the record of its arrival is missing");
                        continue;
                    }
                    blocks[id.streamId].push_back(std::move(info.mapped()));
                    batch.recordTimes.push_back(added_.extract(id).mapped());
                    batch.hasBlocks = true;
                }
                recovered.lastBatch = recovered.lastBatch ? recovered.lastBatch->max(batchTime) : batchTime;
                break;
            }
            case TrackerRecord::kCleaned: {
                latestCleaned_ = latestCleaned_.max(Time(in.i64()));
                std::vector<Time> times;
                for (size_t left = in.count(8); left > 0; --left) times.emplace_back(in.i64());
                for (const Time batchTime : times) recovered.batches.erase(batchTime);
                writer_.hold(time);  // only so that later records get later times
                writer_.release(time);
                forget(times);
                break;
            }
            default:
                throw SparkException(
                    "the log of received blocks holds a record that this program does not know; "
                    "it may be of a newer version");
        }
    }
    for (const auto& [streamId, ids] : order) {
        for (const StreamBlockId& id : ids) {
            if (auto info = waiting.extract(id)) recovered.waiting[streamId].push_back(std::move(info.mapped()));
        }
    }
    recovered.latestCleaned = latestCleaned_;
    return recovered;
}

bool WalTrackerLog::write(const ByteWriter& record, int64_t time, int streamId, bool patiently, int injectedError) {
    try {
        if (injectedError != 0) throw std::system_error(injectedError, std::generic_category(), "injected");
        writer_.write({std::string(asText(record.view()))}, time, streamId, patiently ? &report_ : nullptr);
        return true;
    } catch (const std::exception& error) {
        logMessage(LogLevel::kError, kComponent, error.what());
        writer_.release(time);
        return false;
    }
}

bool WalTrackerLog::blockAdded(const ReceivedBlockInfo& info) {
    const int64_t time = writer_.takeTime();
    ByteWriter record;
    record.i64(time);
    record.u8(static_cast<uint8_t>(TrackerRecord::kAdded));
    record.u32(static_cast<uint32_t>(info.blockId.streamId));
    record.i64(info.blockId.uniqueId);
    record.i64(info.numRecords.value_or(-1));
    WalBlockStore::describe(record, info.stored.get());
    const int injected = DSTREAM_FAILPOINT_ERRNO("wal.before_block_added");
    if (!write(record, time, info.blockId.streamId, true, injected)) return false;
    std::lock_guard lock(mutex_);
    added_[info.blockId] = time;
    return true;
}

bool WalTrackerLog::batchAllocated(Time batchTime, const BlocksByStream& blocks) {
    const int64_t time = writer_.takeTime();
    ByteWriter record;
    record.i64(time);
    record.u8(static_cast<uint8_t>(TrackerRecord::kAllocated));
    record.i64(batchTime.milliseconds());
    {
        std::lock_guard lock(mutex_);
        record.i64(latestCleaned_.milliseconds());
    }
    size_t count = 0;
    for (const auto& entry : blocks) count += entry.second.size();
    record.u64(count);
    for (const auto& [streamId, infos] : blocks) {
        for (const ReceivedBlockInfo& info : infos) {
            record.u32(static_cast<uint32_t>(streamId));
            record.i64(info.blockId.uniqueId);
        }
    }
    const int injected = DSTREAM_FAILPOINT_ERRNO("wal.before_batch_allocated");
    if (!write(record, time, -1, true, injected)) return false;
    std::lock_guard lock(mutex_);
    Batch& batch = batches_[batchTime];
    batch.recordTimes.push_back(time);
    batch.hasBlocks = count > 0;
    for (const auto& entry : blocks) {
        for (const ReceivedBlockInfo& info : entry.second) {
            if (auto added = added_.extract(info.blockId)) batch.recordTimes.push_back(added.mapped());
        }
    }
    return true;
}

bool WalTrackerLog::batchesCleaned(const std::vector<Time>& batchTimes) {
    const int64_t time = writer_.takeTime();
    ByteWriter record;
    record.i64(time);
    record.u8(static_cast<uint8_t>(TrackerRecord::kCleaned));
    {
        std::lock_guard lock(mutex_);
        Time latest = latestCleaned_;
        for (const Time batchTime : batchTimes) {
            const auto batch = batches_.find(batchTime);
            if (batch != batches_.end() && batch->second.hasBlocks) latest = latest.max(batchTime);
        }
        record.i64(latest.milliseconds());
    }
    record.u64(batchTimes.size());
    for (const Time batchTime : batchTimes) record.i64(batchTime.milliseconds());
    const int injected = DSTREAM_FAILPOINT_ERRNO("wal.before_batches_cleaned");
    if (!write(record, time, -1, false, injected)) return false;
    writer_.release(time);
    forget(batchTimes);
    writer_.clean();
    return true;
}

void WalTrackerLog::forget(const std::vector<Time>& batchTimes) {
    std::lock_guard lock(mutex_);
    for (const Time batchTime : batchTimes) {
        const auto batch = batches_.extract(batchTime);
        if (!batch) continue;
        if (batch.mapped().hasBlocks) latestCleaned_ = latestCleaned_.max(batchTime);
        for (const int64_t time : batch.mapped().recordTimes) writer_.release(time);
    }
}

}  // namespace dstream::detail
