#pragma once

#include <cstdint>
#include <string>

namespace dstream {

/// What is known of a receiver, as listeners and the page see it.
struct ReceiverInfo {
    int streamId = -1;
    /// "<ReceiverClass>-<streamId>"
    std::string name;
    bool active = false;
    std::string location;
    std::string executorId;
    std::string lastErrorMessage;
    std::string lastError;
    /// Epoch ms; -1 when there was no error.
    int64_t lastErrorTime = -1;
};

/// Hears what happens to receivers. Called from receiver threads, one call at a time per receiver, and not after the
/// tracker's stop has returned. Must return soon and must not stop the tracker.
class ReceiverEvents {
public:
    virtual ~ReceiverEvents() = default;
    /// A receiver was registered: at first start, after each restart and relaunch.
    virtual void receiverStarted(const ReceiverInfo& info) = 0;
    /// A receiver reported an error; it may go on.
    virtual void receiverError(const ReceiverInfo& info) = 0;
    /// A receiver was deregistered: at each restart and when it ended.
    virtual void receiverStopped(const ReceiverInfo& info) = 0;
};

/// What a write-ahead log has done since it was opened.
struct WriteAheadLogStats {
    int64_t records = 0;         // made durable by this object
    int64_t syncs = 0;           // that did it, each for all records that waited
    int64_t failedAttempts = 0;  // writes or syncs that failed and were done anew in another file
    int64_t tornTails = 0;       // incomplete last writes that were cut off when the log was opened; never acknowledged
    int64_t damages = 0;         // damaged places that were skipped when the log was opened, see dstream.wal.recovery
};

/// What one receiver has done since the start, restarts included.
struct ReceiverMetrics {
    /// Of blocks whose number of records is known.
    int64_t records = 0;
    int64_t bytes = 0;
    int64_t blocks = 0;
    /// Blocks that could not be stored or were refused.
    int64_t failedBlocks = 0;
    int64_t restarts = 0;
    int64_t errors = 0;
    /// Lines dropped because they were longer than dstream.socket.maxLineBytes.
    int64_t longLines = 0;
    /// Records per second that may be stored one by one; -1: no limit.
    int64_t rateLimit = -1;
    /// Of the receiver's write-ahead log; zeros without one.
    WriteAheadLogStats log;
    /// Of the log of blocks and batches, which all receivers of the program share; zeros without one.
    WriteAheadLogStats trackerLog;
};

}  // namespace dstream
