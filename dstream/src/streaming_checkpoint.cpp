#include "streaming_checkpoint.hpp"

#include "rdd/bytes.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/frame.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <charconv>

namespace dstream::detail {

namespace {

constexpr uint16_t kKind = 5;
constexpr uint32_t kSchema = 1;
constexpr std::string_view kPrefix = "checkpoint-";

void write(ByteWriter& out, const OperatorCheckpoint& op) {
    out.text(op.id);
    out.text(op.kind);
    out.u8(op.restored);
    out.text(op.codecName);
    out.u32(op.codecVersion);
    out.u64(op.rdds.size());
    for (const auto& [time, rdd] : op.rdds) {
        out.i64(time.milliseconds());
        out.text(rdd.directory);
        out.u32(static_cast<uint32_t>(rdd.numPartitions));
        out.u8(rdd.placedByHash);
    }
    out.text(op.data);
}

OperatorCheckpoint readOperator(ByteReader& in) {
    OperatorCheckpoint op;
    op.id = in.text();
    op.kind = in.text();
    op.restored = in.u8() != 0;
    op.codecName = in.text();
    op.codecVersion = in.u32();
    for (std::size_t left = in.count(17); left > 0; --left) {
        const Time time(in.i64());
        RddCheckpoint& rdd = op.rdds[time];
        rdd.directory = in.text();
        rdd.numPartitions = static_cast<int>(in.u32());
        rdd.placedByHash = in.u8() != 0;
    }
    op.data = in.text();
    return op;
}

}  // namespace

std::set<std::string> StreamingCheckpoint::rddDirectories() const {
    std::set<std::string> directories = otherRdds;
    for (const OperatorCheckpoint& op : operators) {
        for (const auto& [at, rdd] : op.rdds) directories.insert(rdd.directory);
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

void writeCheckpoint(const std::string& directory, const StreamingCheckpoint& checkpoint) {
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
    out.text(checkpoint.rddDirectory);
    out.u64(checkpoint.operators.size());
    for (const OperatorCheckpoint& op : checkpoint.operators) write(out, op);
    out.u64(checkpoint.otherRdds.size());
    for (const std::string& rdd : checkpoint.otherRdds) out.text(rdd);
    writeFrameFile(posixFs(), checkpointPath(directory, checkpoint.time), kKind, kSchema, out.view());
}

StreamingCheckpoint readCheckpoint(const std::string& path) {
    DSTREAM_FAILPOINT("checkpoint.read");
    const Frame frame = readFrameFile(posixFs(), path, {.kind = kKind, .newestSchema = kSchema});
    ByteReader in(frame.body);
    StreamingCheckpoint checkpoint;
    checkpoint.time = Time(in.i64());
    checkpoint.zeroTime = Time(in.i64());
    checkpoint.batchDuration = Duration(in.i64());
    for (std::size_t left = in.count(8); left > 0; --left) checkpoint.pendingTimes.emplace_back(in.i64());
    for (std::size_t left = in.count(8); left > 0; --left) {
        std::string key(in.text());
        checkpoint.conf.emplace_back(std::move(key), in.text());
    }
    checkpoint.rddDirectory = in.text();
    for (std::size_t left = in.count(33); left > 0; --left) checkpoint.operators.push_back(readOperator(in));
    for (std::size_t left = in.count(4); left > 0; --left) checkpoint.otherRdds.emplace(in.text());
    return checkpoint;
}

std::optional<StreamingCheckpoint> readNewestCheckpoint(const std::string& directory, bool acceptNone) {
    std::vector<Time> times = listCheckpoints(directory);
    std::optional<StreamingCheckpoint> newest;
    std::vector<std::string> damaged;
    std::string reasons;
    for (; !newest && !times.empty(); times.pop_back()) {
        const std::string path = checkpointPath(directory, times.back());
        try {
            newest = readCheckpoint(path);
        } catch (const FrameException& error) {
            if (error.error() == FrameError::kNewerSchema) throw;
            damaged.push_back(path);
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
               std::to_string(damaged.size()) + " damaged checkpoints are set aside as *.corrupt; going on " +
                   (newest ? "with that of " + newest->time.toString() : std::string("without one")) + ":" + reasons);
    for (const std::string& path : damaged) {
        DSTREAM_FAILPOINT("checkpoint.set_aside");
        posixFs().rename(path, path + ".corrupt");
    }
    return newest;
}

}  // namespace dstream::detail
