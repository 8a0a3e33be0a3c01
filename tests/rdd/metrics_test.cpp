#include "rdd/block_manager.hpp"
#include "rdd/spark_context.hpp"
#include "support/spark_context_test.hpp"
#include "support/this_process.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <latch>
#include <map>
#include <memory>
#include <pty.h>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

// The numbers in events, and the progress line.

namespace dstream {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

/// Adds up what tasks and stages report.
struct Totals : SparkListener {
    void onTaskEnd(const SparkListenerTaskEnd& event) override {
        all.merge(event.taskMetrics);
        successful += event.taskInfo.successful;
        EXPECT_GE(event.taskInfo.finishTime, event.taskInfo.launchTime);
        EXPECT_EQ(event.failureReason.has_value(), !event.taskInfo.successful);
    }
    void onStageCompleted(const SparkListenerStageCompleted& event) override {
        stages[event.stageInfo.stageId] = event.stageInfo;
        ofStages.merge(event.stageInfo.metrics);
    }
    TaskMetrics all;
    TaskMetrics ofStages;
    int successful = 0;
    std::map<int, StageInfo> stages;
};

uint64_t bytesIn(const std::string& directory) {
    uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) bytes += entry.file_size();
    return bytes;
}

class MetricsTest : public testsupport::SparkContextTest {
protected:
    explicit MetricsTest(SparkConf conf = SparkConf()) : SparkContextTest(std::move(conf)) {
        sc.addSparkListener(totals_);
    }
    const Totals& totals() {
        sc.waitUntilListenersAreIdle();
        return *totals_;
    }

private:
    const std::shared_ptr<Totals> totals_ = std::make_shared<Totals>();
};

TEST_F(MetricsTest, ReadingShufflingAndWritingAreCounted) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += "line " + std::to_string(i % 10) + "\n";
    std::ofstream(directory / "in") << text;
    sc.textFile(directory / "in", 3)
        .map([](std::string_view line) { return std::pair(line, 1); })
        .reduceByKey(std::plus<>{}, 2)
        .saveAsTextFile(directory / "out");
    const Totals& seen = totals();
    ASSERT_THAT(seen.stages, SizeIs(2));
    EXPECT_GE(seen.successful, 5);
    EXPECT_EQ(seen.all.recordsRead, 1000);
    EXPECT_GE(seen.all.bytesRead, static_cast<int64_t>(text.size()));
    EXPECT_LE(seen.all.bytesRead, static_cast<int64_t>(text.size()) + 3 * 16) << "a split may look over its end";
    EXPECT_GE(seen.all.shuffleRecordsWritten, 10);
    EXPECT_LE(seen.all.shuffleRecordsWritten, 30) << "combined on the map side";
    EXPECT_EQ(seen.all.shuffleRecordsRead, seen.all.shuffleRecordsWritten);
    EXPECT_GT(seen.all.shuffleBytesWritten, 0);
    EXPECT_EQ(seen.all.shuffleBytesRead, seen.all.shuffleBytesWritten);
    EXPECT_EQ(seen.all.recordsWritten, 10);
    EXPECT_EQ(seen.all.bytesWritten, static_cast<int64_t>(bytesIn(directory / "out")));
    EXPECT_GT(seen.all.runTimeMicros, 0);
    EXPECT_EQ(seen.ofStages.recordsRead, seen.all.recordsRead);
    EXPECT_EQ(seen.ofStages.bytesWritten, seen.all.bytesWritten);
    EXPECT_EQ(seen.ofStages.runTimeMicros, seen.all.runTimeMicros);
    EXPECT_EQ(seen.all.spills, 0);
    EXPECT_EQ(seen.all.recomputedPartitions, 0);
    EXPECT_THAT(seen.stages.at(0).name, HasSubstr("saveAsTextFile at metrics_test.cpp:"));
    EXPECT_THAT(seen.stages.at(1).name, HasSubstr("map at metrics_test.cpp:"));
    EXPECT_EQ(seen.stages.at(0).failureReason, std::nullopt);
}

TEST_F(MetricsTest, ObjectFilesAreCountedInBothDirections) {
    sc.fromPartitions<int>({{1, 2, 3}, {4}}).saveAsObjectFile(directory / "out");
    EXPECT_EQ(totals().all.recordsWritten, 4);
    EXPECT_EQ(totals().all.bytesWritten, static_cast<int64_t>(bytesIn(directory / "out")));
    EXPECT_EQ(sc.objectFile<int>(directory / "out").count(), 4);
    EXPECT_EQ(totals().all.recordsRead, 4);
    EXPECT_EQ(totals().all.bytesRead, totals().all.bytesWritten);
}

TEST_F(MetricsTest, AFailedTaskSaysWhyAndDoesNotCountForItsStage) {
    EXPECT_THROW(sc.parallelize(std::vector{1, 2}, 1).foreach ([](int x) {
        TaskContext::get()->taskMetrics().recordsRead = 17;
        if (x == 2) throw std::runtime_error("on purpose");
    }),
                 SparkException);
    const Totals& seen = totals();
    EXPECT_EQ(seen.successful, 0);
    EXPECT_EQ(seen.all.recordsRead, 17);
    EXPECT_EQ(seen.ofStages.recordsRead, 0);
    EXPECT_THAT(seen.stages.at(0).failureReason.value_or("none"), HasSubstr("on purpose"));
}

TEST_F(MetricsTest, ALostPartitionIsCountedWhenItIsComputedAgain) {
    auto rdd = sc.parallelize(std::vector{1, 2, 3, 4}, 4).map([](int x) { return x + 1; }).cache();
    rdd.count();
    sc.core()->blockManager().remove({BlockId::Kind::kRdd, rdd.id(), 2});
    rdd.count();
    EXPECT_EQ(totals().all.recomputedPartitions, 1);
    EXPECT_EQ(sc.core()->counters().recomputedPartitions, 1);
}

class MetricsWithoutMemoryTest : public MetricsTest {
protected:
    MetricsWithoutMemoryTest() : MetricsTest(SparkConf().set("dstream.memory.limit", "0")) {}
};

TEST_F(MetricsWithoutMemoryTest, SpillsAreCountedWithTheirBytes) {
    std::vector<std::pair<int, int>> pairs;
    for (int i = 0; i < 5000; ++i) pairs.emplace_back(i, i);
    sc.parallelize(pairs, 3).reduceByKey(std::plus<>{}, 2).count();
    const Totals& seen = totals();
    EXPECT_GE(seen.all.spills, 3);
    EXPECT_GT(seen.all.spilledBytes, 0);
    EXPECT_EQ(seen.all.spills, sc.core()->counters().spills);
    EXPECT_EQ(seen.all.spilledBytes, sc.core()->counters().spilledBytes);
}

// ---- the progress line

/// Standard error is a terminal of the test's while this lives.
class Terminal {
public:
    Terminal() : saved_(::dup(STDERR_FILENO)) {
        int terminal = -1;
        if (::openpty(&master_, &terminal, nullptr, nullptr, nullptr) != 0) throw std::runtime_error("no terminal");
        ::dup2(terminal, STDERR_FILENO);
        ::close(terminal);
    }
    ~Terminal() {
        ::dup2(saved_, STDERR_FILENO);
        ::close(saved_);
        ::close(master_);
    }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;
    /// Waits for a text.
    std::string readUntil(std::string_view wanted) {
        std::string text;
        char buffer[1024];
        while (text.find(wanted) == std::string::npos) {
            const ssize_t count = ::read(master_, buffer, sizeof buffer);
            if (count <= 0) break;
            text.append(buffer, static_cast<std::size_t>(count));
        }
        return text;
    }

private:
    int saved_;
    int master_ = -1;
};

TEST(ConsoleProgressOnATerminalTest, ALongStageIsShownAndTheLineCleared) {
    Terminal terminal;
    SparkContext sc(SparkConf().setMaster("local[2]").setAppName("progress"));
    std::latch shown(1);
    auto job = sc.parallelize(std::vector{1, 2, 3}, 3).foreachAsync([&](int x) {
        if (x == 3) shown.wait();
    });
    EXPECT_THAT(terminal.readUntil("(2 + 1) / 3]"), HasSubstr("[Stage 0:"));
    shown.count_down();
    job.get();
    EXPECT_THAT(terminal.readUntil(" \r"), HasSubstr("  \r"));
}

TEST(ConsoleProgressOnATerminalTest, ThereIsNoneWhenItIsSwitchedOff) {
    const Terminal terminal;
    const auto threadsOf = [](const char* shown) {
        const SparkContext sc(
            SparkConf().setMaster("local[2]").setAppName("progress").set("spark.ui.showConsoleProgress", shown));
        return testsupport::numThreads();
    };
    EXPECT_EQ(threadsOf("true"), threadsOf("false") + 1) << "the line has a thread of its own";
}

}  // namespace
}  // namespace dstream
