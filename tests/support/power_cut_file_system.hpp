#pragma once

#include "rdd/file_system.hpp"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <vector>

namespace dstream::testsupport {

/// A file system in memory, below one path, that loses its power: from the chosen change on every call fails, and what
/// restart finds is only sure to have what was synced. Bytes that were not are there, missing or torn, and names that
/// were made, renamed or removed without a sync of their directory are there or not, each by itself, as the seed says.
/// Calls with other paths go to the machine. Thread-safe.
///
///     PowerCutFs fs("/power-cut", seed);
///     replaceFileSystem(&fs);
///     fs.cutAt(17);
class PowerCutFs : public PosixFs {
public:
    PowerCutFs(std::string root, uint64_t seed);
    ~PowerCutFs() override;

    /// From now on syncs do nothing but count, as those of a disk that lies.
    void ignoreSyncs();
    /// Cuts the power at the n-th change from now on, which does not happen any more; 0: never.
    void cutAt(uint64_t change);
    /// Makes `count` changes fail with `error` from the n-th on, counted as those of cutAt. What a failed sync of
    /// a file should have made durable never will be, as on Linux. EINTR: they are interrupted; 0: writes are cut
    /// short.
    void failFrom(uint64_t change, uint64_t count, int error);
    bool isOff() const;
    /// Blocks until the power is off or a change has failed for good; false when stop is requested first.
    bool awaitFailure(std::stop_token stop);
    /// The changes since the last cutAt: writes, syncs, renames and the like.
    uint64_t changes() const;
    /// Brings the power back with what has survived. Nobody may use files opened before but to close them.
    void restart();

protected:
    int64_t doOpen(const char* path, int flags, mode_t permissions) override;
    int64_t doClose(int descriptor) override;
    int64_t doReadAt(int descriptor, void* place, size_t count, uint64_t offset) override;
    int64_t doWrite(int descriptor, const void* bytes, size_t count) override;
    int64_t doWriteAt(int descriptor, const void* bytes, size_t count, uint64_t offset) override;
    int64_t doSync(int descriptor) override;
    int64_t doSyncData(int descriptor) override;
    int64_t doTruncate(int descriptor, uint64_t sizeBytes) override;
    int64_t doLock(int descriptor) override;
    int64_t doStatOpen(int descriptor, struct stat& status) override;
    int64_t doStat(const char* path, bool follow, struct stat& status) override;
    int64_t doRename(const char* from, const char* to) override;
    int64_t doRemove(const char* path, bool directory) override;
    int64_t doMakeDirectory(const char* path, mode_t permissions) override;
    int64_t doList(const char* path, std::vector<std::string>& names) override;

private:
    struct Node;
    struct Open;
    using NodePtr = std::shared_ptr<Node>;

    struct Place {
        NodePtr directory;  // null when there is none
        std::string name;   // empty for the root
        NodePtr node;       // null when there is none
    };

    bool isMine(const char* path) const;
    Place find(const std::string& path) const;
    Open* openOf(int descriptor);
    bool isHit() const { return changes_ >= failFrom_ && changes_ < failUntil_; }
    /// The error of a change: none, that of failFrom, or -EIO when the power is off or goes off now.
    int64_t change();
    static void setName(Node& directory, const std::string& name, NodePtr node);
    int64_t writeTo(Open& open, const void* bytes, size_t count, uint64_t offset);
    void survive(Node& node);

    const std::string root_;
    mutable std::mutex mutex_;  // guards the fields below
    std::mt19937_64 random_;
    NodePtr top_;
    std::map<int, Open> open_;
    int nextDescriptor_;
    uint64_t nextInode_ = 1;
    uint64_t changes_ = 0;
    uint64_t cutAt_ = 0;
    uint64_t failFrom_ = 0;
    uint64_t failUntil_ = 0;
    int failError_ = 0;
    std::condition_variable_any failureCame_;
    bool failed_ = false;  // off, or a change has failed for good
    bool off_ = false;
    bool ignoresSyncs_ = false;
};

}  // namespace dstream::testsupport
