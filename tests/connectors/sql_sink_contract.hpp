#pragma once

#include "dstream/sql_sink.hpp"
#include "dstream/testkit.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dstream::testsupport {

/// The words of each partition of a batch.
using Parts = std::vector<std::vector<std::string>>;

/// What every sink into a database keeps. `Database` is a fresh one, with
///
///     std::shared_ptr<SqlSink> sink();                    // into words (word TEXT UNIQUE, length)
///     std::vector<std::string> query(const std::string&); // rows, values joined by blanks, of another connection
///     static constexpr const char* kNotUnique;            // what it says of a word that is there already
///     static constexpr const char* kTooFewValues;         // and of a row with one value
template <class Database>
class SqlSinkContract : public ::testing::Test {
protected:
    /// Runs batches with these partitions; returns what the program failed with.
    std::string save(std::vector<std::optional<Parts>> batches, const SparkConf& conf = SparkConf()) {
        const auto count = static_cast<int64_t>(batches.size());
        auto ssc = testkit::makeContext(Seconds(1), conf);
        testkit::partitionedBatches<std::string>(ssc, std::move(batches))
            .map([](const std::string& word) {
                return SqlRow{word, static_cast<int64_t>(word.size())};
            })
            .saveToSink("words", database_.sink());
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
    std::vector<std::string> words() { return database_.query("SELECT word FROM words ORDER BY word"); }
    static SinkPart part(const std::string& job = "job", const std::string& operation = "words") {
        SinkPart part;
        part.job = job;
        part.operation = operation;
        part.time = Time(1000);
        part.numPartitions = 1;
        return part;
    }

    Database database_;
};

TYPED_TEST_SUITE_P(SqlSinkContract);

TYPED_TEST_P(SqlSinkContract, EachPartitionOfABatchIsOneTransaction) {
    EXPECT_EQ(this->save({Parts{{"a", "bb"}, {"ccc"}}, Parts{{}}}), "");
    EXPECT_THAT(this->database_.query("SELECT * FROM words ORDER BY word"),
                ::testing::ElementsAre("a 1", "bb 2", "ccc 3"));
    EXPECT_THAT(this->database_.query("SELECT op, batch_ms, part, parts FROM dstream_commits ORDER BY batch_ms, part"),
                ::testing::ElementsAre("words 1000 0 2", "words 1000 1 2", "words 2000 0 1"));
}

TYPED_TEST_P(SqlSinkContract, ABatchThatRunsAgainInsertsNothing) {
    this->save({Parts{{"a"}, {"b"}}});
    EXPECT_EQ(this->save({Parts{{"a"}, {"b"}}, Parts{{"c"}}}), "") << "a second insert would break UNIQUE";
    EXPECT_THAT(this->words(), ::testing::ElementsAre("a", "b", "c"));
}

TYPED_TEST_P(SqlSinkContract, APartThatFailsLeavesNoRowsAndOnlyItIsInsertedLater) {
    // The second partition breaks UNIQUE when the first is done: one slot, so one after the other.
    EXPECT_THAT(this->save({Parts{{"a"}, {"b", "b"}}}, SparkConf().setMaster("local[1]")),
                ::testing::HasSubstr(TypeParam::kNotUnique));
    EXPECT_THAT(this->words(), ::testing::ElementsAre("a"));
    EXPECT_EQ(this->save({Parts{{"not written"}, {"b"}}}), "");
    EXPECT_THAT(this->words(), ::testing::ElementsAre("a", "b"));
}

TYPED_TEST_P(SqlSinkContract, ABatchThatComesBackWithOtherPartitionsIsRefused) {
    this->save({Parts{{"a"}, {"b"}}});
    EXPECT_THAT(this->save({Parts{{"a", "b"}}}),
                ::testing::AllOf(::testing::HasSubstr("committed in part, in 2 partitions"),
                                 ::testing::HasSubstr("has 1 now")));
    EXPECT_THAT(this->words(), ::testing::ElementsAre("a", "b"));
}

TYPED_TEST_P(SqlSinkContract, OperationsAndProgramsAreToldApart) {
    const auto sink = this->database_.sink();
    const auto commit = [&](const char* job, const char* operation, const char* word) {
        const auto transaction = sink->begin(TestFixture::part(job, operation));
        if (!transaction) return false;
        transaction->write({word, int64_t{0}});
        transaction->commit();
        return true;
    };
    EXPECT_TRUE(commit("job", "one", "a"));
    EXPECT_TRUE(commit("job", "two", "b"));
    EXPECT_TRUE(commit("another", "one", "c"));
    EXPECT_FALSE(commit("another", "one", "d"));
    EXPECT_THAT(this->words(), ::testing::ElementsAre("a", "b", "c"));
}

TYPED_TEST_P(SqlSinkContract, TwoTransactionsOfOnePartInsertOnceEvenAtTheSameTime) {
    const auto sink = this->database_.sink();
    const auto other = this->database_.sink();  // as in another process
    const auto first = sink->begin(TestFixture::part());
    const auto second = other->begin(TestFixture::part());
    first->write({"a", int64_t{1}});
    second->write({"a", int64_t{1}});
    std::jthread thread([&] { first->commit(); });
    second->commit();
    thread.join();
    first->commit();  // again, since the answer was lost
    EXPECT_THAT(this->words(), ::testing::ElementsAre("a"));
}

TYPED_TEST_P(SqlSinkContract, APartOfMoreRowsThanAreKeptInMemoryArrivesWhole) {
    const auto sink = this->database_.sink();
    const auto transaction = sink->begin(TestFixture::part());
    const std::string end(1000, 'x');
    for (int64_t i = 0; i < 3000; ++i) transaction->write({std::to_string(i) + end, i});
    transaction->commit();
    EXPECT_THAT(this->database_.query("SELECT count(*), sum(length), min(length(word)) FROM words"),
                ::testing::ElementsAre("3000 4498500 1001"));
    transaction->commit();
    EXPECT_THAT(this->database_.query("SELECT count(*) FROM words"), ::testing::ElementsAre("3000"));
}

TYPED_TEST_P(SqlSinkContract, ARowThatTheStatementDoesNotTakeFailsItsPart) {
    const auto sink = this->database_.sink();
    const auto transaction = sink->begin(TestFixture::part());
    transaction->write({"a", int64_t{1}});
    transaction->write({"only one"});
    EXPECT_THAT(errorOf([&] { transaction->commit(); }), ::testing::HasSubstr(TypeParam::kTooFewValues));
    EXPECT_THAT(this->words(), ::testing::IsEmpty());
    EXPECT_THAT(this->database_.query("SELECT * FROM dstream_commits"), ::testing::IsEmpty());
}

REGISTER_TYPED_TEST_SUITE_P(SqlSinkContract, EachPartitionOfABatchIsOneTransaction, ABatchThatRunsAgainInsertsNothing,
                            APartThatFailsLeavesNoRowsAndOnlyItIsInsertedLater,
                            ABatchThatComesBackWithOtherPartitionsIsRefused, OperationsAndProgramsAreToldApart,
                            TwoTransactionsOfOnePartInsertOnceEvenAtTheSameTime,
                            APartOfMoreRowsThanAreKeptInMemoryArrivesWhole,
                            ARowThatTheStatementDoesNotTakeFailsItsPart);

}  // namespace dstream::testsupport
