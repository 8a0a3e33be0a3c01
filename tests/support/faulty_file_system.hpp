#pragma once

#include "rdd/file_system.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace dstream::testsupport {

/// A real file system of which one call fails: the k-th system call, counted from 1 over all kinds. One thread.
///
///     FaultyFs fs;
///     fs.failCall(3, ENOSPC);
class FaultyFs : public PosixFs {
public:
    /// Makes the k-th call from now on return `error`; 0 means that a read or write moves half of its bytes.
    void failCall(uint64_t call, int error);
    /// Counts syncs and makes them fail as other calls, but does not have the disk write: for sweeps over many calls.
    void spareTheDisk() { sparesDisk_ = true; }
    /// Tells whether that call has come.
    bool fired() const { return fired_; }
    /// Returns the names of the calls made since failCall, as "open" or "sync".
    const std::vector<std::string>& calls() const { return calls_; }

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
    /// Returns -errno when this call is the one to fail; halves `count` for a short one.
    int64_t fault(const char* name, size_t* count = nullptr);

    uint64_t failAt_ = 0;
    int error_ = 0;
    bool fired_ = false;
    bool sparesDisk_ = false;
    std::vector<std::string> calls_;
};

}  // namespace dstream::testsupport
