#include "streaming_checkpoint.hpp"

#include "rdd/bytes.hpp"
#include "rdd/detail/block_file_check.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/frame.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace dstream::detail {

namespace {

constexpr uint16_t kKind = 5;
// 1: operators with one flag "restored" and no derived id, paths absolute.
constexpr uint32_t kSchema = 2;
constexpr std::string_view kPrefix = "checkpoint-";

/// Shortens paths below the checkpoint directory when they are written, and completes them when they are read.
class PathsBelow {
public:
    explicit PathsBelow(const std::string& directory) : prefix_(directory + "/") {}
    std::string_view shortened(const std::string& path) const {
        return std::string_view(path).substr(path.starts_with(prefix_) ? prefix_.size() : 0);
    }
    std::string completed(std::string_view path) const {
        return path.empty() || path.starts_with('/') ? std::string(path) : prefix_ + std::string(path);
    }

private:
    const std::string prefix_;
};

void write(ByteWriter& out, const OperatorCheckpoint& op, const PathsBelow& paths) {
    out.text(op.id);
    out.text(op.derivedId);
    out.text(op.kind);
    out.text(op.site);
    out.u8(op.hasUid);
    out.u8(op.input);
    out.u8(op.state);
    out.text(op.codecName);
    out.u32(op.codecVersion);
    out.u8(op.beginsAfter.has_value());
    if (op.beginsAfter) out.i64(op.beginsAfter->milliseconds());
    out.u64(op.rdds.size());
    for (const auto& [time, rdd] : op.rdds) {
        out.i64(time.milliseconds());
        out.text(paths.shortened(rdd.directory));
        out.u32(static_cast<uint32_t>(rdd.numPartitions));
        out.u8(rdd.placedByHash);
        out.u64(rdd.bases.size());
        for (const std::string& base : rdd.bases) out.text(paths.shortened(base));
    }
    out.text(op.data);
}

int readPartitions(ByteReader& in) {
    constexpr uint32_t kMost = 1U << 24;
    const uint32_t count = in.u32();
    if (count <= kMost) return static_cast<int>(count);
    throw SparkException("a number of partitions of at most " + std::to_string(kMost) + " expected, found " +
                         std::to_string(count));
}

OperatorCheckpoint readOperator(ByteReader& in, uint32_t schema, const PathsBelow& paths) {
    OperatorCheckpoint op;
    op.id = in.text();
    if (schema == 1) {
        op.derivedId = op.id;
        op.kind = in.text();
        const bool restored = in.u8() != 0;
        op.codecName = in.text();
        op.state = !op.codecName.empty();
        op.input = restored && !op.state;
    } else {
        op.derivedId = in.text();
        op.kind = in.text();
        op.site = in.text();
        op.hasUid = in.u8() != 0;
        op.input = in.u8() != 0;
        op.state = in.u8() != 0;
        op.codecName = in.text();
    }
    op.codecVersion = in.u32();
    if (schema > 1 && in.u8() != 0) op.beginsAfter = Time(in.i64());
    for (std::size_t left = in.count(17); left > 0; --left) {
        const Time time(in.i64());
        RddCheckpoint& rdd = op.rdds[time];
        rdd.directory = paths.completed(in.text());
        rdd.numPartitions = readPartitions(in);
        rdd.placedByHash = in.u8() != 0;
        if (schema == 1) continue;
        for (std::size_t bases = in.count(4); bases > 0; --bases) rdd.bases.push_back(paths.completed(in.text()));
    }
    op.data = in.text();
    return op;
}

StreamingCheckpoint readBody(ByteReader& in, uint32_t schema, const PathsBelow& paths) {
    StreamingCheckpoint checkpoint;
    checkpoint.time = Time(in.i64());
    checkpoint.zeroTime = Time(in.i64());
    checkpoint.batchDuration = Duration(in.i64());
    for (std::size_t left = in.count(8); left > 0; --left) checkpoint.pendingTimes.emplace_back(in.i64());
    for (std::size_t left = in.count(8); left > 0; --left) {
        std::string key(in.text());
        checkpoint.conf.emplace_back(std::move(key), in.text());
    }
    if (schema > 1) checkpoint.defaultParallelism = readPartitions(in);
    checkpoint.rddDirectory = paths.completed(in.text());
    for (std::size_t left = in.count(33); left > 0; --left) {
        checkpoint.operators.push_back(readOperator(in, schema, paths));
    }
    for (std::size_t left = in.count(4); left > 0; --left) checkpoint.otherRdds.insert(paths.completed(in.text()));
    return checkpoint;
}

/// Tells what is wrong with the files of one directory; empty when they are sound.
std::string damageOf(const std::string& directory, int numPartitions) {
    try {
        if (!posixFs().exists(directory)) return directory + " does not exist";
        for (int partition = 0; partition < numPartitions; ++partition) checkBlockFile(directory, partition);
        return {};
    } catch (const SparkException& error) {
        return error.what();
    }
}

/// Tells what is wrong with the files of a state; empty when it can be put together from those that are sound.
std::string damageOf(const RddCheckpoint& rdd) {
    std::vector<std::string> directories = rdd.bases;
    directories.push_back(rdd.directory);
    for (; !directories.empty(); directories.pop_back()) {
        const bool whole = directories.size() > 1 && isBeside(directories.end()[-2], directories.back());
        const std::string reason = damageOf(directories.back(), rdd.numPartitions);
        if (whole ? reason.empty() : !reason.empty()) return reason;
    }
    return {};
}

/// Takes the damaged states out of a checkpoint that are newer than the newest sound one of their operator: the batches
/// since that one are computed again.
/// @throws FrameException  when an operator is left without one
void dropDamagedStates(StreamingCheckpoint& checkpoint, const std::string& file,
                       std::vector<DamagedCheckpoint>& damaged) {
    for (OperatorCheckpoint& op : checkpoint.operators) {
        std::string reasons;
        while (!op.rdds.empty()) {
            const auto newest = std::prev(op.rdds.end());
            const std::string reason = damageOf(newest->second);
            if (reason.empty()) break;
            reasons += "\n    " + reason;
            damaged.push_back({newest->second.directory, reason});
            op.rdds.erase(newest);
        }
        if (reasons.empty() || !op.rdds.empty()) continue;
        throw FrameException(FrameError::kBodyDamaged,
                             file + " is refused: no state of " + op.id + " can be read:" + reasons);
    }
}

}  // namespace

std::set<std::string> StreamingCheckpoint::rddDirectories() const {
    std::set<std::string> directories = otherRdds;
    for (const OperatorCheckpoint& op : operators) {
        for (const auto& [at, rdd] : op.rdds) {
            directories.insert(rdd.directory);
            directories.insert(rdd.bases.begin(), rdd.bases.end());
        }
    }
    return directories;
}

std::string checkpointPath(const std::string& directory, Time time) {
    return directory + "/" + std::string(kPrefix) + std::to_string(time.milliseconds());
}

std::vector<Time> listCheckpoints(const std::string& directory) {
    std::vector<Time> times;
    if (!posixFs().exists(directory)) return times;
    for (const std::string& name : posixFs().list(directory)) {
        if (!name.starts_with(kPrefix)) continue;
        int64_t millis = 0;
        const char* const end = name.data() + name.size();
        const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, millis);
        if (error == std::errc() && stop == end) times.emplace_back(millis);
    }
    std::sort(times.begin(), times.end());
    return times;
}

std::vector<std::byte> encodeCheckpoint(const std::string& directory, const StreamingCheckpoint& checkpoint) {
    const PathsBelow paths(directory);
    ByteWriter out;
    out.i64(checkpoint.time.milliseconds());
    out.i64(checkpoint.zeroTime.milliseconds());
    out.i64(checkpoint.batchDuration.milliseconds());
    out.u64(checkpoint.pendingTimes.size());
    for (Time time : checkpoint.pendingTimes) out.i64(time.milliseconds());
    out.u64(checkpoint.conf.size());
    for (const auto& [key, value] : checkpoint.conf) {
        out.text(key);
        out.text(value);
    }
    out.u32(static_cast<uint32_t>(checkpoint.defaultParallelism));
    out.text(paths.shortened(checkpoint.rddDirectory));
    out.u64(checkpoint.operators.size());
    for (const OperatorCheckpoint& op : checkpoint.operators) write(out, op, paths);
    out.u64(checkpoint.otherRdds.size());
    for (const std::string& rdd : checkpoint.otherRdds) out.text(paths.shortened(rdd));
    return encodeFrame(kKind, kSchema, out.view());
}

std::size_t writeCheckpoint(const std::string& directory, const StreamingCheckpoint& checkpoint) {
    const std::vector<std::byte> bytes = encodeCheckpoint(directory, checkpoint);
    posixFs().writeFileAtomically(checkpointPath(directory, checkpoint.time), bytes);
    return bytes.size();
}

StreamingCheckpoint readCheckpoint(const std::string& path) {
    DSTREAM_FAILPOINT("checkpoint.read");
    return decodeCheckpoint(posixFs().readFile(path), path);
}

StreamingCheckpoint decodeCheckpoint(std::span<const std::byte> bytes, const std::string& path) {
    const Frame frame = decodeFrame(bytes, {.kind = kKind, .newestSchema = kSchema}, path);
    try {
        ByteReader in(frame.body);
        StreamingCheckpoint checkpoint = readBody(in, frame.schema, PathsBelow(path.substr(0, path.find_last_of('/'))));
        if (in.remaining() == 0) return checkpoint;
        throw SparkException(std::to_string(in.remaining()) + " bytes follow its end");
    } catch (const SparkException& error) {
        throw FrameException(FrameError::kBodyDamaged, path + " is refused: " + error.what());
    }
}

std::optional<StreamingCheckpoint> readNewestCheckpoint(const std::string& path, bool acceptNone,
                                                        std::vector<DamagedCheckpoint>* damaged) {
    // Paths are compared as text later: the directory must be written as the context will write it.
    const std::string directory = std::filesystem::weakly_canonical(std::filesystem::absolute(path)).string();
    std::vector<Time> times = listCheckpoints(directory);
    std::optional<StreamingCheckpoint> newest;
    std::vector<DamagedCheckpoint> aside;
    std::string reasons;
    for (; !newest && !times.empty(); times.pop_back()) {
        const std::string file = checkpointPath(directory, times.back());
        try {
            StreamingCheckpoint checkpoint = readCheckpoint(file);
            std::vector<DamagedCheckpoint> states;
            dropDamagedStates(checkpoint, file, states);
            for (DamagedCheckpoint& state : states) {
                reasons += "\n  " + state.reason;
                aside.push_back(std::move(state));
            }
            newest = std::move(checkpoint);
        } catch (const FrameException& error) {
            if (error.error() == FrameError::kNewerSchema) throw;
            aside.push_back({file, error.what()});
            reasons += std::string("\n  ") + error.what();
        } catch (const FileSystemException& error) {
            reasons += std::string("\n  ") + error.what();
        }
    }
    if (reasons.empty()) return newest;
    if (!newest && !acceptNone) {
        throw SparkException(
            "no checkpoint in " + directory +
            " can be read; restore one of the files, or start anew with createOnError or another directory:" + reasons);
    }
    logMessage(LogLevel::kError, "Checkpoint",
               std::to_string(aside.size()) + " damaged checkpoints and states are set aside as *.corrupt; going on " +
                   (newest ? "with that of " + newest->time.toString() : std::string("without one")) + ":" + reasons);
    for (const DamagedCheckpoint& file : aside) {
        if (!posixFs().exists(file.path)) continue;
        DSTREAM_FAILPOINT("checkpoint.set_aside");
        posixFs().rename(file.path, file.path + ".corrupt");
    }
    if (damaged != nullptr) *damaged = std::move(aside);
    return newest;
}

}  // namespace dstream::detail
