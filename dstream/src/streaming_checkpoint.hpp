#pragma once

#include "dstream/dstream_base.hpp"
#include "rdd/time.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dstream::detail {

/// What one operator needs to go on after a restart.
struct OperatorCheckpoint {
    std::string id;
    std::string kind;       // the operator's name, for people
    bool restored = false;  // an input or an operator with state: the graph that recovers must have it
    std::string codecName;  // of the elements of its RDD checkpoints; empty without these
    uint32_t codecVersion = 0;
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
    std::string rddDirectory;  // where this run keeps its RDD checkpoints
    std::vector<OperatorCheckpoint> operators;
    std::set<std::string> otherRdds;  // RDD checkpoints that are in use but not restored

    /// The directories of all RDD checkpoints it refers to.
    std::set<std::string> rddDirectories() const;
};

/// The file of a checkpoint.
std::string checkpointPath(const std::string& directory, Time time);
/// The times of the checkpoint files in a directory, oldest first; none when there is no such directory.
std::vector<Time> listCheckpoints(const std::string& directory);
/// Writes a checkpoint file by temporary name, sync and rename.
void writeCheckpoint(const std::string& directory, const StreamingCheckpoint& checkpoint);
/// @throws FrameException  when the file is damaged or of a newer version
StreamingCheckpoint readCheckpoint(const std::string& path);

/// Reads the newest checkpoint in a directory that is not damaged. The damaged ones that are newer are reported and
/// renamed to *.corrupt.
/// @param acceptNone  what to do when there are files and all are damaged: true: as if there were none; false: they
/// stay, and it throws
/// @throws SparkException  see above, and for a file of a newer version
std::optional<StreamingCheckpoint> readNewestCheckpoint(const std::string& directory, bool acceptNone);

}  // namespace dstream::detail
