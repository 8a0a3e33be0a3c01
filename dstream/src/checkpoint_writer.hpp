#pragma once

#include "rdd/file_system.hpp"
#include "streaming_checkpoint.hpp"
#include "streaming_core.hpp"

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace dstream::detail {

/// Locks a checkpoint directory until the file is closed, and leaves the process's id in it.
/// @throws SparkException  when another context holds it
File lockCheckpoints(const std::string& directory);

/// Writes the checkpoints of a context on a thread of its own: first those of the RDDs that are due, in jobs beside the
/// batches', then the file that refers to them. What waits is replaced by what is newer, the
/// newest ten files are kept, and RDD checkpoints that no file refers to any more are removed. Holds the lock of the
/// directory.
class CheckpointWriter final : public CheckpointService {
public:
    static constexpr std::size_t kKeptFiles = 10;

    /// @throws SparkException  when another context writes to this directory
    CheckpointWriter(StreamingCore& core, std::string directory);
    ~CheckpointWriter() override { stop(); }

    void write(Time batchTime, bool clearLater) override;
    bool flush() override;
    /// Writes what waits, ends the thread and gives up the lock.
    void stop() override;

private:
    struct Request {
        StreamingCheckpoint checkpoint;
        std::vector<DueRddCheckpoint> dueRdds;
        std::optional<Time> clearUpTo;   // the latest batch whose metadata may go once this is durable
        std::set<std::string> replaced;  // RDD checkpoints that only requests named which this one replaced
        std::size_t rddsKnown = 0;       // those written up to this number were there when it was made
    };
    /// An RDD checkpoint that requests made before it was written do not name.
    struct WrittenRdd {
        std::size_t number;
        std::optional<std::size_t> op;
        Time time;
        RddCheckpoint rdd;
    };
    void run();
    void writeRdds(Request& request);
    void reportFailure(Time time, const std::string& reason);
    bool writeFile(const StreamingCheckpoint& checkpoint);
    /// @return the time of the oldest file that stays
    Time removeOldFiles(const Request& request);
    void removeUnused(std::set<std::string> candidates);
    void removeTemporaryFiles();
    void readReferences();

    StreamingCore& core_;
    const std::string directory_;
    File lock_;
    Time latest_{INT64_MIN};     // the generator's thread, as the next
    Time completed_{INT64_MIN};  // no batch up to here is running
    std::map<Time, std::set<std::string>>
        references_;  // the writer's thread, as the next: RDD checkpoints by the file that refers to them
    std::vector<WrittenRdd> unnamed_;
    std::map<Time, CheckpointNeeds> needs_;  // of the files of this process that cleared something
    std::optional<Time> cleared_;            // by the newest
    std::atomic<std::size_t> rddsWritten_{0};

    std::mutex mutex_;  // guards the fields below
    std::condition_variable changed_;
    std::condition_variable written_;
    std::optional<Request> waiting_;
    bool writing_ = false;
    bool lastFailed_ = false;
    bool stopping_ = false;
    std::jthread thread_;
};

}  // namespace dstream::detail
