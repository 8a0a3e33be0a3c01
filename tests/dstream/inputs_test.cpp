#include "dstream/stream_test.hpp"
#include "rdd/clock.hpp"
#include "streaming_core.hpp"
#include "support/loopback.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <tuple>
#include <unistd.h>

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class QueueStreamTest : public StreamTest {
protected:
    std::map<Time, std::vector<int>> runQueue(bool oneAtATime, bool withDefault, bool withoutAnyDefault = false) {
        auto ssc = makeContext();
        auto sc = ssc.sparkContext();
        auto queue = std::make_shared<RDDQueue<int>>();
        std::optional<RDD<int>> defaultRdd;
        if (withDefault) defaultRdd = sc.parallelize(std::vector{0});
        auto stream = withDefault || withoutAnyDefault ? ssc.queueStream(queue, oneAtATime, defaultRdd)
                                                       : ssc.queueStream(queue, oneAtATime);
        auto output = testkit::collect(stream);
        partitions = testkit::collect(stream.glom());
        for (int i = 1; i <= 2; ++i) queue->push(sc.parallelize(std::vector{i}, 1));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(3));
        ssc.stop();
        return output.all();
    }
    testkit::Collected<std::vector<int>> partitions;
};

TEST_F(QueueStreamTest, TakesOneRddPerBatch) {
    EXPECT_THAT(runQueue(true, false), ElementsAre(Pair(Time(1000), ElementsAre(1)), Pair(Time(2000), ElementsAre(2)),
                                                   Pair(Time(3000), IsEmpty())));
    EXPECT_THAT(partitions.batch(Time(3000)), ElementsAre(IsEmpty()));
}

TEST_F(QueueStreamTest, TakesAllThatWait) {
    EXPECT_THAT(runQueue(false, false), ElementsAre(Pair(Time(1000), ElementsAre(1, 2)), Pair(Time(2000), IsEmpty()),
                                                    Pair(Time(3000), IsEmpty())));
}

TEST_F(QueueStreamTest, AnEmptyQueueGivesTheDefault) {
    EXPECT_THAT(runQueue(true, true), Contains(Pair(Time(3000), ElementsAre(0))));
    EXPECT_THAT(runQueue(true, false, true), Contains(Pair(Time(3000), IsEmpty())));
    EXPECT_THAT(partitions.batch(Time(3000)), IsEmpty());
}

TEST_F(QueueStreamTest, NullPointersAreRefused) {
    auto ssc = makeContext();
    EXPECT_THROW(ssc.queueStream(std::shared_ptr<RDDQueue<int>>()), IllegalArgumentException);
    EXPECT_THROW(ConstantInputDStream<int>(ssc, RDD<int>()), IllegalArgumentException);
    EXPECT_THROW(ssc.receiverStream(std::shared_ptr<Receiver<int>>()), IllegalArgumentException);
    ssc.stop();
}

TEST_F(QueueStreamTest, InputsAreNumberedAndNamedInOrder) {
    auto ssc = makeContext();
    auto queue = ssc.queueStream(std::make_shared<RDDQueue<int>>());
    auto text = ssc.socketTextStream("localhost", 9);
    EXPECT_EQ(queue.id(), 0);
    EXPECT_EQ(queue.name(), "Queue stream [0]");
    EXPECT_EQ(text.id(), 1);
    EXPECT_EQ(text.name(), "Socket stream [1]");
    ssc.stop();
}

/// A source of one's own.
class Countdown : public InputDStreamNode<int> {
public:
    explicit Countdown(const StreamingContext& ssc) : InputDStreamNode(ssc, "Countdown stream") {}
    void start() override { started = true; }
    void stop() override { stopped = true; }
    static inline bool started = false;
    static inline bool stopped = false;

private:
    std::optional<RDD<int>> compute(Time) override {
        return context().sparkContext().parallelize(std::vector{left_--});
    }
    int left_ = 10;
};

TEST_F(QueueStreamTest, AnInputOfOnesOwnIsStartedEvaluatedAndStopped) {
    auto ssc = makeContext();
    InputDStream<int> numbers = makeInputStream<Countdown>(ssc);
    EXPECT_EQ(numbers.name(), "Countdown stream [0]");
    auto output = testkit::collect(numbers);
    ssc.start();
    EXPECT_TRUE(Countdown::started);
    testkit::manualClock(ssc).advance(Seconds(2));
    ssc.stop();
    EXPECT_TRUE(Countdown::stopped);
    EXPECT_THAT(output.batch(Time(2000)), ElementsAre(9));
}

/// Writes down which batches have ended, and its stop.
class Diary : public InputDStreamNode<int> {
public:
    Diary(const StreamingContext& ssc, std::vector<std::string>& entries)
        : InputDStreamNode(ssc, "Diary"), entries_(entries) {}
    void stop() override { add("stop"); }
    void batchEnded(Time time, bool) override { add(std::to_string(time.milliseconds())); }

private:
    std::optional<RDD<int>> compute(Time) override { return context().sparkContext().parallelize(std::vector{1}); }
    void add(std::string entry) {
        const std::lock_guard lock(mutex_);
        entries_.push_back(std::move(entry));
    }

    std::mutex mutex_;
    std::vector<std::string>& entries_;
};

TEST_F(QueueStreamTest, AGracefulStopStopsAnInputAfterTheBatchesThatWereQueuedWhenItsTimeWasUp) {
    Signal timeUp, begun, go;
    setLogSink([&](LogLevel, std::string_view, std::string_view text) {
        if (text.find("graceful stop took longer") != std::string_view::npos) timeUp.notify();
    });
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.gracefulStopTimeout", "1ms"));
    std::vector<std::string> entries;  // whole once the context has stopped
    auto input = makeInputStream<Diary>(ssc, entries);
    input.foreachRDD([&](const RDD<int>&) {
        begun.notify();
        go.waitFor();
    });
    ssc.start();
    dynamic_cast<ManualClock&>(*ssc.owner()->core()->clock).setTime(3000);
    EXPECT_TRUE(begun.waitFor());
    std::jthread stopper([&] { ssc.stop(true, true); });
    EXPECT_TRUE(timeUp.waitFor());
    go.notify();
    stopper.join();
    setLogSink({});
    EXPECT_THAT(entries, ElementsAre("1000", "2000", "3000", "stop"));
}

class FileStreamTest : public StreamTest {
protected:
    void SetUp() override {
        directory = std::filesystem::temp_directory_path() / ("dstream-files-" + std::to_string(::getpid()));
        std::filesystem::remove_all(directory);
        std::filesystem::create_directories(directory);
        setLogLevel(LogLevel::kInfo);
        setLogSink([this](LogLevel, std::string_view, std::string_view text) {
            std::lock_guard lock(mutex);
            log += std::string(text) + "\n";
        });
    }
    void TearDown() override {
        setLogSink({});
        setLogLevel(LogLevel::kWarn);
        std::filesystem::remove_all(directory);
    }
    std::string path(const std::string& name) const { return (directory / name).string(); }
    void write(const std::string& name, const std::string& text, int64_t modifiedMs) const {
        const std::string temporary = path(".tmp-" + name);
        std::ofstream(temporary, std::ios::binary) << text;
        touch(temporary, modifiedMs);
        std::filesystem::rename(temporary, path(name));
    }
    static void touch(const std::string& file, int64_t modifiedMs) {
        const timespec time{modifiedMs / 1000, modifiedMs % 1000 * 1'000'000};
        const timespec times[2] = {time, time};
        ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
    }
    std::string logged() {
        std::lock_guard lock(mutex);
        return log;
    }

    std::filesystem::path directory;
    std::mutex mutex;
    std::string log;
};

TEST_F(FileStreamTest, TakesEachNewFileInTheBatchOfItsModificationTime) {
    auto ssc = makeContext();
    write("early", "too early\n", 0);
    auto lines = testkit::collect(ssc.textFileStream(directory.string()));
    auto lengths =
        testkit::collect(ssc.textFileStream(directory.string()).map([](std::string_view line) { return line.size(); }));
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    write("a", "one\ntwo\n", 500);
    write("b", "three", 1500);
    write(".hidden", "never\n", 600);
    std::filesystem::create_directory(path("folder"));
    clock.advance(Seconds(1));
    EXPECT_THAT(lines.batch(Time(1000)), ElementsAre("one", "two"));
    EXPECT_THAT(lengths.batch(Time(1000)), ElementsAre(3, 3));
    clock.advance(Seconds(2));
    EXPECT_THAT(lines.batch(Time(2000)), ElementsAre("three"));
    EXPECT_THAT(lines.batch(Time(3000)), IsEmpty());
    ssc.stop();
    EXPECT_THAT(logged(), AllOf(HasSubstr("early: its modification time 0 ms is not after 0 ms"),
                                HasSubstr("b: its modification time lies after the batch"),
                                HasSubstr(".hidden: the filter does not accept it"),
                                HasSubstr("folder: it is not a regular file"),
                                HasSubstr("a: it has been taken in an earlier batch")));
}

TEST_F(FileStreamTest, Row33_FilesOlderThanTheWindowAreIgnoredWithAWarning) {
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.fileStream.minRememberDuration", "2s"));
    auto lines = testkit::collect(ssc.textFileStream(directory.string()));
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    clock.advance(Seconds(4));
    write("late", "late\n", 1500);
    write("fresh", "fresh\n", 4500);
    clock.advance(Seconds(1));
    EXPECT_THAT(lines.batch(Time(5000)), ElementsAre("fresh"));
    ssc.stop();
    EXPECT_THAT(logged(), HasSubstr("ignores 1 files"));
}

TEST_F(FileStreamTest, AFileOfAForgottenBatchIsReadAgainWhenItIsNew) {
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.fileStream.minRememberDuration", "2s"));
    auto lines = testkit::collect(ssc.textFileStream(directory.string()));
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    write("a", "first\n", 500);
    clock.advance(Seconds(5));
    write("a", "second\n", 5500);
    clock.advance(Seconds(1));
    EXPECT_THAT(lines.batch(Time(1000)), ElementsAre("first"));
    EXPECT_THAT(lines.batch(Time(6000)), ElementsAre("second"));
    ssc.stop();
}

struct ReadPairs {
    std::vector<std::pair<std::string, int>> operator()(const std::string& file) const {
        std::ifstream in(file);
        std::vector<std::pair<std::string, int>> pairs;
        std::string key;
        int value = 0;
        while (in >> key >> value) pairs.emplace_back(key, value);
        return pairs;
    }
};

TEST_F(FileStreamTest, AReaderOfOnesOwnAFilterAndOldFiles) {
    auto ssc = makeContext();
    write("old.txt", "a 1 b 2", 1);
    write("old.dat", "c 3", 1);
    auto pairs = testkit::collect(ssc.fileStream<std::string, int, ReadPairs>(
        directory.string(), [](const std::string& file) { return file.ends_with(".txt"); }, false));
    auto none = testkit::collect(ssc.fileStream<std::string, int, ReadPairs>(path("missing")));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(pairs.batch(Time(1000)), ElementsAre(Pair("a", 1), Pair("b", 2)));
    EXPECT_THAT(none.batch(Time(1000)), IsEmpty());
    ssc.stop();
    EXPECT_THAT(logged(), HasSubstr("cannot list " + path("missing")));
}

TEST_F(FileStreamTest, BinaryRecordsHaveAFixedLength) {
    auto ssc = makeContext();
    auto records = testkit::collect(ssc.binaryRecordsStream(directory.string(), 3));
    ssc.start();
    write("good", "abcdef", 500);
    write("bad", "abcd", 1500);
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(records.batch(Time(1000)), ElementsAre("abc", "def"));
    EXPECT_THROW(ssc.awaitTerminationOrTimeout(0), std::exception);
    ssc.stop();
    EXPECT_THROW(makeContext().binaryRecordsStream("x", 0), IllegalArgumentException);
}

TEST_F(FileStreamTest, Row32_AVanishedFileFailsItsBatchOnly) {
    auto ssc = makeContext();
    std::string file = path("gone");
    auto lines = testkit::collect(
        ssc.textFileStream(directory.string()).transform([file](const RDD<std::string>& rdd, Time time) {
            if (time == Time(1000)) std::filesystem::remove(file);
            return rdd;
        }));
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    write("gone", "lost\n", 500);
    write("stays", "kept\n", 1500);
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    clock.advance(Seconds(2));
    EXPECT_THAT(lines.batch(Time(2000)), ElementsAre("kept"));
    EXPECT_THAT(errorOf([&] { ssc.awaitTermination(); }), HasSubstr("gone"));
    ssc.stop();
}

TEST_F(FileStreamTest, Row31_AFileMovedInCompleteIsReadOnceAndAHiddenPartNever) {
    auto ssc = makeContext();
    auto lines = testkit::collect(ssc.textFileStream(directory.string()));
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    std::ofstream slow(path(".slow"), std::ios::binary);
    slow << "first half, " << std::flush;
    touch(path(".slow"), 500);
    clock.advance(Seconds(1));
    slow << "second half\n" << std::flush;
    slow.close();
    touch(path(".slow"), 1500);
    std::filesystem::rename(path(".slow"), path("slow"));
    clock.advance(Seconds(2));
    EXPECT_THAT(lines.batch(Time(1000)), IsEmpty());
    EXPECT_THAT(lines.batch(Time(2000)), ElementsAre("first half, second half"));
    EXPECT_THAT(lines.batch(Time(3000)), IsEmpty());
    ssc.stop();
}

TEST_F(FileStreamTest, Row21_ModificationTimesAreShiftedByTheWallClocksDistance) {
    registerClock("an hour behind the wall", [] {
        auto clock = std::make_shared<ManualClock>();
        clock->setWallDistance(3'600'000);
        return clock;
    });
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.clock", "an hour behind the wall"));
    auto lines = testkit::collect(ssc.textFileStream(directory.string()));
    ssc.start();
    write("a", "now\n", 3'600'500);
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(lines.all(), ElementsAre(Pair(Time(1000), ElementsAre("now")), Pair(Time(2000), IsEmpty()),
                                         Pair(Time(3000), IsEmpty())));
    ssc.stop();
    const std::string text = logged();
    const std::string warning = "the wall clock has moved 3600000 ms away";
    EXPECT_THAT(text, HasSubstr(warning));
    EXPECT_EQ(text.find(warning, text.find(warning) + 1), std::string::npos);
}

TEST_F(FileStreamTest, TheFilesOfABatchAreItsInputInfo) {
    struct Listener : StreamingListener {
        std::mutex mutex;
        std::map<Time, std::string> descriptions;
        void onBatchCompleted(const StreamingListenerBatchCompleted& e) override {
            std::lock_guard lock(mutex);
            descriptions[e.batchInfo.batchTime] =
                e.batchInfo.streamIdToInputInfo.at(0).metadataDescription().value_or("none");
        }
    };
    auto ssc = makeContext();
    auto listener = std::make_shared<Listener>();
    ssc.addStreamingListener(listener);
    testkit::collect(ssc.textFileStream(directory.string()));
    ssc.start();
    write("a", "x", 500);
    write("b", "x", 500);
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_EQ(listener->descriptions[Time(1000)], path("a") + "\n" + path("b"));
}

/// Accepts one connection on the loopback interface and sends a text.
class TextServer {
public:
    explicit TextServer(std::string text) {
        std::tie(socket_, port) = testsupport::listenOnLoopback();
        thread_ = std::jthread([this, text = std::move(text)] {
            const int client = ::accept(socket_, nullptr, nullptr);
            ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
            ::shutdown(client, SHUT_WR);
            char byte = 0;
            while (::recv(client, &byte, 1, 0) > 0) {
            }
            ::close(client);
            allRead.notify();
        });
    }
    ~TextServer() { ::close(socket_); }

    int port = 0;
    Signal allRead;

private:
    int socket_ = -1;
    std::jthread thread_;
};

TEST_F(StreamTest, SocketTextIsCountedAsWords) {
    TextServer server("to be or\r\nnot to be\rthat");
    auto ssc =
        makeContext(Milliseconds(50),
                    SparkConf().set("spark.streaming.clock", "system").set("spark.streaming.blockInterval", "10ms"));
    std::map<std::string, int64_t> counts;
    int64_t lines = 0;
    auto text = ssc.socketTextStream("127.0.0.1", server.port);
    text.flatMap([](std::string_view line) {
            std::vector<std::string> words;
            std::istringstream in{std::string(line)};
            for (std::string word; in >> word;) words.push_back(word);
            return words;
        })
        .countByValue()
        .foreachRDD([&](const auto& rdd) {
            for (const auto& [word, n] : rdd.collect()) counts[word] += n;
        });
    text.count().foreachRDD([&](const RDD<int64_t>& rdd) { lines += rdd.first(); });
    ssc.start();
    ASSERT_TRUE(server.allRead.waitFor());
    ssc.stop(true, true);
    EXPECT_THAT(counts,
                UnorderedElementsAre(Pair("to", 2), Pair("be", 2), Pair("or", 1), Pair("not", 1), Pair("that", 1)));
    EXPECT_EQ(lines, 3);
}

/// Stores what the test gives.
class PushReceiver : public Receiver<int> {
public:
    PushReceiver() : Receiver<int>(StorageLevel::MEMORY_ONLY) {}
    void onStart() override { started.notify(); }
    void onStop() override {}
    Signal started;
};

TEST_F(StreamTest, AReceiversBlocksBelongToTheNextBatch) {
    auto ssc = makeContext();
    auto receiver = std::make_shared<PushReceiver>();
    auto stream = ssc.receiverStream<int>(receiver);
    auto output = testkit::collect(stream);
    auto partitions = testkit::collect(stream.glom());
    ssc.start();
    ASSERT_TRUE(receiver->started.waitFor());
    receiver->store(std::vector{1, 2});
    receiver->store(std::vector{3});
    auto& clock = testkit::manualClock(ssc);
    clock.advance(Seconds(1));
    receiver->store(std::vector{4});
    clock.advance(Seconds(2));
    EXPECT_THAT(output.batch(Time(1000)), ElementsAre(1, 2, 3));
    EXPECT_THAT(partitions.batch(Time(1000)), ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
    EXPECT_THAT(output.batch(Time(2000)), ElementsAre(4));
    EXPECT_THAT(partitions.batch(Time(3000)), IsEmpty());
    ssc.stop();
}

}  // namespace
}  // namespace dstream
