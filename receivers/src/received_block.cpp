#include "receivers/received_block.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <unistd.h>
#include <utility>

namespace dstream {

std::string StreamBlockId::toString() const {
    return "input-" + std::to_string(streamId) + "-" + std::to_string(uniqueId);
}

namespace {

/// Counts the bytes that are kept.
class Room {
public:
    explicit Room(int64_t maxBytes) : maxBytes_(maxBytes) {}

    void take(int64_t bytes) {
        const auto fits = [this, bytes] { return open_ || used_ == 0 || used_ <= maxBytes_ - bytes; };
        std::unique_lock lock(mutex_);
        if (!fits() && !warned_) {
            warned_ = true;
            lock.unlock();
            logMessage(LogLevel::kWarn, "receivers",
                       "receivers wait: received blocks that are not processed yet reach " + std::to_string(maxBytes_) +
                           " bytes; dstream.receiver.maxStoredBytes allows more");
            lock.lock();
        }
        freed_.wait(lock, fits);
        used_ += bytes;
    }
    void giveBack(int64_t bytes) {
        {
            std::lock_guard lock(mutex_);
            used_ -= bytes;
        }
        freed_.notify_all();
    }
    void open() {
        {
            std::lock_guard lock(mutex_);
            open_ = true;
        }
        freed_.notify_all();
    }

private:
    const int64_t maxBytes_;
    std::mutex mutex_;  // guards the fields below
    std::condition_variable freed_;
    int64_t used_ = 0;
    bool open_ = false;
    bool warned_ = false;
};

class MemoryBlock final : public StoredBlock, public std::enable_shared_from_this<MemoryBlock> {
public:
    MemoryBlock(BlockPtr block, int64_t bytes, std::shared_ptr<Room> room)
        : block_(std::move(block)), bytes_(bytes), room_(std::move(room)) {}
    ~MemoryBlock() override { room_->giveBack(bytes_); }
    /// Who holds the result holds its room too.
    BlockPtr load() const override { return {shared_from_this(), block_.get()}; }

private:
    const BlockPtr block_;
    const int64_t bytes_;
    const std::shared_ptr<Room> room_;
};

class MemoryBlockStore final : public ReceivedBlockStore {
public:
    explicit MemoryBlockStore(int64_t maxBytes) : room_(std::make_shared<Room>(maxBytes)) {}
    std::shared_ptr<const StoredBlock> store(const StreamBlockId&, BlockPtr block, const StorageLevel&) override {
        const auto bytes = static_cast<int64_t>(block->sizeBytes());
        room_->take(bytes);
        return std::make_shared<const MemoryBlock>(std::move(block), bytes, room_);
    }
    void stopWaiting() override { room_->open(); }

private:
    const std::shared_ptr<Room> room_;
};

}  // namespace

std::shared_ptr<ReceivedBlockStore> memoryBlockStore(int64_t maxBytes) {
    return std::make_shared<MemoryBlockStore>(maxBytes);
}

std::shared_ptr<ReceivedBlockStore> memoryBlockStore(const SparkConf& conf, Duration batchInterval) {
    constexpr int64_t kMebibyte = int64_t{1} << 20;
    const int64_t memoryBytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
    const int64_t most = std::max(128 * kMebibyte, memoryBytes / 4);
    const int64_t intervalMs = std::clamp<int64_t>(batchInterval.milliseconds(), 0, 3'600'000);
    const int64_t usual = std::clamp(512 * kMebibyte / 1000 * intervalMs, 128 * kMebibyte, most);
    const int64_t maxBytes = conf.getSizeAsBytes("dstream.receiver.maxStoredBytes", usual);
    if (maxBytes <= 0) {
        throw IllegalArgumentException("dstream.receiver.maxStoredBytes must be positive: " + std::to_string(maxBytes));
    }
    return memoryBlockStore(maxBytes);
}

}  // namespace dstream
