#pragma once

#include "rdd/clock.hpp"
#include "rdd/file_system.hpp"
#include "receivers/write_ahead_log.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace dstream {

struct FileWriteAheadLogOptions {
    /// Reads the settings of the logs of received blocks.
    /// @throws IllegalArgumentException  for a value that is out of range
    static FileWriteAheadLogOptions forReceiver(const SparkConf& conf);
    /// The same for the log of what became of the blocks.
    static FileWriteAheadLogOptions forDriver(const SparkConf& conf);

    int64_t segmentBytes = int64_t{64} << 20;    // a new file begins before a write that would make one larger
    int64_t rollingIntervalMs = 60'000;          // and at the first write after this time
    int64_t maxQueuedBytes = int64_t{64} << 20;  // write() waits while more are not written yet
    int maxFailures = 3;                         // attempts, each in a new file, before write() fails
    bool closeFileAfterWrite = false;            // begins a new file for each write
    bool skipCorrupt = false;                    // leaves damaged records out instead of refusing the log
};

/// Keeps records in files `seg-<number>.wal` of a directory. One thread writes what has gathered while the sync before
/// was under way and makes it durable by one sync. Opening it reads what earlier processes have left: an incomplete
/// last write is cut off; damage anywhere else, or a missing file, refuses the log.
///
///     FileWriteAheadLog log("state/wal/0", {}, std::make_shared<SystemClock>());
///     auto handle = log.write({"a record"}, 1);
///     log.read(handle).bytes;  // "a record"
class FileWriteAheadLog final : public WriteAheadLog {
public:
    /// @param clock  tells when the next file is due
    /// @param fs     must outlive the log
    /// @throws SparkException  when the directory cannot be read or its files are damaged: file, offset, remedy
    FileWriteAheadLog(std::string directory, const FileWriteAheadLogOptions& options, std::shared_ptr<Clock> clock,
                      Fs& fs = posixFs());
    ~FileWriteAheadLog() override;
    FileWriteAheadLog(const FileWriteAheadLog&) = delete;
    FileWriteAheadLog& operator=(const FileWriteAheadLog&) = delete;

    WriteAheadLogRecordHandle write(const ByteBuffer& record, int64_t time) override;
    ByteBuffer read(const WriteAheadLogRecordHandle& handle) override;
    Iterator<ByteBuffer> readAll() override;
    /// Deletes the oldest files as long as all their records are older than `threshTime`; never the one in use.
    void clean(int64_t threshTime, bool waitForCompletion) override;
    void close() override;

    WriteAheadLogStats stats() const override;

private:
    struct Pending;
    struct Cleaning;
    using Group = std::vector<std::shared_ptr<Pending>>;
    struct Segment {
        uint64_t number = 0;
        int64_t latestTime = INT64_MIN;
        uint64_t voidFrom = UINT64_MAX;  // records from this sequence on are in a later segment
    };

    std::string pathOf(uint64_t number) const;
    void recover();
    void repairLast(const std::string& path, uint64_t endOffset, uint64_t sizeBytes);
    void refuseOrSkip(const std::string& path, uint64_t offset, const std::string& what);
    void run();
    void writeGroup(const Group& group);
    void writeOnce(const Group& group);
    void openSegment();
    void closeSegment();
    void abandonSegment();
    void removeOldSegments(int64_t threshTime);

    const std::string directory_;
    const FileWriteAheadLogOptions options_;
    const uint64_t fillBytes_;  // the file grows in such steps
    const std::shared_ptr<Clock> clock_;
    Fs& fs_;

    // The writing thread's: the segment in use.
    File file_;
    uint64_t offset_ = 0;       // behind the last synced record
    uint64_t filledBytes_ = 0;  // of the file, zeros included
    int64_t openedMs_ = 0;
    uint64_t lastNumber_ = 0;
    uint64_t nextSequence_ = 1;

    mutable std::mutex mutex_;  // guards the fields below
    std::condition_variable changed_;
    std::condition_variable room_;
    Group queue_;
    int64_t queuedBytes_ = 0;  // being written included
    std::vector<std::shared_ptr<Cleaning>> cleanings_;
    std::deque<Segment> segments_;  // oldest first; one in use is the last
    WriteAheadLogStats stats_;
    bool closing_ = false;

    std::jthread thread_;
};

}  // namespace dstream
