#include "rdd/file_system.hpp"
#include "rdd/portable_data_stream.hpp"
#include "rdd/spark_context.hpp"
#include "support/captured_log.hpp"
#include "support/sanitizers.hpp"
#include "support/spark_context_test.hpp"
#include "support/this_process.hpp"

#include <zlib.h>

#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

// Reading text, whole files, records and streams of bytes into RDDs.

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testsupport::errorOf;
using testsupport::peakMemoryMiB;
using testsupport::TemporaryDirectory;
using Strings = std::vector<std::string>;

void writeFile(const std::string& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

void writeGzip(const std::string& path, std::string_view text, int times = 1) {
    gzFile file = gzopen(path.c_str(), "wb1");
    for (int i = 0; i < times; ++i) gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
}

/// What a sanitizer may keep of freed memory, in MiB.
constexpr int64_t kKeptMiB = testsupport::kSanitized ? 256 : 0;

class Files : public testsupport::SparkContextTest {
protected:
    using SparkContextTest::SparkContextTest;

    Strings linesOf(const std::string& paths, int minPartitions = 2) {
        return sc.textFile(paths, minPartitions).collect();
    }
};

TEST_F(Files, TextFileGivesTheLinesOfAFileInOrderWhateverTheNumberOfPartitions) {
    std::string text;
    Strings lines;
    for (int i = 0; i < 1000; ++i) {
        lines.push_back("line " + std::to_string(i));
        text += lines.back() + (i % 3 == 0 ? "\n" : i % 3 == 1 ? "\r\n" : "\r");
    }
    writeFile(directory / "a", text);
    for (const int partitions : {1, 2, 3, 7, 100}) {
        const TextRDD rdd = sc.textFile(directory / "a", partitions);
        EXPECT_GE(rdd.getNumPartitions(), partitions);
        EXPECT_EQ(rdd.collect(), lines) << partitions;
    }
    EXPECT_EQ(sc.textFile(directory / "a").getNumPartitions(), 2);
    EXPECT_THAT(sc.textFile(directory / "a", 7).take(2), ElementsAre("line 0", "line 1"));
}

TEST_F(Files, TextFileKeepsViewsValidUntilTheyAreStored) {
    std::string text;
    for (int i = 0; i < 50'000; ++i) text += std::to_string(i) + " is a line\n";
    writeFile(directory / "a", text);
    const auto numbers =
        sc.textFile(directory / "a", 3).map([](std::string_view line) { return line.substr(0, line.find(' ')); });
    const Strings collected = numbers.collect();
    ASSERT_EQ(collected.size(), 50'000U);
    for (int i = 0; i < 50'000; ++i) ASSERT_EQ(collected[static_cast<size_t>(i)], std::to_string(i));
}

TEST_F(Files, TextFileNamesItsRddAfterThePath) {
    writeFile(directory / "a", "x\n");
    const TextRDD rdd = sc.textFile(directory / "a");
    EXPECT_EQ(rdd.name(), directory / "a");
    EXPECT_THAT(rdd.toString(), HasSubstr("MapPartitionsRDD"));
    EXPECT_THAT(rdd.toDebugString(), HasSubstr("HadoopRDD"));
}

TEST_F(Files, TextFileReadsEmptyFilesAndEmptyDirectories) {
    writeFile(directory / "empty", "");
    EXPECT_THAT(linesOf(directory / "empty"), IsEmpty());
    EXPECT_EQ(sc.textFile(directory / "empty").getNumPartitions(), 1);
    std::filesystem::create_directory(directory / "none");
    EXPECT_THAT(linesOf(directory / "none"), IsEmpty());
    EXPECT_EQ(sc.textFile(directory / "none").getNumPartitions(), 0);
}

TEST_F(Files, TextFileReadsListsDirectoriesAndGlobs) {
    std::filesystem::create_directory(directory / "d");
    writeFile(directory / "d/b.txt", "b\n");
    writeFile(directory / "d/a.txt", "a\n");
    writeFile(directory / "d/c.log", "c\n");
    writeFile(directory / "d/_SUCCESS", "hidden\n");
    writeFile(directory / "d/.part", "hidden\n");
    writeFile(directory / "e", "e\n");
    EXPECT_THAT(linesOf(directory / "d"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(linesOf(directory / "d/"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(linesOf("file:" + directory.path() + "/d"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(linesOf("file://" + directory.path() + "/d"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(linesOf(directory.path() + "/e," + directory.path() + "/d/a.txt"), ElementsAre("e", "a"));
    EXPECT_THAT(linesOf(directory / "d/*.txt"), ElementsAre("a", "b"));
    EXPECT_THAT(linesOf(directory / "d/{c,a}.*"), ElementsAre("c", "a"));
    EXPECT_THAT(linesOf(directory / "d/[bc].*"), ElementsAre("b", "c"));
    EXPECT_THAT(linesOf(directory / "?"), ElementsAre("a", "b", "c", "e"));
    EXPECT_THAT(linesOf(directory / "d/*"), ElementsAre("a", "b", "c"));
}

TEST_F(Files, TextFileRefusesADirectoryInsideADirectoryUnlessToldToReadIt) {
    std::filesystem::create_directories(directory / "d/inner");
    writeFile(directory / "d/a", "a\n");
    writeFile(directory / "d/inner/b", "b\n");
    EXPECT_THAT(errorOf([&] { linesOf(directory / "d"); }), HasSubstr("Not a file: " + (directory / "d/inner")));
    sc.stop();
    sc = SparkContext(SparkConf()
                          .setMaster("local[2]")
                          .setAppName("files")
                          .set("spark.hadoop.mapreduce.input.fileinputformat.input.dir.recursive", "true"));
    std::filesystem::create_directory_symlink(directory / "d", directory / "d/inner/again");
    EXPECT_THAT(linesOf(directory / "d"), ElementsAre("a", "b"));
}

TEST_F(Files, AMissingPathFailsWhenThePartitionsAreComputed) {
    const TextRDD missing = sc.textFile(directory / "missing");
    EXPECT_THROW(missing.getNumPartitions(), IllegalArgumentException);
    EXPECT_THAT(errorOf([&] { missing.count(); }),
                HasSubstr("Input path does not exist: file:" + (directory / "missing")));
    EXPECT_THAT(errorOf([&] { linesOf(directory / "*.none"); }),
                HasSubstr("Input Pattern file:" + (directory / "*.none") + " matches 0 files"));
    const std::string both = errorOf([&] { linesOf(directory.path() + "/x," + directory.path() + "/y"); });
    EXPECT_THAT(both, HasSubstr("/x"));
    EXPECT_THAT(both, HasSubstr("/y"));
    EXPECT_THROW(sc.wholeTextFiles(directory / "missing").count(), IllegalArgumentException);
    EXPECT_THROW(sc.objectFile<int>(directory / "missing").count(), IllegalArgumentException);
    EXPECT_THAT(errorOf([&] { linesOf("hdfs://host/x"); }), HasSubstr("scheme"));
    EXPECT_THROW(linesOf(""), IllegalArgumentException);
}

TEST_F(Files, TextFileReadsGzipAsOnePartitionAndRefusesOtherCompression) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i) + "\n";
    writeGzip(directory / "a.gz", text);
    const TextRDD rdd = sc.textFile(directory / "a.gz", 5);
    EXPECT_EQ(rdd.getNumPartitions(), 1);
    const Strings lines = rdd.collect();
    ASSERT_EQ(lines.size(), 20'000U);
    EXPECT_EQ(lines.back(), "line 19999");
    writeFile(directory / "b.gz", "this is no gzip");
    EXPECT_THAT(errorOf([&] { linesOf(directory / "b.gz"); }), HasSubstr(directory / "b.gz"));
    writeFile(directory / "c.bz2", "BZh");
    EXPECT_THAT(errorOf([&] { linesOf(directory / "c.bz2"); }), HasSubstr("only .gz"));
}

TEST_F(Files, AFileThatBecomesShorterAfterPlanningFailsItsTaskByName) {
    for (const char* name : {"a", "a.gz"}) {
        std::string text;
        for (int i = 0; i < 10'000; ++i) text += "line " + std::to_string(i * 7919 % 10'007) + "\n";
        if (std::string_view(name) == "a") {
            writeFile(directory / name, text);
        } else {
            writeGzip(directory / name, text);
        }
        const TextRDD rdd = sc.textFile(directory / name, 3);
        rdd.getNumPartitions();
        std::filesystem::resize_file(directory / name, 100);
        EXPECT_THAT(errorOf([&] { rdd.count(); }), HasSubstr((directory / name) + " became shorter")) << name;
    }
}

TEST_F(Files, AFileThatBecomesShorterWhileItIsReadFailsItsTaskByName) {
    const std::string path = directory / "a";
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "line " + std::to_string(i) + "\n";
    writeFile(path, text);
    const auto lengths = sc.textFile(path, 1).map([path, first = true](std::string_view line) mutable {
        if (first) std::filesystem::resize_file(path, 200'000);
        first = false;
        return line.size();
    });
    EXPECT_THAT(errorOf([&] { lengths.count(); }), HasSubstr(path + " became shorter"));
}

TEST_F(Files, WhatIsAppendedAfterPlanningIsNotRead) {
    writeFile(directory / "a", "one\ntwo");
    const TextRDD rdd = sc.textFile(directory / "a", 2);
    rdd.getNumPartitions();
    std::ofstream(directory / "a", std::ios::app) << " more\nthree\n";
    EXPECT_THAT(rdd.collect(), ElementsAre("one", "two"));
}

TEST_F(Files, Row32LinksToFilesAreFollowedLoopsFifosAndDevicesAreSkipped) {
    std::filesystem::create_directory(directory / "d");
    writeFile(directory / "d/a", "a\n");
    writeFile(directory / "d/with\nnewline, comma", "newline\n");
    std::filesystem::create_symlink(directory / "d/a", directory / "d/link");
    std::filesystem::create_symlink(directory / "d/loop", directory / "d/loop");
    std::filesystem::create_symlink(directory / "d/nothing", directory / "d/dangling");
    std::filesystem::create_symlink("/dev/zero", directory / "d/zero");
    ASSERT_EQ(::mkfifo((directory / "d/fifo").c_str(), 0600), 0);
    const testsupport::CapturedLog log;
    EXPECT_THAT(linesOf(directory / "d"), ElementsAre("a", "a", "newline"));
    for (const char* name : {"loop", "dangling", "zero", "fifo"})
        EXPECT_THAT(log.text(), HasSubstr((directory / "d/") + name + " is skipped"));
    EXPECT_THAT(linesOf(directory / "d/with\nnewline, comma"), ElementsAre("newline"));
    EXPECT_THAT(errorOf([&] { linesOf(directory / "d/fifo"); }), HasSubstr("Not a file"));
}

TEST_F(Files, Row32AVanishedOrUnreadableFileIsNamedAndTheOthersAreRead) {
    writeFile(directory / "a", "a\n");
    writeFile(directory / "b", "b\n");
    writeFile(directory / "c", "c\n");
    const TextRDD rdd = sc.textFile(directory / "?", 3);
    ASSERT_EQ(rdd.getNumPartitions(), 3);
    std::filesystem::remove(directory / "b");
    EXPECT_THAT(errorOf([&] { rdd.collect(); }), HasSubstr("cannot open " + (directory / "b") + ": No such file"));
    std::filesystem::create_directory(directory / "b");
    EXPECT_THAT(errorOf([&] { rdd.collect(); }), HasSubstr("cannot read " + (directory / "b") + ": Is a directory"));

    const RDD<std::string_view> exact(detail::linesOfFiles(
        sc.core(), {directory / "a", directory / "gone", directory / "c"}, 1, "test", std::source_location::current()));
    ASSERT_EQ(exact.getNumPartitions(), 3);
    EXPECT_THAT(
        sc.runJob(
            exact, [](Iterator<std::string_view> part) { return std::string(part.next()); }, std::vector<int>{0, 2}),
        ElementsAre("a", "c"));
    EXPECT_THAT(errorOf([&] { exact.count(); }), HasSubstr(directory / "gone"));
}

TEST(FilesOfOthersTest, Row32AFileWithoutReadPermissionIsNamedAndTheOthersAreRead) {
    const TemporaryDirectory directory;
    for (const char* name : {"a", "b", "c"}) writeFile(directory / name, std::string(name) + "\n");
    std::filesystem::create_directory(directory / "closed");
    writeFile(directory / "closed/d", "d\n");
    std::filesystem::permissions(directory / "b", std::filesystem::perms::none);
    std::filesystem::permissions(directory / "closed", std::filesystem::perms::none);
    std::filesystem::permissions(directory.path(), std::filesystem::perms::all);
    // Root reads everything: nobody does not.
    const auto run = [&](const std::function<std::string(const SparkContext&)>& body) {
        return testsupport::inChild([&]() -> std::string {
            constexpr uid_t kNobody = 65534;
            if (::geteuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0))
                return "root cannot be given up";
            const SparkContext sc(SparkConf().setMaster("local[2]").setAppName("files"));
            return body(sc);
        });
    };
    EXPECT_THAT(
        run([&](const SparkContext& sc) { return errorOf([&] { sc.textFile(directory / "?", 3).collect(); }); }),
        HasSubstr("cannot open " + (directory / "b") + ": Permission denied"));
    EXPECT_EQ(run([&](const SparkContext& sc) {
                  const auto lines = sc.runJob(
                      sc.textFile(directory / "?", 3), [](Iterator<std::string> part) { return part.next(); },
                      std::vector<int>{0, 2});
                  return lines.at(0) + lines.at(1);
              }),
              "ac");
    EXPECT_THAT(
        run([&](const SparkContext& sc) { return errorOf([&] { sc.textFile(directory / "closed").count(); }); }),
        HasSubstr((directory / "closed") + ": Permission denied"));
    std::filesystem::permissions(directory / "closed", std::filesystem::perms::owner_all);
}

TEST_F(Files, Row34AHugeSparseFileIsReadInSplitsWithBoundedMemory) {
    const std::string path = directory / "huge";
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    constexpr int64_t kSize = int64_t{2} << 30;
    constexpr int kLines = 1024;
    for (int64_t i = 1; i <= kLines; ++i) ASSERT_EQ(::pwrite(file, "\n", 1, i * (kSize / kLines) - 1), 1);
    ::close(file);
    const TextRDD rdd = sc.textFile(path, 4);
    EXPECT_EQ(rdd.getNumPartitions(), 4);
    EXPECT_EQ(rdd.plan().source->splitCount(0), 4);  // idle slots may help
    const int64_t before = peakMemoryMiB();
    EXPECT_EQ(rdd.map([](std::string_view line) { return line.size(); }).count(), kLines);
    EXPECT_LT(peakMemoryMiB() - before, 48 + kKeptMiB);
}

class FilesWithShortLines : public Files {
protected:
    FilesWithShortLines() : Files(SparkConf().set("dstream.files.maxLineBytes", "1m")) {}
};

TEST_F(FilesWithShortLines, Row34AnEndlessLineIsAnErrorWithBoundedMemory) {
    const std::string path = directory / "huge";
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    ASSERT_EQ(::ftruncate(file, int64_t{2} << 30), 0);
    ::close(file);
    const int64_t before = peakMemoryMiB();
    EXPECT_THAT(
        errorOf([&] { sc.textFile(path, 1).count(); }),
        HasSubstr(path + ": the line at byte 0 is longer than 1048576 bytes; raise dstream.files.maxLineBytes"));
    EXPECT_LT(peakMemoryMiB() - before, 32 + kKeptMiB);
}

TEST_F(FilesWithShortLines, Row34AGzipBombIsReadWithBoundedMemory) {
    const std::string line(999, 'x');
    std::string text;
    for (int i = 0; i < 1000; ++i) text += line + "\n";
    writeGzip(directory / "lines.gz", text, 300);
    writeGzip(directory / "line.gz", std::string(1'000'000, 'x'), 300);
    const int64_t before = peakMemoryMiB();
    EXPECT_EQ(sc.textFile(directory / "lines.gz").count(), 300'000);
    EXPECT_THAT(errorOf([&] { sc.textFile(directory / "line.gz").count(); }), HasSubstr("is longer than"));
    EXPECT_LT(peakMemoryMiB() - before, 32 + kKeptMiB);
}

TEST_F(Files, WholeTextFilesGivesPathAndContentAndPacksSmallFiles) {
    std::vector<std::pair<std::string, std::string>> expected;
    for (int i = 0; i < 9; ++i) {
        const std::string path = directory / ("file" + std::to_string(i));
        expected.emplace_back(path, std::string(static_cast<size_t>(i) * 1000, 'x') + "\r\n");
        writeFile(path, expected.back().second);
    }
    writeGzip(directory / "file9.gz", "packed");
    expected.emplace_back(directory / "file9.gz", "packed");
    EXPECT_EQ(sc.wholeTextFiles(directory.path()).getNumPartitions(), 2);
    EXPECT_EQ(sc.wholeTextFiles(directory.path(), 100).getNumPartitions(), 10);
    EXPECT_EQ(sc.wholeTextFiles(directory.path(), 3).collect(), expected);
}

TEST_F(Files, BinaryFilesOpenTheirFilesWhenTheyAreRead) {
    const std::string bytes("\0\xff\r\n\n", 5);
    writeFile(directory / "a", bytes);
    writeFile(directory / "b", "");
    const auto files = sc.binaryFiles(directory.path());
    const auto contents = files.map([](const std::pair<std::string, PortableDataStream>& file) {
        std::stringstream text;
        text << file.second.open()->rdbuf();
        return std::pair(file.second.size(), text.str());
    });
    EXPECT_THAT(contents.collect(),
                ElementsAre(std::pair<uint64_t, std::string>(5, bytes), std::pair<uint64_t, std::string>(0, "")));
    EXPECT_EQ(files.first().first, directory / "a");
    EXPECT_EQ(files.first().second.toArray().size(), 5U);
    EXPECT_THROW(PortableDataStream(directory / "none", 0).open(), FileSystemException);
}

TEST_F(Files, BinaryRecordsHaveAFixedLengthAndRefuseOtherSizes) {
    std::string bytes;
    Strings records;
    for (int i = 0; i < 50'000; ++i) {
        char record[8];
        std::snprintf(record, sizeof record, "%06d\n", i);
        records.emplace_back(record, 7);
        bytes += records.back();
    }
    writeFile(directory / "a", bytes);
    EXPECT_EQ(sc.binaryRecords(directory / "a", 7).collect(), records);
    EXPECT_EQ(sc.binaryRecords(directory / "a", 350'000).collect(), Strings{bytes});
    EXPECT_THAT(errorOf([&] { sc.binaryRecords(directory / "a", 8'192).count(); }),
                HasSubstr(directory / "a has 350000 bytes, no multiple of the record length 8192"));
    EXPECT_THROW(sc.binaryRecords(directory / "a", 0), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
