#include "connectors/sqlite/sqlite_sink.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"

#include <mutex>
#include <optional>
#include <span>
#include <sqlite3.h>
#include <string_view>
#include <type_traits>
#include <utility>

namespace dstream::sqlite {

namespace {

/// Ends a connection, also one that could not be opened.
struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
};
struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

}  // namespace

class SqliteSink::Database {
public:
    explicit Database(SqliteSinkOptions options) : path_(std::move(options.path)) {
        sqlite3* connection = nullptr;
        const int opened = sqlite3_open_v2(path_.c_str(), &connection,
                                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
        connection_.reset(connection);
        if (opened != SQLITE_OK) fail("cannot open the database");
        sqlite3_extended_result_codes(connection, 1);
        sqlite3_busy_timeout(connection, static_cast<int>(options.busyTimeout.milliseconds()));
        run("PRAGMA journal_mode=WAL");
        run("PRAGMA synchronous=FULL");
        run(std::string(kCreateCommits));
        if (!options.createTable.empty()) run(options.createTable);
        insert_ = prepare(options.insert);
        find_ = prepare(
            "SELECT parts, part = ?4 FROM dstream_commits WHERE job = ?1 AND op = ?2 AND batch_ms = ?3 "
            "ORDER BY part = ?4 DESC LIMIT 1");
        mark_ = prepare("INSERT INTO dstream_commits VALUES (?, ?, ?, ?, ?)");
    }

    bool isCommitted(const SinkPart& part) {
        const std::lock_guard lock(mutex_);
        return find(part);
    }

    void commit(const SinkPart& part, const SqlRows& rows) {
        const std::lock_guard lock(mutex_);
        run("BEGIN IMMEDIATE");
        try {
            const bool there = find(part);
            if (!there) {
                execute(mark_.get(),
                        {part.job, part.operation, part.time.milliseconds(), part.partition, part.numPartitions});
                rows.forEach([this](std::span<const SqlRow> some) {
                    for (const SqlRow& row : some) execute(insert_.get(), row);
                });
                DSTREAM_FAILPOINT("sqlite.before_commit");
            }
            run("COMMIT");
            DSTREAM_FAILPOINT("sqlite.after_commit");
        } catch (...) {
            // After some errors there is no transaction any more.
            if (sqlite3_get_autocommit(connection_.get()) == 0) {
                sqlite3_exec(connection_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
            }
            throw;
        }
    }

private:
    using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

    [[noreturn]] void fail(const std::string& what) const {
        throw SparkException("SQLite database " + path_ + ": " + what + ": " +
                             (connection_ ? sqlite3_errmsg(connection_.get()) : "out of memory"));
    }
    void run(const std::string& statements) {
        if (sqlite3_exec(connection_.get(), statements.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
            fail("cannot run \"" + statements + "\"");
        }
    }
    Statement prepare(const std::string& text) {
        sqlite3_stmt* statement = nullptr;
        if (sqlite3_prepare_v3(connection_.get(), text.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
                SQLITE_OK ||
            statement == nullptr) {
            fail("cannot prepare \"" + text + "\"");
        }
        return Statement(statement);
    }

    /// Texts and bytes must stay where they are until the statement is reset.
    void bind(sqlite3_stmt* statement, const SqlRow& values) {
        const int wanted = sqlite3_bind_parameter_count(statement);
        if (static_cast<int>(values.size()) != wanted) {
            throw SparkException("SQLite database " + path_ + ": \"" + sqlite3_sql(statement) + "\" takes " +
                                 std::to_string(wanted) + " values, a row has " + std::to_string(values.size()));
        }
        for (int i = 0; i < wanted; ++i) {
            const int at = i + 1;
            const int result = std::visit(
                [&](const auto& value) {
                    using V = std::remove_cvref_t<decltype(value)>;
                    if constexpr (std::is_same_v<V, int64_t>) {
                        return sqlite3_bind_int64(statement, at, value);
                    } else if constexpr (std::is_same_v<V, double>) {
                        return sqlite3_bind_double(statement, at, value);
                    } else if constexpr (std::is_same_v<V, std::string>) {
                        return sqlite3_bind_text64(statement, at, value.data(), value.size(), SQLITE_STATIC,
                                                   SQLITE_UTF8);
                    } else if constexpr (std::is_same_v<V, std::monostate>) {
                        return sqlite3_bind_null(statement, at);
                    } else {
                        return sqlite3_bind_blob64(statement, at,
                                                   value.empty() ? "" : static_cast<const void*>(value.data()),
                                                   value.size(), SQLITE_STATIC);
                    }
                },
                values[static_cast<std::size_t>(i)]);
            if (result != SQLITE_OK) fail("cannot bind value " + std::to_string(at));
        }
    }

    /// Steps to the statement's end; the first row of its result, if any, is given to `onRow`.
    template <class OnRow>
    void execute(sqlite3_stmt* statement, const SqlRow& values, OnRow onRow) {
        bind(statement, values);
        int result = sqlite3_step(statement);
        if (result == SQLITE_ROW) {
            onRow(statement);
            result = SQLITE_DONE;
        }
        const std::string problem = result == SQLITE_DONE ? "" : sqlite3_errmsg(connection_.get());
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        if (!problem.empty()) {
            throw SparkException("SQLite database " + path_ + ": \"" + sqlite3_sql(statement) + "\": " + problem);
        }
    }
    void execute(sqlite3_stmt* statement, const SqlRow& values) {
        execute(statement, values, [](sqlite3_stmt*) {});
    }

    bool find(const SinkPart& part) {
        std::optional<int64_t> parts;
        bool there = false;
        execute(find_.get(), {part.job, part.operation, part.time.milliseconds(), part.partition},
                [&](sqlite3_stmt* statement) {
                    parts = sqlite3_column_int64(statement, 0);
                    there = sqlite3_column_int(statement, 1) != 0;
                });
        if (parts && *parts != part.numPartitions) throwOtherPartitions(part, *parts);
        return there;
    }

    const std::string path_;
    std::unique_ptr<sqlite3, Close> connection_;
    Statement insert_;
    Statement find_;
    Statement mark_;
    std::mutex mutex_;  // is the one writer that a SQLite database has: held for a transaction, with the I/O in it
};

SqliteSink::SqliteSink(SqliteSinkOptions options) : database_(std::make_unique<Database>(std::move(options))) {}
SqliteSink::~SqliteSink() = default;

bool SqliteSink::isCommitted(const SinkPart& part) {
    return database_->isCommitted(part);
}

void SqliteSink::commitRows(const SinkPart& part, const SqlRows& rows) {
    database_->commit(part, rows);
}

}  // namespace dstream::sqlite
