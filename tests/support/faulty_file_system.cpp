#include "support/faulty_file_system.hpp"

namespace dstream::testsupport {

void FaultyFs::failCall(uint64_t call, int error) {
    failAt_ = call;
    error_ = error;
    fired_ = false;
    calls_.clear();
}

int64_t FaultyFs::fault(const char* name, size_t* count) {
    calls_.emplace_back(name);
    if (calls_.size() != failAt_) return 0;
    fired_ = true;
    if (error_ == 0 && count != nullptr) *count = (*count + 1) / 2;
    return -error_;
}

int64_t FaultyFs::doOpen(const char* path, int flags, mode_t permissions) {
    if (const int64_t error = fault("open")) return error;
    return PosixFs::doOpen(path, flags, permissions);
}
int64_t FaultyFs::doClose(int descriptor) {
    const int64_t error = fault("close");
    const int64_t result = PosixFs::doClose(descriptor);  // the descriptor is gone in any case
    return error != 0 ? error : result;
}
int64_t FaultyFs::doReadAt(int descriptor, void* place, size_t count, uint64_t offset) {
    if (const int64_t error = fault("read", &count)) return error;
    return PosixFs::doReadAt(descriptor, place, count, offset);
}
int64_t FaultyFs::doWrite(int descriptor, const void* bytes, size_t count) {
    if (const int64_t error = fault("write", &count)) return error;
    return PosixFs::doWrite(descriptor, bytes, count);
}
int64_t FaultyFs::doWriteAt(int descriptor, const void* bytes, size_t count, uint64_t offset) {
    if (const int64_t error = fault("write", &count)) return error;
    return PosixFs::doWriteAt(descriptor, bytes, count, offset);
}
int64_t FaultyFs::doSync(int descriptor) {
    if (const int64_t error = fault("sync")) return error;
    return sparesDisk_ ? 0 : PosixFs::doSync(descriptor);
}
int64_t FaultyFs::doSyncData(int descriptor) {
    if (const int64_t error = fault("syncData")) return error;
    return sparesDisk_ ? 0 : PosixFs::doSyncData(descriptor);
}
int64_t FaultyFs::doTruncate(int descriptor, uint64_t sizeBytes) {
    if (const int64_t error = fault("truncate")) return error;
    return PosixFs::doTruncate(descriptor, sizeBytes);
}
int64_t FaultyFs::doLock(int descriptor) {
    if (const int64_t error = fault("lock")) return error;
    return PosixFs::doLock(descriptor);
}
int64_t FaultyFs::doStatOpen(int descriptor, struct stat& status) {
    if (const int64_t error = fault("stat")) return error;
    return PosixFs::doStatOpen(descriptor, status);
}
int64_t FaultyFs::doStat(const char* path, bool follow, struct stat& status) {
    if (const int64_t error = fault("stat")) return error;
    return PosixFs::doStat(path, follow, status);
}
int64_t FaultyFs::doRename(const char* from, const char* to) {
    if (const int64_t error = fault("rename")) return error;
    return PosixFs::doRename(from, to);
}
int64_t FaultyFs::doRemove(const char* path, bool directory) {
    if (const int64_t error = fault("remove")) return error;
    return PosixFs::doRemove(path, directory);
}
int64_t FaultyFs::doMakeDirectory(const char* path, mode_t permissions) {
    if (const int64_t error = fault("makeDirectory")) return error;
    return PosixFs::doMakeDirectory(path, permissions);
}
int64_t FaultyFs::doList(const char* path, std::vector<std::string>& names) {
    if (const int64_t error = fault("list")) return error;
    return PosixFs::doList(path, names);
}

}  // namespace dstream::testsupport
