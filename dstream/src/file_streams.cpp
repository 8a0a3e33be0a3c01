#include "dstream/file_streams.hpp"

#include "rdd/bytes.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"
#include "streaming_core.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dstream {

namespace detail {

namespace {

constexpr const char* kLog = "FileInputDStream";

Duration windowOf(const SparkConf& conf, Duration batch) {
    const char* key = "spark.streaming.fileStream.minRememberDuration";
    const char* oldKey = "spark.streaming.minRememberDuration";
    const int64_t least = conf.getTimeAsSeconds(conf.contains(key) ? key : oldKey, "60s") * 1000;
    require(least > 0, std::string(key) + " must be positive: " + std::to_string(least) + " ms");
    return Duration((least + batch.milliseconds() - 1) / batch.milliseconds() * batch.milliseconds());
}

std::string baseName(const std::string& path) {
    return path.substr(path.find_last_of('/') + 1);
}

bool hasGlobCharacters(const std::string& path) {
    return path.find_first_of("*?[") != std::string::npos;
}

/// Modification time in ms on the scale of the context's clock.
int64_t modificationTime(const struct stat& status, const Clock& clock) {
    const int64_t millis = static_cast<int64_t>(status.st_mtim.tv_sec) * 1000 + status.st_mtim.tv_nsec / 1'000'000;
    return millis - clock.wallDistanceMillis();
}

}  // namespace

FileSelector::FileSelector(const StreamingContext& ssc, int streamId, std::string directory, FileFilter filter,
                           bool newFilesOnly)
    : streamId_(streamId),
      directory_(std::move(directory)),
      filter_(filter ? std::move(filter) : [](const std::string& path) { return !baseName(path).starts_with('.'); }),
      batchDuration_(ssc.batchDuration()),
      window_(windowOf(ssc.owner()->core()->conf, ssc.batchDuration())),
      clock_(ssc.owner()->core()->clock),
      initialThreshold_(newFilesOnly ? clock_->getTimeMillis() : 0) {}

std::vector<std::string> FileSelector::list(Time batchTime) {
    std::vector<std::string> directories;
    if (hasGlobCharacters(directory_)) {
        glob_t found{};
        if (::glob(directory_.c_str(), 0, nullptr, &found) == 0) {
            directories.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
        }
        ::globfree(&found);
        std::erase_if(directories, [](const std::string& path) { return !std::filesystem::is_directory(path); });
        if (directories.empty()) {
            logMessage(LogLevel::kWarn, kLog,
                       "no directory matches " + directory_ + " for batch " + batchTime.toString());
        }
    } else {
        directories.push_back(directory_);
    }
    std::vector<std::string> files;
    for (const std::string& directory : directories) {
        std::error_code error;
        for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
             entry.increment(error)) {
            files.push_back(entry->path().string());
        }
        if (error) {
            logMessage(LogLevel::kWarn, kLog,
                       "cannot list " + directory + " for batch " + batchTime.toString() + ": " + error.message() +
                           "; the batch has none of its files");
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

std::string FileSelector::whyIgnored(const std::string& path, Time batchTime, int64_t threshold) const {
    if (recent_.contains(path)) return "it has been taken in an earlier batch";
    if (!filter_(path)) return "the filter does not accept it";
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::string("it cannot be looked at: ") + std::strerror(errno);
    if (!S_ISREG(status.st_mode)) return "it is not a regular file";
    const int64_t modified = modificationTime(status, *clock_);
    if (modified <= threshold) {
        return "its modification time " + std::to_string(modified) + " ms is not after " + std::to_string(threshold) +
               " ms, where the window of this batch begins";
    }
    if (modified > batchTime.milliseconds()) return "its modification time lies after the batch";
    return {};
}

std::vector<std::string> FileSelector::select(const StreamingContext& ssc, Time batchTime) {
    StreamingCore& core = *ssc.owner()->core();
    if (auto known = selected_.find(batchTime); known != selected_.end()) return known->second;
    const auto begin = std::chrono::steady_clock::now();
    const int64_t threshold = std::max(initialThreshold_, (batchTime - window_).milliseconds());
    std::vector<std::string> files;
    std::map<std::string, std::string> ignored;
    std::size_t tooOld = 0;
    for (std::string& path : list(batchTime)) {
        std::string reason = whyIgnored(path, batchTime, threshold);
        if (reason.empty() && ::access(path.c_str(), R_OK) != 0) {
            reason = std::string("it cannot be read: ") + std::strerror(errno);
            core.reportError(
                "batch " + batchTime.toString(),
                std::make_exception_ptr(SparkException("the file stream on " + directory_ + " leaves out " + path +
                                                       " of batch " + batchTime.toString() + ": " + reason)));
        }
        if (reason.empty()) {
            files.push_back(std::move(path));
            continue;
        }
        const std::string kind = reason.substr(0, 24);  // the times in it change from batch to batch
        auto before = ignored_.find(path);
        if (before == ignored_.end() || before->second != kind) {
            if (reason.find("window of this batch") != std::string::npos) ++tooOld;
            logMessage(LogLevel::kInfo, kLog, "batch " + batchTime.toString() + " ignores " + path + ": " + reason);
        }
        ignored.emplace(std::move(path), kind);
    }
    ignored_ = std::move(ignored);
    if (tooOld > 0) {
        logMessage(LogLevel::kWarn, kLog,
                   "batch " + batchTime.toString() + " ignores " + std::to_string(tooOld) + " files in " + directory_ +
                       " that are older than the window of " + window_.toString());
    }
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
    if (took > batchDuration_.milliseconds()) {
        logMessage(LogLevel::kWarn, kLog,
                   "finding new files in " + directory_ + " took " + std::to_string(took) +
                       " ms, longer than a batch; use fewer files or a larger batch duration");
    }
    selected_[batchTime] = files;
    recent_.insert(files.begin(), files.end());

    std::string description;
    for (const std::string& file : files) description += (description.empty() ? "" : "\n") + file;
    core.inputInfoTracker.reportInfo(batchTime,
                                     StreamInputInfo(streamId_, 0, {{"files", files}, {"Description", description}}));
    return files;
}

std::string FileSelector::save() const {
    ByteWriter out;
    out.i64(initialThreshold_);
    out.u64(selected_.size());
    for (const auto& [time, files] : selected_) {
        out.i64(time.milliseconds());
        out.u64(files.size());
        for (const std::string& file : files) out.text(file);
    }
    return out.takeString();
}

void FileSelector::restore(const std::string& saved) {
    ByteReader in(saved);
    initialThreshold_ = in.i64();
    selected_.clear();
    recent_.clear();
    for (std::size_t batches = in.count(16); batches > 0; --batches) {
        std::vector<std::string>& files = selected_[Time(in.i64())];
        for (std::size_t left = in.count(4); left > 0; --left) files.emplace_back(in.text());
        recent_.insert(files.begin(), files.end());
    }
}

void FileSelector::forgetBefore(Time time) {
    for (auto batch = selected_.begin(); batch != selected_.end() && batch->first < time;
         batch = selected_.erase(batch)) {
        for (const std::string& file : batch->second) recent_.erase(file);
    }
}

}  // namespace detail

TextDStream StreamingContext::textFileStream(const std::string& directory, std::source_location site) const {
    auto make = [site](const SparkContext& sc, const std::vector<std::string>& files) {
        // One partition a file; one that has vanished fails by its name when the others are read.
        return TextRDD::of(detail::linesOfFiles(sc.core(), files, 1, "textFileStream", site), "textFileStream",
                           CallSite::from(site));
    };
    using Node = detail::FileNode<TextRDD, decltype(make)>;
    return makeInputStream<Node>(*this, directory, FileFilter(), true, make, "textFileStream", CallSite::from(site));
}

DStream<std::string> StreamingContext::binaryRecordsStream(const std::string& directory, int recordLength,
                                                           std::source_location site) const {
    require(recordLength > 0, "recordLength of binaryRecordsStream must be positive: " + std::to_string(recordLength));
    auto make = [site, recordLength](const SparkContext& sc, const std::vector<std::string>& files) {
        std::vector<RDD<std::string>> records;
        for (const std::string& file : files) records.push_back(sc.binaryRecords(file, recordLength, site));
        return sc.unionAll(std::move(records), site);
    };
    using Node = detail::FileNode<RDD<std::string>, decltype(make)>;
    return makeInputStream<Node>(*this, directory, FileFilter(), true, make, "binaryRecordsStream",
                                 CallSite::from(site));
}

}  // namespace dstream
