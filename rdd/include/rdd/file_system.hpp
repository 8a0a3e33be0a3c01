#pragma once

#include "rdd/exceptions.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <sys/types.h>
#include <system_error>
#include <vector>

struct stat;

namespace dstream {

/// Reports a failed file operation: what, on which path, and the system's error.
class FileSystemException : public SparkException {
public:
    FileSystemException(const std::string& operation, const std::string& path, int error);
    const std::error_code& code() const { return code_; }
    const std::string& path() const { return path_; }

private:
    std::error_code code_;
    std::string path_;
};

enum class FileKind { kFile, kDirectory, kOther };

struct FileStatus {
    FileKind kind = FileKind::kOther;
    uint64_t sizeBytes = 0;
    int64_t modifiedMs = 0;  // since the epoch
    uint64_t device = 0;
    uint64_t inode = 0;
};

class Fs;

/// An open file. Moves, never copies; closes itself. One thread at a time, but readAt from several.
class File {
public:
    File() = default;
    File(File&& that) noexcept;
    File& operator=(File&& that) noexcept;
    ~File();

    /// Reads up to `place.size()` bytes at `offset`; fewer only at the end of the file.
    size_t readAt(std::span<std::byte> place, uint64_t offset) const;
    /// Writes all bytes at the position after what was written before; at the end in append mode.
    void write(std::span<const std::byte> bytes);
    /// Writes all bytes at `offset`.
    void writeAt(std::span<const std::byte> bytes, uint64_t offset);
    /// Makes contents and size durable. After a failure never retry on the same file: what was written is undefined.
    void sync();
    /// The same without times and the like.
    void syncData();
    void truncate(uint64_t sizeBytes);
    uint64_t size() const;
    /// Takes the exclusive lock of the file; false when another open file has it. Held until the file is closed.
    bool tryLock();
    /// Closes and reports an error of it, which the destructor cannot.
    void close();

    bool isOpen() const { return descriptor_ >= 0; }
    const std::string& path() const { return path_; }

private:
    friend class Fs;
    File(Fs& fs, int descriptor, std::string path) : fs_(&fs), descriptor_(descriptor), path_(std::move(path)) {}
    void fail(const char* operation, int64_t result) const;

    Fs* fs_ = nullptr;
    int descriptor_ = -1;
    std::string path_;
};

/// The file system, behind an interface so that tests can make it fail. Interrupted calls are repeated and short
/// writes continued; every other failure throws FileSystemException. Thread-safe.
class Fs {
public:
    enum class Mode {
        kRead,       // an existing file
        kReadWrite,  // an existing file or a new one
        kAppend,     // the same, writing at its end
        kTruncate,   // an existing file, emptied, or a new one
        kCreate,     // a new one; fails when there is one
    };

    Fs() = default;
    Fs(const Fs&) = delete;
    Fs& operator=(const Fs&) = delete;
    virtual ~Fs() = default;

    File open(const std::string& path, Mode mode, mode_t permissions = 0600);
    std::vector<std::byte> readFile(const std::string& path, uint64_t maxBytes = UINT64_MAX);
    /// Writes a whole file so that a reader sees the old one or the new one, whatever happens: temporary file in the
    /// same directory, sync, close, rename, sync of the directory. Removes the temporary file on failure.
    void writeFileAtomically(const std::string& path, std::span<const std::byte> bytes, mode_t permissions = 0600);
    /// Replaces `to` if it exists. Durable only after syncDirectory.
    void rename(const std::string& from, const std::string& to);
    /// Removes a file or an empty directory; false when there is none.
    bool remove(const std::string& path);
    /// Removes a file or a directory with all that is in it; links are removed, not followed. Returns false when there
    /// is none.
    bool removeAll(const std::string& path);
    /// Returns the names in a directory, sorted, without "." and "..".
    std::vector<std::string> list(const std::string& path);
    /// Returns nothing when the path does not exist; a link is followed.
    std::optional<FileStatus> stat(const std::string& path);
    bool exists(const std::string& path) { return stat(path).has_value(); }
    /// Makes a directory and those above it that are missing.
    void makeDirectories(const std::string& path, mode_t permissions = 0700);
    /// The same, and makes the name of the directory and of those made above it durable.
    void makeDurableDirectories(const std::string& path, mode_t permissions = 0700);
    /// Makes the names in a directory durable.
    void syncDirectory(const std::string& path);

protected:
    friend class File;
    // One system call each: the result, or -errno.
    virtual int64_t doOpen(const char* path, int flags, mode_t permissions) = 0;
    virtual int64_t doClose(int descriptor) = 0;
    virtual int64_t doReadAt(int descriptor, void* place, size_t count, uint64_t offset) = 0;
    virtual int64_t doWrite(int descriptor, const void* bytes, size_t count) = 0;
    virtual int64_t doWriteAt(int descriptor, const void* bytes, size_t count, uint64_t offset) = 0;
    virtual int64_t doSync(int descriptor) = 0;
    virtual int64_t doSyncData(int descriptor) = 0;
    virtual int64_t doTruncate(int descriptor, uint64_t sizeBytes) = 0;
    virtual int64_t doLock(int descriptor) = 0;
    virtual int64_t doStatOpen(int descriptor, struct stat& status) = 0;
    virtual int64_t doStat(const char* path, bool follow, struct stat& status) = 0;
    virtual int64_t doRename(const char* from, const char* to) = 0;
    virtual int64_t doRemove(const char* path, bool directory) = 0;
    virtual int64_t doMakeDirectory(const char* path, mode_t permissions) = 0;
    virtual int64_t doList(const char* path, std::vector<std::string>& names) = 0;
};

/// The file system of the machine; a base for those that make it fail.
class PosixFs : public Fs {
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
};

/// Returns the file system of the machine, through which everything here goes.
Fs& posixFs();

/// Puts another one in the place of the machine's, for tests; null takes it away. Open files stay where they are.
void replaceFileSystem(Fs* fs);

}  // namespace dstream
