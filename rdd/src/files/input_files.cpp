#include "files/input_files.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_conf.hpp"

#include <algorithm>
#include <cerrno>
#include <glob.h>
#include <iterator>
#include <string_view>
#include <utility>

namespace dstream::detail {

namespace {

constexpr const char* kRecursiveKey = "spark.hadoop.mapreduce.input.fileinputformat.input.dir.recursive";

std::string_view nameOf(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

bool isHidden(std::string_view name) {
    return name.starts_with('_') || name.starts_with('.');
}

/// Splits at commas that are neither escaped nor inside braces.
std::vector<std::string> splitList(const std::string& paths) {
    std::vector<std::string> list(1);
    int depth = 0;
    for (size_t i = 0; i < paths.size(); ++i) {
        const char c = paths[i];
        if (c == ',' && depth == 0) {
            list.emplace_back();
            continue;
        }
        if (c == '{') ++depth;
        if (c == '}' && depth > 0) --depth;
        list.back() += c;
        if (c == '\\' && i + 1 < paths.size()) list.back() += paths[++i];
    }
    return list;
}

struct GlobError {
    std::string path;
    int error = 0;
};
thread_local GlobError globError;  // glob() hands no context to its callback

int onGlobError(const char* path, int error) {
    if (error == ENOENT || error == ENOTDIR) return 0;
    globError = {path, error};
    return 1;
}

std::vector<std::string> expandGlob(const std::string& pattern) {
    glob_t found{};
    const int result = ::glob(pattern.c_str(), GLOB_BRACE | GLOB_ERR, onGlobError, &found);
    std::vector<std::string> paths;
    if (result == 0) {
        std::copy_if(found.gl_pathv, found.gl_pathv + found.gl_pathc, std::back_inserter(paths),
                     [](const char* path) { return !isHidden(nameOf(path)); });
    }
    ::globfree(&found);
    if (result == GLOB_ABORTED) throw FileSystemException("list", globError.path, globError.error);
    if (result == GLOB_NOSPACE) throw SparkException("not enough memory to expand " + pattern);
    return paths;
}

class Finder {
public:
    explicit Finder(bool recursive) : recursive_(recursive) {}

    /// Adds what a path of the caller's list names; false when there is nothing of that name.
    bool addNamed(const std::string& path) {
        const auto status = posixFs().stat(path);
        if (!status) return false;
        if (status->kind == FileKind::kOther) {
            throw IllegalArgumentException("Not a file: " + path + " is neither a regular file nor a directory");
        }
        addFound(path, *status);
        return true;
    }

    /// Adds a member of a directory or a match of a pattern.
    void addMember(const std::string& path) {
        std::optional<FileStatus> status;
        try {
            status = posixFs().stat(path);
        } catch (const FileSystemException& error) {
            if (error.code().value() != ELOOP) throw;
        }
        if (!status || status->kind == FileKind::kOther) {
            logMessage(
                LogLevel::kWarn, "files",
                path + " is skipped: " +
                    (status ? "neither a regular file nor a directory" : "vanished, or a link that leads nowhere"));
            return;
        }
        addFound(path, *status);
    }

    std::vector<InputFile> take() { return std::move(files_); }

private:
    void addFound(const std::string& path, const FileStatus& status) {
        if (status.kind == FileKind::kFile) {
            files_.push_back({path, status.sizeBytes});
            return;
        }
        const std::pair identity(status.device, status.inode);
        if (std::ranges::find(above_, identity) != above_.end()) {
            logMessage(LogLevel::kWarn, "files", path + " is skipped: a link to a directory above it");
            return;
        }
        if (!above_.empty() && !recursive_) {
            throw IllegalArgumentException("Not a file: " + path + " is a directory inside an input directory; set " +
                                           kRecursiveKey + "=true to read it too");
        }
        above_.push_back(identity);
        const std::string prefix = path.ends_with('/') ? path : path + "/";
        for (const std::string& name : posixFs().list(path)) {
            if (!isHidden(name)) addMember(prefix + name);
        }
        above_.pop_back();
    }

    const bool recursive_;
    std::vector<std::pair<uint64_t, uint64_t>> above_;  // device and inode of the directories being listed
    std::vector<InputFile> files_;
};

}  // namespace

std::string localPath(const std::string& path) {
    const size_t colon = path.find(':');
    std::string local = path;
    if (colon != path.npos && colon > 1 && path.find('/') > colon) {
        const std::string_view scheme(path.data(), colon);
        if (scheme == "file") {
            local = path.substr(colon + 1);
            if (local.starts_with("//")) local.erase(0, std::min(local.find('/', 2), local.size()));
        } else if (path.compare(colon, 3, "://") == 0) {
            throw IllegalArgumentException("cannot open " + path + ": the scheme must be \"file\" or none, not \"" +
                                           std::string(scheme) + "\"");
        }
    }
    require(!local.empty(), "Can not create a Path from an empty string");
    return local;
}

bool readsRecursively(const SparkConf& conf) {
    return conf.getBoolean(kRecursiveKey, false);
}

std::vector<InputFile> findInputFiles(const std::string& paths, bool recursive) {
    Finder finder(recursive);
    const std::string whole = localPath(paths);
    // A name with a comma, a bracket and so on in it is found by itself.
    if (posixFs().exists(whole) && finder.addNamed(whole)) return finder.take();

    std::string problems;
    const auto report = [&](const std::string& problem) { problems += (problems.empty() ? "" : "\n") + problem; };
    for (const std::string& item : splitList(paths)) {
        const std::string path = localPath(item);
        if (finder.addNamed(path)) continue;
        if (path.find_first_of("*?[{\\") == path.npos) {
            report("Input path does not exist: file:" + path);
            continue;
        }
        const std::vector<std::string> matches = expandGlob(path);
        if (matches.empty()) report("Input Pattern file:" + path + " matches 0 files");
        for (const std::string& match : matches) finder.addMember(match);
    }
    if (!problems.empty()) throw IllegalArgumentException(problems);
    return finder.take();
}

std::vector<InputFile> statInputFiles(const std::vector<std::string>& paths) {
    std::vector<InputFile> files;
    for (const std::string& path : paths) {
        std::optional<FileStatus> status;
        try {
            status = posixFs().stat(path);
        } catch (const FileSystemException& error) {
            logMessage(LogLevel::kWarn, "files", error.what());
        }
        files.push_back({path, status ? status->sizeBytes : 0});
    }
    return files;
}

bool isCompressed(const std::string& path) {
    const std::string_view name = nameOf(path);
    for (const std::string_view other : {".bz2", ".zst", ".lz4", ".snappy", ".xz"}) {
        if (name.ends_with(other)) {
            throw IllegalArgumentException("cannot read " + path +
                                           ": of the compressed forms only .gz and .deflate are read; "
                                           "decompress it first");
        }
    }
    return name.ends_with(".gz") || name.ends_with(".deflate");
}

std::vector<FileSplit> splitFiles(const std::vector<InputFile>& files, int minPartitions) {
    uint64_t total = 0;
    for (const InputFile& file : files) total += file.sizeBytes;
    const uint64_t size = std::max<uint64_t>(total / static_cast<uint64_t>(std::max(minPartitions, 1)), 1);
    std::vector<FileSplit> splits;
    for (const InputFile& file : files) {
        uint64_t start = 0;
        if (!isCompressed(file.path)) {
            for (; static_cast<double>(file.sizeBytes - start) / static_cast<double>(size) > 1.1; start += size) {
                splits.push_back({file, start, size});
            }
        }
        if (start < file.sizeBytes || start == 0) splits.push_back({file, start, file.sizeBytes - start});
    }
    return splits;
}

std::vector<std::vector<InputFile>> packFiles(const std::vector<InputFile>& files, int minPartitions) {
    uint64_t total = 0;
    for (const InputFile& file : files) total += file.sizeBytes;
    const size_t count = std::min(files.size(), static_cast<size_t>(std::max(minPartitions, 1)));
    std::vector<std::vector<InputFile>> groups(count);
    uint64_t packed = 0;
    for (size_t i = 0, group = 0; i < files.size(); ++i) {
        groups[group].push_back(files[i]);
        packed += files[i].sizeBytes;
        const bool full = static_cast<double>(packed) * static_cast<double>(count) >=
                          static_cast<double>(total) * static_cast<double>(group + 1);
        // Every group behind this one still gets a file.
        if (group + 1 < count && (full || files.size() - i - 1 == count - group - 1)) ++group;
    }
    return groups;
}

}  // namespace dstream::detail
