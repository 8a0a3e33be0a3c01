#include "connectors/postgres/postgres_sink.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <charconv>
#include <libpq-fe.h>
#include <mutex>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream::postgres {

namespace {

struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

/// The connection broke: what was asked for may have happened or not.
class ConnectionLost : public SparkException {
public:
    using SparkException::SparkException;
};

std::string textOf(double value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// Parameters of one statement, in the form libpq takes.
class Parameters {
public:
    explicit Parameters(const SqlRow& row) {
        texts_.reserve(row.size());  // so that pointers into them stay
        for (const SqlValue& value : row) std::visit([&](const auto& v) { add(v); }, value);
    }
    int count() const { return static_cast<int>(values_.size()); }
    const char* const* values() const { return values_.data(); }
    const int* lengths() const { return lengths_.data(); }
    const int* formats() const { return formats_.data(); }

private:
    template <class V>
    void add(const V& value) {
        if constexpr (std::is_same_v<V, std::monostate>) {
            put(nullptr, 0, 0);
        } else if constexpr (std::is_same_v<V, int64_t>) {
            putText(std::to_string(value));
        } else if constexpr (std::is_same_v<V, double>) {
            putText(textOf(value));
        } else if constexpr (std::is_same_v<V, std::string>) {
            put(value.c_str(), static_cast<int>(value.size()), 0);
        } else {
            put(value.empty() ? "" : reinterpret_cast<const char*>(value.data()), static_cast<int>(value.size()), 1);
        }
    }
    void putText(std::string text) {
        texts_.push_back(std::move(text));
        put(texts_.back().c_str(), 0, 0);
    }
    void put(const char* value, int length, int format) {
        values_.push_back(value);
        lengths_.push_back(length);
        formats_.push_back(format);
    }

    std::vector<std::string> texts_;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
};

/// One connection. Belongs to a thread at a time.
class Connection {
public:
    explicit Connection(const PostgresSinkOptions& options) : connection_(PQconnectdb(options.connection.c_str())) {
        if (PQstatus(connection_.get()) != CONNECTION_OK) fail("cannot connect");
        run("SET client_min_messages = warning");
        run("SET synchronous_commit = on");
    }

    void prepareInsert(const std::string& insert) {
        check(Result(PQprepare(connection_.get(), kInsert, insert.c_str(), 0, nullptr)), insert);
    }
    void run(const std::string& statement) { check(Result(PQexec(connection_.get(), statement.c_str())), statement); }

    Result query(const char* statement, const SqlRow& values) {
        const Parameters parameters(values);
        Result result(PQexecParams(connection_.get(), statement, parameters.count(), nullptr, parameters.values(),
                                   parameters.lengths(), parameters.formats(), 0));
        check(result, statement);
        return result;
    }

    /// Sends rows without waiting for each one's answer.
    void insert(std::span<const SqlRow> rows) {
        // The answers to so many fit into the sockets' buffers, so that neither side waits for the other to read.
        constexpr std::size_t kRowsAtOnce = 256;
        while (!rows.empty()) {
            const auto some = rows.first(std::min(rows.size(), kRowsAtOnce));
            rows = rows.subspan(some.size());
            if (PQenterPipelineMode(connection_.get()) != 1) fail("cannot enter pipeline mode");
            for (const SqlRow& row : some) {
                const Parameters parameters(row);
                if (PQsendQueryPrepared(connection_.get(), kInsert, parameters.count(), parameters.values(),
                                        parameters.lengths(), parameters.formats(), 0) != 1) {
                    fail("cannot send a row");
                }
            }
            if (PQpipelineSync(connection_.get()) != 1) fail("cannot send rows");
            std::string problem;
            for (bool synced = false; !synced;) {
                const Result result(PQgetResult(connection_.get()));
                if (!result) {
                    if (PQstatus(connection_.get()) != CONNECTION_OK) fail("cannot insert");
                    continue;  // the end of one statement's answer
                }
                const ExecStatusType status = PQresultStatus(result.get());
                synced = status == PGRES_PIPELINE_SYNC;
                if (status == PGRES_FATAL_ERROR && problem.empty()) problem = PQresultErrorMessage(result.get());
                if (PQstatus(connection_.get()) != CONNECTION_OK) fail("cannot insert");
            }
            PQexitPipelineMode(connection_.get());
            if (!problem.empty()) throw SparkException(described("cannot insert", problem));
        }
    }

private:
    static constexpr const char* kInsert = "dstream_insert";
    struct Finish {
        void operator()(PGconn* connection) const { PQfinish(connection); }
    };

    /// Never with the connection string, which may hold a password.
    std::string described(const std::string& what, std::string problem) const {
        while (problem.ends_with('\n')) problem.pop_back();
        const char* const database = PQdb(connection_.get());
        return "PostgreSQL database " + std::string(database == nullptr ? "" : database) + ": " + what + ": " + problem;
    }
    [[noreturn]] void fail(const std::string& what) const {
        const std::string text = described(what, PQerrorMessage(connection_.get()));
        if (PQstatus(connection_.get()) != CONNECTION_OK) throw ConnectionLost(text);
        throw SparkException(text);
    }
    void check(const Result& result, const std::string& statement) const {
        const ExecStatusType status = PQresultStatus(result.get());
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) fail("\"" + statement + "\"");
    }

    std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace

class PostgresSink::Database {
public:
    explicit Database(PostgresSinkOptions options) : options_(std::move(options)) {
        require(options_.attempts > 0, "attempts must be positive, found " + std::to_string(options_.attempts));
        auto connection = std::make_unique<Connection>(options_);
        // Two that make a table at the same time may both find that there is none.
        connection->run("BEGIN; SELECT pg_advisory_xact_lock(hashtext('dstream_commits')); " +
                        std::string(kCreateCommits) + (options_.createTable.empty() ? "" : "; ") +
                        options_.createTable + "; COMMIT");
        connection->prepareInsert(options_.insert);
        idle_.push_back(std::move(connection));
    }

    bool isCommitted(const SinkPart& part) {
        return withConnection([&](Connection& connection) { return find(connection, part); });
    }

    void commit(const SinkPart& part, const SqlRows& rows) {
        withConnection([&](Connection& connection) {
            connection.run("BEGIN");
            // Waits for another transaction that has inserted the key and is not over, such as one whose connection
            // was lost.
            const Result marked = connection.query(
                "INSERT INTO dstream_commits VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                {part.job, part.operation, part.time.milliseconds(), part.partition, part.numPartitions});
            if (std::string_view(PQcmdTuples(marked.get())) == "0") {
                connection.run("ROLLBACK");
                return true;
            }
            find(connection, part);
            rows.forEach([&connection](std::span<const SqlRow> some) { connection.insert(some); });
            DSTREAM_FAILPOINT("postgres.before_commit");
            connection.run("COMMIT");
            DSTREAM_FAILPOINT("postgres.after_commit");
            return true;
        });
    }

private:
    static bool find(Connection& connection, const SinkPart& part) {
        const Result found = connection.query(
            "SELECT parts, part = $4 FROM dstream_commits WHERE job = $1 AND op = $2 AND batch_ms = $3 "
            "ORDER BY parts = $5, part = $4 DESC LIMIT 1",
            {part.job, part.operation, part.time.milliseconds(), part.partition, part.numPartitions});
        if (PQntuples(found.get()) == 0) return false;
        const int64_t parts = std::stoll(PQgetvalue(found.get(), 0, 0));
        if (parts != part.numPartitions) throwOtherPartitions(part, parts);
        return *PQgetvalue(found.get(), 0, 1) == 't';
    }

    /// Calls `f` with a connection, again with a new one when it was lost. What else it throws ends the transaction
    /// with the connection.
    template <class F>
    bool withConnection(F f) {
        for (int attempt = 1;; ++attempt) {
            try {
                std::unique_ptr<Connection> connection = attempt == 1 ? takeIdle() : nullptr;
                if (!connection) {
                    connection = std::make_unique<Connection>(options_);
                    connection->prepareInsert(options_.insert);
                }
                const bool result = f(*connection);
                const std::lock_guard lock(mutex_);
                idle_.push_back(std::move(connection));
                return result;
            } catch (const ConnectionLost& lost) {
                if (attempt == options_.attempts) throw;
                logMessage(LogLevel::kWarn, "sink", std::string(lost.what()) + "; connecting again");
            }
        }
    }
    std::unique_ptr<Connection> takeIdle() {
        const std::lock_guard lock(mutex_);
        if (idle_.empty()) return nullptr;
        auto connection = std::move(idle_.back());
        idle_.pop_back();
        return connection;
    }

    const PostgresSinkOptions options_;
    std::mutex mutex_;  // guards the field below
    std::vector<std::unique_ptr<Connection>> idle_;
};

PostgresSink::PostgresSink(PostgresSinkOptions options) : database_(std::make_unique<Database>(std::move(options))) {}
PostgresSink::~PostgresSink() = default;

bool PostgresSink::isCommitted(const SinkPart& part) {
    return database_->isCommitted(part);
}

void PostgresSink::commitRows(const SinkPart& part, const SqlRows& rows) {
    database_->commit(part, rows);
}

}  // namespace dstream::postgres
