#include "rdd/file_system.hpp"

#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace dstream {

namespace {

/// Repeats a system call while it is interrupted.
template <class Call>
int64_t uninterrupted(Call call) {
    for (;;) {
        const int64_t result = call();
        if (result != -EINTR) return result;
    }
}

int64_t resultOf(int64_t returned) {
    return returned < 0 ? -errno : returned;
}

std::string directoryOf(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == path.npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// Calls `once(place, count)` until all bytes are written. While failpoints are armed they go in three pieces, so that
/// a kill leaves torn files.
template <class Once>
int64_t writeAll(std::span<const std::byte> bytes, Once once) {
    const bool torn = failpointsArmed();
    size_t piece = torn ? std::max<size_t>(bytes.size() / 3, 1) : bytes.size();
    while (!bytes.empty()) {
        const size_t wanted = std::min(piece, bytes.size());
        const int64_t written = uninterrupted([&] { return once(bytes.data(), wanted); });
        if (written < 0) return written;
        if (written == 0) return -EIO;  // would go on for ever
        bytes = bytes.subspan(static_cast<size_t>(written));
        if (torn) {
            if (const int error = DSTREAM_FAILPOINT_ERRNO("fs.write")) return -error;
        }
    }
    return 0;
}

}  // namespace

FileSystemException::FileSystemException(const std::string& operation, const std::string& path, int error)
    : SparkException("cannot " + operation + " " + path + ": " + std::generic_category().message(error)),
      code_(error, std::generic_category()),
      path_(path) {}

File::File(File&& that) noexcept
    : fs_(that.fs_), descriptor_(std::exchange(that.descriptor_, -1)), path_(std::move(that.path_)) {}

File& File::operator=(File&& that) noexcept {
    std::swap(fs_, that.fs_);
    std::swap(descriptor_, that.descriptor_);
    std::swap(path_, that.path_);
    return *this;
}

File::~File() {
    if (descriptor_ < 0) return;
    const int64_t result = fs_->doClose(descriptor_);
    if (result < 0)
        logMessage(LogLevel::kWarn, "files",
                   "closing " + path_ + " failed: " + std::generic_category().message(static_cast<int>(-result)));
}

void File::fail(const char* operation, int64_t result) const {
    if (result < 0) throw FileSystemException(operation, path_, static_cast<int>(-result));
}

size_t File::readAt(std::span<std::byte> place, uint64_t offset) const {
    size_t done = 0;
    while (done < place.size()) {
        const int64_t count = uninterrupted(
            [&] { return fs_->doReadAt(descriptor_, place.data() + done, place.size() - done, offset + done); });
        fail("read", count);
        if (count == 0) break;
        done += static_cast<size_t>(count);
    }
    return done;
}

void File::write(std::span<const std::byte> bytes) {
    fail("write", writeAll(bytes, [&](const std::byte* place, size_t count) {
             return fs_->doWrite(descriptor_, place, count);
         }));
}

void File::writeAt(std::span<const std::byte> bytes, uint64_t offset) {
    fail("write", writeAll(bytes, [&](const std::byte* place, size_t count) {
             const int64_t written = fs_->doWriteAt(descriptor_, place, count, offset);
             if (written > 0) offset += static_cast<uint64_t>(written);
             return written;
         }));
}

void File::sync() {
    fail("sync", -DSTREAM_FAILPOINT_ERRNO("fs.before_sync"));
    fail("sync", uninterrupted([&] { return fs_->doSync(descriptor_); }));
    fail("sync", -DSTREAM_FAILPOINT_ERRNO("fs.after_sync"));
}

void File::syncData() {
    fail("sync", -DSTREAM_FAILPOINT_ERRNO("fs.before_sync_data"));
    fail("sync", uninterrupted([&] { return fs_->doSyncData(descriptor_); }));
    fail("sync", -DSTREAM_FAILPOINT_ERRNO("fs.after_sync_data"));
}

void File::truncate(uint64_t sizeBytes) {
    fail("truncate", -DSTREAM_FAILPOINT_ERRNO("fs.before_truncate"));
    fail("truncate", uninterrupted([&] { return fs_->doTruncate(descriptor_, sizeBytes); }));
    fail("truncate", -DSTREAM_FAILPOINT_ERRNO("fs.after_truncate"));
}

uint64_t File::size() const {
    struct stat status {};
    fail("stat", uninterrupted([&] { return fs_->doStatOpen(descriptor_, status); }));
    return static_cast<uint64_t>(status.st_size);
}

bool File::tryLock() {
    const int64_t result = uninterrupted([&] { return fs_->doLock(descriptor_); });
    if (result == -EWOULDBLOCK) return false;
    fail("lock", result);
    fail("lock", -DSTREAM_FAILPOINT_ERRNO("fs.after_lock"));
    return true;
}

void File::close() {
    if (descriptor_ < 0) return;
    // Never repeated, not even when interrupted: the descriptor is gone after the first call.
    const int64_t result = fs_->doClose(std::exchange(descriptor_, -1));
    if (result != -EINTR) fail("close", result);
}

File Fs::open(const std::string& path, Mode mode, mode_t permissions) {
    static constexpr int kFlags[] = {O_RDONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_APPEND,
                                     O_RDWR | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_EXCL};
    const int flags = kFlags[static_cast<int>(mode)] | O_CLOEXEC;
    int64_t descriptor = mode == Mode::kRead ? 0 : -DSTREAM_FAILPOINT_ERRNO("fs.before_open");
    if (descriptor == 0) descriptor = uninterrupted([&] { return doOpen(path.c_str(), flags, permissions); });
    if (descriptor < 0) throw FileSystemException("open", path, static_cast<int>(-descriptor));
    return File(*this, static_cast<int>(descriptor), path);
}

std::vector<std::byte> Fs::readFile(const std::string& path, uint64_t maxBytes) {
    const File file = open(path, Mode::kRead);
    const uint64_t size = file.size();
    if (size > maxBytes) {
        throw SparkException("file too large: " + path + " has " + std::to_string(size) + " bytes, at most " +
                             std::to_string(maxBytes) + " are expected");
    }
    std::vector<std::byte> bytes(size);
    bytes.resize(file.readAt(bytes, 0));
    return bytes;
}

void Fs::writeFileAtomically(const std::string& path, std::span<const std::byte> bytes, mode_t permissions) {
    static std::atomic<uint64_t> counter{0};
    const std::string directory = directoryOf(path);
    const std::string temporary = directory + "/." + path.substr(path.rfind('/') + 1) + "." +
                                  std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
    try {
        File file = open(temporary, Mode::kTruncate, permissions);
        file.write(bytes);
        file.sync();
        file.close();
        rename(temporary, path);
    } catch (...) {
        try {
            remove(temporary);
        } catch (const std::exception& error) {
            // What made the write fail is the error to report; a temporary file left over does no harm.
            logMessage(LogLevel::kWarn, "files", error.what());
        }
        throw;
    }
    syncDirectory(directory);
}

void Fs::rename(const std::string& from, const std::string& to) {
    int64_t result = -DSTREAM_FAILPOINT_ERRNO("fs.before_rename");
    if (result == 0) result = uninterrupted([&] { return doRename(from.c_str(), to.c_str()); });
    if (result == 0) result = -DSTREAM_FAILPOINT_ERRNO("fs.after_rename");
    if (result < 0) throw FileSystemException("rename to " + to, from, static_cast<int>(-result));
}

bool Fs::remove(const std::string& path) {
    int64_t result = -DSTREAM_FAILPOINT_ERRNO("fs.before_remove");
    if (result == 0) result = uninterrupted([&] { return doRemove(path.c_str(), false); });
    if (result == -EISDIR || result == -EPERM) {
        result = uninterrupted([&] { return doRemove(path.c_str(), true); });
    }
    if (result == -ENOENT) return false;
    if (result == 0) result = -DSTREAM_FAILPOINT_ERRNO("fs.after_remove");
    if (result < 0) throw FileSystemException("remove", path, static_cast<int>(-result));
    return true;
}

bool Fs::removeAll(const std::string& path) {
    struct stat status {};
    const int64_t found = uninterrupted([&] { return doStat(path.c_str(), false, status); });
    if (found == 0 && S_ISDIR(status.st_mode)) {
        const std::string prefix = path + "/";
        for (const std::string& name : list(path)) removeAll(prefix + name);
    }
    return remove(path);
}

std::vector<std::string> Fs::list(const std::string& path) {
    std::vector<std::string> names;
    const int64_t result = uninterrupted([&] {
        names.clear();
        return doList(path.c_str(), names);
    });
    if (result < 0) throw FileSystemException("list", path, static_cast<int>(-result));
    std::ranges::sort(names);
    return names;
}

std::optional<FileStatus> Fs::stat(const std::string& path) {
    struct stat status {};
    const int64_t result = uninterrupted([&] { return doStat(path.c_str(), true, status); });
    if (result == -ENOENT || result == -ENOTDIR) return std::nullopt;
    if (result < 0) throw FileSystemException("stat", path, static_cast<int>(-result));
    FileStatus answer;
    if (S_ISREG(status.st_mode)) answer.kind = FileKind::kFile;
    if (S_ISDIR(status.st_mode)) answer.kind = FileKind::kDirectory;
    answer.sizeBytes = static_cast<uint64_t>(status.st_size);
    answer.modifiedMs = int64_t{status.st_mtim.tv_sec} * 1000 + status.st_mtim.tv_nsec / 1'000'000;
    answer.device = status.st_dev;
    answer.inode = status.st_ino;
    return answer;
}

void Fs::makeDirectories(const std::string& path, mode_t permissions) {
    const auto make = [&] { return uninterrupted([&] { return doMakeDirectory(path.c_str(), permissions); }); };
    int64_t result = make();
    if (result == -ENOENT && directoryOf(path) != path) {
        makeDirectories(directoryOf(path), permissions);
        result = make();
    }
    if (result == -EEXIST) {
        const auto status = stat(path);
        if (status && status->kind == FileKind::kDirectory) return;
    }
    if (result == 0) result = -DSTREAM_FAILPOINT_ERRNO("fs.after_make_directory");
    if (result < 0) throw FileSystemException("make directory", path, static_cast<int>(-result));
}

void Fs::makeDurableDirectories(const std::string& path, mode_t permissions) {
    const std::string parent = directoryOf(path);
    if (parent != path && !exists(parent)) {
        makeDurableDirectories(parent, permissions);
    } else {
        // Who made the parent may have died, or failed, before its name was durable. What cannot be read is not ours.
        try {
            syncDirectory(directoryOf(parent));
        } catch (const FileSystemException& error) {
            if (error.code() != std::errc::permission_denied) throw;
        }
    }
    makeDirectories(path, permissions);
    syncDirectory(parent);
}

void Fs::syncDirectory(const std::string& path) {
    const int64_t descriptor =
        uninterrupted([&] { return doOpen(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
    if (descriptor < 0) throw FileSystemException("open directory", path, static_cast<int>(-descriptor));
    File directory(*this, static_cast<int>(descriptor), path);
    directory.sync();
    directory.close();
}

int64_t PosixFs::doOpen(const char* path, int flags, mode_t permissions) {
    return resultOf(::open(path, flags, permissions));
}
int64_t PosixFs::doClose(int descriptor) {
    return resultOf(::close(descriptor));
}
int64_t PosixFs::doReadAt(int descriptor, void* place, size_t count, uint64_t offset) {
    return resultOf(::pread(descriptor, place, count, static_cast<off_t>(offset)));
}
int64_t PosixFs::doWrite(int descriptor, const void* bytes, size_t count) {
    return resultOf(::write(descriptor, bytes, count));
}
int64_t PosixFs::doWriteAt(int descriptor, const void* bytes, size_t count, uint64_t offset) {
    return resultOf(::pwrite(descriptor, bytes, count, static_cast<off_t>(offset)));
}
int64_t PosixFs::doSync(int descriptor) {
    return resultOf(::fsync(descriptor));
}
int64_t PosixFs::doSyncData(int descriptor) {
    return resultOf(::fdatasync(descriptor));
}
int64_t PosixFs::doTruncate(int descriptor, uint64_t sizeBytes) {
    return resultOf(::ftruncate(descriptor, static_cast<off_t>(sizeBytes)));
}
int64_t PosixFs::doLock(int descriptor) {
    return resultOf(::flock(descriptor, LOCK_EX | LOCK_NB));
}
int64_t PosixFs::doStatOpen(int descriptor, struct stat& status) {
    return resultOf(::fstat(descriptor, &status));
}
int64_t PosixFs::doStat(const char* path, bool follow, struct stat& status) {
    return resultOf(follow ? ::stat(path, &status) : ::lstat(path, &status));
}
int64_t PosixFs::doRename(const char* from, const char* to) {
    return resultOf(::rename(from, to));
}
int64_t PosixFs::doRemove(const char* path, bool directory) {
    return resultOf(directory ? ::rmdir(path) : ::unlink(path));
}
int64_t PosixFs::doMakeDirectory(const char* path, mode_t permissions) {
    return resultOf(::mkdir(path, permissions));
}

int64_t PosixFs::doList(const char* path, std::vector<std::string>& names) {
    DIR* const directory = ::opendir(path);
    if (directory == nullptr) return -errno;
    for (;;) {
        errno = 0;
        const dirent* const entry = ::readdir(directory);
        if (entry == nullptr) break;
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
    }
    const int64_t result = -errno;
    ::closedir(directory);
    return result;
}

namespace {

std::atomic<Fs*> replacement{nullptr};

}  // namespace

Fs& posixFs() {
    static PosixFs instance;
    Fs* const fs = replacement.load();
    return fs != nullptr ? *fs : instance;
}

void replaceFileSystem(Fs* fs) {
    replacement = fs;
}

}  // namespace dstream
