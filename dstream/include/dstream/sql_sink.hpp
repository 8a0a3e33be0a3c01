#pragma once

#include "dstream/transactional_sink.hpp"

#include <cstddef>
#include <cstdint>
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

/// What sinks into databases share. The rows of a part are kept in memory until it is committed; then one transaction
/// of the database inserts them together with a row in the table `dstream_commits`, whose key is (job, op, batch_ms,
/// part). A part whose key is there is skipped.
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
    class Rows;
    /// Tells whether the part is committed. Several threads.
    virtual bool isCommitted(const SinkPart& part) = 0;
    /// Inserts rows and key in one transaction, or nothing when the key is there. Several threads.
    virtual void commitRows(const SinkPart& part, std::span<const SqlRow> rows) = 0;
};

}  // namespace dstream
