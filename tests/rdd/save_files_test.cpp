#include "rdd/spark_context.hpp"
#include "support/spark_context_test.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

// Output directories: what is in them, when they become visible, and what is refused.

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testsupport::errorOf;
using testsupport::readLines;
using testsupport::TemporaryDirectory;
using Strings = std::vector<std::string>;
using Listing = std::map<std::string, Strings>;

/// All files below a directory with their lines.
Listing listingOf(const std::string& directory) {
    Listing listing;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
        const std::string name = std::filesystem::relative(entry.path(), directory).string();
        listing[name] = entry.is_regular_file() ? readLines(entry.path().string()) : Strings{"a directory"};
    }
    return listing;
}

class SaveFiles : public testsupport::SparkContextTest {
protected:
    using SparkContextTest::SparkContextTest;
    const std::string out = directory / "deep/out";
};

TEST_F(SaveFiles, SaveAsTextFileWritesAPartPerPartitionAndSuccessLast) {
    sc.fromPartitions<int>({{5, 3}, {}, {8, 1, 5}}).saveAsTextFile(out);
    EXPECT_EQ(
        listingOf(out),
        (Listing{{"_SUCCESS", {}}, {"part-00000", {"5", "3"}}, {"part-00001", {}}, {"part-00002", {"8", "1", "5"}}}));
    sc.fromPartitions<int>({}).saveAsTextFile(directory / "none");
    EXPECT_EQ(listingOf(directory / "none"), (Listing{{"_SUCCESS", {}}}));
}

TEST_F(SaveFiles, SaveAsTextFileWritesTheTextFormOfFusedOperators) {
    sc.fromPartitions<std::string>({{"a", "b"}})
        .map([](const std::string& word) { return std::pair(word, 1.0); })
        .saveAsTextFile("file:" + out + "/");
    EXPECT_EQ(readLines(out + "/part-00000"), (Strings{"(a,1.0)", "(b,1.0)"}));
    sc.textFile(out).saveAsTextFile(directory / "copy");
    EXPECT_THAT(sc.textFile(directory / "copy").collect(), ElementsAre("(a,1.0)", "(b,1.0)"));
}

TEST_F(SaveFiles, SaveAsTextFileWritesLargePartsAndGzip) {
    Strings lines;
    for (int i = 0; i < 100'000; ++i) lines.push_back("line " + std::to_string(i));
    const RDD<std::string> rdd = sc.parallelize(lines, 3);
    rdd.saveAsTextFile(out);
    EXPECT_EQ(sc.textFile(out).collect(), lines);
    rdd.saveAsTextFile(directory / "packed", "gzip");
    EXPECT_TRUE(std::filesystem::exists(directory / "packed/part-00002.gz"));
    EXPECT_EQ(sc.textFile(directory / "packed").collect(), lines);
    sc.fromPartitions<int>({{}}).saveAsTextFile(directory / "packed-none", "gzip");
    EXPECT_EQ(sc.textFile(directory / "packed-none").count(), 0);
    EXPECT_THROW(rdd.saveAsTextFile(directory / "zip", "zip"), IllegalArgumentException);
    EXPECT_FALSE(std::filesystem::exists(directory / "zip"));
}

TEST_F(SaveFiles, AnExistingPathIsRefusedAndLeftAlone) {
    const RDD<int> rdd = sc.fromPartitions<int>({{1}});
    rdd.saveAsTextFile(out);
    EXPECT_THROW(sc.fromPartitions<int>({{2}}).saveAsTextFile(out), FileAlreadyExistsException);
    EXPECT_THROW(sc.fromPartitions<int>({{2}}).saveAsObjectFile(out), FileAlreadyExistsException);
    EXPECT_THAT(errorOf([&] { rdd.saveAsTextFile(out); }),
                HasSubstr("Output directory file:" + out + " already exists"));
    EXPECT_EQ(readLines(out + "/part-00000"), Strings{"1"});
}

TEST_F(SaveFiles, AStreamingBatchThatRunsAgainReplacesItsFilesOneByOne) {
    sc.fromPartitions<int>({{1}, {2}}).saveAsTextFile(out);
    std::filesystem::create_directories(out + "/_temporary/attempt-0");  // as a crash leaves it
    std::ofstream(out + "/_temporary/attempt-0/part-00000") << "half";
    std::ofstream(out + "/_temporary/attempt-0/part-00001") << "half";
    struct stat before {};
    ASSERT_EQ(::stat((out + "/part-00000").c_str(), &before), 0);
    const std::ifstream reader(out + "/part-00000");
    sc.setLocalProperty("spark.streaming.internal.batchTime", "1000");
    sc.fromPartitions<int>({{3}, {4}}).saveAsTextFile(out);
    EXPECT_EQ(listingOf(out), (Listing{{"_SUCCESS", {}}, {"part-00000", {"3"}}, {"part-00001", {"4"}}}));
    struct stat after {};
    ASSERT_EQ(::stat((out + "/part-00000").c_str(), &after), 0);
    EXPECT_NE(before.st_ino, after.st_ino);  // who reads the old file goes on with it
    sc.setLocalProperty("spark.streaming.internal.batchTime", std::nullopt);
    EXPECT_THROW(sc.fromPartitions<int>({{5}}).saveAsTextFile(out), FileAlreadyExistsException);
}

TEST_F(SaveFiles, AStreamingBatchThatRunsAgainWithFewerPartitionsKeepsNoOlderParts) {
    sc.setLocalProperty("spark.streaming.internal.batchTime", "1000");
    sc.fromPartitions<int>({{1}, {2}, {3}}).saveAsTextFile(out);
    std::ofstream(out + "/part-00007.gz") << "packed";
    std::ofstream(out + "/notes") << "mine\n";
    sc.fromPartitions<int>({{1, 2}, {3}}).saveAsTextFile(out);
    EXPECT_EQ(listingOf(out),
              (Listing{{"_SUCCESS", {}}, {"notes", {"mine"}}, {"part-00000", {"1", "2"}}, {"part-00001", {"3"}}}));
    sc.setLocalProperty("spark.streaming.internal.batchTime", std::nullopt);
}

TEST_F(SaveFiles, AFailedJobLeavesNothingBehind) {
    const auto failing = sc.fromPartitions<int>({{1}, {2}}).map([](int value) {
        if (value == 2) throw std::runtime_error("the second one is bad");
        return value;
    });
    EXPECT_THAT(errorOf([&] { failing.saveAsTextFile(out); }), HasSubstr("the second one is bad"));
    EXPECT_FALSE(std::filesystem::exists(out));
    EXPECT_THROW(sc.textFile(directory / "missing").saveAsTextFile(out), IllegalArgumentException);
    EXPECT_FALSE(std::filesystem::exists(out));
}

class SaveFilesWithRetries : public SaveFiles {
protected:
    SaveFilesWithRetries() : SaveFiles(SparkConf().setMaster("local[2,3]")) {}
};

TEST_F(SaveFilesWithRetries, OnlyTheSuccessfulAttemptOfATaskIsCommitted) {
    const auto flaky = sc.fromPartitions<int>({{1, 2}, {3, 4}}).map([](int value) {
        if (value == 4 && TaskContext::get()->attemptNumber() < 2) throw std::runtime_error("not yet");
        return value;
    });
    flaky.saveAsTextFile(out);
    EXPECT_EQ(listingOf(out), (Listing{{"_SUCCESS", {}}, {"part-00000", {"1", "2"}}, {"part-00001", {"3", "4"}}}));
}

class SaveFilesUnchecked : public SaveFiles {
protected:
    SaveFilesUnchecked() : SaveFiles(SparkConf().set("spark.hadoop.validateOutputSpecs", "false")) {}
};

TEST_F(SaveFilesUnchecked, AnExistingDirectoryIsUsedWhenOutputIsNotChecked) {
    sc.fromPartitions<int>({{1}, {2}}).saveAsTextFile(out);
    sc.fromPartitions<int>({{3}}).saveAsTextFile(out);
    EXPECT_EQ(listingOf(out), (Listing{{"_SUCCESS", {}}, {"part-00000", {"3"}}, {"part-00001", {"2"}}}));
}

TEST_F(SaveFiles, ObjectFilesGiveBackElementsAndPartitions) {
    using Pair = std::pair<std::string, int64_t>;
    const std::vector<std::vector<Pair>> partitions{{{"a", 1}, {"b", 2}}, {}, {{std::string("\0\n", 2), -1}}};
    sc.fromPartitions<Pair>(partitions).saveAsObjectFile(out);
    EXPECT_TRUE(std::filesystem::exists(out + "/_SUCCESS"));
    EXPECT_FALSE(std::filesystem::exists(out + "/_temporary"));
    const RDD<Pair> read = sc.objectFile<Pair>(out);
    EXPECT_EQ(read.getNumPartitions(), 3);
    EXPECT_EQ(read.glom().collect(), partitions);
    EXPECT_EQ(sc.objectFile<Pair>(out + "/part-0000[02]").count(), 3);
}

TEST_F(SaveFiles, ObjectFilesOfAnotherTypeOrDamagedOnesAreRefused) {
    sc.fromPartitions<std::string>({{"text", "more text"}}).saveAsObjectFile(out);
    EXPECT_THAT(errorOf([&] { sc.objectFile<int64_t>(out).collect(); }),
                HasSubstr(out + "/part-00000 holds elements of type"));
    const auto size = std::filesystem::file_size(out + "/part-00000");
    std::fstream file(out + "/part-00000", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size) - 1);
    file.put('\x7f');
    file.close();
    EXPECT_THAT(errorOf([&] { sc.objectFile<std::string>(out).collect(); }), HasSubstr(out + "/part-00000 is refused"));
    std::ofstream(out + "/other") << "x";
    EXPECT_THAT(errorOf([&] { sc.objectFile<std::string>(out).collect(); }), HasSubstr("found " + out + "/other"));
}

}  // namespace
}  // namespace dstream
