#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "receivers/file_write_ahead_log.hpp"
#include "support/faulty_file_system.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <sys/resource.h>
#include <unistd.h>

namespace dstream {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string recordOf(int i) {
    return "record " + std::to_string(i) + std::string(static_cast<size_t>(i * 7 % 23), '*');
}

std::vector<std::string> recordsUpTo(int count) {
    std::vector<std::string> records;
    for (int i = 1; i <= count; ++i) records.push_back(recordOf(i));
    return records;
}

class WalLogTest : public testing::Test {
protected:
    void SetUp() override {
        setLogLevel(LogLevel::kOff);
        quickFs_.spareTheDisk();
    }
    void TearDown() override {
        setFailpoints({});
        setLogLevel(LogLevel::kWarn);
    }

    std::string directory() const { return temporary_ / "wal/0"; }
    std::string segment(int number) const { return directory() + "/seg-" + std::to_string(number) + ".wal"; }
    std::unique_ptr<FileWriteAheadLog> open(FileWriteAheadLogOptions options = {}, Fs& fs = posixFs()) const {
        return std::make_unique<FileWriteAheadLog>(directory(), options, clock_, fs);
    }
    /// Leaves what a killed process would: no end record, zeros up to the size to which the file was filled.
    void writeUnclosed(int count, const FileWriteAheadLogOptions& options) {
        const std::string away = directory() + "-away";
        auto log = open(options);
        for (int i = 1; i <= count; ++i) log->write({recordOf(i)}, i);
        std::filesystem::copy(directory(), away, std::filesystem::copy_options::recursive);
        log->close();
        std::filesystem::remove_all(directory());
        std::filesystem::rename(away, directory());
    }
    static std::vector<std::string> readAll(WriteAheadLog& log) {
        std::vector<std::string> records;
        auto all = log.readAll();
        while (all.hasNext()) records.push_back(all.next().bytes);
        return records;
    }
    static std::string contents(const std::string& path) {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    static void putContents(const std::string& path, const std::string& bytes) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    }
    /// Opens the log and returns the text of the refusal.
    std::string refusal(const FileWriteAheadLogOptions& options = {}) const {
        try {
            open(options);
        } catch (const SparkException& error) {
            return error.what();
        }
        return "accepted";
    }

    testsupport::TemporaryDirectory temporary_;
    testsupport::FaultyFs quickFs_;
    std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>(1000);
};

/// Files of a few records each.
FileWriteAheadLogOptions smallSegments() {
    FileWriteAheadLogOptions options;
    options.segmentBytes = 256;
    return options;
}

TEST_F(WalLogTest, RecordsAreReadBackByHandleAndInOrder) {
    std::vector<WriteAheadLogRecordHandle> handles;
    {
        auto log = open();
        for (int i = 1; i <= 5; ++i) handles.push_back(log->write({recordOf(i)}, i));
        handles.push_back(log->write({std::string(3 << 20, 'x')}, 6));
        handles.push_back(log->write({""}, 7));
        EXPECT_EQ(log->read(handles[2]).bytes, recordOf(3)) << "while the file is written";
        EXPECT_EQ(log->stats().records, 7);
    }
    auto again = open();
    for (int i = 1; i <= 5; ++i) EXPECT_EQ(again->read(handles[static_cast<size_t>(i - 1)]).bytes, recordOf(i));
    EXPECT_EQ(again->read(handles[5]).bytes.size(), size_t{3} << 20);
    auto records = readAll(*again);
    ASSERT_EQ(records.size(), 7U);
    EXPECT_EQ(records[4], recordOf(5));
    EXPECT_EQ(records[6], "");
    EXPECT_THROW(again->read({std::string(24, '\1')}), SparkException);
}

/// Syncs slowly: until every writer that is not done waits for a record that is not durable.
class SlowSyncFs final : public PosixFs {
public:
    void begin(const FileWriteAheadLog& log, int writers) {
        const std::lock_guard lock(mutex_);
        log_ = &log;
        writers_ = writers;
    }
    void enter() { change(entered_, 1); }
    void end() { change(writers_, -1); }

private:
    void change(int64_t& count, int64_t by) {
        const std::lock_guard lock(mutex_);
        count += by;
        changed_.notify_all();
    }
    int64_t doSyncData(int) override {
        std::unique_lock lock(mutex_);
        const int64_t durable = log_ == nullptr ? 0 : log_->stats().records;
        changed_.wait(lock, [&] { return entered_ - durable == writers_; });
        return 0;
    }

    std::mutex mutex_;  // guards the fields below
    std::condition_variable changed_;
    const FileWriteAheadLog* log_ = nullptr;
    int64_t writers_ = 0;
    int64_t entered_ = 0;
};

TEST_F(WalLogTest, RecordsThatWaitTogetherTakeOneSync) {
    SlowSyncFs fs;
    auto log = open({}, fs);
    fs.begin(*log, 64);
    std::vector<std::jthread> writers;
    for (int i = 0; i < 64; ++i) {
        writers.emplace_back([&, i] {
            for (int j = 0; j < 20; ++j) {
                fs.enter();
                log->write({recordOf(i)}, j);
            }
            fs.end();
        });
    }
    writers.clear();
    EXPECT_EQ(log->stats().records, 64 * 20);
    EXPECT_LT(log->stats().syncs, 64 * 20 / 2);
    EXPECT_EQ(readAll(*log).size(), 64U * 20U);
}

TEST_F(WalLogTest, WritersWaitWhileTheQueueIsFull) {
    FileWriteAheadLogOptions options;
    options.maxQueuedBytes = 1;  // room for one record, as one always fits
    auto log = open(options, quickFs_);
    std::vector<std::jthread> writers;
    for (int i = 0; i < 8; ++i) {
        writers.emplace_back([&, i] {
            for (int j = 0; j < 20; ++j) log->write({recordOf(i)}, j);
        });
    }
    writers.clear();
    EXPECT_EQ(log->stats().records, 8 * 20);
    EXPECT_EQ(log->stats().syncs, 8 * 20) << "none waited in the queue with another";
}

TEST_F(WalLogTest, ANewFileBeginsWhenOneIsFullOrOld) {
    auto log = open(smallSegments());
    for (int i = 1; i <= 20; ++i) log->write({recordOf(i)}, i);
    const auto files = posixFs().list(directory());
    EXPECT_GT(files.size(), 3U);
    clock_->advance(59'999);
    log->write({recordOf(21)}, 21);
    EXPECT_EQ(readAll(*log), recordsUpTo(21));
    log = open();
    log->write({recordOf(22)}, 22);
    const size_t before = posixFs().list(directory()).size();
    clock_->advance(59'999);
    log->write({recordOf(23)}, 23);
    EXPECT_EQ(posixFs().list(directory()).size(), before);
    clock_->advance(1);
    log->write({recordOf(24)}, 24);
    EXPECT_EQ(posixFs().list(directory()).size(), before + 1);
    EXPECT_EQ(readAll(*log), recordsUpTo(24));
}

TEST_F(WalLogTest, CleaningRemovesOldFilesAndNeverTheOneInUse) {
    FileWriteAheadLogOptions options;
    options.closeFileAfterWrite = true;
    auto log = open(options);
    for (int i = 1; i <= 5; ++i) log->write({recordOf(i)}, i * 10);
    log->clean(30, true);
    EXPECT_THAT(readAll(*log), ElementsAre(recordOf(3), recordOf(4), recordOf(5)));
    log = open();
    log->write({recordOf(6)}, 60);
    log->clean(1000, true);
    EXPECT_THAT(readAll(*log), ElementsAre(recordOf(6)));
    log = open();
    log->write({recordOf(7)}, 70);
    EXPECT_THAT(readAll(*log), ElementsAre(recordOf(6), recordOf(7)));
}

TEST_F(WalLogTest, WritingAfterTheEndIsRefused) {
    auto log = open();
    log->close();
    EXPECT_THROW(log->write({"late"}, 1), IllegalStateException);
    log->clean(1, true);
}

TEST_F(WalLogTest, Row15_ALogCutAtEachByteKeepsTheRecordsBeforeTheCut) {
    writeUnclosed(12, smallSegments());
    const auto names = posixFs().list(directory());
    ASSERT_GT(names.size(), 2U);
    const std::string last = segment(static_cast<int>(names.size()));
    const std::string whole = contents(last);
    std::filesystem::remove(last);
    const size_t inOthers = readAll(*open({}, quickFs_)).size();
    ASSERT_LT(inOthers, 12U);
    for (size_t size = 0; size <= whole.size(); ++size) {
        putContents(last, whole.substr(0, size));
        auto log = open({}, quickFs_);
        auto records = readAll(*log);
        ASSERT_GE(records.size(), inOthers);
        ASSERT_EQ(records, recordsUpTo(static_cast<int>(records.size()))) << "cut at " << size;
        ASSERT_EQ(size < whole.size() || records.size() == 12, true);
        log->write({recordOf(static_cast<int>(records.size()) + 1)}, 100);
        records.push_back(recordOf(static_cast<int>(records.size()) + 1));
        log->close();
        ASSERT_EQ(readAll(*open({}, quickFs_)), records) << "cut at " << size << " and gone on";
        for (const auto& name : posixFs().list(directory())) {
            if (std::ranges::find(names, name) == names.end()) posixFs().remove(directory() + "/" + name);
        }
    }
}

TEST_F(WalLogTest, Row15_ACutLastWriteIsCutOffAndCounted) {
    writeUnclosed(3, {});
    std::string bytes = contents(segment(1));
    const size_t third = bytes.find(recordOf(3));
    putContents(segment(1), bytes.substr(0, third + 4));
    auto log = open();
    EXPECT_EQ(log->stats().tornTails, 1);
    EXPECT_EQ(readAll(*log), recordsUpTo(2));
    EXPECT_LT(contents(segment(1)).size(), third) << "the rest of it is gone";
    EXPECT_EQ(open()->stats().tornTails, 0);
}

TEST_F(WalLogTest, Row15_AFlippedBitAnywhereButInTheLastWriteStopsWithFileAndOffset) {
    writeUnclosed(12, smallSegments());
    const auto names = posixFs().list(directory());
    for (const auto& name : names) {
        const std::string path = directory() + "/" + name;
        const std::string whole = contents(path);
        const bool isLast = path == segment(static_cast<int>(names.size()));
        const size_t endRecord = isLast ? 0 : 17;  // says nothing that the next file does not say
        const size_t written = whole.find_last_not_of('\0') + 1 - endRecord;
        const size_t lastRecord = whole.rfind("record ") - 8 - 17;
        for (size_t at = 0; at < written; ++at) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
            putContents(path, damaged);
            if (isLast && at >= lastRecord) {
                EXPECT_EQ(readAll(*open()), recordsUpTo(11)) << at;
                for (const auto& other : posixFs().list(directory())) {
                    if (std::ranges::find(names, other) == names.end()) posixFs().remove(directory() + "/" + other);
                }
            } else {
                ASSERT_THAT(refusal(), AllOf(HasSubstr(path), HasSubstr("at offset"), HasSubstr("skipCorrupt")))
                    << "at " << at;
            }
        }
        putContents(path, whole);
    }
    EXPECT_EQ(readAll(*open()), recordsUpTo(12));
}

TEST_F(WalLogTest, Row15_SkipCorruptGoesOnWithoutTheDamagedRecords) {
    writeUnclosed(5, {});
    std::string bytes = contents(segment(1));
    bytes[bytes.find(recordOf(3))] ^= 1;
    putContents(segment(1), bytes);
    EXPECT_THAT(refusal(), HasSubstr("no record 3"));
    FileWriteAheadLogOptions options;
    options.skipCorrupt = true;
    auto log = open(options);
    EXPECT_EQ(log->stats().damages, 1);
    EXPECT_THAT(readAll(*log), ElementsAre(recordOf(1), recordOf(2), recordOf(4), recordOf(5)));
    log->write({recordOf(6)}, 6);
    EXPECT_THAT(readAll(*open(options)), ElementsAre(recordOf(1), recordOf(2), recordOf(4), recordOf(5), recordOf(6)));
}

TEST_F(WalLogTest, AMissingFileIsRefused) {
    writeUnclosed(12, smallSegments());
    posixFs().remove(segment(2));
    EXPECT_THAT(refusal(), AllOf(HasSubstr(segment(3)), HasSubstr("a file is missing")));
}

TEST_F(WalLogTest, AFlippedBitInTheLastWriteOfALogThatWasClosedIsDamage) {
    {
        auto log = open();
        for (int i = 1; i <= 3; ++i) log->write({recordOf(i)}, i);
    }
    std::string bytes = contents(segment(1));
    bytes[bytes.find(recordOf(3))] ^= 1;
    putContents(segment(1), bytes);
    EXPECT_THAT(refusal(), HasSubstr("no record 3"));
}

TEST_F(WalLogTest, AfterAFailedSyncTheRecordsGoToANewFileAndTheOldOneIsNotSyncedAgain) {
    class Watched final : public testsupport::FaultyFs {
    public:
        std::vector<int> synced;
        int failing = -1;

    private:
        int64_t doSyncData(int descriptor) override {
            synced.push_back(descriptor);
            return static_cast<int>(synced.size()) == failing ? -EIO : PosixFs::doSyncData(descriptor);
        }
        // Descriptors stay different.
        int64_t doClose(int) override { return 0; }
    } fs;
    auto log = open({}, fs);
    log->write({recordOf(1)}, 1);
    fs.failing = 2;
    const auto handle = log->write({recordOf(2)}, 2);
    log->write({recordOf(3)}, 3);
    ASSERT_EQ(fs.synced.size(), 4U);
    EXPECT_EQ(fs.synced[0], fs.synced[1]);
    EXPECT_NE(fs.synced[1], fs.synced[2]);
    EXPECT_EQ(fs.synced[2], fs.synced[3]);
    EXPECT_EQ(log->stats().failedAttempts, 1);
    EXPECT_EQ(log->read(handle).bytes, recordOf(2));
    log->close();
    EXPECT_EQ(readAll(*open()), recordsUpTo(3)) << "the records of the failed sync count once";
}

TEST_F(WalLogTest, AWriteFailsAfterTheLastAttemptAndTheNextOneMaySucceed) {
    auto log = open();
    log->write({recordOf(1)}, 1);
    FailpointPlan plan;
    plan.failName = "wal.before_sync";
    plan.failErrno = ENOSPC;
    for (const uint64_t hit : {1, 2, 3}) {
        plan.failAt = hit;
        setFailpoints(plan);
        EXPECT_NO_THROW(log->write({recordOf(static_cast<int>(hit) + 1)}, 2)) << "one failure of three";
    }
    setFailpoints({});
    FileWriteAheadLogOptions once;
    once.maxFailures = 1;
    log = open(once);
    plan.failAt = 1;
    setFailpoints(plan);
    try {
        log->write({recordOf(5)}, 5);
        ADD_FAILURE() << "the write should have failed";
    } catch (const SparkException& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr(directory()), HasSubstr("No space left")));
    }
    setFailpoints({});
    log->write({recordOf(5)}, 5);
    log->close();
    EXPECT_EQ(readAll(*open()), recordsUpTo(5));
}

/// Whichever call of the file system fails, what was acknowledged is there, in order, and nothing twice.
TEST_F(WalLogTest, Row12_EachFailingCallLosesNoAcknowledgedRecord) {
    for (const int error : {EIO, ENOSPC, 0}) {
        bool fired = true;
        for (uint64_t call = 1; fired; ++call) {
            std::filesystem::remove_all(directory());
            testsupport::FaultyFs fs;
            fs.spareTheDisk();
            fs.failCall(call, error);
            std::vector<std::string> acknowledged;
            try {
                auto log = open(smallSegments(), fs);
                for (int i = 1; i <= 8; ++i) {
                    try {
                        log->write({recordOf(i)}, i);
                        acknowledged.push_back(recordOf(i));
                    } catch (const SparkException&) {
                        ADD_FAILURE() << "one failure of three attempts; call " << call;
                    }
                    if (i == 6) log->clean(3, true);
                }
            } catch (const SparkException&) {
                EXPECT_THAT(acknowledged, IsEmpty());
            }
            fired = fs.fired();
            auto records = readAll(*open({}, quickFs_));
            ASSERT_LE(records.size(), acknowledged.size());
            ASSERT_GE(records.size() + 3, acknowledged.size()) << "cleaned: at most those before time 3";
            ASSERT_TRUE(std::equal(records.rbegin(), records.rend(), acknowledged.rbegin()))
                << "error " << error << " at call " << call;
        }
    }
}

TEST_F(WalLogTest, Row11_AFileSizeLimitIsReportedAndDoesNotEndTheProcess) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto limited = [&] {
        // As the runner does: the signal would end the process before the call could fail.
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{4096, 4096};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 10;
        FileWriteAheadLogOptions options;
        options.segmentBytes = 4096;
        {
            FileWriteAheadLog log(directory(), options, clock_);
            log.write({"small"}, 1);
            try {
                log.write({std::string(8192, 'x')}, 2);
                return 11;
            } catch (const SparkException& error) {
                if (std::string(error.what()).find("File too large") == std::string::npos) return 12;
            }
            log.write({"small again"}, 3);
        }
        const bool right = readAll(*open(options)) == std::vector<std::string>{"small", "small again"};
        std::filesystem::remove_all(temporary_.path());
        return right ? 0 : 13;
    };
    EXPECT_EXIT(_exit(limited()), testing::ExitedWithCode(0), "");
}

TEST_F(WalLogTest, SettingsOutOfRangeAreRefused) {
    const auto forReceiver = [](const char* key, const char* value) {
        return FileWriteAheadLogOptions::forReceiver(SparkConf().set(key, value));
    };
    EXPECT_EQ(FileWriteAheadLogOptions::forReceiver({}).maxFailures, 3);
    EXPECT_EQ(forReceiver("spark.streaming.receiver.writeAheadLog.rollingIntervalSecs", "7").rollingIntervalMs, 7000);
    EXPECT_THROW(forReceiver("spark.streaming.receiver.writeAheadLog.maxFailures", "0"), IllegalArgumentException);
    EXPECT_THROW(forReceiver("spark.streaming.receiver.writeAheadLog.rollingIntervalSecs", "0"),
                 IllegalArgumentException);
    EXPECT_THROW(forReceiver("dstream.wal.recovery", "maybe"), IllegalArgumentException);
    EXPECT_TRUE(FileWriteAheadLogOptions::forDriver(
                    SparkConf().set("spark.streaming.driver.writeAheadLog.closeFileAfterWrite", "true"))
                    .closeFileAfterWrite);
}

}  // namespace
}  // namespace dstream
