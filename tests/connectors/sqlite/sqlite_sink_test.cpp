#include "connectors/sqlite/sqlite_sink.hpp"

#include "dstream/testkit.hpp"
#include "rdd/exceptions.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sqlite3.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dstream::sqlite {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testsupport::errorOf;
using Words = std::vector<std::string>;
using Parts = std::vector<Words>;

/// A program writes words and their lengths into a table; another connection, as of another process, reads it.
class SqliteSinkTest : public ::testing::Test {
protected:
    void TearDown() override { sqlite3_close(reader_); }

    SqliteSinkOptions options() const {
        return {.path = directory_ / "words.db",
                .createTable = "CREATE TABLE IF NOT EXISTS words (word TEXT UNIQUE, length INTEGER)",
                .insert = "INSERT INTO words VALUES (?, ?)"};
    }
    /// Runs batches with these partitions; returns what the program failed with.
    std::string save(std::vector<std::optional<Parts>> batches, const SparkConf& conf = SparkConf()) {
        const auto count = static_cast<int64_t>(batches.size());
        auto ssc = testkit::makeContext(Seconds(1), conf);
        testkit::partitionedBatches<std::string>(ssc, std::move(batches))
            .map([](const std::string& word) {
                return SqlRow{word, static_cast<int64_t>(word.size())};
            })
            .saveToSink("words", std::make_shared<SqliteSink>(options()));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(count));
        std::string failure;
        try {
            ssc.awaitTerminationOrTimeout(0);
        } catch (...) {
            failure = describeException(std::current_exception());
        }
        ssc.stop();
        return failure;
    }
    /// The rows of a query, values joined by blanks.
    std::vector<std::string> query(const std::string& text) {
        if (reader_ == nullptr) {
            EXPECT_EQ(sqlite3_open(options().path.c_str(), &reader_), SQLITE_OK);
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

    testsupport::TemporaryDirectory directory_;
    sqlite3* reader_ = nullptr;
};

TEST_F(SqliteSinkTest, EachPartitionOfABatchIsOneTransaction) {
    EXPECT_EQ(save({Parts{{"a", "bb"}, {"ccc"}}, Parts{{}}}), "");
    EXPECT_THAT(query("SELECT * FROM words ORDER BY word"), ElementsAre("a 1", "bb 2", "ccc 3"));
    EXPECT_THAT(query("SELECT op, batch_ms, part, parts FROM dstream_commits ORDER BY batch_ms, part"),
                ElementsAre("words 1000 0 2", "words 1000 1 2", "words 2000 0 1"));
    EXPECT_THAT(query("PRAGMA journal_mode"), ElementsAre("wal"));
}

TEST_F(SqliteSinkTest, ABatchThatRunsAgainInsertsNothing) {
    save({Parts{{"a"}, {"b"}}});
    EXPECT_EQ(save({Parts{{"a"}, {"b"}}, Parts{{"c"}}}), "") << "a second insert would break UNIQUE";
    EXPECT_THAT(query("SELECT word FROM words ORDER BY word"), ElementsAre("a", "b", "c"));
}

TEST_F(SqliteSinkTest, OnlyThePartsThatWereNotCommittedAreInserted) {
    // The second partition breaks UNIQUE when the first is done: one slot, so one after the other.
    EXPECT_THAT(save({Parts{{"a"}, {"b", "b"}}}, SparkConf().setMaster("local[1]")),
                HasSubstr("UNIQUE constraint failed: words.word"));
    EXPECT_THAT(query("SELECT word FROM words"), ElementsAre("a"));
    EXPECT_EQ(save({Parts{{"not written"}, {"b"}}}), "");
    EXPECT_THAT(query("SELECT word FROM words ORDER BY word"), ElementsAre("a", "b"));
}

TEST_F(SqliteSinkTest, APartThatFailsLeavesNoRowsAndTheNextAttemptInsertsThem) {
    query("CREATE TABLE failures (n INTEGER)");
    query("CREATE TABLE words (word TEXT UNIQUE, length INTEGER)");
    // The first insert of "c" in a transaction fails as long as another connection says so.
    query(
        "CREATE TRIGGER t BEFORE INSERT ON words WHEN NEW.word = 'c' AND (SELECT count(*) FROM failures) > 0 "
        "BEGIN SELECT RAISE(ABORT, 'not now'); END");
    query("INSERT INTO failures VALUES (1)");
    EXPECT_THAT(save({Parts{{"a", "b", "c"}}}), AllOf(HasSubstr("not now"), HasSubstr("words.db")));
    EXPECT_THAT(query("SELECT * FROM words"), IsEmpty());
    EXPECT_THAT(query("SELECT * FROM dstream_commits"), IsEmpty());
    query("DELETE FROM failures");
    EXPECT_EQ(save({Parts{{"a", "b", "c"}}}), "");
    EXPECT_THAT(query("SELECT word FROM words ORDER BY word"), ElementsAre("a", "b", "c"));
}

TEST_F(SqliteSinkTest, ABatchThatComesBackWithOtherPartitionsIsRefused) {
    save({Parts{{"a"}, {"b"}}});
    EXPECT_THAT(save({Parts{{"a", "b"}}}),
                AllOf(HasSubstr("committed in part, in 2 partitions"), HasSubstr("has 1 now")));
}

TEST_F(SqliteSinkTest, OperationsAndProgramsAreToldApart) {
    const auto sink = std::make_shared<SqliteSink>(options());
    const auto commit = [&](const char* job, const char* operation, const char* word) {
        SinkPart part;
        part.job = job;
        part.operation = operation;
        part.time = Time(1000);
        part.numPartitions = 1;
        const auto transaction = sink->begin(part);
        if (!transaction) return false;
        transaction->write({word, int64_t{0}});
        transaction->commit();
        return true;
    };
    EXPECT_TRUE(commit("job", "one", "a"));
    EXPECT_TRUE(commit("job", "two", "b"));
    EXPECT_TRUE(commit("another", "one", "c"));
    EXPECT_FALSE(commit("another", "one", "d"));
    EXPECT_THAT(query("SELECT word FROM words ORDER BY word"), ElementsAre("a", "b", "c"));
}

TEST_F(SqliteSinkTest, TwoTransactionsOfOnePartInsertOnce) {
    const auto sink = std::make_shared<SqliteSink>(options());
    const auto other = std::make_shared<SqliteSink>(options());  // as in another process
    SinkPart part;
    part.job = "job";
    part.operation = "words";
    part.numPartitions = 1;
    const auto first = sink->begin(part);
    const auto second = other->begin(part);
    first->write({"a", int64_t{1}});
    second->write({"a", int64_t{1}});
    first->commit();
    second->commit();
    first->commit();  // again, since the answer was lost
    EXPECT_THAT(query("SELECT word FROM words"), ElementsAre("a"));
}

TEST_F(SqliteSinkTest, AllKindsOfValuesArrive) {
    auto made = options();
    made.createTable = "CREATE TABLE kinds (a, b, c, d, e)";
    made.insert = "INSERT INTO kinds VALUES (?, ?, ?, ?, ?)";
    SqliteSink sink(made);
    SinkPart part;
    part.numPartitions = 1;
    const auto transaction = sink.begin(part);
    transaction->write({std::monostate(), int64_t{-5}, 2.5, std::string("a\0b", 3), std::vector<std::byte>(2)});
    transaction->write({std::monostate(), INT64_MIN, 0.1, "", std::vector<std::byte>()});
    transaction->commit();
    EXPECT_THAT(query("SELECT typeof(a), b, c, length(CAST(d AS BLOB)), hex(e), typeof(e) FROM kinds"),
                ElementsAre("null -5 2.5 3 0000 blob", "null -9223372036854775808 0.1 0  blob"));
}

TEST_F(SqliteSinkTest, WhatIsWrongIsSaidWithFileAndStatement) {
    auto made = options();
    made.path = directory_ / "missing/words.db";
    EXPECT_THAT(errorOf([&] { SqliteSink sink(made); }),
                AllOf(HasSubstr("missing/words.db"), HasSubstr("unable to open database file")));
    made = options();
    made.insert = "INSERT INTO absent VALUES (?)";
    EXPECT_THAT(errorOf([&] { SqliteSink sink(made); }),
                AllOf(HasSubstr("words.db"), HasSubstr("no such table: absent")));
    SqliteSink sink(options());
    SinkPart part;
    const auto transaction = sink.begin(part);
    transaction->write({"only one"});
    EXPECT_THAT(errorOf([&] { transaction->commit(); }), HasSubstr("takes 2 values, a row has 1"));
}

TEST_F(SqliteSinkTest, AnotherProcessThatHoldsTheDatabaseFailsTheCommitAfterTheTimeout) {
    auto made = options();
    made.busyTimeout = Milliseconds(1);
    SqliteSink sink(made);
    SinkPart part;
    part.numPartitions = 1;
    const auto transaction = sink.begin(part);
    transaction->write({"a", int64_t{1}});
    query("BEGIN IMMEDIATE");
    EXPECT_THAT(errorOf([&] { transaction->commit(); }), HasSubstr("database is locked"));
    query("COMMIT");
    transaction->commit();
    EXPECT_THAT(query("SELECT word FROM words"), ElementsAre("a"));
}

}  // namespace
}  // namespace dstream::sqlite
