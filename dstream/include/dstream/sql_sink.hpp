#pragma once

#include "dstream/transactional_sink.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dstream {

/// A value of a column; std::monostate is NULL.
using SqlValue = std::variant<std::monostate, int64_t, double, std::string, std::vector<std::byte>>;
/// The values of a statement's parameters, in order.
using SqlRow = std::vector<SqlValue>;

/// The rows of one part. The last of them, about a MiB, are in memory; those before are in a temporary file (in TMPDIR,
/// else /tmp) that is gone with this object. Belongs to one thread.
class SqlRows {
public:
    /// @throws SparkException  when the file cannot be written
    void add(const SqlRow& row);
    /// Gives all rows to a function, some at a time and in order; from the first one whenever it is called.
    /// @throws SparkException  when the file cannot be read
    void forEach(const std::function<void(std::span<const SqlRow>)>& f) const;

private:
    void write();

    std::vector<SqlRow> last_;
    std::size_t lastBytes_ = 0;
    std::vector<std::size_t> written_;  // bytes of each piece of the file
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, nullptr};
};

/// What sinks into databases share. The rows of a part are kept until it is committed; then one transaction of the
/// database inserts them together with a row in the table `dstream_commits`, whose key is (job, op, batch_ms, part). A
/// part whose key is there is skipped.
class SqlSink : public TransactionalSink<SqlRow> {
public:
    std::unique_ptr<SinkTransaction<SqlRow>> begin(const SinkPart& part) final;

protected:
    /// Makes the table of commits; the column `parts` tells how many partitions the batch had.
    static constexpr std::string_view kCreateCommits =
        "CREATE TABLE IF NOT EXISTS dstream_commits (job TEXT NOT NULL, op TEXT NOT NULL, batch_ms BIGINT NOT NULL, "
        "part BIGINT NOT NULL, parts BIGINT NOT NULL, PRIMARY KEY (job, op, batch_ms, part))";

    /// @throws SparkException  saying that a batch which was committed in `found` partitions now has others
    [[noreturn]] static void throwOtherPartitions(const SinkPart& part, int64_t found);

private:
    class Transaction;
    /// Tells whether the part is committed. Several threads.
    virtual bool isCommitted(const SinkPart& part) = 0;
    /// Inserts rows and key in one transaction, or nothing when the key is there. Several threads.
    virtual void commitRows(const SinkPart& part, const SqlRows& rows) = 0;
};

}  // namespace dstream
