#include "files/byte_source.hpp"
#include "files/input_files.hpp"
#include "files/line_reader.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/portable_data_stream.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_context.hpp"

#include <algorithm>
#include <utility>

namespace dstream {
namespace detail {

namespace {

using FindFiles = std::function<std::vector<InputFile>()>;

FindFiles findLater(const std::shared_ptr<SparkContextCore>& core, const std::string& paths) {
    return [paths, recursive = readsRecursively(core->conf())] { return findInputFiles(paths, recursive); };
}

/// Reads records of a fixed length.
class RecordCursor final : public Cursor<std::string_view> {
public:
    RecordCursor(const FileSplit& split, size_t recordLength, TaskContext& context)
        : source_(openFile(split.file, split.start)),
          left_(split.length),
          recordLength_(recordLength),
          context_(context) {}

private:
    Chunk<std::string_view> doNext() override {
        constexpr size_t kBufferBytes = size_t{128} << 10;
        const size_t most = std::min(context_.chunkSize(), std::max<size_t>(kBufferBytes / recordLength_, 1));
        const auto bytes = static_cast<size_t>(std::min<uint64_t>(left_, most * recordLength_));
        buffer_.resize(bytes);
        for (size_t filled = 0; filled < bytes;) filled += source_->read(std::span(buffer_).subspan(filled));
        left_ -= bytes;
        records_.clear();
        for (size_t at = 0; at < bytes; at += recordLength_) {
            records_.emplace_back(reinterpret_cast<const char*>(buffer_.data()) + at, recordLength_);
        }
        context_.taskMetrics().recordsRead += static_cast<int64_t>(records_.size());
        context_.taskMetrics().bytesRead += static_cast<int64_t>(bytes);
        return Chunk<std::string_view>::ownedBy(records_.data(), records_.size());
    }

    const std::unique_ptr<ByteSource> source_;
    uint64_t left_;
    const size_t recordLength_;
    TaskContext& context_;
    std::vector<std::byte> buffer_;
    std::vector<std::string_view> records_;
};

/// What nodes over splits of files share.
class SplitsNode : public RddNode<std::string_view> {
public:
    SplitsNode(const std::shared_ptr<SparkContextCore>& core, FindFiles findFiles, const char* operatorName,
               CallSite callSite)
        : RddNode(core, {}, operatorName, callSite, std::nullopt), findFiles_(std::move(findFiles)) {}

protected:
    const FileSplit& split(int partition) const { return splits_[static_cast<size_t>(partition)]; }

private:
    virtual std::vector<FileSplit> splitsOf(std::vector<InputFile> files) const = 0;
    int doNumPartitions() const final {
        splits_ = splitsOf(findFiles_());
        return static_cast<int>(splits_.size());
    }

    const FindFiles findFiles_;
    mutable std::vector<FileSplit> splits_;  // written once, under the guard of numPartitions()
};

class LinesNode final : public SplitsNode {
public:
    LinesNode(const std::shared_ptr<SparkContextCore>& core, FindFiles findFiles, int minPartitions,
              const char* operatorName, CallSite callSite)
        : SplitsNode(core, std::move(findFiles), operatorName, callSite), minPartitions_(minPartitions) {
        const int64_t longest =
            core->conf().getSizeAsBytes("dstream.files.maxLineBytes", static_cast<int64_t>(options_.maxLineBytes));
        require(longest > 0, "dstream.files.maxLineBytes must be positive: " + std::to_string(longest));
        options_.maxLineBytes = static_cast<size_t>(longest);
    }
    const char* className() const override { return "HadoopRDD"; }

private:
    std::vector<FileSplit> splitsOf(std::vector<InputFile> files) const override {
        return splitFiles(files, minPartitions_);
    }

    CursorPtr<std::string_view> doCompute(int partition, TaskContext& context) const override {
        return cursorOver(split(partition), context);
    }

    int doSplitCount(int partition) const override {
        // Far more than what is kept of it: each split combines in a table of its own.
        constexpr uint64_t kBytesPerSplit = uint64_t{128} << 20;
        const FileSplit& part = split(partition);
        return isCompressed(part.file.path) ? 1 : static_cast<int>(std::max<uint64_t>(part.length / kBytesPerSplit, 1));
    }
    CursorPtr<std::string_view> doComputeSplit(int partition, int index, TaskContext& context) const override {
        const FileSplit& whole = split(partition);
        const auto [begin, end] =
            sliceBounds(whole.length, static_cast<size_t>(index), static_cast<size_t>(doSplitCount(partition)));
        return cursorOver({whole.file, whole.start + begin, end - begin}, context);
    }

    CursorPtr<std::string_view> cursorOver(const FileSplit& part, TaskContext& context) const {
        const std::string& path = part.file.path;
        if (isCompressed(path)) {
            return std::make_unique<LineCursor>(context, openContents(part.file), path, 0, LineReader::kToTheEnd,
                                                options_);
        }
        return std::make_unique<LineCursor>(context, openFile(part.file, part.start), path, part.start,
                                            part.start + part.length, options_);
    }

    const int minPartitions_;
    LineReader::Options options_;
};

class RecordsNode final : public SplitsNode {
public:
    RecordsNode(const std::shared_ptr<SparkContextCore>& core, FindFiles findFiles, int recordLength, CallSite callSite)
        : SplitsNode(core, std::move(findFiles), "binaryRecords", callSite),
          recordLength_(static_cast<uint64_t>(recordLength)) {}
    const char* className() const override { return "NewHadoopRDD"; }

private:
    std::vector<FileSplit> splitsOf(std::vector<InputFile> files) const override {
        constexpr uint64_t kSplitBytes = uint64_t{32} << 20;
        const uint64_t size = std::max(kSplitBytes / recordLength_, uint64_t{1}) * recordLength_;
        std::vector<FileSplit> splits;
        for (const InputFile& file : files) {
            uint64_t start = 0;
            do {
                splits.push_back({file, start, std::min(size, file.sizeBytes - start)});
                start += size;
            } while (start < file.sizeBytes);
        }
        return splits;
    }

    CursorPtr<std::string_view> doCompute(int partition, TaskContext& context) const override {
        const FileSplit& part = split(partition);
        require(part.file.sizeBytes % recordLength_ == 0,
                part.file.path + " has " + std::to_string(part.file.sizeBytes) +
                    " bytes, no multiple of the record length " + std::to_string(recordLength_));
        return std::make_unique<RecordCursor>(part, static_cast<size_t>(recordLength_), context);
    }

    const uint64_t recordLength_;
};

std::string contentOf(const InputFile& file) {
    std::string content;
    const std::unique_ptr<ByteSource> source = openContents(file);
    // One byte more than a plain file has shows its end without another growth.
    for (size_t filled = 0, room = static_cast<size_t>(file.sizeBytes) + 1;;
         room = filled + std::max<size_t>(filled, 4096)) {
        content.resize(room);
        while (filled < room) {
            const size_t count = source->read(std::as_writable_bytes(std::span(content).subspan(filled)));
            filled += count;
            if (count != 0) continue;
            content.resize(filled);
            return content;
        }
    }
}

/// (path, make(file)) of whole files, read one after the other.
template <class V, class Make>
class WholeFilesNode final : public RddNode<std::pair<std::string, V>> {
    using Element = std::pair<std::string, V>;

public:
    WholeFilesNode(const std::shared_ptr<SparkContextCore>& core, FindFiles findFiles, int minPartitions, Make make,
                   const char* className, const char* operatorName, CallSite callSite)
        : RddNode<Element>(core, {}, operatorName, callSite, std::nullopt),
          findFiles_(std::move(findFiles)),
          minPartitions_(minPartitions),
          make_(make),
          className_(className) {}
    const char* className() const override { return className_; }

private:
    class FilesCursor final : public Cursor<Element> {
    public:
        FilesCursor(const std::vector<InputFile>& files, Make make, TaskContext& context)
            : files_(files), make_(make), context_(context) {}

    private:
        Chunk<Element> doNext() override {
            if (next_ == files_.size()) return {};
            const InputFile& file = files_[next_++];
            current_ = Element(file.path, make_(file));
            context_.taskMetrics().recordsRead += 1;
            context_.taskMetrics().bytesRead += static_cast<int64_t>(file.sizeBytes);
            return Chunk<Element>::ownedBy(&current_, 1);
        }

        const std::vector<InputFile>& files_;
        const Make make_;
        TaskContext& context_;
        size_t next_ = 0;
        Element current_;
    };

    int doNumPartitions() const override {
        groups_ = packFiles(findFiles_(), minPartitions_);
        return static_cast<int>(groups_.size());
    }
    CursorPtr<Element> doCompute(int partition, TaskContext& context) const override {
        return std::make_unique<FilesCursor>(groups_[static_cast<size_t>(partition)], make_, context);
    }

    const FindFiles findFiles_;
    const int minPartitions_;
    const Make make_;
    const char* const className_;
    mutable std::vector<std::vector<InputFile>> groups_;  // written once, under the guard of numPartitions()
};

template <class V, class Make>
RDD<std::pair<std::string, V>> wholeFiles(const std::shared_ptr<SparkContextCore>& core, const std::string& path,
                                          std::optional<int> minPartitions, Make make, const char* className,
                                          const char* operatorName, std::source_location location) {
    core->assertUsable(operatorName);
    auto node = std::make_shared<WholeFilesNode<V, Make>>(
        core, findLater(core, path), minPartitions.value_or(std::min(core->defaultParallelism(), 2)), make, className,
        operatorName, CallSite::from(location));
    node->setName(path);
    return makeRdd<std::pair<std::string, V>>(std::move(node));
}

}  // namespace

std::shared_ptr<RddNode<std::string_view>> linesOfFiles(const std::shared_ptr<SparkContextCore>& core,
                                                        std::vector<std::string> files, int minPartitions,
                                                        const char* operatorName, std::source_location where) {
    return std::make_shared<LinesNode>(
        core, [files = std::move(files)] { return statInputFiles(files); }, minPartitions, operatorName,
        CallSite::from(where));
}

}  // namespace detail

TextRDD SparkContext::textFile(const std::string& path, std::optional<int> minPartitions,
                               std::source_location location) const {
    core_->assertUsable("textFile");
    auto lines = std::make_shared<detail::LinesNode>(core_, detail::findLater(core_, path),
                                                     minPartitions.value_or(defaultMinPartitions()), "textFile",
                                                     CallSite::from(location));
    lines->setName(path);
    return TextRDD::of(std::move(lines), "textFile", CallSite::from(location)).setName(path);
}

RDD<std::pair<std::string, std::string>> SparkContext::wholeTextFiles(const std::string& path,
                                                                      std::optional<int> minPartitions,
                                                                      std::source_location location) const {
    return detail::wholeFiles<std::string>(
        core_, path, minPartitions, [](const detail::InputFile& file) { return detail::contentOf(file); },
        "WholeTextFileRDD", "wholeTextFiles", location);
}

RDD<std::pair<std::string, PortableDataStream>> SparkContext::binaryFiles(const std::string& path,
                                                                          std::optional<int> minPartitions,
                                                                          std::source_location location) const {
    return detail::wholeFiles<PortableDataStream>(
        core_, path, minPartitions,
        [](const detail::InputFile& file) { return PortableDataStream(file.path, file.sizeBytes); }, "BinaryFileRDD",
        "binaryFiles", location);
}

RDD<std::string> SparkContext::binaryRecords(const std::string& path, int recordLength,
                                             std::source_location location) const {
    core_->assertUsable("binaryRecords");
    require(recordLength > 0, "recordLength must be positive: " + std::to_string(recordLength));
    auto records = std::make_shared<detail::RecordsNode>(core_, detail::findLater(core_, path), recordLength,
                                                         CallSite::from(location));
    records->setName(path);
    return TextRDD::of(std::move(records), "binaryRecords", CallSite::from(location)).setName(path);
}

}  // namespace dstream
