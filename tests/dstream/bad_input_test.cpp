#include "dstream/stream_test.hpp"
#include "support/captured_log.hpp"
#include "support/test_files.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>
#include <vector>

// What bad settings, durations and functions get from a streaming context.

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Idle : public Receiver<int> {
public:
    Idle() : Receiver<int>(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {}
    void onStop() override {}
};

class BadInputTest : public StreamTest {
protected:
    /// Makes and starts a context with all kinds of inputs; stops it again.
    static void runWith(const std::string& key, const std::string& value) {
        auto ssc =
            makeContext(Seconds(1), SparkConf().set("spark.streaming.backpressure.enabled", "true").set(key, value));
        ssc.receiverStream<int>(std::make_shared<Idle>()).print();
        ssc.textFileStream(std::filesystem::temp_directory_path().string()).print();
        ssc.start();
        ssc.stop(true, true);
    }
};

TEST_F(BadInputTest, WrongValuesOfSettingsAreRefusedBeforeTheFirstBatch) {
    const std::vector<std::pair<std::string, std::string>> wrong = {
        {"spark.streaming.blockInterval", "0"},
        {"spark.streaming.blockInterval", "-5ms"},
        {"spark.streaming.blockInterval", "often"},
        {"spark.streaming.blockQueueSize", "none"},
        {"spark.streaming.blockQueueSize", "0"},
        {"spark.streaming.receiver.maxRate", "fast"},
        {"spark.streaming.receiverRestartDelay", "-1"},
        {"spark.streaming.receiverRestartDelay", "2s"},
        {"spark.streaming.concurrentJobs", "0"},
        {"spark.streaming.concurrentJobs", "-2"},
        {"spark.streaming.gracefulStopTimeout", "-1s"},
        {"spark.streaming.gracefulStopTimeout", "soon"},
        {"spark.streaming.stopGracefullyOnShutdown", "sometimes"},
        {"spark.streaming.stopSparkContextByDefault", "yes"},
        {"spark.streaming.unpersist", "1"},
        {"spark.streaming.fileStream.minRememberDuration", "-1s"},
        {"spark.streaming.fileStream.minRememberDuration", "long"},
        {"spark.streaming.clock", "sundial"},
        {"spark.streaming.backpressure.initialRate", "x"},
        {"spark.streaming.backpressure.rateEstimator", "guess"},
        {"dstream.receiver.maxBufferedBytes", "-1"},
        {"dstream.receiver.maxBufferedBytes", "lots"},
        {"dstream.receiver.maxStoredBytes", "0"},
        {"dstream.stop.timeout", "-1"},
    };
    for (const auto& [key, value] : wrong) {
        try {
            runWith(key, value);
            ADD_FAILURE() << key << "=" << value << " was taken";
        } catch (const IllegalArgumentException& error) {
            EXPECT_THAT(error.what(), HasSubstr(key)) << "the key is named";
        } catch (const std::exception& error) {
            ADD_FAILURE() << key << "=" << value << ": " << error.what();
        }
    }
}

TEST_F(BadInputTest, NegativeDurationsAreRefusedWhereTheyAreGiven) {
    auto ssc = makeContext();
    auto numbers = testkit::batches<int>(ssc, {{1}});
    auto pairs = numbers.map([](int x) { return std::pair(x, 1); });
    EXPECT_THROW(ssc.remember(Seconds(-1)), IllegalArgumentException);
    EXPECT_THROW(numbers.window(Seconds(-2)), IllegalArgumentException);
    EXPECT_THROW(numbers.window(Seconds(0)), IllegalArgumentException);
    EXPECT_THROW(numbers.window(Seconds(2), Seconds(-1)), IllegalArgumentException);
    EXPECT_THROW(numbers.countByWindow(Seconds(-2), Seconds(1)), IllegalArgumentException);
    EXPECT_THROW(pairs.reduceByKeyAndWindow(std::plus<>{}, std::minus<>{}, Seconds(2), Seconds(-2)),
                 IllegalArgumentException);
    testkit::collect(numbers.map([](int x) { return x; }).checkpoint(Seconds(-1)));
    EXPECT_THROW(ssc.start(), IllegalArgumentException);
    EXPECT_EQ(ssc.getState(), StreamingContextState::STOPPED);
    ssc.stop();
}

TEST_F(BadInputTest, Row44_StartingTwiceIsAWarningAndAStoppedContextNeverStartsAgain) {
    auto ssc = makeContext();
    auto output = testkit::collect(testkit::batches<int>(ssc, {{1}, {2}}));
    ssc.start();
    const testsupport::CapturedLog log;
    ssc.start();
    EXPECT_THAT(log.text(), HasSubstr("StreamingContext has already been started"));
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(output.batch(Time(2000)), ElementsAre(2)) << "it goes on as it was";
    ssc.stop();
    EXPECT_THAT(errorOf([&] { ssc.start(); }), HasSubstr("StreamingContext has already been stopped"));
    EXPECT_THROW(ssc.start(), IllegalStateException);
}

TEST_F(BadInputTest, Row33_AFileAnHourAheadIsTakenWhenItsTimeHasCome) {
    const testsupport::TemporaryDirectory directory;
    auto ssc = makeContext(Minutes(1));
    auto lines = testkit::collect(ssc.textFileStream(directory.path()));
    ssc.start();
    std::ofstream(directory / "ahead") << "of its time\n";
    const timespec anHour{3600, 0};
    const timespec times[] = {anHour, anHour};
    ASSERT_EQ(::utimensat(AT_FDCWD, (directory / "ahead").c_str(), times, 0), 0);
    testkit::manualClock(ssc).advance(Minutes(62));
    ssc.stop();
    for (const auto& [time, batch] : lines.all()) {
        EXPECT_EQ(batch.size(), time == Time(3'600'000) ? 1U : 0U) << time.toString();
    }
    EXPECT_EQ(lines.all().size(), 62U);
}

/// Throws when it is copied in a task.
struct Touchy {
    explicit Touchy(int value_) : value(value_) {}
    Touchy(const Touchy& that) : value(that.value) { check(); }
    Touchy(Touchy&&) noexcept = default;
    Touchy& operator=(const Touchy& that) {
        value = that.value;
        check();
        return *this;
    }
    Touchy& operator=(Touchy&&) noexcept = default;
    ~Touchy() = default;
    void check() const {
        if (value == 2 && TaskContext::get() != nullptr) throw std::runtime_error("two cannot be copied");
    }
    int value;
};

TEST_F(BadInputTest, AnElementThatThrowsWhenItIsCopiedFailsItsBatchOnly) {
    auto ssc = makeContext();
    std::vector<int> seen;
    testkit::batches<int>(ssc, {{1}, {2}, {3}})
        .map([](int x) { return Touchy(x); })
        .foreachRDD([&](const RDD<Touchy>& rdd) {
            for (const auto& all : rdd.glom().collect()) {
                for (const Touchy& one : all) seen.push_back(one.value);
            }
        });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(
        errorOf([&] { ssc.awaitTerminationOrTimeout(0); }),
        AllOf(HasSubstr("streaming job 2000 ms.0"), HasSubstr("partition 0"), HasSubstr("two cannot be copied")));
    ssc.stop();
    EXPECT_THAT(seen, ElementsAre(1, 3));
}

}  // namespace
}  // namespace dstream
