#pragma once

#include "dstream/sql_sink.hpp"
#include "rdd/time.hpp"

#include <memory>
#include <string>

namespace dstream::sqlite {

struct SqliteSinkOptions {
    std::string path;         // the database file, made when there is none; not ":memory:", which a restart loses
    std::string createTable;  // statements run when the sink is made, e.g. "CREATE TABLE IF NOT EXISTS …"; may be empty
    std::string insert;       // run for each row, with its values as parameters: "INSERT INTO counts VALUES (?, ?)"
    Duration busyTimeout = Seconds(10);  // how long another process may hold the database
};

/// Inserts each batch once into a SQLite database: one transaction for the rows of a partition and for the key in
/// `dstream_commits` that tells it was there. The database is put into WAL mode with synchronous=FULL.
/// Commits of the sink's partitions follow one another, as SQLite has one writer; other processes may read meanwhile.
///
///     auto sink = std::make_shared<sqlite::SqliteSink>(sqlite::SqliteSinkOptions{
///         .path = "counts.db",
///         .createTable = "CREATE TABLE IF NOT EXISTS counts (word TEXT, n INTEGER)",
///         .insert = "INSERT INTO counts VALUES (?, ?)"});
///     counts.map([](const auto& count) { return SqlRow{count.first, count.second}; }).saveToSink("counts", sink);
class SqliteSink final : public SqlSink {
public:
    /// Opens the database.
    /// @throws SparkException  with the reason when it cannot be opened, or when a statement is wrong
    explicit SqliteSink(SqliteSinkOptions options);
    ~SqliteSink() override;

private:
    class Database;
    bool isCommitted(const SinkPart& part) override;
    void commitRows(const SinkPart& part, const SqlRows& rows) override;

    const std::unique_ptr<Database> database_;
};

}  // namespace dstream::sqlite
