#include "files/input_files.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_context.hpp"

#include <zlib.h>

#include <charconv>
#include <cstdio>
#include <set>
#include <utility>

namespace dstream::detail {

namespace {

/// Tells whether the job is one of a streaming batch, which may run again after a restart.
bool isBatch(const std::shared_ptr<SparkContextCore>& core) {
    return SparkContext(core).getLocalProperty("spark.streaming.internal.batchTime").has_value();
}

/// Puts the files that the winning attempts wrote into the output directory, replacing those of the same name.
void moveIntoPlace(Fs& fs, const std::vector<std::string>& attempts, const std::string& directory) {
    for (const std::string& attempt : attempts) {
        for (const std::string& name : fs.list(attempt)) {
            DSTREAM_FAILPOINT("save.move_part");
            fs.rename(attempt + "/" + name, directory + "/" + name);
        }
    }
}

/// Removes the parts of an earlier run of the batch that this one has not got, since it has fewer partitions. The
/// directory is not complete meanwhile.
void removeOtherParts(Fs& fs, const std::vector<std::string>& attempts, const std::string& directory) {
    std::set<std::string> written;
    for (const std::string& attempt : attempts) {
        for (std::string& name : fs.list(attempt)) written.insert(std::move(name));
    }
    std::vector<std::string> others = fs.list(directory);
    std::erase_if(others,
                  [&](const std::string& name) { return !name.starts_with("part-") || written.contains(name); });
    if (others.empty()) return;
    fs.remove(directory + "/_SUCCESS");
    fs.syncDirectory(directory);
    for (const std::string& name : others) fs.remove(directory + "/" + name);
}

/// Reports a failure in the log only: a second copy of a task may still write there, and what is left does no harm.
void removeLeftovers(Fs& fs, const std::string& temporary, const std::string& emptyDirectory = "") {
    try {
        fs.removeAll(temporary);
        if (!emptyDirectory.empty()) fs.remove(emptyDirectory);
    } catch (const std::exception& error) {
        logMessage(LogLevel::kWarn, "files", error.what());
    }
}

}  // namespace

void saveParts(const std::shared_ptr<RddBase>& rdd, const std::string& path, const char* action,
               std::source_location where, std::function<void(TaskContext&, const std::string& directory)> writePart) {
    const std::shared_ptr<SparkContextCore> core = rdd->context();
    core->assertUsable(action);
    Fs& fs = posixFs();
    std::string directory = localPath(path);
    while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
    const bool existed = fs.exists(directory);
    const bool again = existed && isBatch(core);
    if (existed && !again && core->conf().getBoolean("spark.hadoop.validateOutputSpecs", true)) {
        throw FileAlreadyExistsException("Output directory file:" + directory +
                                         " already exists; remove it or choose another one");
    }
    std::vector<int> partitions = allPartitions(*rdd);
    const std::string temporary = directory + "/_temporary";
    if (again) fs.removeAll(temporary);  // half-written files of a process that died
    fs.makeDurableDirectories(directory, 0777);
    fs.makeDirectories(temporary, 0777);
    try {
        std::vector<std::string> written;
        JobRequest request;
        request.rdd = rdd;
        request.partitions = std::move(partitions);
        request.task = [temporary, &fs,
                        writePart = std::move(writePart)](TaskContext& context) -> std::shared_ptr<void> {
            auto attempt =
                std::make_shared<std::string>(temporary + "/attempt-" + std::to_string(context.taskAttemptId()));
            fs.makeDirectories(*attempt, 0777);
            DSTREAM_FAILPOINT("save.before_part");
            writePart(context, *attempt);
            DSTREAM_FAILPOINT("save.after_part");
            return attempt;
        };
        request.onResult = [&written](int, std::shared_ptr<void> attempt) {
            written.push_back(*static_cast<const std::string*>(attempt.get()));
        };
        request.action = action;
        request.callSite = CallSite::from(where);
        core->runJob(std::move(request));
        DSTREAM_FAILPOINT("save.before_commit");
        if (again) removeOtherParts(fs, written, directory);
        moveIntoPlace(fs, written, directory);
        removeLeftovers(fs, temporary);
        fs.syncDirectory(directory);
        DSTREAM_FAILPOINT("save.before_success");
        fs.writeFileAtomically(directory + "/_SUCCESS", {}, 0666);
        DSTREAM_FAILPOINT("save.after_success");
    } catch (...) {
        removeLeftovers(fs, temporary, existed ? "" : directory);
        throw;
    }
}

class TextPartWriter::Output {
public:
    Output(const std::string& path, bool compressed)
        : file_(posixFs().open(path, Fs::Mode::kTruncate, 0666)), compressed_(compressed) {
        constexpr int kGzip = MAX_WBITS + 16;
        constexpr int kMemoryLevel = 8;
        if (compressed_ && deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, kMemoryLevel,
                                        Z_DEFAULT_STRATEGY) != Z_OK) {
            throw SparkException("not enough memory to compress " + path);
        }
    }
    ~Output() {
        if (compressed_) deflateEnd(&stream_);
    }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    /// @param isLast  nothing comes behind
    void write(std::string& text, bool isLast) {
        if (!compressed_) {
            file_.write(std::as_bytes(std::span(text)));
            bytes_ += static_cast<int64_t>(text.size());
            return;
        }
        stream_.next_in = reinterpret_cast<Bytef*>(text.data());
        stream_.avail_in = static_cast<uInt>(text.size());
        int result = Z_OK;
        do {
            std::byte place[1 << 14];
            stream_.next_out = reinterpret_cast<Bytef*>(place);
            stream_.avail_out = sizeof place;
            result = deflate(&stream_, isLast ? Z_FINISH : Z_NO_FLUSH);
            const size_t count = sizeof place - stream_.avail_out;
            file_.write(std::span(place).first(count));
            bytes_ += static_cast<int64_t>(count);
        } while (isLast ? result != Z_STREAM_END : stream_.avail_out == 0);
    }
    void finish() {
        file_.sync();
        file_.close();
    }
    int64_t bytes() const { return bytes_; }

private:
    File file_;
    const bool compressed_;
    z_stream stream_{};
    int64_t bytes_ = 0;
};

std::string TextPartWriter::endingOf(const std::string& codec) {
    if (codec.empty()) return "";
    if (codec == "gzip" || codec == "org.apache.hadoop.io.compress.GzipCodec") return ".gz";
    throw IllegalArgumentException("the codec of saveAsTextFile must be \"gzip\" or none, not \"" + codec + "\"");
}

TextPartWriter::TextPartWriter(TaskContext& context, const std::string& directory, const std::string& ending)
    : context_(context) {
    char name[32];
    std::snprintf(name, sizeof name, "/part-%05d", context.partitionId());
    output_ = std::make_unique<Output>(directory + name + ending, !ending.empty());
    buffer_.reserve(kBufferBytes + kBufferBytes / 4);
}

TextPartWriter::~TextPartWriter() = default;

void TextPartWriter::flush() {
    output_->write(buffer_, false);
    buffer_.clear();
}

void TextPartWriter::finish() {
    output_->write(buffer_, true);
    output_->finish();
    context_.taskMetrics().recordsWritten += records_;
    context_.taskMetrics().bytesWritten += output_->bytes();
}

std::vector<ObjectPart> findObjectParts(const SparkContextCore& core, const std::string& paths) {
    std::vector<ObjectPart> parts;
    for (const InputFile& file : findInputFiles(paths, readsRecursively(core.conf()))) {
        constexpr std::string_view kPrefix = "part-";
        const size_t slash = file.path.rfind('/');
        const std::string name = file.path.substr(slash + 1);
        ObjectPart part{slash == file.path.npos ? "." : file.path.substr(0, slash), -1};
        if (name.starts_with(kPrefix)) {
            const char* const end = name.data() + name.size();
            const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, part.number);
            if (stop != end || error != std::errc()) part.number = -1;
        }
        if (part.number < 0) {
            throw IllegalArgumentException("objectFile reads the part-NNNNN files that saveAsObjectFile wrote; found " +
                                           file.path);
        }
        parts.push_back(std::move(part));
    }
    return parts;
}

}  // namespace dstream::detail
