#pragma once

#include "files/byte_source.hpp"
#include "rdd/chunk.hpp"
#include "rdd/task_context.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstream::detail {

/// Cuts bytes into lines as views into one reused buffer. LF, CR or CR LF end a line; the last one may have none.
///
/// A range that does not start at 0 leaves its first line to the range before, and a range reads all lines that begin
/// at or before its end: so ranges that touch cover every line exactly once, wherever the cut is. One thread.
class LineReader {
public:
    struct Options {
        size_t bufferBytes = size_t{128} << 10;
        /// A longer line is an error: it would have to be held in memory as a whole.
        size_t maxLineBytes = size_t{64} << 20;
        bool skipByteOrderMark = true;
    };
    static constexpr uint64_t kToTheEnd = std::numeric_limits<uint64_t>::max();
    /// Readable bytes behind the last line, for code that reads whole vectors.
    static constexpr size_t kPadding = 64;

    /// @param source  gives the bytes from `start` on
    /// @param origin  what the bytes are, for messages
    LineReader(std::unique_ptr<ByteSource> source, std::string origin, uint64_t start, uint64_t end, Options options);

    /// Puts the next lines into the beginning of `lines` and returns how many. 0 stands for the end if atEnd(), else
    /// for more bytes that have to be read first: call again. The lines are valid until the next call.
    size_t next(std::vector<std::string_view>& lines);
    bool atEnd() const { return atEnd_; }
    /// Bytes of the source that have been cut into lines or left out.
    uint64_t position() const { return bufferOffset_ + begin_; }

private:
    void refill();
    void append(size_t wanted);
    size_t find(char wanted, size_t from) const;

    struct Free {
        void operator()(char* memory) const { std::free(memory); }
    };

    const std::unique_ptr<ByteSource> source_;
    const std::string origin_;
    const uint64_t end_;
    const Options options_;
    std::unique_ptr<char, Free> buffer_;
    size_t capacity_ = 0;
    uint64_t bufferOffset_;  // place in the source of the buffer's beginning
    size_t begin_ = 0;       // of the next line
    size_t size_ = 0;        // of the bytes in the buffer
    size_t nextFeed_ = 0;    // of the next LF from begin_ on, size_ when there is none
    size_t nextReturn_ = 0;  // the same for CR
    bool skipsLine_;
    bool sourceEnded_ = false;
    bool atEnd_ = false;
};

/// The lines of a task, counted in its metrics.
class LineCursor final : public Cursor<std::string_view> {
public:
    template <class... ReaderArguments>
    explicit LineCursor(TaskContext& context, ReaderArguments&&... arguments)
        : context_(context), reader_(std::forward<ReaderArguments>(arguments)...) {}

private:
    Chunk<std::string_view> doNext() override;

    TaskContext& context_;
    LineReader reader_;
    std::vector<std::string_view> lines_;
};

}  // namespace dstream::detail
