#include "dstream/file_sink.hpp"
#include "dstream/stream_test.hpp"
#include "support/test_files.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// Sinks that have each batch once.

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Strings = std::vector<std::string>;

/// Keeps parts by (operation, time, partition) and the names of what happened.
class MemorySink : public TransactionalSink<std::string> {
public:
    std::unique_ptr<SinkTransaction<std::string>> begin(const SinkPart& part) override {
        note("begin");
        if (onBegin) onBegin(part);
        const std::lock_guard lock(mutex_);
        if (parts_.contains(keyOf(part))) return nullptr;
        return std::make_unique<Insert>(*this, part);
    }
    void beginBatch(const SinkBatch& batch) override { note("batch " + std::to_string(batch.numPartitions)); }
    void endBatch(const SinkBatch&) override { note("end"); }

    Strings records() const {
        const std::lock_guard lock(mutex_);
        Strings all;
        for (const auto& [key, records] : parts_) all.insert(all.end(), records.begin(), records.end());
        return all;
    }
    int count(const std::string& event) const {
        const std::lock_guard lock(mutex_);
        const auto found = events_.find(event);
        return found == events_.end() ? 0 : found->second;
    }

    std::function<void(const SinkPart&)> onBegin;
    std::function<void(const SinkPart&)> onPrepare;
    std::function<void(const SinkPart&)> onCommit;     // before the records are kept
    std::function<void(const SinkPart&)> onCommitted;  // after that

private:
    static std::string keyOf(const SinkPart& part) {
        return part.job + "/" + part.operation + "/" + std::to_string(part.time.milliseconds()) + "/" +
               std::to_string(part.partition);
    }
    void note(const std::string& event) {
        const std::lock_guard lock(mutex_);
        ++events_[event];
    }

    class Insert : public SinkTransaction<std::string> {
    public:
        Insert(MemorySink& sink, SinkPart part) : sink_(sink), part_(std::move(part)) {}
        void write(const std::string& record) override { records_.push_back(record); }
        void prepare() override {
            sink_.note("prepare");
            if (sink_.onPrepare) sink_.onPrepare(part_);
        }
        void commit() override {
            sink_.note("commit");
            if (sink_.onCommit) sink_.onCommit(part_);
            {
                const std::lock_guard lock(sink_.mutex_);
                sink_.parts_.emplace(keyOf(part_), records_);  // what is there stays
            }
            if (sink_.onCommitted) sink_.onCommitted(part_);
        }
        void abort() noexcept override { sink_.note("abort"); }

    private:
        MemorySink& sink_;
        const SinkPart part_;
        Strings records_;
    };

    mutable std::mutex mutex_;  // guards the fields below
    std::map<std::string, Strings> parts_;
    std::map<std::string, int> events_;
};

class SinkTest : public StreamTest {
protected:
    using Parts = std::vector<Strings>;

    /// Runs the batches, two partitions each, through the sink; returns the failure of the program.
    std::string save(std::vector<std::optional<Parts>> batches, const SparkConf& conf = SparkConf()) {
        const auto count = static_cast<int64_t>(batches.size());
        auto ssc = makeContext(Seconds(1), conf);
        testkit::partitionedBatches<std::string>(ssc, std::move(batches)).saveToSink("words", sink);
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(count));
        std::string failure = errorOf([&] { ssc.awaitTerminationOrTimeout(0); });
        ssc.stop();
        return failure;
    }
    /// One attempt at the only partition of a batch, as a task makes it.
    void writeOnce(const StreamingContext& ssc, detail::CommitCoordinator& coordinator, int64_t number) {
        SinkPart part;
        part.attempt = number;
        Properties properties;
        const TaskContext context(*ssc.sparkContext().core(), properties);
        const auto transaction = sink->begin(part);
        transaction->write("once");
        coordinator.finish(*transaction, context);
    }
    static SparkConf attempts(int number) {
        SparkConf conf;
        conf.setMaster("local[2," + std::to_string(number) + "]");
        return conf;
    }

    const std::shared_ptr<MemorySink> sink = std::make_shared<MemorySink>();
    testsupport::TemporaryDirectory directory;
};

TEST_F(SinkTest, EachPartitionOfABatchIsOneCommit) {
    EXPECT_EQ(save({Parts{{"a", "b"}, {"c"}}, Parts{{}, {"d"}}}), "no exception");
    EXPECT_THAT(sink->records(), ElementsAre("a", "b", "c", "d"));
    EXPECT_EQ(sink->count("commit"), 4) << "an empty partition too";
    EXPECT_EQ(sink->count("batch 2"), 2);
    EXPECT_EQ(sink->count("end"), 2);
    EXPECT_EQ(sink->count("abort"), 0);
}

TEST_F(SinkTest, ABatchThatRunsAgainIsSkippedWhereItWasCommitted) {
    save({Parts{{"a"}, {"b"}}});
    save({Parts{{"a"}, {"b"}}});  // the same time, as after a restart
    EXPECT_THAT(sink->records(), ElementsAre("a", "b"));
    EXPECT_EQ(sink->count("commit"), 2);
    EXPECT_EQ(sink->count("end"), 2) << "a batch is ended again, since the first end may not have come to its end";
}

TEST_F(SinkTest, AnAttemptThatFailsIsAbortedAndTheNextOneCommits) {
    std::atomic<int> failures{0};
    sink->onPrepare = [&](const SinkPart& part) {
        if (part.partition == 1 && failures++ < 2) throw SparkException("no room");
    };
    EXPECT_EQ(save({Parts{{"a"}, {"b"}}}, attempts(4)), "no exception");
    EXPECT_THAT(sink->records(), ElementsAre("a", "b"));
    EXPECT_EQ(sink->count("abort"), 2);
}

TEST_F(SinkTest, ACommitThatFailsAfterItsEffectIsNotRepeated) {
    std::atomic<int> failures{0};
    sink->onCommitted = [&](const SinkPart& part) {
        if (part.partition == 0 && failures++ == 0) throw SparkException("the answer was lost");
    };
    EXPECT_EQ(save({Parts{{"a"}, {"b"}}}, attempts(2)), "no exception");
    EXPECT_THAT(sink->records(), ElementsAre("a", "b"));
    EXPECT_EQ(sink->count("commit"), 2) << "the second attempt finds its part committed";
}

TEST_F(SinkTest, ABatchThatCannotBeWrittenFailsWithOperationAndReason) {
    sink->onCommit = [](const SinkPart& part) {
        if (part.time == Time(1000)) throw SparkException("disk full");
    };
    EXPECT_THAT(save({Parts{{"a"}, {"b"}}, Parts{{"c"}}}),
                AllOf(HasSubstr("saveToSink"), HasSubstr("sinks_test.cpp"), HasSubstr("disk full")));
    EXPECT_THAT(sink->records(), ElementsAre("c")) << "the next batch goes on";
}

TEST_F(SinkTest, OfTwoAttemptsThatRunAtOnceOneCommits) {
    detail::CommitCoordinator coordinator(1);
    std::latch bothPrepared(2);
    sink->onPrepare = [&](const SinkPart&) { bothPrepared.arrive_and_wait(); };
    auto ssc = makeContext();
    const auto attempt = [&](int64_t number) { writeOnce(ssc, coordinator, number); };
    {
        std::jthread first([&] { attempt(1); });
        std::jthread second([&] { attempt(2); });
    }
    EXPECT_THAT(sink->records(), ElementsAre("once"));
    EXPECT_EQ(sink->count("commit"), 1);
    EXPECT_EQ(sink->count("abort"), 1);
    ssc.stop();
}

TEST_F(SinkTest, AnAttemptThatWaitsForAnotherOnesCommitTakesOverWhenItFails) {
    detail::CommitCoordinator coordinator(1);
    std::latch committing(1);
    std::latch secondPrepared(1);
    std::atomic<int> commits{0};
    sink->onPrepare = [&](const SinkPart& part) {
        if (part.attempt == 2) secondPrepared.count_down();
    };
    sink->onCommit = [&](const SinkPart& part) {
        ++commits;
        if (part.attempt == 2) return;
        committing.count_down();
        secondPrepared.wait();
        throw SparkException("gone");
    };
    auto ssc = makeContext();
    const auto attempt = [&](int64_t number) { writeOnce(ssc, coordinator, number); };
    std::jthread first([&] { EXPECT_THROW(attempt(1), SparkException); });
    committing.wait();
    attempt(2);
    first.join();
    EXPECT_EQ(commits, 2);
    EXPECT_THAT(sink->records(), ElementsAre("once"));
    ssc.stop();
}

TEST_F(SinkTest, OperationsNeedNamesThatDiffer) {
    auto ssc = makeContext();
    const auto words = testkit::batches<std::string>(ssc, {{"a"}});
    words.saveToSink("words", sink);
    EXPECT_THAT(errorOf([&] { words.saveToSink("words", sink); }), HasSubstr("saveToSink(\"words\") is there already"));
    EXPECT_THAT(errorOf([&] { words.saveToSink("", sink); }), HasSubstr("needs a name"));
    EXPECT_THAT(errorOf([&] { words.saveToSink("more", std::shared_ptr<MemorySink>()); }), HasSubstr("null pointer"));
    ssc.stop();
}

TEST_F(SinkTest, AFunctionOfForeachRddMayUseASink) {
    auto ssc = makeContext();
    testkit::batches<std::string>(ssc, {{"a", "b"}, {"c"}})
        .map([](const std::string& word) { return word + "!"; })
        .foreachRDD([&](const auto& rdd, Time time) { saveToSink(rdd, time, "loud", sink); });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    ssc.stop();
    EXPECT_THAT(sink->records(), ElementsAre("a!", "b!", "c!"));
}

// ---- files

class FileSinkTest : public SinkTest {
protected:
    void saveFiles(std::vector<std::optional<Parts>> batches) {
        const auto count = static_cast<int64_t>(batches.size());
        auto ssc = makeContext();
        testkit::partitionedBatches<std::string>(ssc, std::move(batches))
            .saveToSink("words", std::make_shared<TextFileSink>(directory / "words", "txt"));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(count));
        ssc.stop();
    }
    Strings names(const std::string& name) const {
        Strings all;
        for (const auto& entry : std::filesystem::directory_iterator(directory / name))
            all.push_back(entry.path().filename().string());
        return all;
    }
};

TEST_F(FileSinkTest, EachBatchIsADirectoryOfWholeFiles) {
    saveFiles({Parts{{"a", "b"}, {"c"}}, Parts{{}}});
    EXPECT_THAT(names("words-1000.txt"), UnorderedElementsAre("part-00000", "part-00001", "_SUCCESS"));
    EXPECT_THAT(testsupport::readLines(directory / "words-1000.txt/part-00000"), ElementsAre("a", "b"));
    EXPECT_THAT(testsupport::readLines(directory / "words-1000.txt/part-00001"), ElementsAre("c"));
    EXPECT_THAT(names("words-2000.txt"), UnorderedElementsAre("part-00000", "_SUCCESS"));
    EXPECT_THAT(testsupport::readLines(directory / "words-2000.txt/part-00000"), IsEmpty());
}

TEST_F(FileSinkTest, ABatchThatRunsAgainReplacesItsFilesAndLeavesNoOthers) {
    std::filesystem::create_directories(directory / "words-1000.txt/_temporary/attempt-7");
    std::ofstream(directory / "words-1000.txt/_temporary/attempt-7/part-00000") << "hal";
    for (const char* name : {"part-00000", "part-00001", "part-00002", "part-00003"})
        std::ofstream(directory / "words-1000.txt/" + name) << "old\n";
    saveFiles({Parts{{"a"}, {"b"}}});
    EXPECT_THAT(names("words-1000.txt"), UnorderedElementsAre("part-00000", "part-00001", "_SUCCESS"));
    EXPECT_THAT(testsupport::readLines(directory / "words-1000.txt/part-00000"), ElementsAre("a"));
}

}  // namespace
}  // namespace dstream
