#include "support/power_cut_file_system.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <set>
#include <string_view>
#include <sys/stat.h>
#include <utility>

namespace dstream::testsupport {

namespace {

// Above the descriptors of the machine.
constexpr int kFirstDescriptor = 1 << 24;

}  // namespace

struct PowerCutFs::Node {
    struct Write {
        uint64_t offset;
        std::vector<std::byte> bytes;
        std::optional<uint64_t> truncatedTo;  // instead
    };

    static void apply(std::vector<std::byte>& bytes, const Write& write, size_t count) {
        if (write.truncatedTo) return bytes.resize(*write.truncatedTo);
        if (bytes.size() < write.offset + count) bytes.resize(write.offset + count);
        std::copy_n(write.bytes.begin(), count, bytes.begin() + static_cast<std::ptrdiff_t>(write.offset));
    }
    void write(Write write) {
        apply(bytes, write, write.bytes.size());
        unsynced.push_back(std::move(write));
    }

    uint64_t inode = 0;
    bool isDirectory = false;
    bool survived = false;  // while the power comes back
    // a file
    std::vector<std::byte> bytes;
    std::vector<std::byte> synced;
    std::vector<Write> unsynced;
    bool syncFailed = false;
    int lockedBy = -1;
    // a directory
    std::map<std::string, NodePtr> names;
    std::map<std::string, std::vector<NodePtr>> unsyncedNames;  // all that a name stood for since the sync before
};

struct PowerCutFs::Open {
    NodePtr node;
    bool appends = false;
    uint64_t position = 0;
};

PowerCutFs::PowerCutFs(std::string root, uint64_t seed)
    : root_(std::move(root)), random_(seed), top_(std::make_shared<Node>()), nextDescriptor_(kFirstDescriptor) {
    top_->isDirectory = true;
}

PowerCutFs::~PowerCutFs() = default;

void PowerCutFs::ignoreSyncs() {
    const std::lock_guard lock(mutex_);
    ignoresSyncs_ = true;
}

void PowerCutFs::cutAt(uint64_t change) {
    const std::lock_guard lock(mutex_);
    changes_ = 0;
    cutAt_ = change;
}

void PowerCutFs::failFrom(uint64_t change, uint64_t count, int error) {
    const std::lock_guard lock(mutex_);
    failFrom_ = change;
    failUntil_ = change + count;
    failError_ = error;
}

bool PowerCutFs::isOff() const {
    const std::lock_guard lock(mutex_);
    return off_;
}

bool PowerCutFs::awaitFailure(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    return failureCame_.wait(lock, std::move(stop), [this] { return failed_; });
}

uint64_t PowerCutFs::changes() const {
    const std::lock_guard lock(mutex_);
    return changes_;
}

void PowerCutFs::restart() {
    const std::lock_guard lock(mutex_);
    open_.clear();
    survive(*top_);
    std::vector<Node*> left{top_.get()};  // the marks go again
    while (!left.empty()) {
        Node& node = *left.back();
        left.pop_back();
        if (!std::exchange(node.survived, false)) continue;
        for (const auto& [name, child] : node.names) left.push_back(child.get());
    }
    off_ = false;
    failed_ = false;
    cutAt_ = 0;
    failUntil_ = 0;
    changes_ = 0;
}

void PowerCutFs::survive(Node& node) {
    if (std::exchange(node.survived, true)) return;
    node.lockedBy = -1;
    node.syncFailed = false;
    for (auto& [name, values] : node.unsyncedNames) {
        NodePtr value = values[random_() % values.size()];
        if (value) {
            node.names[name] = std::move(value);
        } else {
            node.names.erase(name);
        }
    }
    node.unsyncedNames.clear();
    for (auto& [name, child] : node.names) survive(*child);

    node.bytes = node.synced;
    const bool inOrder = random_() % 2 == 0;
    size_t whole = inOrder ? random_() % (node.unsynced.size() + 1) : node.unsynced.size();
    for (const Node::Write& write : node.unsynced) {
        if (!inOrder && random_() % 2 == 0) continue;
        const bool torn = inOrder && whole-- == 0;
        Node::apply(node.bytes, write, torn ? random_() % (write.bytes.size() + 1) : write.bytes.size());
        if (torn) break;
    }
    node.unsynced.clear();
    node.synced = node.bytes;
}

bool PowerCutFs::isMine(const char* path) const {
    const std::string_view text = path;
    return text.starts_with(root_) && (text.size() == root_.size() || text[root_.size()] == '/');
}

PowerCutFs::Place PowerCutFs::find(const std::string& path) const {
    Place place{nullptr, "", top_};
    size_t at = root_.size();
    while (at < path.size()) {
        const size_t begin = at + 1;
        at = std::min(path.find('/', begin), path.size());
        if (begin == at) continue;
        if (!place.node || !place.node->isDirectory) return {};
        place.directory = std::move(place.node);
        place.name = path.substr(begin, at - begin);
        const auto found = place.directory->names.find(place.name);
        place.node = found == place.directory->names.end() ? nullptr : found->second;
    }
    return place;
}

PowerCutFs::Open* PowerCutFs::openOf(int descriptor) {
    const auto found = open_.find(descriptor);
    return off_ || found == open_.end() ? nullptr : &found->second;
}

int64_t PowerCutFs::change() {
    if (!off_ && ++changes_ == cutAt_) off_ = true;
    if (!off_ && (!isHit() || failError_ == 0)) return 0;
    if (!off_ && failError_ == EINTR) return -EINTR;
    failed_ = true;
    failureCame_.notify_all();
    return off_ ? -EIO : -failError_;
}

void PowerCutFs::setName(Node& directory, const std::string& name, NodePtr node) {
    std::vector<NodePtr>& values = directory.unsyncedNames[name];
    auto& current = directory.names[name];
    if (values.empty()) values.push_back(current);
    values.push_back(node);
    if (node) {
        current = std::move(node);
    } else {
        directory.names.erase(name);
    }
}

int64_t PowerCutFs::doOpen(const char* path, int flags, mode_t permissions) {
    if (!isMine(path)) return PosixFs::doOpen(path, flags, permissions);
    const std::lock_guard lock(mutex_);
    if (off_) return -EIO;
    auto [directory, name, node] = find(path);
    if (!node) {
        if ((flags & O_CREAT) == 0 || !directory) return -ENOENT;
        if (const int64_t error = change()) return error;
        node = std::make_shared<Node>();
        node->inode = nextInode_++;
        setName(*directory, name, node);
    } else {
        if ((flags & O_EXCL) != 0) return -EEXIST;
        if (node->isDirectory && (flags & O_ACCMODE) != O_RDONLY) return -EISDIR;
        if (!node->isDirectory && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
        if ((flags & O_TRUNC) != 0) {
            if (const int64_t error = change()) return error;
            node->write({0, {}, 0});
        }
    }
    open_[nextDescriptor_] = Open{node, (flags & O_APPEND) != 0, 0};
    return nextDescriptor_++;
}

int64_t PowerCutFs::doClose(int descriptor) {
    if (descriptor < kFirstDescriptor) return PosixFs::doClose(descriptor);
    const std::lock_guard lock(mutex_);
    if (Open* const open = openOf(descriptor)) {
        if (open->node->lockedBy == descriptor) open->node->lockedBy = -1;
        open_.erase(descriptor);
    }
    return 0;
}

int64_t PowerCutFs::doReadAt(int descriptor, void* place, size_t count, uint64_t offset) {
    if (descriptor < kFirstDescriptor) return PosixFs::doReadAt(descriptor, place, count, offset);
    const std::lock_guard lock(mutex_);
    const Open* const open = openOf(descriptor);
    if (open == nullptr) return -EIO;
    const std::vector<std::byte>& bytes = open->node->bytes;
    if (offset >= bytes.size()) return 0;
    count = std::min(count, bytes.size() - offset);
    std::memcpy(place, bytes.data() + offset, count);
    return static_cast<int64_t>(count);
}

int64_t PowerCutFs::writeTo(Open& open, const void* bytes, size_t count, uint64_t offset) {
    if (const int64_t error = change()) return error;
    if (isHit()) count = (count + 1) / 2;  // it has not failed, so it is cut short
    const auto* const begin = static_cast<const std::byte*>(bytes);
    open.node->write({offset, std::vector<std::byte>(begin, begin + count), std::nullopt});
    return static_cast<int64_t>(count);
}

int64_t PowerCutFs::doWrite(int descriptor, const void* bytes, size_t count) {
    if (descriptor < kFirstDescriptor) return PosixFs::doWrite(descriptor, bytes, count);
    const std::lock_guard lock(mutex_);
    Open* const open = openOf(descriptor);
    if (open == nullptr) return -EIO;
    const uint64_t offset = open->appends ? open->node->bytes.size() : open->position;
    const int64_t written = writeTo(*open, bytes, count, offset);
    if (written > 0) open->position = offset + static_cast<uint64_t>(written);
    return written;
}

int64_t PowerCutFs::doWriteAt(int descriptor, const void* bytes, size_t count, uint64_t offset) {
    if (descriptor < kFirstDescriptor) return PosixFs::doWriteAt(descriptor, bytes, count, offset);
    const std::lock_guard lock(mutex_);
    Open* const open = openOf(descriptor);
    return open == nullptr ? -EIO : writeTo(*open, bytes, count, offset);
}

int64_t PowerCutFs::doSync(int descriptor) {
    if (descriptor < kFirstDescriptor) return PosixFs::doSync(descriptor);
    const std::lock_guard lock(mutex_);
    Open* const open = openOf(descriptor);
    if (open == nullptr) return -EIO;
    Node& node = *open->node;
    if (const int64_t error = change()) {
        node.syncFailed = !node.isDirectory && error != -EINTR;
        return error;
    }
    if (ignoresSyncs_ || node.syncFailed) return 0;
    node.synced = node.bytes;
    node.unsynced.clear();
    node.unsyncedNames.clear();
    return 0;
}

int64_t PowerCutFs::doSyncData(int descriptor) {
    return descriptor < kFirstDescriptor ? PosixFs::doSyncData(descriptor) : PowerCutFs::doSync(descriptor);
}

int64_t PowerCutFs::doTruncate(int descriptor, uint64_t sizeBytes) {
    if (descriptor < kFirstDescriptor) return PosixFs::doTruncate(descriptor, sizeBytes);
    const std::lock_guard lock(mutex_);
    Open* const open = openOf(descriptor);
    if (open == nullptr) return -EIO;
    if (const int64_t error = change()) return error;
    open->node->write({0, {}, sizeBytes});
    return 0;
}

int64_t PowerCutFs::doLock(int descriptor) {
    if (descriptor < kFirstDescriptor) return PosixFs::doLock(descriptor);
    const std::lock_guard lock(mutex_);
    Open* const open = openOf(descriptor);
    if (open == nullptr) return -EIO;
    int& owner = open->node->lockedBy;
    if (owner >= 0 && owner != descriptor) return -EWOULDBLOCK;
    owner = descriptor;
    return 0;
}

int64_t PowerCutFs::doStatOpen(int descriptor, struct stat& status) {
    if (descriptor < kFirstDescriptor) return PosixFs::doStatOpen(descriptor, status);
    const std::lock_guard lock(mutex_);
    const Open* const open = openOf(descriptor);
    if (open == nullptr) return -EIO;
    status.st_mode = open->node->isDirectory ? S_IFDIR : S_IFREG;
    status.st_size = static_cast<off_t>(open->node->bytes.size());
    status.st_ino = open->node->inode;
    return 0;
}

int64_t PowerCutFs::doStat(const char* path, bool follow, struct stat& status) {
    if (!isMine(path)) return PosixFs::doStat(path, follow, status);
    const std::lock_guard lock(mutex_);
    if (off_) return -EIO;
    const NodePtr node = find(path).node;
    if (!node) return -ENOENT;
    status.st_mode = node->isDirectory ? S_IFDIR : S_IFREG;
    status.st_size = static_cast<off_t>(node->bytes.size());
    status.st_ino = node->inode;
    return 0;
}

int64_t PowerCutFs::doRename(const char* from, const char* to) {
    if (!isMine(from)) return PosixFs::doRename(from, to);
    const std::lock_guard lock(mutex_);
    if (off_) return -EIO;
    const Place source = find(from);
    const Place target = find(to);
    if (!source.node || !target.directory) return -ENOENT;
    if (target.node && (target.node->isDirectory || source.node->isDirectory)) return -EISDIR;
    if (const int64_t error = change()) return error;
    setName(*target.directory, target.name, source.node);
    setName(*source.directory, source.name, nullptr);
    return 0;
}

int64_t PowerCutFs::doRemove(const char* path, bool directory) {
    if (!isMine(path)) return PosixFs::doRemove(path, directory);
    const std::lock_guard lock(mutex_);
    if (off_) return -EIO;
    const Place place = find(path);
    if (!place.node) return -ENOENT;
    if (place.node->isDirectory != directory) return directory ? -ENOTDIR : -EISDIR;
    if (!place.node->names.empty()) return -ENOTEMPTY;
    if (const int64_t error = change()) return error;
    setName(*place.directory, place.name, nullptr);
    return 0;
}

int64_t PowerCutFs::doMakeDirectory(const char* path, mode_t permissions) {
    if (!isMine(path)) return PosixFs::doMakeDirectory(path, permissions);
    const std::lock_guard lock(mutex_);
    if (off_) return -EIO;
    const Place place = find(path);
    if (place.node) return -EEXIST;
    if (!place.directory) return -ENOENT;
    if (const int64_t error = change()) return error;
    auto node = std::make_shared<Node>();
    node->inode = nextInode_++;
    node->isDirectory = true;
    setName(*place.directory, place.name, std::move(node));
    return 0;
}

int64_t PowerCutFs::doList(const char* path, std::vector<std::string>& names) {
    if (!isMine(path)) return PosixFs::doList(path, names);
    const std::lock_guard lock(mutex_);
    if (off_) return -EIO;
    const NodePtr node = find(path).node;
    if (!node) return -ENOENT;
    if (!node->isDirectory) return -ENOTDIR;
    for (const auto& [name, child] : node->names) names.push_back(name);
    return 0;
}

}  // namespace dstream::testsupport
