#pragma once

#include "rdd/detail/stage.hpp"
#include "rdd/detail/unique_function.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/to_text.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Text and object files, and processes that elements are piped through.

namespace dstream {
template <class T>
class RDD;
template <class PlanT>
class Narrow;
class TextRDD;
}  // namespace dstream

namespace dstream::detail {

// ---- reading

/// Lines of exactly these files, whatever is in their names. A file that is gone is reported by its own task, when the
/// others are read already.
std::shared_ptr<RddNode<std::string_view>> linesOfFiles(const std::shared_ptr<SparkContextCore>& core,
                                                        std::vector<std::string> files, int minPartitions,
                                                        const char* operatorName, std::source_location where);

/// One file of a directory that saveAsObjectFile wrote.
struct ObjectPart {
    std::string directory;
    int number = 0;
};
/// Finds the object files that a list of files, directories and globs names.
/// @throws IllegalArgumentException  when there is none, or a file that saveAsObjectFile did not write
std::vector<ObjectPart> findObjectParts(const SparkContextCore& core, const std::string& paths);

/// Reads the blocks of object files, a partition each.
template <class T>
class ObjectFilesNode final : public RddNode<T> {
public:
    ObjectFilesNode(const std::shared_ptr<SparkContextCore>& core, std::string paths, CallSite callSite)
        : RddNode<T>(core, {}, "objectFile", callSite, std::nullopt), paths_(std::move(paths)) {}
    const char* className() const override { return "MapPartitionsRDD"; }

private:
    int doNumPartitions() const override {
        parts_ = findObjectParts(*this->context(), paths_);
        return static_cast<int>(parts_.size());
    }
    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        const ObjectPart& part = parts_[static_cast<std::size_t>(partition)];
        return RddNode<T>::cursorOf(
            readBlockFile(part.directory, part.number, *blockCodecFor<Owned<T>>(), &context.taskMetrics()), context);
    }

    const std::string paths_;
    mutable std::vector<ObjectPart> parts_;  // written once, under the guard of numPartitions()
};

// ---- writing

/// Runs `writePart(context, directory)` for each partition, gives each attempt a directory of its own, and moves what
/// the successful ones wrote in there to `path` when all have ended; `_SUCCESS` comes last. A job that fails leaves
/// nothing behind.
/// @throws FileAlreadyExistsException  when the path exists, unless spark.hadoop.validateOutputSpecs is false or the
///                                     job belongs to a streaming batch: then files are replaced one by one
void saveParts(const std::shared_ptr<RddBase>& rdd, const std::string& path, const char* action,
               std::source_location where, std::function<void(TaskContext&, const std::string& directory)> writePart);

/// Writes the lines of one partition through a large buffer.
class TextPartWriter {
public:
    /// The ending that a codec's files have: "" or ".gz".
    /// @throws IllegalArgumentException  for an unknown codec
    static std::string endingOf(const std::string& codec);

    TextPartWriter(TaskContext& context, const std::string& directory, const std::string& ending);
    ~TextPartWriter();

    template <class T>
    void write(const T& element) {
        appendText(buffer_, element);
        buffer_.push_back('\n');
        ++records_;
        if (buffer_.size() >= kBufferBytes) flush();
    }
    /// Makes everything durable.
    void finish();

private:
    static constexpr std::size_t kBufferBytes = std::size_t{128} << 10;
    class Output;
    void flush();

    TaskContext& context_;
    std::string buffer_;
    int64_t records_ = 0;
    std::unique_ptr<Output> output_;
};

template <class PlanT>
void saveAsTextFile(const PlanT& plan, const std::string& path, const std::string& codec, std::source_location where) {
    static_assert(Printable<typename PlanT::T>,
                  "saveAsTextFile needs a text form of the elements: operator<< or toString()");
    saveParts(
        plan.node, path, "saveAsTextFile", where,
        [plan, ending = TextPartWriter::endingOf(codec), op = OperatorInfo("saveAsTextFile", CallSite::from(where))](
            TaskContext& context, const std::string& directory) {
            TextPartWriter writer(context, directory, ending);
            plan.drive(context.partitionId(), context,
                       [&](const auto& element) { guarded(&op, [&] { writer.write(element); }); });
            writer.finish();
        });
}

template <class T>
void saveAsObjectFile(const std::shared_ptr<RddNode<T>>& node, const std::string& path, std::source_location where) {
    const BlockCodec* codec = blockCodecFor<Owned<T>>();
    if (codec == nullptr) {
        throw NotSerializableException("saveAsObjectFile at " + CallSite::from(where).toString() +
                                       " needs a Codec for " + node->elementTypeName());
    }
    saveParts(node, path, "saveAsObjectFile", where,
              [node = node.get(), codec](TaskContext& context, const std::string& directory) {
                  const auto block = node->computeBlock(context.partitionId(), context);
                  context.taskMetrics().bytesWritten +=
                      writeBlockFile(directory, context.partitionId(), *block, *codec, context.taskAttemptId());
                  context.taskMetrics().recordsWritten += block->numRecords().value_or(0);
              });
}

// ---- processes

using LineWriter = std::function<void(std::string_view)>;

/// Splits a command at blanks; no quoting.
std::vector<std::string> splitCommand(const std::string& command);

struct PipeCommand {
    std::vector<std::string> words;
    std::map<std::string, std::string> environment;  // added to this process's
    bool separateDirectory = false;  // run in an empty directory with links to what is in the current one
    int bufferBytes = 8192;          // of its input that are gathered before they are written
    std::string encoding = "UTF-8";  // of its input and output
};
/// @throws IllegalArgumentException  when there is no command, no buffer or no such encoding
void checkPipe(const PipeCommand& command);

/// Appends text of more elements; false when there are no more.
using TextFeed = UniqueFunction<bool(std::string& text)>;

/// Starts the command and gives the lines it writes; feeds it from the same thread, in turns with reading, so that the
/// elements are computed where the task is.
/// @throws IllegalStateException  from the cursor when it ends with another status than 0
CursorPtr<std::string_view> pipeThrough(const PipeCommand& command, TextFeed feed, TaskContext& context);

template <class T>
class PipedNode final : public RddNode<std::string_view> {
public:
    using PrintContext = std::function<void(const LineWriter&)>;
    using PrintElement = std::function<void(const Owned<T>&, const LineWriter&)>;

    PipedNode(const std::shared_ptr<RddNode<T>>& parent, PipeCommand command, PrintContext printContext,
              PrintElement printElement, CallSite callSite)
        : RddNode<std::string_view>(*parent, false, "pipe", callSite),
          parent_(parent.get()),
          command_(std::move(command)),
          printContext_(std::move(printContext)),
          printElement_(std::move(printElement)) {}
    const char* className() const override { return "PipedRDD"; }

private:
    int doNumPartitions() const override { return parent_->numPartitions(); }

    CursorPtr<std::string_view> doCompute(int partition, TaskContext& context) const override {
        auto feed = [this, cursor = parent_->iterator(partition, context), printContext = printContext_,
                     printElement = printElement_](std::string& text) mutable {
            const auto writeLine = [&text](std::string_view line) {
                text += line;
                text += '\n';
            };
            if (printContext) {
                guarded(this, [&] { printContext(writeLine); });
                printContext = nullptr;
            }
            const Chunk<T> chunk = cursor->next();
            forEachIn(chunk, [&](const T& element) {
                guarded(this, [&] {
                    if (printElement) {
                        printElement(convertElement<Owned<T>>(element), writeLine);
                    } else if constexpr (Printable<T>) {
                        appendText(text, element);
                        text += '\n';
                    }
                });
            });
            return !chunk.empty();
        };
        return pipeThrough(command_, TextFeed(std::move(feed)), context);
    }

    const RddNode<T>* parent_;  // kept by the lineage
    const PipeCommand command_;
    const PrintContext printContext_;
    const PrintElement printElement_;
};

template <class>
struct TextHandle {  // a name that is looked up when the class is complete
    using type = TextRDD;
};

template <class T>
auto pipe(const std::shared_ptr<RddNode<T>>& node, PipeCommand command,
          std::function<void(const LineWriter&)> printContext,
          std::function<void(const Owned<T>&, const LineWriter&)> printElement, std::source_location where) {
    checkPipe(command);
    require(Printable<T> || printElement,
            "pipe needs a text form of the elements, operator<< or toString(), or printElement");
    return TextHandle<T>::type::of(makeNode<PipedNode<T>>(node, std::move(command), std::move(printContext),
                                                          std::move(printElement), CallSite::from(where)),
                                   "pipe", CallSite::from(where));
}

}  // namespace dstream::detail
