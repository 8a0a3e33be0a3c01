#include "dstream/sql_sink.hpp"

#include "rdd/bytes.hpp"
#include "rdd/exceptions.hpp"

#include <cerrno>
#include <filesystem>
#include <stdlib.h>
#include <system_error>
#include <type_traits>
#include <unistd.h>
#include <utility>

namespace dstream {

namespace {

constexpr std::size_t kMaxBytesInMemory = std::size_t{1} << 20;

[[noreturn]] void failed(const std::string& what, int error) {
    throw SparkException("rows of a batch do not fit into memory, and " + what + ": " +
                         std::generic_category().message(error));
}

std::size_t sizeInMemory(const SqlRow& row) {
    std::size_t size = sizeof row;
    for (const SqlValue& value : row) {
        size += sizeof value;
        if (const auto* const text = std::get_if<std::string>(&value)) size += text->size();
        if (const auto* const bytes = std::get_if<std::vector<std::byte>>(&value)) size += bytes->size();
    }
    return size;
}

void encode(const SqlRow& row, ByteWriter& out) {
    out.u32(static_cast<uint32_t>(row.size()));
    for (const SqlValue& value : row) {
        out.u8(static_cast<uint8_t>(value.index()));
        std::visit(
            [&out](const auto& v) {
                using V = std::remove_cvref_t<decltype(v)>;
                if constexpr (std::is_same_v<V, int64_t>) {
                    out.i64(v);
                } else if constexpr (std::is_same_v<V, double>) {
                    out.f64(v);
                } else if constexpr (!std::is_same_v<V, std::monostate>) {
                    out.u64(v.size());
                    if constexpr (std::is_same_v<V, std::string>) {
                        out.bytes(std::string_view(v));
                    } else {
                        out.bytes(std::span<const std::byte>(v));
                    }
                }
            },
            value);
    }
}

SqlRow decodeRow(ByteReader& in) {
    SqlRow row(in.u32());
    for (SqlValue& value : row) {
        switch (in.u8()) {
            case 0:
                break;
            case 1:
                value = in.i64();
                break;
            case 2:
                value = in.f64();
                break;
            case 3:
                value = std::string(asText(in.bytes(in.u64())));
                break;
            default: {
                const auto bytes = in.bytes(in.u64());
                value = std::vector<std::byte>(bytes.begin(), bytes.end());
            }
        }
    }
    return row;
}

/// A file without a name.
std::FILE* openTemporaryFile() {
    std::error_code error;
    const std::filesystem::path directory = std::filesystem::temp_directory_path(error);
    if (error) failed("there is no directory for temporary files (TMPDIR)", error.value());
    std::string name = (directory / "dstream-rows-XXXXXX").string();
    const int descriptor = ::mkstemp(name.data());
    if (descriptor < 0) failed("no file can be made in " + directory.string(), errno);
    ::unlink(name.c_str());
    std::FILE* const file = ::fdopen(descriptor, "w+b");
    if (file == nullptr) {
        const int reason = errno;
        ::close(descriptor);
        failed("a file cannot be used", reason);
    }
    return file;
}

}  // namespace

void SqlRows::add(const SqlRow& row) {
    const std::size_t size = sizeInMemory(row);
    if (!last_.empty() && lastBytes_ + size > kMaxBytesInMemory) write();
    last_.push_back(row);
    lastBytes_ += size;
}

void SqlRows::write() {
    if (!file_) file_ = {openTemporaryFile(), &std::fclose};
    ByteWriter piece;
    piece.u64(last_.size());
    for (const SqlRow& row : last_) encode(row, piece);
    if (std::fwrite(piece.view().data(), 1, piece.size(), file_.get()) != piece.size() ||
        std::fflush(file_.get()) != 0) {
        failed("the temporary file cannot be written", errno);
    }
    written_.push_back(piece.size());
    last_.clear();
    lastBytes_ = 0;
}

void SqlRows::forEach(const std::function<void(std::span<const SqlRow>)>& f) const {
    if (file_) std::rewind(file_.get());
    for (const std::size_t size : written_) {
        std::vector<std::byte> piece(size);
        if (std::fread(piece.data(), 1, size, file_.get()) != size) {
            failed("the temporary file cannot be read", errno);
        }
        ByteReader in(piece);
        std::vector<SqlRow> rows(in.u64());
        for (SqlRow& row : rows) row = decodeRow(in);
        f(rows);
    }
    if (!last_.empty()) f(last_);
}

class SqlSink::Transaction final : public SinkTransaction<SqlRow> {
public:
    Transaction(SqlSink& sink, SinkPart part) : sink_(sink), part_(std::move(part)) {}
    void write(const SqlRow& row) override { rows_.add(row); }
    void commit() override { sink_.commitRows(part_, rows_); }

private:
    SqlSink& sink_;  // outlives the task
    const SinkPart part_;
    SqlRows rows_;
};

std::unique_ptr<SinkTransaction<SqlRow>> SqlSink::begin(const SinkPart& part) {
    if (isCommitted(part)) return nullptr;
    return std::make_unique<Transaction>(*this, part);
}

void SqlSink::throwOtherPartitions(const SinkPart& part, int64_t found) {
    throw SparkException("batch " + part.time.toString() + " of \"" + part.operation + "\" was committed in part, in " +
                         std::to_string(found) + " partitions, and has " + std::to_string(part.numPartitions) +
                         " now; run it with as many as before, or remove its rows and those in dstream_commits");
}

}  // namespace dstream
