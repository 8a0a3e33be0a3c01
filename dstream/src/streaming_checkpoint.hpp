#pragma once

#include "dstream/dstream_base.hpp"
#include "rdd/time.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dstream::detail {

/// An operator that checkpoints know: what a program says of it.
struct OperatorDescription {
    std::string id;         // its uid, else derived from its kind, what is upstream and its place among equals
    std::string derivedId;  // the id it would have if no operator had a uid
    std::string kind;       // the operator's name, for people
    std::string site;       // "updateStateByKey at main.cpp:12"
    bool hasUid = false;
    bool input = false;
    bool state = false;     // has RDD checkpoints of its own
    std::string codecName;  // of the elements of these; empty without state
    uint32_t codecVersion = 0;

    /// The graph that recovers must have it.
    bool restored() const { return input || state; }
};

/// What an operator needs to go on after a restart.
struct OperatorCheckpoint : OperatorDescription {
    std::optional<Time> beginsAfter;  // of one that was new in a later start: it has no state up to then
    std::map<Time, RddCheckpoint> rdds;
    std::string data;  // DStreamBase::checkpointData
};

/// The contents of a `checkpoint-<ms>` file: how far the batches have come, and the data of the operators.
struct StreamingCheckpoint {
    Time time;  // the latest batch that was generated
    Time zeroTime;
    Duration batchDuration;
    std::vector<Time> pendingTimes;
    std::vector<std::pair<std::string, std::string>> conf;
    int defaultParallelism = 0;  // that the run had; 0: not recorded
    std::string rddDirectory;    // where this run keeps its RDD checkpoints
    std::vector<OperatorCheckpoint> operators;
    std::set<std::string> otherRdds;  // RDD checkpoints that are in use but not restored

    /// The directories of all RDD checkpoints it refers to.
    std::set<std::string> rddDirectories() const;
};

/// The file of a checkpoint.
std::string checkpointPath(const std::string& directory, Time time);
/// The times of the checkpoint files in a directory, oldest first; none when there is no such directory.
std::vector<Time> listCheckpoints(const std::string& directory);
/// The bytes of the file of a checkpoint in `directory`.
std::vector<std::byte> encodeCheckpoint(const std::string& directory, const StreamingCheckpoint& checkpoint);
/// Writes a checkpoint file by temporary name, sync and rename; returns its size in bytes. Paths inside the directory
/// are written relative to it, so that it may be moved as a whole.
std::size_t writeCheckpoint(const std::string& directory, const StreamingCheckpoint& checkpoint);
/// @throws FrameException  when the file is damaged or of a newer version
StreamingCheckpoint readCheckpoint(const std::string& path);
/// As above, from the bytes of the file at `path`.
StreamingCheckpoint decodeCheckpoint(std::span<const std::byte> bytes, const std::string& path);

/// A file that was renamed to *.corrupt, and why.
struct DamagedCheckpoint {
    std::string path;
    std::string reason;
};

/// Reads the newest checkpoint in a directory that is not damaged. The damaged ones that are newer are reported and
/// renamed to *.corrupt.
/// @param acceptNone  what to do when there are files and all are damaged: true: as if there were none; false: they
/// stay, and it throws
/// @param damaged     takes the files that were set aside
/// @throws SparkException  see above, and for a file of a newer version
std::optional<StreamingCheckpoint> readNewestCheckpoint(const std::string& path, bool acceptNone,
                                                        std::vector<DamagedCheckpoint>* damaged = nullptr);

}  // namespace dstream::detail
