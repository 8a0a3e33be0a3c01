#pragma once

#include "dstream/sql_sink.hpp"

#include <memory>
#include <string>

namespace dstream::postgres {

struct PostgresSinkOptions {
    std::string connection;  // as libpq takes it: "host=db dbname=clicks" or "postgresql://…"
    std::string createTable;  // statements run when the sink is made, e.g. "CREATE TABLE IF NOT EXISTS …"; may be empty
    std::string insert;       // run for each row, with its values as parameters: "INSERT INTO counts VALUES ($1, $2)"
    int attempts = 3;         // connections that a commit tries before its task fails
};

/// Inserts each batch once into a PostgreSQL database: one transaction for the rows of a partition and for the key in
/// `dstream_commits` that tells it was there. When the connection is lost, also in the middle of COMMIT, the sink
/// connects again and looks for the key before it does anything again. Partitions are committed at the same time, over
/// a connection each.
class PostgresSink final : public SqlSink {
public:
    /// Connects and makes the tables.
    /// @throws SparkException  with the server's words when that fails
    explicit PostgresSink(PostgresSinkOptions options);
    ~PostgresSink() override;

private:
    class Database;
    bool isCommitted(const SinkPart& part) override;
    void commitRows(const SinkPart& part, const SqlRows& rows) override;

    const std::unique_ptr<Database> database_;
};

}  // namespace dstream::postgres
