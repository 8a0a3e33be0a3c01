#include "rdd/file_system.hpp"

#include "rdd/bytes.hpp"
#include "rdd/failpoint.hpp"
#include "support/faulty_file_system.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <sys/stat.h>
#include <unistd.h>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testsupport::FaultyFs;
using testsupport::TemporaryDirectory;

std::string contents(Fs& fs, const std::string& path) {
    return std::string(asText(fs.readFile(path)));
}

TEST(FileSystemTest, WritesAndReadsAtPlaces) {
    const TemporaryDirectory directory;
    Fs& fs = posixFs();
    File file = fs.open(directory / "a", Fs::Mode::kReadWrite);
    file.write(asBytes("hello "));
    file.write(asBytes("world"));
    file.writeAt(asBytes("W"), 6);
    file.sync();
    file.syncData();
    EXPECT_EQ(file.size(), 11u);
    std::byte place[4];
    EXPECT_EQ(file.readAt(place, 6), 4u);
    EXPECT_EQ(asText(place), "Worl");
    EXPECT_EQ(file.readAt(place, 9), 2u);
    EXPECT_EQ(file.readAt(place, 99), 0u);
    file.truncate(5);
    file.close();
    EXPECT_FALSE(file.isOpen());
    EXPECT_EQ(contents(fs, directory / "a"), "hello");
    fs.open(directory / "a", Fs::Mode::kAppend).write(asBytes("!"));
    EXPECT_EQ(contents(fs, directory / "a"), "hello!");
    EXPECT_THROW(fs.open(directory / "a", Fs::Mode::kCreate), FileSystemException);
    fs.open(directory / "a", Fs::Mode::kTruncate);
    EXPECT_EQ(contents(fs, directory / "a"), "");
    EXPECT_THROW(fs.readFile(directory.path()), FileSystemException);
}

TEST(FileSystemTest, KeepsDirectories) {
    const TemporaryDirectory directory;
    Fs& fs = posixFs();
    fs.makeDirectories(directory / "x/y/z");
    fs.makeDirectories(directory / "x/y/z");
    fs.writeFileAtomically(directory / "x/b", asBytes("1"));
    fs.writeFileAtomically(directory / "x/a", asBytes("2"));
    ASSERT_EQ(::symlink(directory.path().c_str(), (directory / "x/loop").c_str()), 0);
    EXPECT_THAT(fs.list(directory / "x"), ElementsAre("a", "b", "loop", "y"));
    EXPECT_EQ(fs.stat(directory / "x")->kind, FileKind::kDirectory);
    EXPECT_EQ(fs.stat(directory / "x/a")->kind, FileKind::kFile);
    EXPECT_EQ(fs.stat(directory / "x/a")->sizeBytes, 1u);
    EXPECT_GT(fs.stat(directory / "x/a")->modifiedMs, 1'500'000'000'000);
    EXPECT_EQ(fs.stat("/dev/null")->kind, FileKind::kOther);
    EXPECT_EQ(fs.stat(directory / "none"), std::nullopt);
    EXPECT_EQ(fs.stat(directory / "x/a/under a file"), std::nullopt);
    EXPECT_TRUE(fs.exists(directory / "x"));
    fs.rename(directory / "x/a", directory / "x/b");
    EXPECT_EQ(contents(fs, directory / "x/b"), "2");
    EXPECT_THROW(fs.makeDirectories(directory / "x/b"), FileSystemException);
    EXPECT_THROW(fs.remove(directory / "x"), FileSystemException);
    EXPECT_TRUE(fs.removeAll(directory / "x"));
    EXPECT_FALSE(fs.removeAll(directory / "x"));
    EXPECT_FALSE(fs.remove(directory / "x"));
    EXPECT_TRUE(fs.exists(directory.path()));
}

TEST(FileSystemTest, LocksAFileForOneOwner) {
    const TemporaryDirectory directory;
    File first = posixFs().open(directory / "lock", Fs::Mode::kReadWrite);
    File second = posixFs().open(directory / "lock", Fs::Mode::kReadWrite);
    EXPECT_TRUE(first.tryLock());
    EXPECT_FALSE(second.tryLock());
    first.close();
    EXPECT_TRUE(second.tryLock());
}

TEST(FileSystemTest, NamesOperationPathAndReason) {
    try {
        posixFs().readFile("/no/such/file");
        FAIL();
    } catch (const FileSystemException& error) {
        EXPECT_STREQ(error.what(), "cannot open /no/such/file: No such file or directory");
        EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
        EXPECT_EQ(error.path(), "/no/such/file");
    }
    const TemporaryDirectory directory;
    posixFs().writeFileAtomically(directory / "big", asBytes("12345"));
    EXPECT_THROW(posixFs().readFile(directory / "big", 4), SparkException);
}

TEST(FileSystemTest, KeepsNewFilesPrivate) {
    const TemporaryDirectory directory;
    posixFs().writeFileAtomically(directory / "a", asBytes("1"));
    posixFs().makeDirectories(directory / "d");
    struct stat status {};
    ASSERT_EQ(::stat((directory / "a").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    ASSERT_EQ(::stat((directory / "d").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST(AtomicWriteTest, SyncsBeforeItRenames) {
    const TemporaryDirectory directory;
    FaultyFs fs;
    fs.writeFileAtomically(directory / "a", asBytes("1"));
    EXPECT_THAT(fs.calls(), ElementsAre("open", "write", "sync", "close", "rename", "open", "sync", "close"));
}

TEST(AtomicWriteTest, LeavesTheOldFileOrTheNewOneWhateverCallFails) {
    const TemporaryDirectory directory;
    FaultyFs fs;
    for (const int error : {EIO, ENOSPC, EINTR, 0}) {
        for (uint64_t call = 1;; ++call) {
            posixFs().writeFileAtomically(directory / "a", asBytes("old contents"));
            fs.failCall(call, error);
            bool failed = false;
            try {
                fs.writeFileAtomically(directory / "a", asBytes("new contents"));
            } catch (const FileSystemException& exception) {
                failed = true;
                EXPECT_EQ(exception.code().value(), error);
                EXPECT_THAT(exception.what(), HasSubstr(directory.path()));
            }
            if (!fs.fired()) break;
            const std::string found = contents(posixFs(), directory / "a");
            if (error == EINTR || error == 0) {
                EXPECT_FALSE(failed) << "call " << call;
                EXPECT_EQ(found, "new contents");
            } else {
                EXPECT_TRUE(failed) << "call " << call;
                const bool renamed = call > 5;
                EXPECT_EQ(found, renamed ? "new contents" : "old contents") << "call " << call;
            }
            EXPECT_THAT(posixFs().list(directory.path()), ElementsAre("a")) << "call " << call;
        }
    }
}

TEST(AtomicWriteTest, NeverRepeatsAFailedSync) {
    const TemporaryDirectory directory;
    FaultyFs fs;
    fs.failCall(3, EIO);
    EXPECT_THROW(fs.writeFileAtomically(directory / "a", asBytes("1")), FileSystemException);
    EXPECT_THAT(fs.calls(), ElementsAre("open", "write", "sync", "close", "remove"));
    EXPECT_THAT(posixFs().list(directory.path()), IsEmpty());
}

TEST(AtomicWriteTest, WritesInThreePiecesBetweenFailpoints) {
    const TemporaryDirectory directory;
    FaultyFs fs;
    FailpointPlan plan;
    plan.killAt = UINT64_MAX;
    setFailpoints(plan);
    fs.writeFileAtomically(directory / "a", asBytes("123456789"));
    const auto hits = failpointHits();
    setFailpoints({});
    EXPECT_THAT(fs.calls(),
                ElementsAre("open", "write", "write", "write", "sync", "close", "rename", "open", "sync", "close"));
    EXPECT_EQ(hits.at("fs.write"), 3u);
    EXPECT_EQ(hits.at("fs.before_sync"), 2u);
    EXPECT_EQ(hits.at("fs.after_rename"), 1u);
    EXPECT_EQ(contents(posixFs(), directory / "a"), "123456789");
}

}  // namespace
}  // namespace dstream
