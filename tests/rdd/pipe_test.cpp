#include "rdd/spark_context.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <numeric>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <vector>

// Partitions piped through processes.

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Strings = std::vector<std::string>;

template <class F>
std::string errorOf(F call) {
    try {
        call();
    } catch (...) {
        return describeException(std::current_exception());
    }
    return "no exception";
}

size_t openDescriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<size_t>(std::distance(begin(all), end(all)));
}

class Pipe : public testing::Test {
protected:
    Pipe() : sc(SparkConf().setMaster("local[2]").setAppName("pipe")) {
        sc.parallelize(std::vector{1}).count();  // the engine's own descriptors are open
        descriptorsBefore_ = openDescriptors();
    }
    /// Whatever a test did, no process and no descriptor of it is left.
    ~Pipe() override {
        EXPECT_EQ(openDescriptors(), descriptorsBefore_);
        sc.stop();
        EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
        EXPECT_EQ(errno, ECHILD);
    }

    SparkContext sc;

private:
    size_t descriptorsBefore_ = 0;
};

TEST_F(Pipe, OneProcessPerPartitionGetsElementsAsLinesAndGivesLines) {
    const RDD<int> numbers = sc.fromPartitions<int>({{1, 2}, {}, {3}});
    EXPECT_THAT(numbers.pipe("cat").glom().collect(), ElementsAre(Strings{"1", "2"}, Strings{}, Strings{"3"}));
    EXPECT_THAT(numbers.pipe("  sed\t-e  s/^/n/ ").collect(), ElementsAre("n1", "n2", "n3"));
    EXPECT_THAT(numbers.pipe("wc -l").map([](std::string_view text) { return std::stoi(std::string(text)); }).collect(),
                ElementsAre(2, 0, 1));
}

TEST_F(Pipe, MoreThanThePipesHoldPassesInBothDirections) {
    Strings lines;
    for (int i = 0; i < 200'000; ++i) lines.push_back("this is line " + std::to_string(i));
    EXPECT_EQ(sc.parallelize(lines, 2).pipe("cat").collect(), lines);
    // All input before the first output.
    EXPECT_EQ(sc.parallelize(lines, 1).pipe("tac").first(), lines.back());
}

TEST_F(Pipe, ElementsAreComputedInTheTaskItself) {
    const auto partitions = sc.fromPartitions<int>({{1}, {2}, {3}}).map([](int value) {
        return std::to_string(value) + " in " + std::to_string(TaskContext::get()->partitionId());
    });
    EXPECT_THAT(partitions.pipe("cat").collect(), ElementsAre("1 in 0", "2 in 1", "3 in 2"));
}

TEST_F(Pipe, TheEnvironmentAndBothPrintFunctionsAreUsed) {
    const RDD<int> numbers = sc.fromPartitions<int>({{1, 2}});
    using Write = std::function<void(std::string_view)>;
    EXPECT_THAT(numbers
                    .pipe(
                        {"sh", "-c", "echo \"$GREETING $HOME\"; cat"}, {{"GREETING", "hello"}, {"HOME", "nowhere"}},
                        [](const Write& write) { write("context"); },
                        [](const int& value, const Write& write) {
                            for (int i = 0; i < value; ++i) write("value " + std::to_string(value));
                        })
                    .collect(),
                ElementsAre("hello nowhere", "context", "value 1", "value 2", "value 2"));
}

TEST_F(Pipe, AnotherExitStatusThanZeroFailsTheTask) {
    const RDD<int> numbers = sc.fromPartitions<int>({{1}});
    const auto run = [&](const std::string& script) {
        return errorOf([&] { numbers.pipe({"sh", "-c", script}, {}, nullptr, nullptr).collect(); });
    };
    EXPECT_THAT(run("cat; exit 3"), HasSubstr("Subprocess exited with status 3. Command ran: sh -c cat; exit 3"));
    EXPECT_THAT(run("kill -TERM $$"), HasSubstr("Subprocess exited with status 143"));
    EXPECT_THAT(errorOf([&] { numbers.pipe("/no/such/program x").collect(); }),
                HasSubstr("Cannot run program \"/no/such/program\": No such file or directory"));
    EXPECT_THROW(numbers.pipe("  "), IllegalArgumentException);
}

TEST_F(Pipe, AProcessThatWantsNoMoreInputIsNoError) {
    std::vector<int> numbers(300'000);
    std::iota(numbers.begin(), numbers.end(), 0);
    const RDD<int> rdd = sc.parallelize(numbers, 1);
    EXPECT_THAT(rdd.pipe("head -n 1").collect(), ElementsAre("0"));
    EXPECT_THAT(rdd.pipe("true").collect(), ElementsAre());
}

TEST_F(Pipe, AProcessThatClosesItsOutputIsStillFedAndWaitedFor) {
    const testsupport::TemporaryDirectory directory;
    const std::string script = "exec >&-; cat > " + (directory / "copy");
    EXPECT_EQ(sc.parallelize(Strings(50'000, "a line"), 1).pipe({"sh", "-c", script}, {}, nullptr, nullptr).count(), 0);
    EXPECT_EQ(testsupport::readLines(directory / "copy").size(), 50'000U);
}

TEST_F(Pipe, ATaskThatNeedsNoMoreLinesEndsItsProcess) {
    EXPECT_THAT(sc.fromPartitions<int>({{1}}).pipe("yes").take(2), ElementsAre("y", "y"));
}

TEST_F(Pipe, ACancelledJobEndsASilentProcess) {
    auto counting = sc.fromPartitions<int>({{1}}).pipe("sleep 1000").countAsync();
    counting.cancel();
    EXPECT_THROW(counting.get(), SparkException);
}

TEST_F(Pipe, AnErrorInTheInputEndsTheProcessAndFailsTheTask) {
    const auto failing = sc.fromPartitions<int>({{1}}).map([](int) -> int { throw std::runtime_error("bad input"); });
    EXPECT_THAT(errorOf([&] { failing.pipe("cat").collect(); }), HasSubstr("bad input"));
}

TEST_F(Pipe, ASeparateWorkingDirectoryLinksToTheCurrentOneAndGoesAway) {
    const Strings lines =
        sc.fromPartitions<int>({{1}}).pipe({"sh", "-c", "pwd; ls -A"}, {}, nullptr, nullptr, true).collect();
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines.front(), std::filesystem::current_path().string());
    EXPECT_FALSE(std::filesystem::exists(lines.front()));
    const auto files = std::distance(std::filesystem::directory_iterator("."), {});
    EXPECT_EQ(lines.size(), static_cast<size_t>(files) + 1);
}

}  // namespace
}  // namespace dstream
