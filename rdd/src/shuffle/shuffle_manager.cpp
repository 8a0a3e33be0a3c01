#include "shuffle/shuffle_manager.hpp"

#include "rdd/detail/context_core.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "storage/block_file.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace dstream {
namespace {

int64_t bytesOf(const std::vector<BlockPtr>& blocks) {
    int64_t bytes = 0;
    for (const BlockPtr& block : blocks) bytes += block ? static_cast<int64_t>(block->sizeBytes()) : 0;
    return bytes;
}

int64_t recordsOf(const std::vector<BlockPtr>& blocks) {
    int64_t records = 0;
    for (const BlockPtr& block : blocks) records += block ? block->numRecords().value_or(0) : 0;
    return records;
}

class Sink final : public MapOutputSink {
public:
    Sink(BlockManager& blocks, const ShuffleDependency& shuffle, std::shared_ptr<MapOutput> output,
         TaskContext& context, int64_t runBytes)
        : blocks_(blocks), shuffle_(shuffle), output_(std::move(output)), context_(context), runBytes_(runBytes) {}

    void addRun(std::vector<BlockPtr> byPartition) override {
        DSTREAM_CHECK(byPartition.size() == static_cast<std::size_t>(shuffle_.numReducePartitions()),
                      "a run has one block per reduce partition");
        const int64_t bytes = bytesOf(byPartition);
        TaskMetrics& metrics = context_.taskMetrics();
        metrics.shuffleRecordsWritten += recordsOf(byPartition);
        metrics.shuffleBytesWritten += bytes;
        if (blocks_.reserve(bytes)) {
            try {
                output_->addMemoryRun(std::move(byPartition), bytes);
            } catch (...) {
                blocks_.release(bytes);
                throw;
            }
            return;
        }
        const BlockCodec* const codec = shuffle_.codec();
        if (codec == nullptr) {
            throw NotSerializableException(
                "a shuffle of " + std::to_string(bytes) + " bytes does not fit into the memory budget (" +
                std::to_string(blocks_.memoryLimit()) + " bytes, dstream.memory.limit) and " +
                shuffle_.elementTypeName() +
                " has no Codec to move it to disk with; give the type one or raise the limit");
        }
        const std::string path = blocks_.localDirectory() + "/shuffle-" + std::to_string(shuffle_.shuffleId()) + "-" +
                                 std::to_string(context_.taskAttemptId()) + "-" + std::to_string(runs_++);
        int64_t written = 0;
        output_->addFileRun(byPartition, *codec, path, written);
        ++metrics.spills;
        metrics.spilledBytes += written;
        blocks_.countSpill(written);
    }

    int64_t runBytes() const override { return runBytes_; }

private:
    BlockManager& blocks_;
    const ShuffleDependency& shuffle_;
    std::shared_ptr<MapOutput> output_;
    TaskContext& context_;
    int64_t runBytes_;
    int runs_ = 0;
};

}  // namespace

ShuffleDependency::ShuffleDependency(std::shared_ptr<RddBase> parent, Partitioner partitioner)
    : Dependency(std::move(parent)),
      shuffleId_(rdd().context()->newShuffleId()),
      partitioner_(std::move(partitioner)) {}

std::shared_ptr<const ShuffleDependency> detail::asShared(const ShuffleDependency* made) {
    return std::shared_ptr<const ShuffleDependency>(made);
}

ShuffleDependency::~ShuffleDependency() {
    if (const auto core = rdd().weakContext().lock()) core->removeShuffle(shuffleId_);
}

MapOutput::~MapOutput() {
    int64_t bytes = 0;
    for (const Run& run : runs_) {
        bytes += run.memoryBytes;
        if (run.file.empty()) continue;
        try {
            posixFs().remove(run.file);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "shuffle", error.what());
        }
    }
    if (bytes > 0) blocks_.release(bytes);
}

void MapOutput::addMemoryRun(std::vector<BlockPtr> byPartition, int64_t bytes) {
    Run& run = runs_.emplace_back();
    run.memory = std::move(byPartition);
    run.memoryBytes = bytes;
}

void MapOutput::addFileRun(const std::vector<BlockPtr>& byPartition, const BlockCodec& codec, const std::string& path,
                           int64_t& written) {
    Run& run = runs_.emplace_back();
    run.file = path;  // from here on the destructor removes it
    File file = posixFs().open(path, Fs::Mode::kCreate);
    run.offsets.push_back(0);
    for (const BlockPtr& block : byPartition) {
        uint64_t end = run.offsets.back();
        if (block) {
            const std::vector<std::byte> frame = detail::encodeBlock(*block, codec);
            DSTREAM_FAILPOINT("shuffle.write_spill");
            file.write(frame);
            end += frame.size();
        }
        run.offsets.push_back(end);
    }
    file.close();
    written = static_cast<int64_t>(run.offsets.back());
}

BlockPtr MapOutput::readFrame(const Run& run, const File& file, std::size_t partition, const BlockCodec& codec) {
    std::vector<std::byte> bytes(run.offsets[partition + 1] - run.offsets[partition]);
    if (file.readAt(bytes, run.offsets[partition]) != bytes.size())
        throw SparkException(run.file + " is shorter than what was written");
    return detail::decodeBlock(bytes, codec, run.file);
}

void MapOutput::read(int reducePartition, const BlockCodec* codec, std::vector<BlockPtr>& out) const {
    const auto partition = static_cast<std::size_t>(reducePartition);
    for (const Run& run : runs_) {
        if (run.file.empty()) {
            if (run.memory[partition]) out.push_back(run.memory[partition]);
        } else if (run.offsets[partition] != run.offsets[partition + 1]) {
            DSTREAM_FAILPOINT("shuffle.read_spill");
            const File file = posixFs().open(run.file, Fs::Mode::kRead);
            out.push_back(readFrame(run, file, partition, *codec));
        }
    }
}

void MapOutput::verify(const BlockCodec* codec) const {
    for (const Run& run : runs_) {
        if (run.file.empty()) continue;
        const File file = posixFs().open(run.file, Fs::Mode::kRead);
        for (std::size_t i = 0; i + 1 < run.offsets.size(); ++i) {
            if (run.offsets[i] != run.offsets[i + 1]) readFrame(run, file, i, *codec);
        }
    }
}

std::vector<std::string> MapOutput::files() const {
    std::vector<std::string> names;
    for (const Run& run : runs_) {
        if (!run.file.empty()) names.push_back(run.file);
    }
    return names;
}

ShuffleManager::ShuffleManager(BlockManager& blocks, int slots) : blocks_(blocks), slots_(slots) {}

std::vector<int> ShuffleManager::missing(int shuffleId, int numMaps) const {
    std::vector<int> maps;
    const std::lock_guard lock(mutex_);
    const auto found = shuffles_.find(shuffleId);
    for (int map = 0; map < numMaps; ++map) {
        if (found == shuffles_.end() || !found->second.byMap[static_cast<std::size_t>(map)]) maps.push_back(map);
    }
    return maps;
}

bool ShuffleManager::isComplete(int shuffleId, int numMaps) const {
    if (numMaps == 0) return true;
    const std::lock_guard lock(mutex_);
    const auto found = shuffles_.find(shuffleId);
    return found != shuffles_.end() &&
           std::ranges::all_of(found->second.byMap, [](const auto& output) { return output != nullptr; });
}

std::unique_ptr<MapOutputSink> ShuffleManager::makeSink(const ShuffleDependency& shuffle,
                                                        std::shared_ptr<MapOutput> output, TaskContext& context) {
    // All slots together gather about a quarter of the budget between runs.
    const int64_t runBytes =
        std::clamp<int64_t>(blocks_.memoryLimit() / (4 * slots_), int64_t{1} << 16, int64_t{1} << 28);
    return std::make_unique<Sink>(blocks_, shuffle, std::move(output), context, runBytes);
}

bool ShuffleManager::add(int shuffleId, int mapPartition, int numMaps, std::shared_ptr<const MapOutput> output) {
    const auto map = static_cast<std::size_t>(mapPartition);
    const std::lock_guard lock(mutex_);
    Outputs& outputs = shuffles_[shuffleId];
    if (outputs.byMap.empty()) {
        outputs.byMap.resize(static_cast<std::size_t>(numMaps));
        outputs.lost.resize(static_cast<std::size_t>(numMaps));
    }
    if (outputs.byMap[map]) return false;
    outputs.byMap[map].swap(output);
    if (!outputs.lost[map]) return false;
    outputs.lost[map] = false;
    ++recomputed_;
    return true;
}

std::vector<BlockPtr> ShuffleManager::fetch(const ShuffleDependency& shuffle, int reducePartition,
                                            TaskContext& context) {
    const int id = shuffle.shuffleId();
    const int numMaps = shuffle.rdd().numPartitions();
    std::vector<BlockPtr> blocks;
    if (numMaps == 0) return blocks;
    std::vector<std::shared_ptr<const MapOutput>> outputs;
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = shuffles_.find(id); found != shuffles_.end()) outputs = found->second.byMap;
    }
    if (outputs.empty())
        throw detail::FetchFailed{id, 0, "no map output of shuffle " + std::to_string(id) + " is there"};
    for (std::size_t map = 0; map < outputs.size(); ++map) {
        std::string why = "it is missing";
        if (outputs[map]) {
            try {
                outputs[map]->read(reducePartition, shuffle.codec(), blocks);
                continue;
            } catch (const std::exception& error) {
                why = error.what();
            }
            dropDamaged(shuffle, outputs);
        }
        throw detail::FetchFailed{
            id, static_cast<int>(map),
            "map output " + std::to_string(map) + " of shuffle " + std::to_string(id) + ": " + why};
    }
    TaskMetrics& metrics = context.taskMetrics();
    metrics.shuffleRecordsRead += recordsOf(blocks);
    metrics.shuffleBytesRead += bytesOf(blocks);
    return blocks;
}

void ShuffleManager::dropDamaged(const ShuffleDependency& shuffle,
                                 const std::vector<std::shared_ptr<const MapOutput>>& outputs) {
    // All of them at once: every damaged one found later would cost one more attempt of the reading stage.
    std::vector<std::shared_ptr<const MapOutput>> dropped;
    for (std::size_t map = 0; map < outputs.size(); ++map) {
        if (!outputs[map]) continue;
        try {
            outputs[map]->verify(shuffle.codec());
            continue;
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "shuffle",
                       "a map output is lost and will be computed again: " + std::string(error.what()));
        }
        const std::lock_guard lock(mutex_);
        const auto found = shuffles_.find(shuffle.shuffleId());
        if (found == shuffles_.end() || found->second.byMap[map] != outputs[map]) continue;
        found->second.lost[map] = true;
        dropped.push_back(std::exchange(found->second.byMap[map], nullptr));
    }
}

void ShuffleManager::remove(int shuffleId) {
    Outputs removed;  // dies without the lock
    const std::lock_guard lock(mutex_);
    if (const auto found = shuffles_.find(shuffleId); found != shuffles_.end()) {
        removed = std::move(found->second);
        shuffles_.erase(found);
    }
}

void ShuffleManager::clear() {
    std::map<int, Outputs> removed;
    const std::lock_guard lock(mutex_);
    removed.swap(shuffles_);
}

void ShuffleManager::drop(int shuffleId, int mapPartition) {
    std::shared_ptr<const MapOutput> dropped;
    const std::lock_guard lock(mutex_);
    const auto found = shuffles_.find(shuffleId);
    if (found == shuffles_.end()) return;
    const auto map = static_cast<std::size_t>(mapPartition);
    dropped = std::exchange(found->second.byMap.at(map), nullptr);
    if (dropped) found->second.lost[map] = true;
}

std::vector<std::string> ShuffleManager::files(int shuffleId) const {
    std::vector<std::string> names;
    const std::lock_guard lock(mutex_);
    const auto found = shuffles_.find(shuffleId);
    if (found == shuffles_.end()) return names;
    for (const auto& output : found->second.byMap) {
        if (!output) continue;
        const auto more = output->files();
        names.insert(names.end(), more.begin(), more.end());
    }
    return names;
}

int64_t ShuffleManager::recomputedOutputs() const {
    const std::lock_guard lock(mutex_);
    return recomputed_;
}

}  // namespace dstream
