#include "dstream/stream_test.hpp"
#include "rdd/clock.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <thread>

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JobSchedulerTest : public StreamTest {
protected:
    static InputDStream<int> numbers(const StreamingContext& ssc) {
        return ConstantInputDStream<int>(ssc, ssc.sparkContext().parallelize(std::vector{1, 2, 3}));
    }
};

/// Writes down what happens.
struct Recorder : StreamingListener {
    mutable std::mutex mutex;
    std::vector<std::string> events;
    std::vector<BatchInfo> completed;
    std::vector<OutputOperationInfo> operations;

    void add(const std::string& event) {
        std::lock_guard lock(mutex);
        events.push_back(event);
    }
    void onStreamingStarted(const StreamingListenerStreamingStarted&) override { add("started"); }
    void onBatchSubmitted(const StreamingListenerBatchSubmitted& e) override {
        EXPECT_FALSE(e.batchInfo.processingStartTime);
        add("submitted " + std::to_string(e.batchInfo.batchTime.milliseconds()));
    }
    void onBatchStarted(const StreamingListenerBatchStarted& e) override {
        EXPECT_TRUE(e.batchInfo.processingStartTime);
        add("begun " + std::to_string(e.batchInfo.batchTime.milliseconds()));
    }
    void onBatchCompleted(const StreamingListenerBatchCompleted& e) override {
        add("completed " + std::to_string(e.batchInfo.batchTime.milliseconds()));
        std::lock_guard lock(mutex);
        completed.push_back(e.batchInfo);
    }
    void onOutputOperationStarted(const StreamingListenerOutputOperationStarted& e) override {
        add("op begun " + std::to_string(e.outputOperationInfo.id));
    }
    void onOutputOperationCompleted(const StreamingListenerOutputOperationCompleted& e) override {
        add("op completed " + std::to_string(e.outputOperationInfo.id));
        std::lock_guard lock(mutex);
        operations.push_back(e.outputOperationInfo);
    }
};

TEST_F(JobSchedulerTest, ListenersHearOfABatchInOrder) {
    auto ssc = makeContext();
    auto recorder = std::make_shared<Recorder>();
    ssc.addStreamingListener(recorder);
    testkit::collect(numbers(ssc));
    testkit::collect(numbers(ssc));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_THAT(recorder->events, ElementsAre("started", "submitted 1000", "begun 1000", "op begun 0", "op completed 0",
                                              "op begun 1", "op completed 1", "completed 1000"));
    ASSERT_EQ(recorder->completed.size(), 1u);
    EXPECT_TRUE(recorder->completed[0].totalDelay());
    EXPECT_EQ(recorder->completed[0].outputOperationInfos.size(), 2u);
    EXPECT_THAT(recorder->operations.at(0).name, HasSubstr("foreachRDD at testkit.hpp:"));
}

TEST_F(JobSchedulerTest, Row1_AFailingOutputIsReportedAndTheOthersGoOn) {
    auto ssc = makeContext();
    auto recorder = std::make_shared<Recorder>();
    ssc.addStreamingListener(recorder);
    auto in = testkit::batches<int>(ssc, {{1}, {2}, {3}});
    auto failing = testkit::collect(in.map([](int x) {
        if (x == 2) throw std::runtime_error("two is wrong");
        return x;
    }));
    auto other = testkit::collect(in);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(failing.batch(Time(2000)), IsEmpty());
    EXPECT_THAT(failing.batch(Time(3000)), ElementsAre(3));
    EXPECT_THAT(other.batch(Time(2000)), ElementsAre(2));
    EXPECT_THAT(errorOf([&] { ssc.awaitTermination(); }),
                AllOf(HasSubstr("2000 ms"), HasSubstr("two is wrong"), HasSubstr("map at job_scheduler_test.cpp:")));
    ssc.stop();
    int failures = 0;
    for (const auto& operation : recorder->operations) {
        if (operation.failureReason) {
            ++failures;
            EXPECT_THAT(*operation.failureReason, HasSubstr("two is wrong"));
        }
    }
    EXPECT_EQ(failures, 1);
}

TEST_F(JobSchedulerTest, Row2_AnOutputThatThrowsANonStandardTypeIsReported) {
    auto ssc = makeContext();
    numbers(ssc).foreachRDD([](const RDD<int>&) { throw 7; });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(errorOf([&] { ssc.awaitTermination(); }), HasSubstr("unknown exception"));
    ssc.stop();
}

TEST_F(JobSchedulerTest, AFailedGenerationSkipsOneBatchOnly) {
    auto ssc = makeContext();
    auto output = testkit::collect(numbers(ssc).transform([](const RDD<int>& rdd, Time time) {
        if (time == Time(2000)) throw std::runtime_error("no graph today");
        return rdd;
    }));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_EQ(output.all().size(), 2u);
    EXPECT_THAT(errorOf([&] { ssc.awaitTermination(); }),
                AllOf(HasSubstr("batch 2000 ms"), HasSubstr("transform at job_scheduler_test.cpp:"),
                      HasSubstr("no graph today")));
    ssc.stop();
}

TEST_F(JobSchedulerTest, Row20_BatchesQueueInOrderBehindASlowOne) {
    auto clock = std::make_shared<ManualClock>();
    registerClock("row 20", [clock] { return clock; });
    auto ssc = makeContext(Milliseconds(5), SparkConf().set("spark.streaming.clock", "row 20"));
    auto recorder = std::make_shared<Recorder>();
    ssc.addStreamingListener(recorder);
    Signal generated;
    Signal done;
    std::latch release(1);
    std::vector<int64_t> times;
    numbers(ssc)
        .transform([&](const RDD<int>& rdd) {
            generated.notify();
            return rdd;
        })
        .foreachRDD([&](const RDD<int>&, Time time) {
            release.wait();
            times.push_back(time.milliseconds());
            done.notify();
        });
    ssc.start();
    clock->setTime(25);
    ASSERT_TRUE(generated.waitFor(5));
    clock->setTime(29);  // while the first still runs
    release.count_down();
    ASSERT_TRUE(done.waitFor(5));
    ssc.stop();
    EXPECT_THAT(times, ElementsAre(5, 10, 15, 20, 25));
    EXPECT_GE(recorder->completed.at(3).schedulingDelay(), 4);  // waited for the first
}

TEST_F(JobSchedulerTest, ASlowTransformLosesNoTick) {
    auto ssc = makeContext(Milliseconds(5), SparkConf().set("spark.streaming.clock", "system"));
    Signal batches;
    std::vector<int64_t> times;
    auto slow = numbers(ssc).transform([n = 0](const RDD<int>& rdd) mutable {
        if (n++ == 0) {
            std::mutex mutex;
            std::unique_lock lock(mutex);
            std::condition_variable().wait_for(lock, std::chrono::milliseconds(60), [] { return false; });
        }
        return rdd;
    });
    slow.foreachRDD([&](const RDD<int>&, Time time) {
        times.push_back(time.milliseconds());
        batches.notify();
    });
    ssc.start();
    ASSERT_TRUE(batches.waitFor(20));
    ssc.stop();
    for (std::size_t i = 1; i < times.size(); ++i) EXPECT_EQ(times[i] - times[i - 1], 5);
}

TEST_F(JobSchedulerTest, ConcurrentJobsLetOutputsOverlap) {
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.concurrentJobs", "2"));
    std::latch both(2);
    numbers(ssc).foreachRDD([&](const RDD<int>&) { both.arrive_and_wait(); });
    numbers(ssc).foreachRDD([&](const RDD<int>&) { both.arrive_and_wait(); });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_TRUE(both.try_wait());
    ssc.stop();
}

TEST_F(JobSchedulerTest, JobsCarryTheStartersPropertiesTheBatchTimeAndTheOutputsId) {
    auto ssc = makeContext();
    const SparkContext sc = ssc.sparkContext();
    sc.setLocalProperty("color", "red");
    sc.setJobGroup("mine", "my jobs");
    std::mutex mutex;
    std::map<std::string, std::optional<std::string>> seen;
    std::optional<Time> taskTime;
    numbers(ssc).foreachRDD([&, sc](const RDD<int>& rdd) {
        std::lock_guard lock(mutex);
        for (const char* key : {"color", "spark.jobGroup.id", "spark.streaming.internal.batchTime",
                                "spark.streaming.internal.outputOpId"}) {
            seen[key] = sc.getLocalProperty(key);
        }
        auto times = rdd.map([](int) { return TaskContext::get()->batchTime()->milliseconds(); }).collect();
        taskTime = Time(times.at(0));
    });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_EQ(seen["color"], "red");
    EXPECT_EQ(seen["spark.jobGroup.id"], std::nullopt);
    EXPECT_EQ(seen["spark.streaming.internal.batchTime"], "1000");
    EXPECT_EQ(seen["spark.streaming.internal.outputOpId"], "0");
    EXPECT_EQ(taskTime, Time(1000));
}

TEST_F(JobSchedulerTest, TheStatsReportNamesTheDistributionOfDelays) {
    StatsReportListener listener(2);
    BatchInfo info;
    info.submissionTime = 0;
    info.processingStartTime = 10;
    info.processingEndTime = 30;
    for (int i = 0; i < 3; ++i) listener.onBatchCompleted({info});
    EXPECT_THAT(listener.lastReport(),
                AllOf(HasSubstr("Total delay (count: 2)"), HasSubstr("30 ms"), HasSubstr("20 ms")));
}

TEST_F(JobSchedulerTest, InputInfoRefusesNegativeCounts) {
    EXPECT_THROW(StreamInputInfo(0, -1), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
