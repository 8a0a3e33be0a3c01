#include "rdd/block_manager.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_conf.hpp"
#include "storage/block_file.hpp"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <list>
#include <map>
#include <mutex>
#include <tuple>
#include <unistd.h>
#include <utility>
#include <vector>

namespace dstream {
namespace {

/// The machine's memory, or what the control group allows of it.
int64_t physicalMemory() {
    int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    int64_t allowed = 0;
    if (std::ifstream("/sys/fs/cgroup/memory.max") >> allowed && allowed > 0) bytes = std::min(bytes, allowed);
    return bytes;
}

int64_t budgetOf(const SparkConf& conf) {
    if (conf.contains("dstream.memory.limit")) {
        const int64_t limit = conf.getSizeAsBytes("dstream.memory.limit");
        require(limit >= 0, "dstream.memory.limit must not be negative: " + conf.get("dstream.memory.limit"));
        return limit;
    }
    const double fraction = conf.getDouble("spark.memory.fraction", 0.6);
    require(fraction > 0 && fraction <= 1,
            "spark.memory.fraction must be above 0 and at most 1: " + conf.get("spark.memory.fraction", "0.6"));
    const int64_t total =
        conf.contains("spark.driver.memory") ? conf.getSizeAsBytes("spark.driver.memory") : physicalMemory();
    return static_cast<int64_t>(fraction * static_cast<double>(total));
}

}  // namespace

std::string BlockId::toString() const {
    return (kind == Kind::kRdd ? "rdd_" : "input-") + std::to_string(owner) + (kind == Kind::kRdd ? "_" : "-") +
           std::to_string(partition);
}

struct BlockManager::Impl {
    struct Entry {
        BlockPtr memory;
        std::string file;
        StorageLevel level;
        const BlockCodec* codec = nullptr;
        int64_t memoryBytes = 0;
        int64_t fileBytes = 0;
        bool spilling = false;  // on its way to a file; `memory` stays until it is there
        std::list<BlockId>::iterator used;

        bool present() const { return memory || !file.empty(); }
        bool canSpill() const { return level.useDisk() && codec != nullptr; }
    };
    /// A block that some thread computes; others wait for it.
    struct InFlight {
        bool done = false;
        BlockPtr block;
    };

    explicit Impl(const SparkConf& conf) : limit(budgetOf(conf)), root(conf.get("spark.local.dir", "/tmp")) {
        root = root.substr(0, root.find(','));
    }

    const int64_t limit;
    std::string root;

    std::mutex directoryMutex;  // guards directory
    std::string directory;

    mutable std::mutex mutex;          // guards what follows
    std::map<BlockId, Entry> entries;  // an entry without memory and file is a block that got lost
    std::list<BlockId> leastRecentFirst;
    std::map<BlockId, std::shared_ptr<InFlight>> inFlight;
    std::condition_variable computed;
    int64_t used = 0;
    int64_t recomputed = 0;
    int64_t spills = 0;
    int64_t spilledBytes = 0;
    uint64_t nextFile = 0;

    /// Takes memory and file from an entry. Returns the file, for removal without the lock. Needs the lock.
    std::string drop(Entry& entry) {
        if (entry.memory) {
            entry.memory.reset();
            used -= entry.memoryBytes;
            leastRecentFirst.erase(entry.used);
        }
        return std::exchange(entry.file, {});
    }

    void keep(const BlockId& id, Entry& entry, BlockPtr block, int64_t bytes) {
        entry.used = leastRecentFirst.insert(leastRecentFirst.end(), id);  // first: memory may be out
        entry.memory = std::move(block);
        entry.memoryBytes = bytes;
    }

    void removeFile(const std::string& file) noexcept {
        if (file.empty()) return;
        try {
            posixFs().remove(file);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "storage", error.what());
        }
    }
};

BlockManager::BlockManager(const SparkConf& conf) : impl_(std::make_unique<Impl>(conf)) {}

BlockManager::~BlockManager() {
    clear();
}

void BlockManager::clear() {
    {
        const std::lock_guard lock(impl_->mutex);
        for (auto& [id, entry] : impl_->entries) impl_->drop(entry);
        impl_->entries.clear();
    }
    std::string directory;
    {
        const std::lock_guard lock(impl_->directoryMutex);
        directory.swap(impl_->directory);
    }
    if (directory.empty()) return;
    try {
        posixFs().removeAll(directory);
    } catch (const std::exception& error) {
        logMessage(LogLevel::kWarn, "storage", error.what());
    }
}

std::string BlockManager::localDirectory() {
    const std::lock_guard lock(impl_->directoryMutex);
    if (impl_->directory.empty()) {
        posixFs().makeDirectories(impl_->root);
        std::string pattern = impl_->root + "/dstream-XXXXXX";
        if (mkdtemp(pattern.data()) == nullptr) throw FileSystemException("make directory", pattern, errno);
        impl_->directory = std::move(pattern);
    }
    return impl_->directory;
}

int64_t BlockManager::memoryLimit() const {
    return impl_->limit;
}

int64_t BlockManager::memoryUsed() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->used;
}

bool BlockManager::reserve(int64_t bytes) {
    return reserveFor(bytes, nullptr);
}

bool BlockManager::reserveFor(int64_t bytes, const BlockId* owner) {
    Impl& impl = *impl_;
    std::unique_lock lock(impl.mutex);
    if (bytes > impl.limit) return false;
    while (impl.used + bytes > impl.limit) {
        // Blocks of the same RDD stay: one partition must not push out the one before, round and round.
        Impl::Entry* victim = nullptr;
        BlockId id;
        for (const BlockId& candidate : impl.leastRecentFirst) {
            if (owner != nullptr && candidate.kind == owner->kind && candidate.owner == owner->owner) continue;
            Impl::Entry& entry = impl.entries.at(candidate);
            if (entry.spilling) continue;
            victim = &entry;
            id = candidate;
            break;
        }
        if (victim == nullptr) return false;
        if (!victim->file.empty() || !victim->canSpill()) {
            std::string file = std::exchange(victim->file, {});
            impl.drop(*victim);
            victim->file = std::move(file);
            continue;
        }
        victim->spilling = true;
        const BlockPtr block = victim->memory;
        const BlockCodec& codec = *victim->codec;
        lock.unlock();
        std::string file;
        int64_t fileBytes = 0;
        try {
            std::tie(file, fileBytes) = writeFile(*block, codec);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "storage",
                       "block " + id.toString() + " could not be moved to disk and is dropped: " + error.what());
        }
        lock.lock();
        const auto found = impl.entries.find(id);
        if (found == impl.entries.end() || found->second.memory != block) {  // removed or replaced meanwhile
            lock.unlock();
            impl.removeFile(file);
            lock.lock();
            continue;
        }
        Impl::Entry& entry = found->second;
        entry.spilling = false;
        impl.drop(entry);
        if (!file.empty()) {
            ++impl.spills;
            impl.spilledBytes += fileBytes;
        }
        entry.file = std::move(file);
        entry.fileBytes = fileBytes;
    }
    impl.used += bytes;
    return true;
}

std::pair<std::string, int64_t> BlockManager::writeFile(const Block& block, const BlockCodec& codec) {
    uint64_t number;
    {
        const std::lock_guard lock(impl_->mutex);
        number = impl_->nextFile++;
    }
    const std::string path = localDirectory() + "/block-" + std::to_string(number);
    try {
        const std::vector<std::byte> bytes = detail::encodeBlock(block, codec);
        File file = posixFs().open(path, Fs::Mode::kCreate);
        DSTREAM_FAILPOINT("storage.write_block");
        file.write(bytes);
        file.close();
        return {path, static_cast<int64_t>(bytes.size())};
    } catch (...) {
        impl_->removeFile(path);
        throw;
    }
}

void BlockManager::release(int64_t bytes) {
    const std::lock_guard lock(impl_->mutex);
    impl_->used -= bytes;
}

bool BlockManager::put(const BlockId& id, BlockPtr block, StorageLevel level, const BlockCodec* codec) {
    if (!level.isValid()) return false;
    Impl& impl = *impl_;
    const auto bytes = static_cast<int64_t>(block->sizeBytes());
    /// What goes at the end: all that this call has taken when it fails, else the file that the block had before.
    struct Leftover {
        BlockManager& blocks;
        int64_t reserved = 0;
        std::string file;
        ~Leftover() {
            if (reserved > 0) blocks.release(reserved);
            blocks.impl_->removeFile(file);
        }
    } leftover{*this, 0, {}};
    const bool inMemory = level.useMemory() && reserveFor(bytes, &id);
    if (inMemory) leftover.reserved = bytes;
    std::string& file = leftover.file;
    int64_t fileBytes = 0;
    if (!inMemory && level.useDisk() && codec != nullptr) {
        try {
            std::tie(file, fileBytes) = writeFile(*block, *codec);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "storage",
                       "block " + id.toString() + " could not be written and is not kept: " + error.what());
        }
    }
    if (!inMemory && file.empty()) return false;
    const std::lock_guard lock(impl.mutex);
    Impl::Entry& entry = impl.entries[id];
    std::string oldFile = impl.drop(entry);
    if (inMemory) impl.keep(id, entry, std::move(block), bytes);
    leftover.reserved = 0;
    entry.level = level;
    entry.codec = codec;
    entry.spilling = false;
    entry.fileBytes = fileBytes;
    entry.file = std::exchange(file, std::move(oldFile));
    if (!inMemory && level.useMemory()) {
        ++impl.spills;
        impl.spilledBytes += fileBytes;
    }
    return true;
}

BlockPtr BlockManager::get(const BlockId& id) {
    Impl& impl = *impl_;
    std::string file;
    const BlockCodec* codec;
    {
        const std::lock_guard lock(impl.mutex);
        const auto found = impl.entries.find(id);
        if (found == impl.entries.end()) return nullptr;
        Impl::Entry& entry = found->second;
        if (entry.memory) {
            impl.leastRecentFirst.splice(impl.leastRecentFirst.end(), impl.leastRecentFirst, entry.used);
            return entry.memory;
        }
        if (entry.file.empty()) return nullptr;
        file = entry.file;
        codec = entry.codec;
    }
    BlockPtr block;
    std::string why;
    try {
        DSTREAM_FAILPOINT("storage.read_block");
        block = detail::decodeBlock(posixFs().readFile(file), *codec, file);
    } catch (const std::exception& error) {
        why = error.what();
    }
    {
        const std::lock_guard lock(impl.mutex);
        const auto found = impl.entries.find(id);
        const bool same = found != impl.entries.end() && found->second.file == file;
        if (block && same && !found->second.memory && found->second.level.useMemory()) {
            const auto bytes = static_cast<int64_t>(block->sizeBytes());
            if (impl.used + bytes <= impl.limit) {
                impl.keep(id, found->second, block, bytes);
                impl.used += bytes;
            }
        }
        if (block || !same) return block;
        impl.drop(found->second);
    }
    impl.removeFile(file);
    logMessage(LogLevel::kWarn, "storage", "block " + id.toString() + " is lost and will be computed again: " + why);
    return nullptr;
}

bool BlockManager::contains(const BlockId& id) const {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->entries.find(id);
    return found != impl_->entries.end() && found->second.present();
}

bool BlockManager::isLost(const BlockId& id) const {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->entries.find(id);
    return found != impl_->entries.end() && !found->second.present();
}

void BlockManager::remove(const BlockId& id) {
    std::string file;
    {
        const std::lock_guard lock(impl_->mutex);
        if (const auto found = impl_->entries.find(id); found != impl_->entries.end())
            file = impl_->drop(found->second);
    }
    impl_->removeFile(file);
}

void BlockManager::removeAll(BlockId::Kind kind, int64_t owner) {
    std::vector<std::string> files;
    {
        const std::lock_guard lock(impl_->mutex);
        auto it = impl_->entries.lower_bound({kind, owner, INT64_MIN});
        while (it != impl_->entries.end() && it->first.kind == kind && it->first.owner == owner) {
            files.push_back(impl_->drop(it->second));
            it = impl_->entries.erase(it);
        }
    }
    for (const std::string& file : files) impl_->removeFile(file);
}

BlockPtr BlockManager::getOrCompute(const BlockId& id, StorageLevel level, const BlockCodec* codec,
                                    const std::function<BlockPtr()>& compute) {
    Impl& impl = *impl_;
    std::shared_ptr<Impl::InFlight> mine;
    while (!mine) {
        if (BlockPtr block = get(id)) return block;
        std::unique_lock lock(impl.mutex);
        auto& place = impl.inFlight[id];
        if (!place) {
            if (const auto found = impl.entries.find(id); found != impl.entries.end() && found->second.present()) {
                impl.inFlight.erase(id);  // stored since the look above
                continue;
            }
            mine = place = std::make_shared<Impl::InFlight>();
            break;
        }
        const auto other = place;
        impl.computed.wait(lock, [&] { return other->done; });
        if (other->block) return other->block;
    }
    BlockPtr block;
    const auto finish = [&] {
        {
            const std::lock_guard lock(impl.mutex);
            mine->done = true;
            mine->block = block;
            impl.inFlight.erase(id);
        }
        impl.computed.notify_all();
    };
    try {
        const bool lost = isLost(id);
        block = compute();
        if (lost) {
            const std::lock_guard lock(impl.mutex);
            ++impl.recomputed;
        }
        put(id, block, level, codec);
    } catch (...) {
        block = nullptr;
        finish();
        throw;
    }
    finish();
    return block;
}

RDDInfo BlockManager::infoOf(int rddId) const {
    RDDInfo info;
    info.id = rddId;
    const std::lock_guard lock(impl_->mutex);
    for (auto it = impl_->entries.lower_bound({BlockId::Kind::kRdd, rddId, INT64_MIN});
         it != impl_->entries.end() && it->first.kind == BlockId::Kind::kRdd && it->first.owner == rddId; ++it) {
        const Impl::Entry& entry = it->second;
        if (!entry.present()) continue;
        info.storageLevel = entry.level;
        ++info.numCachedPartitions;
        if (entry.memory) info.memSize += entry.memoryBytes;
        if (!entry.file.empty()) info.diskSize += entry.fileBytes;
    }
    return info;
}

int64_t BlockManager::recomputedBlocks() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->recomputed;
}

void BlockManager::countSpill(int64_t bytes) {
    const std::lock_guard lock(impl_->mutex);
    ++impl_->spills;
    impl_->spilledBytes += bytes;
}

int64_t BlockManager::spills() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->spills;
}

int64_t BlockManager::spilledBytes() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->spilledBytes;
}

}  // namespace dstream
