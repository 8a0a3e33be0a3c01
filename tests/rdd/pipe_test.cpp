#include "rdd/spark_context.hpp"
#include "support/spark_context_test.hpp"
#include "support/this_process.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/wait.h>
#include <vector>

// Partitions piped through processes.

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testsupport::errorOf;
using testsupport::openDescriptors;
using Strings = std::vector<std::string>;

class Pipe : public testsupport::SparkContextTest {
protected:
    Pipe() {
        sc.parallelize(std::vector{1}).count();  // the engine's own descriptors are open
        descriptorsBefore_ = openDescriptors();
    }
    /// Whatever a test did, no process and no descriptor of it is left.
    ~Pipe() override {
        EXPECT_EQ(openDescriptors(), descriptorsBefore_);
        EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
        EXPECT_EQ(errno, ECHILD);
    }

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
        return errorOf([&] { numbers.pipe(Strings{"sh", "-c", script}).collect(); });
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
    const std::string script = "exec >&-; cat > " + (directory / "copy");
    EXPECT_EQ(sc.parallelize(Strings(50'000, "a line"), 1).pipe(Strings{"sh", "-c", script}).count(), 0);
    EXPECT_EQ(testsupport::readLines(directory / "copy").size(), 50'000U);
}

TEST_F(Pipe, ATaskThatNeedsNoMoreLinesEndsItsProcess) {
    EXPECT_THAT(sc.fromPartitions<int>({{1}}).pipe("yes").take(2), ElementsAre("y", "y"));
}

TEST_F(Pipe, ACancelledJobEndsASilentProcess) {
    // The process says that it runs, and then nothing any more: with its output open, and with its output closed.
    for (const char* script : {"echo x > %; exec sleep 1000", "echo x > %; exec sleep 1000 >&-"}) {
        const std::string fifo = directory / (std::string("started") + std::to_string(std::strlen(script)));
        ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
        std::string command = script;
        command.replace(command.find('%'), 1, fifo);
        auto counting = sc.fromPartitions<int>({{1}}).pipe(Strings{"sh", "-c", command}).countAsync();
        EXPECT_THAT(testsupport::readLines(fifo), ElementsAre("x"));
        counting.cancel();
        EXPECT_THROW(counting.get(), SparkException);
        EXPECT_TRUE(counting.isCancelled());
    }
}

TEST_F(Pipe, TextIsConvertedToAndFromTheEncodingOfTheProcess) {
    const RDD<std::string> words = sc.fromPartitions<std::string>({{"na\xc3\xafve", "\xe2\x82\xac 5"}, {}});
    const auto through = [&](const std::string& command, const std::string& encoding) {
        return words.pipe(Strings{"sh", "-c", command}, {}, nullptr, nullptr, false, 8192, encoding).collect();
    };
    EXPECT_THAT(through("cat", "UTF-16LE"), testing::ElementsAreArray(words.collect()));
    EXPECT_THAT(through("cat", "utf8"), testing::ElementsAreArray(words.collect()));
    EXPECT_THAT(through("wc -c | tr -d '\\n' | iconv -t UTF-16LE", "UTF-16LE"), ElementsAre("20", "0"));
    EXPECT_THAT(through("printf '\\344\\n'", "ISO-8859-15"), ElementsAre("\xc3\xa4", "\xc3\xa4"));
    EXPECT_THAT(errorOf([&] { through("cat", "ISO-8859-1"); }),
                HasSubstr("cannot be converted from UTF-8 to ISO-8859-1"));
    EXPECT_THAT(errorOf([&] { through("printf x", "UTF-16LE"); }), HasSubstr("ends within a character"));
    EXPECT_THROW(through("cat", "EBCDIC-OF-MARS"), IllegalArgumentException);
}

TEST_F(Pipe, ABufferOfTextIsGatheredBeforeItIsWritten) {
    std::vector<int> numbers(3000);
    std::iota(numbers.begin(), numbers.end(), 1000);
    const RDD<int> rdd = sc.parallelize(numbers, 1);
    const Strings oneRead{"sh", "-c", "dd bs=60000 count=1 2>/dev/null | wc -c"};
    EXPECT_THAT(rdd.pipe(oneRead, {}, nullptr, nullptr, false, 20'000).collect(), ElementsAre("15000"));

    // With a small buffer the process gets the first chunk before the second is made, which waits for it.
    const std::string fifo = directory / "got it";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    const auto print = [fifo](int value, const std::function<void(std::string_view)>& write) {
        if (value == 1000 + 1024) {
            EXPECT_THAT(testsupport::readLines(fifo), ElementsAre("5120"));
        }
        write(std::to_string(value));
    };
    const Strings twoReads{"sh", "-c", "dd bs=60000 count=1 2>/dev/null | wc -c > '" + fifo + "'; wc -l"};
    EXPECT_THAT(rdd.pipe(twoReads, {}, nullptr, print, false, 1).collect(), ElementsAre("1976"));
    EXPECT_THROW(rdd.pipe(oneRead, {}, nullptr, nullptr, false, 0), IllegalArgumentException);
}

TEST_F(Pipe, AnErrorInTheInputEndsTheProcessAndFailsTheTask) {
    const auto failing = sc.fromPartitions<int>({{1}}).map([](int) -> int { throw std::runtime_error("bad input"); });
    EXPECT_THAT(errorOf([&] { failing.pipe("cat").collect(); }), HasSubstr("bad input"));
}

TEST_F(Pipe, ASeparateWorkingDirectoryLinksToTheCurrentOneAndGoesAway) {
    const Strings lines =
        sc.fromPartitions<int>({{1}}).pipe(Strings{"sh", "-c", "pwd; ls -A"}, {}, nullptr, nullptr, true).collect();
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines.front(), std::filesystem::current_path().string());
    EXPECT_FALSE(std::filesystem::exists(lines.front()));
    const auto files = std::distance(std::filesystem::directory_iterator("."), {});
    EXPECT_EQ(lines.size(), static_cast<size_t>(files) + 1);
}

}  // namespace
}  // namespace dstream
