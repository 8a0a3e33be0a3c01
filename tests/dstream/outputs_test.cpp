#include "dstream/stream_test.hpp"
#include "support/captured_log.hpp"
#include "support/test_files.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <latch>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// Output operations: what they write, and functions of the program that do not return.

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Strings = std::vector<std::string>;

class OutputTest : public StreamTest {
protected:
    Strings names() const {
        Strings all;
        for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
            all.push_back(entry.path().filename().string());
        std::ranges::sort(all);
        return all;
    }
    /// The lines of all parts of a directory, in order.
    Strings lines(const std::string& name) const {
        Strings parts, all;
        for (const auto& entry : std::filesystem::directory_iterator(directory / name)) {
            if (entry.path().filename().string().starts_with("part-")) parts.push_back(entry.path().string());
        }
        std::ranges::sort(parts);
        for (const std::string& part : parts) {
            for (std::string& line : testsupport::readLines(part)) all.push_back(std::move(line));
        }
        return all;
    }

    testsupport::TemporaryDirectory directory;
};

TEST_F(OutputTest, SaveAsTextFilesWritesADirectoryPerBatchEmptyOnesToo) {
    auto ssc = makeContext();
    using Parts = std::vector<Strings>;
    auto words = testkit::partitionedBatches<std::string>(
        ssc, {Parts{{"a", "b"}, {"c"}}, Parts{Strings()}, std::nullopt, Parts{{"d"}}});
    words.saveAsTextFiles(directory / "words", "txt");
    words.map([](const std::string& word) { return std::pair(word, 1.0); }).saveAsTextFiles(directory / "pairs");
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(4));
    ssc.stop();
    EXPECT_THAT(names(), ElementsAre("pairs-1000", "pairs-2000", "pairs-4000", "words-1000.txt", "words-2000.txt",
                                     "words-4000.txt"))
        << "none for a batch without an RDD";
    EXPECT_THAT(lines("words-1000.txt"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(lines("words-2000.txt"), IsEmpty());
    EXPECT_TRUE(std::filesystem::exists(directory / "words-2000.txt/_SUCCESS"));
    EXPECT_TRUE(std::filesystem::exists(directory / "words-1000.txt/part-00001"));
    EXPECT_THAT(lines("pairs-4000"), ElementsAre("(d,1.0)"));
}

TEST_F(OutputTest, ANegativeCountPrintsThatThereIsMoreAndNoElement) {
    auto ssc = makeContext();
    auto numbers = testkit::batches<int>(ssc, {{1, 2}, {}});
    numbers.print(-1);
    ssc.start();
    ::testing::internal::CaptureStdout();
    testkit::manualClock(ssc).advance(Seconds(2));
    ssc.stop();
    const std::string rule = std::string(43, '-') + "\n";
    EXPECT_EQ(::testing::internal::GetCapturedStdout(),
              rule + "Time: 1000 ms\n" + rule + "...\n\n" + rule + "Time: 2000 ms\n" + rule + "...\n\n");
}

TEST_F(OutputTest, AnEmptyPrefixGivesTheTimeAlone) {
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(directory.path());
    auto ssc = makeContext();
    auto numbers = testkit::batches<int>(ssc, {{1}});
    numbers.saveAsTextFiles("");
    numbers.saveAsTextFiles("", "out");
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    std::filesystem::current_path(before);
    EXPECT_THAT(names(), ElementsAre("1000", "1000.out"));
}

TEST_F(OutputTest, SaveAsObjectFilesWritesWhatObjectFileReads) {
    auto ssc = makeContext();
    std::vector<std::pair<std::string, int>> first;
    for (int i = 0; i < 25; ++i) first.emplace_back(std::to_string(i), i);
    testkit::batches<std::pair<std::string, int>>(ssc, {first, {}}).saveAsObjectFiles(directory / "objects", "bin");
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    const auto read = [&](const std::string& name) {
        return ssc.sparkContext().objectFile<std::pair<std::string, int>>(directory / name).collect();
    };
    EXPECT_EQ(read("objects-1000.bin"), first);
    EXPECT_THAT(read("objects-2000.bin"), IsEmpty());
    ssc.stop();
}

TEST_F(OutputTest, ABatchThatRunsAgainWritesIntoItsDirectoryAndAnotherFileInTheWayFailsIt) {
    std::filesystem::create_directory(directory / "out-1000");
    std::ofstream(directory / "out-1000/part-00000") << "of the run before\n";
    std::ofstream(directory / "out-2000") << "a file, not a directory\n";
    auto ssc = makeContext();
    testkit::batches<int>(ssc, {{1, 2}, {3}, {4}}).saveAsTextFiles(directory / "out");
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(errorOf([&] { ssc.awaitTerminationOrTimeout(0); }),
                AllOf(HasSubstr("streaming job 2000 ms.0"), HasSubstr(directory / "out-2000")));
    ssc.stop();
    EXPECT_THAT(lines("out-1000"), ElementsAre("1", "2"));
    EXPECT_THAT(lines("out-3000"), ElementsAre("4"));
}

// ---- functions that do not return

struct Stuck {
    std::latch begun{1};
    std::latch release{1};
};

TEST_F(OutputTest, AnOutputOperationThatDoesNotReturnDoesNotHoldUpTheStop) {
    const testsupport::CapturedLog log;
    const auto stuck = std::make_shared<Stuck>();
    {
        auto ssc = makeContext(Seconds(1), SparkConf().set("dstream.stop.timeout", "1ms"));
        testkit::batches<int>(ssc, {{1}}).foreachRDD([stuck](const RDD<int>& rdd) {
            stuck->begun.count_down();
            stuck->release.wait();
            EXPECT_THROW(rdd.count(), IllegalStateException) << "the SparkContext has stopped";
        });
        ssc.start();
        std::jthread clock([&] { testkit::manualClock(ssc).advance(Seconds(1)); });
        stuck->begun.wait();
        ssc.stop();
        EXPECT_EQ(ssc.getState(), StreamingContextState::STOPPED);
        EXPECT_TRUE(ssc.awaitTerminationOrTimeout(-1));
    }
    EXPECT_THAT(log.text(), AllOf(HasSubstr("an output operation of a batch (1000 ms) does not return"),
                                  HasSubstr("its thread is left behind")));
    auto next = makeContext();
    auto output = testkit::collect(testkit::batches<int>(next, {{7}}));
    next.start();
    testkit::manualClock(next).advance(Seconds(1));
    next.stop();
    EXPECT_THAT(output.batch(Time(1000)), ElementsAre(7)) << "the next context runs beside it";
    stuck->release.count_down();
}

TEST_F(OutputTest, ATransformFunctionThatDoesNotReturnDoesNotHoldUpTheStop) {
    const testsupport::CapturedLog log;
    const auto stuck = std::make_shared<Stuck>();
    {
        auto ssc = makeContext(Seconds(1), SparkConf().set("dstream.stop.timeout", "1ms"));
        testkit::collect(testkit::batches<int>(ssc, {{1}}).transform([stuck](const RDD<int>& rdd) {
            stuck->begun.count_down();
            stuck->release.wait();
            return rdd;
        }));
        ssc.start();
        std::jthread clock([&] { testkit::manualClock(ssc).advance(Seconds(1)); });
        stuck->begun.wait();
        ssc.stop();
        EXPECT_EQ(ssc.getState(), StreamingContextState::STOPPED);
    }
    EXPECT_THAT(log.text(), AllOf(HasSubstr("the generation of batch 1000 ms does not return"),
                                  HasSubstr("its thread is left behind")));
    stuck->release.count_down();
}

}  // namespace
}  // namespace dstream
