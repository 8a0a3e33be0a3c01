#include "dstream/file_sink.hpp"

#include "dstream/output_ops.hpp"
#include "rdd/detail/files_impl.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"

#include <cstdio>
#include <exception>
#include <utility>

namespace dstream {

namespace {

constexpr const char* kTemporary = "/_temporary";

std::string partName(int partition) {
    char name[32];
    std::snprintf(name, sizeof name, "part-%05d", partition);
    return name;
}

class TextFileTransaction final : public SinkTransaction<std::string> {
public:
    TextFileTransaction(std::string directory, const SinkPart& part, const std::string& ending)
        : directory_(std::move(directory)),
          attempt_(directory_ + kTemporary + "/attempt-" + std::to_string(part.attempt)),
          name_("/" + partName(part.partition) + ending) {
        posixFs().makeDirectories(attempt_, 0777);
        writer_ = std::make_unique<detail::TextPartWriter>(*TaskContext::get(), attempt_, ending);
    }
    void write(const std::string& record) override { writer_->write(record); }
    void prepare() override { writer_->finish(); }
    void commit() override {
        posixFs().rename(attempt_ + name_, directory_ + name_);
        posixFs().syncDirectory(directory_);
    }
    void abort() noexcept override {
        try {
            writer_.reset();
            posixFs().removeAll(attempt_);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "sink", error.what());  // endBatch removes it
        }
    }

private:
    const std::string directory_;
    const std::string attempt_;
    const std::string name_;
    std::unique_ptr<detail::TextPartWriter> writer_;
};

}  // namespace

TextFileSink::TextFileSink(std::string prefix, std::string suffix, const std::string& codec)
    : prefix_(std::move(prefix)), suffix_(std::move(suffix)), ending_(detail::TextPartWriter::endingOf(codec)) {}

void TextFileSink::beginBatch(const SinkBatch& batch) {
    const std::string directory = directoryOf(batch);
    posixFs().removeAll(directory + kTemporary);  // half-written files of a process that died
    posixFs().makeDurableDirectories(directory, 0777);
}

std::unique_ptr<SinkTransaction<std::string>> TextFileSink::begin(const SinkPart& part) {
    return std::make_unique<TextFileTransaction>(directoryOf(part), part, ending_);
}

void TextFileSink::endBatch(const SinkBatch& batch) {
    Fs& fs = posixFs();
    const std::string directory = directoryOf(batch);
    // An earlier run may have had more partitions; the directory is not complete while they go.
    bool complete = true;
    for (const std::string& name : fs.list(directory)) {
        if (!name.starts_with("part-") || name < partName(batch.numPartitions)) continue;
        if (std::exchange(complete, false)) {
            fs.remove(directory + "/_SUCCESS");
            fs.syncDirectory(directory);
        }
        fs.remove(directory + "/" + name);
    }
    fs.removeAll(directory + kTemporary);
    fs.syncDirectory(directory);
    DSTREAM_FAILPOINT("sink.before_success");
    fs.writeFileAtomically(directory + "/_SUCCESS", {}, 0666);
}

std::string TextFileSink::directoryOf(const SinkBatch& batch) const {
    return detail::batchFileName(prefix_, suffix_, batch.time);
}

}  // namespace dstream
