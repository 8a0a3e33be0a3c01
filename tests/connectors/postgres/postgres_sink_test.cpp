#include "connectors/postgres/postgres_sink.hpp"

#include "../sql_sink_contract.hpp"
#include "rdd/exceptions.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <libpq-fe.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <pwd.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace dstream::postgres {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testsupport::ChildProcess;
using testsupport::errorOf;

/// A server of its own, reached over a socket in its directory. It refuses to run as root, so then it is nobody's.
class Server {
public:
    Server() {
        const std::string data = directory_ / "data";
        std::vector<std::string> prefix;
        if (::geteuid() == 0) {
            const passwd* const nobody = ::getpwnam("nobody");
            if (nobody == nullptr || ::chown(path().c_str(), nobody->pw_uid, nobody->pw_gid) != 0) {
                throw SparkException("cannot give " + path() + " to the user nobody");
            }
            prefix = {"/usr/bin/setpriv", "--reuid=nobody", "--regid=" + std::to_string(nobody->pw_gid),
                      "--clear-groups"};
        }
        const auto command = [&](const char* program, std::vector<std::string> arguments) {
            std::vector<std::string> words = prefix;
            words.push_back(std::string(DSTREAM_POSTGRES_PROGRAMS "/") + program);
            words.insert(words.end(), arguments.begin(), arguments.end());
            return words;
        };
        ChildProcess make(
            command("initdb", {"-D", data, "-A", "trust", "-U", "test", "--no-sync", "-E", "UTF8", "--locale=C"}));
        if (make.finish() != 0) throw SparkException("initdb failed: " + make.output());
        process_.emplace(command("postgres", {"-D", data, "-k", path(), "-c", "listen_addresses=", "-c", "fsync=off",
                                              "-c", "dynamic_shared_memory_type=mmap", "-c", "max_connections=20"}));
        for (std::string line = process_->readLine();; line = process_->readLine()) {
            if (line.empty()) throw SparkException("postgres ended: " + process_->output());
            if (line.find("ready to accept connections") != std::string::npos) break;
        }
    }
    /// An end by SIGKILL would leave shared memory behind.
    ~Server() {
        if (process_) ::kill(process_->id(), SIGINT);
        if (process_) process_->finish();
    }
    std::string path() const { return directory_.path(); }

private:
    testsupport::TemporaryDirectory directory_;
    std::optional<ChildProcess> process_;
};

std::string socketIn(const std::string& directory) {
    return directory + "/.s.PGSQL.5432";
}

sockaddr_un addressOf(const std::string& directory) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socketIn(directory).copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

/// Stands between a sink and the server, and hangs up on the first COMMIT when the server has answered it.
class LosesAnswerToCommit {
public:
    explicit LosesAnswerToCommit(std::string server) : server_(std::move(server)) {
        listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
        const sockaddr_un address = addressOf(path());
        if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(listener_, 8) != 0) {
            throw SparkException("cannot listen in " + path());
        }
        thread_ = std::thread([this] { serve(); });
    }
    ~LosesAnswerToCommit() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }
    std::string path() const { return directory_.path(); }
    int lost() const { return lost_; }

private:
    /// One connection after the other: the sink has one at a time.
    void serve() {
        for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(client)) {
            const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
            const sockaddr_un address = addressOf(server_);
            if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
                forward(client, server);
            }
            ::close(server);
        }
    }
    void forward(int client, int server) {
        std::array<pollfd, 3> ends{{{client, POLLIN, 0}, {server, POLLIN, 0}, {listener_, POLLIN, 0}}};
        std::array<char, 4096> buffer;
        bool committing = false;
        while (::poll(ends.data(), ends.size(), -1) > 0) {
            if ((ends[2].revents & POLLHUP) != 0) return;
            ends[2].fd = (ends[2].revents & POLLIN) != 0 ? -1 : ends[2].fd;  // another client waits for its turn
            for (const int from : {0, 1}) {
                if (ends[static_cast<std::size_t>(from)].revents == 0) continue;
                const ssize_t size = ::read(from == 0 ? client : server, buffer.data(), buffer.size());
                if (size <= 0) return;
                if (from == 1 && committing && lost_ == 0) {
                    ++lost_;
                    return;
                }
                const std::string_view bytes(buffer.data(), static_cast<std::size_t>(size));
                committing = from == 0 && bytes.find("COMMIT") != bytes.npos && bytes.find("BEGIN") == bytes.npos;
                if (::send(from == 0 ? server : client, bytes.data(), bytes.size(), MSG_NOSIGNAL) != size) return;
            }
        }
    }

    testsupport::TemporaryDirectory directory_;
    const std::string server_;
    int listener_ = -1;
    std::atomic<int> lost_{0};
    std::thread thread_;
};

/// Tables of their own in the one server of the program; another connection reads them.
class WordsDatabase {
public:
    static constexpr const char* kNotUnique = "duplicate key value violates unique constraint";
    static constexpr const char* kTooFewValues = "bind message supplies 1 parameters";

    WordsDatabase() : reader_(PQconnectdb(connectionTo(server().path()).c_str())) {
        EXPECT_EQ(PQstatus(reader_), CONNECTION_OK) << PQerrorMessage(reader_);
        query("SET client_min_messages = error");
        query("DROP TABLE IF EXISTS words, dstream_commits");
    }
    ~WordsDatabase() { PQfinish(reader_); }

    static Server& server() {
        static Server server;
        return server;
    }
    static std::string connectionTo(const std::string& directory) {
        return "host=" + directory + " user=test dbname=postgres";
    }
    static PostgresSinkOptions options() {
        return {.connection = connectionTo(server().path()),
                .createTable = "CREATE TABLE IF NOT EXISTS words (word TEXT UNIQUE, length BIGINT)",
                .insert = "INSERT INTO words VALUES ($1, $2)"};
    }
    std::shared_ptr<SqlSink> sink() const { return std::make_shared<PostgresSink>(options()); }
    std::vector<std::string> query(const std::string& text) {
        PGresult* const result = PQexec(reader_, text.c_str());
        EXPECT_TRUE(PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
            << PQerrorMessage(reader_);
        std::vector<std::string> rows;
        for (int i = 0; i < PQntuples(result); ++i) {
            std::string row;
            for (int j = 0; j < PQnfields(result); ++j)
                row += (j == 0 ? "" : " ") + std::string(PQgetvalue(result, i, j));
            rows.push_back(row);
        }
        PQclear(result);
        return rows;
    }

private:
    PGconn* const reader_;
};

class PostgresSinkTest : public ::testing::Test {
protected:
    PostgresSinkTest() {
        part_.job = "job";
        part_.operation = "words";
        part_.numPartitions = 1;
    }

    WordsDatabase database_;
    SinkPart part_;
};

TEST_F(PostgresSinkTest, ALostAnswerToCommitInsertsNothingTwice) {
    const LosesAnswerToCommit between(database_.server().path());
    const PostgresSink first(database_.options());  // makes the tables, so that the COMMIT lost is the one of the rows
    PostgresSinkOptions made = database_.options();
    made.connection = WordsDatabase::connectionTo(between.path());
    made.createTable.clear();
    PostgresSink sink(made);
    const auto transaction = sink.begin(part_);
    transaction->write({"a", int64_t{1}});
    transaction->commit();
    EXPECT_EQ(between.lost(), 1);
    EXPECT_THAT(database_.query("SELECT word FROM words"), ElementsAre("a"));
}

TEST_F(PostgresSinkTest, AConnectionThatIsGoneIsMadeAgain) {
    PostgresSink sink(database_.options());
    const auto transaction = sink.begin(part_);
    transaction->write({"a", int64_t{1}});
    database_.query(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    transaction->commit();
    EXPECT_THAT(database_.query("SELECT word FROM words"), ElementsAre("a"));
}

TEST_F(PostgresSinkTest, ManyRowsAndAllKindsOfValuesArrive) {
    database_.query("DROP TABLE IF EXISTS kinds");
    PostgresSinkOptions made = database_.options();
    made.createTable = "CREATE TABLE kinds (a TEXT, b BIGINT, c DOUBLE PRECISION, d TEXT, e BYTEA)";
    made.insert = "INSERT INTO kinds VALUES ($1, $2, $3, $4, $5)";
    PostgresSink sink(made);
    const auto transaction = sink.begin(part_);
    for (int64_t i = 0; i < 1000; ++i) {
        transaction->write({std::monostate(), i, 0.1, "d'", std::vector<std::byte>(i == 0 ? 0 : 2)});
    }
    transaction->commit();
    EXPECT_THAT(
        database_.query("SELECT count(*), sum(b), min(c), min(d), max(length(e)), min(length(e)), count(a) FROM kinds"),
        ElementsAre("1000 499500 0.1 d' 2 0 0"));
}

TEST_F(PostgresSinkTest, WhatIsWrongIsSaidInTheServersWordsWithoutThePassword) {
    PostgresSinkOptions made = database_.options();
    made.insert = "INSERT INTO absent VALUES ($1)";
    EXPECT_THAT(errorOf([&] { PostgresSink sink(made); }), HasSubstr("relation \"absent\" does not exist"));
    made = database_.options();
    made.connection = "host=/nowhere user=test password=hidden dbname=postgres";
    EXPECT_THAT(errorOf([&] { PostgresSink sink(made); }),
                AllOf(HasSubstr("cannot connect"), HasSubstr("/nowhere"), ::testing::Not(HasSubstr("hidden"))));
}

}  // namespace
}  // namespace dstream::postgres

namespace dstream::testsupport {

INSTANTIATE_TYPED_TEST_SUITE_P(Postgres, SqlSinkContract, postgres::WordsDatabase);

}  // namespace dstream::testsupport
