#include "receivers/file_write_ahead_log.hpp"

#include "rdd/bytes.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/frame.hpp"
#include "rdd/log.hpp"
#include "wal_segment.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <future>
#include <string_view>
#include <utility>

namespace dstream {

using namespace detail;

namespace {

constexpr const char* kComponent = "wal";
constexpr int64_t kFillBytes = int64_t{1} << 20;  // the file grows by zeros in such steps: syncing is cheaper then
constexpr size_t kPieceBytes = size_t{1} << 20;   // records are gathered up to this size for one write
constexpr size_t kTimeBytes = sizeof(int64_t);
constexpr std::string_view kPrefix = "seg-";
constexpr std::string_view kSuffix = ".wal";

std::optional<uint64_t> numberOf(std::string_view name) {
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
    name.remove_prefix(kPrefix.size());
    name.remove_suffix(kSuffix.size());
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
    return number;
}

std::optional<int64_t> timeOf(const WalRecord& record) {
    if (record.payload.size() < kTimeBytes) return std::nullopt;
    return ByteReader(record.payload).i64();
}

std::string textOf(const WalRecord& record) {
    return std::string(asText(record.payload.subspan(kTimeBytes)));
}

WriteAheadLogRecordHandle handleOf(uint64_t segment, uint64_t offset, size_t sizeBytes) {
    ByteWriter out;
    out.u64(segment);
    out.u64(offset);
    out.u64(sizeBytes);
    return {out.takeString()};
}

/// Reads segments one after the other.
class SegmentCursor final : public Cursor<ByteBuffer> {
public:
    struct Source {
        std::string path;
        uint64_t voidFrom;
    };
    SegmentCursor(std::vector<Source> sources, Fs& fs) : sources_(std::move(sources)), fs_(fs) {}

private:
    Chunk<ByteBuffer> doNext() override {
        records_.clear();
        while (records_.empty() && next_ < sources_.size()) {
            const Source& source = sources_[next_++];
            if (!fs_.exists(source.path)) continue;  // cleaned meanwhile
            const std::vector<std::byte> bytes = fs_.readFile(source.path);
            for (const WalRecord& record : scanWalSegment(bytes, 0, source.voidFrom, source.path).records) {
                if (timeOf(record)) records_.push_back({textOf(record)});
            }
        }
        return Chunk<ByteBuffer>::ownedBy(records_.data(), records_.size());
    }

    const std::vector<Source> sources_;
    Fs& fs_;
    size_t next_ = 0;
    std::vector<ByteBuffer> records_;
};

FileWriteAheadLogOptions readOptions(const SparkConf& conf, const std::string& rollingKey,
                                     const std::string& failuresKey, const std::string& closeKey) {
    FileWriteAheadLogOptions options;
    const int64_t seconds = conf.getLong(rollingKey, options.rollingIntervalMs / 1000);
    require(seconds > 0 && seconds <= INT64_MAX / 1000,
            rollingKey + " must be a positive number of seconds: " + std::to_string(seconds));
    options.rollingIntervalMs = seconds * 1000;
    options.maxFailures = conf.getInt(failuresKey, options.maxFailures);
    require(options.maxFailures > 0, failuresKey + " must be positive: " + std::to_string(options.maxFailures));
    options.closeFileAfterWrite = conf.getBoolean(closeKey, false);
    const std::string recovery = conf.get("dstream.wal.recovery", "stop");
    require(recovery == "stop" || recovery == "skipCorrupt",
            "dstream.wal.recovery must be stop or skipCorrupt: '" + recovery + "'");
    options.skipCorrupt = recovery == "skipCorrupt";
    return options;
}

}  // namespace

FileWriteAheadLogOptions FileWriteAheadLogOptions::forReceiver(const SparkConf& conf) {
    return readOptions(conf, "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs",
                       "spark.streaming.receiver.writeAheadLog.maxFailures",
                       "spark.streaming.receiver.writeAheadLog.closeFileAfterWrite");
}

FileWriteAheadLogOptions FileWriteAheadLogOptions::forDriver(const SparkConf& conf) {
    return readOptions(conf, "spark.streaming.driver.writeAheadLog.rollingIntervalSecs",
                       "spark.streaming.driver.writeAheadLog.maxFailures",
                       "spark.streaming.driver.writeAheadLog.closeFileAfterWrite");
}

struct FileWriteAheadLog::Pending {
    const ByteBuffer* record = nullptr;  // the waiting caller's
    int64_t time = 0;
    WriteAheadLogRecordHandle handle;
    std::string failure;  // why it is not durable; each waiting thread throws an exception of its own
    std::atomic<int> done = 0;

    size_t payloadBytes() const { return kTimeBytes + record->bytes.size(); }
    void finish() {
        done = 1;
        done.notify_one();
    }
};

struct FileWriteAheadLog::Cleaning {
    int64_t threshTime = 0;
    std::promise<void> done;
};

FileWriteAheadLog::FileWriteAheadLog(std::string directory, const FileWriteAheadLogOptions& options,
                                     std::shared_ptr<Clock> clock, Fs& fs)
    : directory_(std::move(directory)),
      options_(options),
      fillBytes_(static_cast<uint64_t>(std::clamp<int64_t>(options.segmentBytes, kWalHeaderBytes, kFillBytes))),
      clock_(std::move(clock)),
      fs_(fs) {
    fs_.makeDurableDirectories(directory_);
    recover();
    thread_ = std::jthread([this] { run(); });
}

FileWriteAheadLog::~FileWriteAheadLog() {
    close();
}

std::string FileWriteAheadLog::pathOf(uint64_t number) const {
    return directory_ + "/" + std::string(kPrefix) + std::to_string(number) + std::string(kSuffix);
}

void FileWriteAheadLog::refuseOrSkip(const std::string& path, uint64_t offset, const std::string& what) {
    const std::string message =
        "the write-ahead log is damaged: " + path + " at offset " + std::to_string(offset) + ": " + what;
    if (!options_.skipCorrupt) {
        throw SparkException(
            message + "; restore the file, or set dstream.wal.recovery=skipCorrupt to go on without what it held");
    }
    ++stats_.damages;
    logMessage(LogLevel::kError, kComponent, message + "; skipped");
}

void FileWriteAheadLog::recover() {
    struct Found {
        uint64_t number;
        std::optional<WalSegmentHeader> header;
    };
    std::vector<uint64_t> numbers;
    for (const std::string& name : fs_.list(directory_)) {
        if (const auto number = numberOf(name)) numbers.push_back(*number);
    }
    std::ranges::sort(numbers);
    std::vector<Found> found;
    std::vector<uint64_t> unfinished;
    for (const uint64_t number : numbers) {
        lastNumber_ = number;
        const std::string path = pathOf(number);
        std::vector<std::byte> head(kWalHeaderBytes);
        head.resize(fs_.open(path, Fs::Mode::kRead).readAt(head, 0));
        WalScan scan = scanWalSegment(head, 0, 0, path);
        if (!scan.header) {
            const std::vector<std::byte> bytes = fs_.readFile(path);
            scan = scanWalSegment(bytes, 0, UINT64_MAX, path);
            if (scan.records.empty() && !scan.closed) {
                unfinished.push_back(number);
                continue;
            }
            refuseOrSkip(path, 0, scan.headerError);
        } else if (scan.header->segment != number) {
            refuseOrSkip(path, 0, "its header is that of segment " + std::to_string(scan.header->segment));
        }
        if (found.empty() && !unfinished.empty() && scan.header && scan.header->firstSequence > 1) {
            refuseOrSkip(pathOf(unfinished.front()), 0, "it has no header, and what it held may be missing");
        }
        found.push_back({number, scan.header});
    }
    for (const uint64_t number : unfinished) {
        // A file whose header is not durable holds no record that was acknowledged.
        logMessage(LogLevel::kWarn, kComponent, pathOf(number) + " was being made when the process ended; removed");
        ++stats_.tornTails;
        DSTREAM_FAILPOINT("wal.before_remove_unfinished");
        fs_.remove(pathOf(number));
    }
    if (!unfinished.empty()) fs_.syncDirectory(directory_);
    for (size_t i = 0; i < found.size(); ++i) {
        const std::string path = pathOf(found[i].number);
        const bool last = i + 1 == found.size();
        const std::vector<std::byte> bytes = fs_.readFile(path);
        Segment segment;
        segment.number = found[i].number;
        if (!last && found[i + 1].header) segment.voidFrom = found[i + 1].header->firstSequence;
        WalScan scan = scanWalSegment(bytes, i == 0 ? 0 : nextSequence_, segment.voidFrom, path);
        if (i > 0 && scan.header && scan.header->firstSequence != nextSequence_) {
            refuseOrSkip(path, 0,
                         "it begins with record " + std::to_string(scan.header->firstSequence) + ", and " +
                             pathOf(found[i - 1].number) + " ends before record " + std::to_string(nextSequence_) +
                             ": a file is missing or was shortened");
        }
        // A place that had not been synced is a write that was cut off, and what follows it belongs to this write.
        const auto tail = last ? std::ranges::find(scan.damages, false, &WalDamage::wasSynced) : scan.damages.end();
        for (auto damage = scan.damages.begin(); damage != tail; ++damage) {
            if (scan.header || damage->offset > 0) refuseOrSkip(path, damage->offset, damage->what);
        }
        if (tail != scan.damages.end()) {
            scan.endOffset = tail->offset;
            std::erase_if(scan.records, [&](const WalRecord& record) { return record.offset > tail->offset; });
            scan.nextSequence = !scan.records.empty() ? scan.records.back().sequence + 1
                                : scan.header         ? scan.header->firstSequence
                                                      : nextSequence_;
        }
        for (const WalRecord& record : scan.records) {
            if (const auto time = timeOf(record)) {
                segment.latestTime = std::max(segment.latestTime, *time);
            } else {
                refuseOrSkip(path, record.offset, "a record that no log wrote");
            }
        }
        nextSequence_ = std::max(scan.nextSequence, nextSequence_);
        segments_.push_back(segment);
        if (!last || scan.closed) continue;
        if (tail != scan.damages.end()) {
            ++stats_.tornTails;
            logMessage(LogLevel::kWarn, kComponent,
                       "the last write to " + path + " was cut off at offset " + std::to_string(scan.endOffset) +
                           "; what was acknowledged is before it");
        }
        repairLast(path, scan.endOffset, bytes.size());
    }
}

void FileWriteAheadLog::repairLast(const std::string& path, uint64_t endOffset, uint64_t sizeBytes) {
    // Synced in any case: what is read from now on must not depend on what the process before had not synced.
    File file = fs_.open(path, Fs::Mode::kReadWrite);
    if (endOffset < sizeBytes) {
        DSTREAM_FAILPOINT("wal.before_truncate_tail");
        file.truncate(endOffset);
    }
    DSTREAM_FAILPOINT("wal.before_sync_tail");
    file.sync();
    file.close();
}

WriteAheadLogRecordHandle FileWriteAheadLog::write(const ByteBuffer& record, int64_t time) {
    if (record.bytes.size() > kWalMaxPayloadBytes - kTimeBytes) {
        throw SparkException("a record of the write-ahead log can have " +
                             std::to_string(kWalMaxPayloadBytes - kTimeBytes) +
                             " bytes: " + std::to_string(record.bytes.size()) + "; store smaller blocks");
    }
    const auto pending = std::make_shared<Pending>();
    pending->record = &record;
    pending->time = time;
    const auto sizeBytes = static_cast<int64_t>(pending->payloadBytes());
    {
        std::unique_lock lock(mutex_);
        room_.wait(
            lock, [&] { return closing_ || queuedBytes_ == 0 || queuedBytes_ <= options_.maxQueuedBytes - sizeBytes; });
        if (closing_) throw IllegalStateException("the write-ahead log in " + directory_ + " has been closed");
        queuedBytes_ += sizeBytes;
        queue_.push_back(pending);
        if (queue_.size() == 1) changed_.notify_one();
    }
    pending->done.wait(0);
    if (!pending->failure.empty()) throw SparkException(pending->failure);
    return std::move(pending->handle);
}

ByteBuffer FileWriteAheadLog::read(const WriteAheadLogRecordHandle& handle) {
    ByteReader in(handle.bytes);
    const uint64_t number = in.u64();
    const uint64_t offset = in.u64();
    const uint64_t sizeBytes = in.u64();
    const std::string path = pathOf(number);
    const File file = fs_.open(path, Fs::Mode::kRead);
    const bool possible = offset <= file.size() && sizeBytes <= file.size() - offset;
    std::vector<std::byte> bytes(possible ? sizeBytes : 0);
    bytes.resize(file.readAt(bytes, offset));
    const auto record = readWalRecord(bytes);
    if (!record || record->payload.size() + kWalRecordHeadBytes != sizeBytes || !timeOf(*record)) {
        throw SparkException("the record at offset " + std::to_string(offset) + " of " + path +
                             " cannot be read: a good one of " + std::to_string(sizeBytes) +
                             " bytes is expected there; restore the file");
    }
    return {textOf(*record)};
}

Iterator<ByteBuffer> FileWriteAheadLog::readAll() {
    std::vector<SegmentCursor::Source> sources;
    std::lock_guard lock(mutex_);
    for (const Segment& segment : segments_) sources.push_back({pathOf(segment.number), segment.voidFrom});
    return Iterator<ByteBuffer>(std::make_unique<SegmentCursor>(std::move(sources), fs_));
}

void FileWriteAheadLog::clean(int64_t threshTime, bool waitForCompletion) {
    const auto cleaning = std::make_shared<Cleaning>();
    cleaning->threshTime = threshTime;
    std::future<void> done = cleaning->done.get_future();
    {
        std::lock_guard lock(mutex_);
        if (closing_) return;
        cleanings_.push_back(cleaning);
        changed_.notify_one();
    }
    if (waitForCompletion) done.get();
}

void FileWriteAheadLog::close() {
    {
        std::lock_guard lock(mutex_);
        closing_ = true;
    }
    changed_.notify_one();
    room_.notify_all();
    if (thread_.joinable()) thread_.join();
}

WriteAheadLogStats FileWriteAheadLog::stats() const {
    std::lock_guard lock(mutex_);
    return stats_;
}

void FileWriteAheadLog::run() {
    for (;;) {
        Group group;
        std::vector<std::shared_ptr<Cleaning>> cleanings;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return !queue_.empty() || !cleanings_.empty() || closing_; });
            group.swap(queue_);
            cleanings.swap(cleanings_);
            if (group.empty() && cleanings.empty()) break;
        }
        if (!group.empty()) writeGroup(group);
        for (const auto& cleaning : cleanings) {
            removeOldSegments(cleaning->threshTime);
            cleaning->done.set_value();
        }
    }
    if (file_.isOpen()) closeSegment();
}

void FileWriteAheadLog::writeGroup(const Group& group) {
    std::string failure;
    for (int attempt = 1; attempt <= options_.maxFailures; ++attempt) {
        try {
            writeOnce(group);
            failure.clear();
            break;
        } catch (const std::exception& error) {
            failure = "the write-ahead log in " + directory_ + " could not be written, " +
                      std::to_string(options_.maxFailures) + " attempts in new files failed: " + error.what();
            logMessage(LogLevel::kWarn, kComponent,
                       "attempt " + std::to_string(attempt) + " to write " + std::to_string(group.size()) +
                           " records to " + directory_ + " failed: " + error.what());
            abandonSegment();  // what a failed sync leaves in the file is unknown
        }
    }
    int64_t bytes = 0;
    int64_t latestTime = INT64_MIN;
    for (const auto& pending : group) {
        bytes += static_cast<int64_t>(pending->payloadBytes());
        latestTime = std::max(latestTime, pending->time);
    }
    {
        std::lock_guard lock(mutex_);
        queuedBytes_ -= bytes;
        if (failure.empty()) {
            stats_.records += static_cast<int64_t>(group.size());
            ++stats_.syncs;
            segments_.back().latestTime = std::max(segments_.back().latestTime, latestTime);
        }
    }
    room_.notify_all();
    for (const auto& pending : group) {
        pending->failure = failure;
        pending->finish();
    }
    if (failure.empty() && options_.closeFileAfterWrite) closeSegment();
}

void FileWriteAheadLog::writeOnce(const Group& group) {
    uint64_t groupBytes = 0;
    for (const auto& pending : group) groupBytes += kWalRecordHeadBytes + pending->payloadBytes();
    const bool full = offset_ > kWalHeaderBytes && offset_ + groupBytes > static_cast<uint64_t>(options_.segmentBytes);
    if (file_.isOpen() && (full || clock_->getTimeMillis() >= openedMs_ + options_.rollingIntervalMs)) closeSegment();
    if (!file_.isOpen()) openSegment();
    const uint64_t number = lastNumber_;
    uint64_t written = offset_;
    ByteWriter piece;
    const auto put = [&](std::span<const std::byte> bytes) {
        if (bytes.empty()) return;
        DSTREAM_FAILPOINT("wal.before_write");
        file_.writeAt(bytes, written);
        written += bytes.size();
    };
    const auto flush = [&] {
        put(piece.view());
        piece.clear();
    };
    uint64_t sequence = nextSequence_;
    uint64_t offset = offset_;
    for (const auto& pending : group) {
        ByteWriter time;
        time.i64(pending->time);
        const auto type = sequence == nextSequence_ ? WalRecordType::kFirstData : WalRecordType::kData;
        const auto bytes = asBytes(pending->record->bytes);
        appendWalRecordHead(piece, sequence++, type, time.view(), bytes);
        piece.bytes(time.view());
        if (bytes.size() < kPieceBytes) {
            piece.bytes(bytes);
            if (piece.size() >= kPieceBytes) flush();
        } else {
            flush();
            put(bytes);
        }
        const size_t recordBytes = kWalRecordHeadBytes + pending->payloadBytes();
        pending->handle = handleOf(number, offset, recordBytes);
        offset += recordBytes;
    }
    if (offset > filledBytes_) {
        filledBytes_ = (offset + fillBytes_ - 1) / fillBytes_ * fillBytes_;
        const size_t zeros = filledBytes_ - offset;
        if (piece.size() + zeros > 2 * kPieceBytes) flush();
        std::ranges::fill(std::span(piece.extend(zeros), zeros), std::byte{0});
    }
    flush();
    DSTREAM_FAILPOINT("wal.before_sync");
    file_.syncData();
    DSTREAM_FAILPOINT("wal.after_sync");
    offset_ = offset;
    nextSequence_ = sequence;
}

void FileWriteAheadLog::openSegment() {
    const uint64_t number = ++lastNumber_;
    DSTREAM_FAILPOINT("wal.before_create");
    file_ = fs_.open(pathOf(number), Fs::Mode::kCreate);
    offset_ = 0;
    {
        std::lock_guard lock(mutex_);
        if (!segments_.empty()) segments_.back().voidFrom = nextSequence_;
        segments_.push_back({number, INT64_MIN, UINT64_MAX});
    }
    std::vector<std::byte> first = encodeWalHeader({number, nextSequence_});
    first.resize(fillBytes_);
    DSTREAM_FAILPOINT("wal.before_write_header");
    file_.writeAt(first, 0);
    DSTREAM_FAILPOINT("wal.before_sync_header");
    file_.sync();
    DSTREAM_FAILPOINT("wal.before_sync_directory");
    fs_.syncDirectory(directory_);
    DSTREAM_FAILPOINT("wal.after_create");
    offset_ = kWalHeaderBytes;
    filledBytes_ = first.size();
    openedMs_ = clock_->getTimeMillis();
}

void FileWriteAheadLog::closeSegment() {
    // All that was acknowledged is durable already.
    try {
        ByteWriter end;
        appendWalRecordHead(end, nextSequence_, WalRecordType::kEnd, {});
        DSTREAM_FAILPOINT("wal.before_write_end");
        file_.writeAt(end.view(), offset_);
        DSTREAM_FAILPOINT("wal.before_truncate");
        file_.truncate(offset_ + end.size());
        DSTREAM_FAILPOINT("wal.before_sync_end");
        file_.sync();
        DSTREAM_FAILPOINT("wal.after_close");
        file_.close();
    } catch (const std::exception& error) {
        logMessage(LogLevel::kWarn, kComponent, std::string("a full segment could not be closed: ") + error.what());
    }
    file_ = File();
}

void FileWriteAheadLog::abandonSegment() {
    const bool exists = file_.isOpen();
    file_ = File();
    const bool useful = offset_ > kWalHeaderBytes;
    {
        std::lock_guard lock(mutex_);
        ++stats_.failedAttempts;
        if (exists && !useful) segments_.pop_back();
    }
    if (!exists || useful) return;
    try {
        fs_.remove(pathOf(lastNumber_));
    } catch (const std::exception& error) {
        logMessage(LogLevel::kWarn, kComponent, std::string("an unused segment stays: ") + error.what());
    }
}

void FileWriteAheadLog::removeOldSegments(int64_t threshTime) {
    for (;;) {
        uint64_t number;
        {
            std::lock_guard lock(mutex_);
            if (segments_.size() <= (file_.isOpen() ? 1U : 0U) || segments_.front().latestTime >= threshTime) return;
            number = segments_.front().number;
        }
        try {
            DSTREAM_FAILPOINT("wal.before_remove");
            fs_.remove(pathOf(number));
            // One by one: after a power cut the oldest of those that are left must not come back alone.
            DSTREAM_FAILPOINT("wal.before_sync_removal");
            fs_.syncDirectory(directory_);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, kComponent, std::string("an old segment stays: ") + error.what());
            return;
        }
        std::lock_guard lock(mutex_);
        segments_.pop_front();
    }
}

}  // namespace dstream
