#include "connectors/sqlite/sqlite_sink.hpp"

#include "../sql_sink_contract.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <utility>
#include <vector>

namespace dstream::sqlite {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testsupport::errorOf;

/// A database in a directory of its own; another connection, as of another process, reads it.
class WordsDatabase {
public:
    static constexpr const char* kNotUnique = "UNIQUE constraint failed: words.word";
    static constexpr const char* kTooFewValues = "takes 2 values, a row has 1";

    ~WordsDatabase() { sqlite3_close(reader_); }

    std::string path() const { return directory_ / "words.db"; }
    SqliteSinkOptions options() const {
        return {.path = path(),
                .createTable = "CREATE TABLE IF NOT EXISTS words (word TEXT UNIQUE, length INTEGER)",
                .insert = "INSERT INTO words VALUES (?, ?)"};
    }
    std::shared_ptr<SqlSink> sink() const { return std::make_shared<SqliteSink>(options()); }
    /// The rows of a query, values joined by blanks.
    std::vector<std::string> query(const std::string& text) {
        if (reader_ == nullptr) {
            EXPECT_EQ(sqlite3_open(path().c_str(), &reader_), SQLITE_OK);
        }
        std::vector<std::string> rows;
        const auto onRow = [](void* all, int count, char** values, char**) {
            std::string row;
            for (int i = 0; i < count; ++i) row += (i == 0 ? "" : " ") + std::string(values[i] ? values[i] : "NULL");
            static_cast<std::vector<std::string>*>(all)->push_back(row);
            return 0;
        };
        EXPECT_EQ(sqlite3_exec(reader_, text.c_str(), onRow, &rows, nullptr), SQLITE_OK) << sqlite3_errmsg(reader_);
        return rows;
    }

private:
    testsupport::TemporaryDirectory directory_;
    sqlite3* reader_ = nullptr;
};

class SqliteSinkTest : public ::testing::Test {
protected:
    WordsDatabase database_;
};

TEST_F(SqliteSinkTest, TheDatabaseIsReadWhileItIsWritten) {
    database_.sink();
    EXPECT_THAT(database_.query("PRAGMA journal_mode"), ElementsAre("wal"));
}

TEST_F(SqliteSinkTest, AllKindsOfValuesArrive) {
    auto made = database_.options();
    made.createTable = "CREATE TABLE kinds (a, b, c, d, e)";
    made.insert = "INSERT INTO kinds VALUES (?, ?, ?, ?, ?)";
    SqliteSink sink(made);
    SinkPart part;
    part.numPartitions = 1;
    const auto transaction = sink.begin(part);
    transaction->write({std::monostate(), int64_t{-5}, 2.5, std::string("a\0b", 3), std::vector<std::byte>(2)});
    transaction->write({std::monostate(), INT64_MIN, 0.1, "", std::vector<std::byte>()});
    transaction->commit();
    EXPECT_THAT(database_.query("SELECT typeof(a), b, c, length(CAST(d AS BLOB)), hex(e), typeof(e) FROM kinds"),
                ElementsAre("null -5 2.5 3 0000 blob", "null -9223372036854775808 0.1 0  blob"));
}

TEST_F(SqliteSinkTest, RowsBeyondAMebibyteGoToATemporaryFile) {
    const auto sink = database_.sink();
    const auto transaction = sink->begin(SinkPart());
    const std::string place = std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp";
    transaction->write({std::string(900'000, 'x'), int64_t{0}});
    ::setenv("TMPDIR", "/nowhere", 1);
    EXPECT_THAT(errorOf([&] {
                    transaction->write({std::string(200'000, 'x'), int64_t{1}});
                }),
                HasSubstr("there is no directory for temporary files (TMPDIR)"));
    ::setenv("TMPDIR", place.c_str(), 1);
    EXPECT_EQ(errorOf([&] { transaction->write({std::string(200'000, 'x'), int64_t{1}}); }), "no exception");
}

TEST_F(SqliteSinkTest, WhatIsWrongIsSaidWithFileAndStatement) {
    auto made = database_.options();
    made.path = "/nowhere/words.db";
    EXPECT_THAT(errorOf([&] { SqliteSink sink(made); }),
                AllOf(HasSubstr("/nowhere/words.db"), HasSubstr("unable to open database file")));
    made = database_.options();
    made.insert = "INSERT INTO absent VALUES (?)";
    EXPECT_THAT(errorOf([&] { SqliteSink sink(made); }),
                AllOf(HasSubstr("words.db"), HasSubstr("no such table: absent")));
}

TEST_F(SqliteSinkTest, AnotherProcessThatHoldsTheDatabaseFailsTheCommitAfterTheTimeout) {
    auto made = database_.options();
    made.busyTimeout = Milliseconds(1);
    SqliteSink sink(made);
    SinkPart part;
    part.numPartitions = 1;
    const auto transaction = sink.begin(part);
    transaction->write({"a", int64_t{1}});
    database_.query("BEGIN IMMEDIATE");
    EXPECT_THAT(errorOf([&] { transaction->commit(); }), HasSubstr("database is locked"));
    database_.query("COMMIT");
    transaction->commit();
    EXPECT_THAT(database_.query("SELECT word FROM words"), ElementsAre("a"));
}

}  // namespace
}  // namespace dstream::sqlite

namespace dstream::testsupport {

INSTANTIATE_TYPED_TEST_SUITE_P(Sqlite, SqlSinkContract, sqlite::WordsDatabase);

}  // namespace dstream::testsupport
