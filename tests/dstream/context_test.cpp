#include "dstream/stream_test.hpp"

#include <csignal>
#include <filesystem>
#include <thread>

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ContextTest : public StreamTest {
protected:
    static InputDStream<int> numbers(const StreamingContext& ssc) {
        return ConstantInputDStream<int>(ssc, ssc.sparkContext().parallelize(std::vector{1, 2, 3}));
    }
};

TEST_F(ContextTest, GoesFromInitializedToActiveToStopped) {
    auto ssc = makeContext();
    EXPECT_EQ(ssc.getState(), StreamingContextState::INITIALIZED);
    EXPECT_FALSE(StreamingContext::getActive());
    auto output = testkit::collect(numbers(ssc));
    ssc.start();
    EXPECT_EQ(ssc.getState(), StreamingContextState::ACTIVE);
    EXPECT_EQ(StreamingContext::getActive(), ssc);
    ssc.start();  // only warns
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(output.batch(Time(2000)), ElementsAre(1, 2, 3));
    EXPECT_FALSE(ssc.awaitTerminationOrTimeout(10));
    ssc.stop();
    EXPECT_TRUE(ssc.awaitTerminationOrTimeout(10));
    EXPECT_EQ(ssc.getState(), StreamingContextState::STOPPED);
    EXPECT_FALSE(StreamingContext::getActive());
    ssc.stop();
    EXPECT_THROW(ssc.start(), IllegalStateException);
}

TEST_F(ContextTest, Row44_StartingWithoutOutputOperationIsRefusedWithTheReferencesText) {
    auto ssc = makeContext();
    numbers(ssc);
    EXPECT_THAT(errorOf([&] { ssc.start(); }), HasSubstr("No output operations registered, so nothing to execute"));
    EXPECT_EQ(ssc.getState(), StreamingContextState::STOPPED);
}

TEST_F(ContextTest, Row44_NothingIsAddedAfterStartOrStop) {
    auto ssc = makeContext();
    auto in = numbers(ssc);
    in.print();
    ssc.start();
    const std::string after = "Adding new inputs, transformations, and output operations after ";
    EXPECT_THAT(errorOf([&] { in.map([](int x) { return x; }); }), HasSubstr(after + "starting"));
    EXPECT_THAT(errorOf([&] { in.print(); }), HasSubstr(after + "starting"));
    EXPECT_THAT(errorOf([&] { numbers(ssc); }), HasSubstr(after + "starting"));
    EXPECT_THROW(in.persist(), UnsupportedOperationException);
    EXPECT_THROW(in.checkpoint(Seconds(1)), UnsupportedOperationException);
    ssc.stop();
    EXPECT_THAT(errorOf([&] { in.print(); }), HasSubstr(after + "stopping"));
}

TEST_F(ContextTest, OnlyOneContextIsActiveInTheProcess) {
    auto first = makeContext();
    testkit::collect(numbers(first));
    first.start();
    StreamingContext second(first.sparkContext(), Seconds(1));
    testkit::collect(numbers(second));
    EXPECT_THROW(second.start(), IllegalStateException);
    EXPECT_EQ(second.getState(), StreamingContextState::INITIALIZED);
    first.stop(false);
    second.start();
    EXPECT_EQ(StreamingContext::getActive(), second);
    second.stop();
}

TEST_F(ContextTest, GetActiveOrCreateCreatesOnlyWhenNoneIsActive) {
    auto ssc = makeContext();
    testkit::collect(numbers(ssc));
    int created = 0;
    auto create = [&] {
        ++created;
        return StreamingContext(ssc.sparkContext(), Seconds(1));
    };
    StreamingContext::getActiveOrCreate(create);
    EXPECT_EQ(created, 1);
    ssc.start();
    EXPECT_EQ(StreamingContext::getActiveOrCreate(create), ssc);
    EXPECT_EQ(created, 1);
    ssc.stop();
}

TEST_F(ContextTest, WrongSettingsAreRefusedWithAText) {
    SparkContext sc(SparkConf().setMaster("local[2]").setAppName("test"));
    EXPECT_THAT(errorOf([&] { StreamingContext(sc, Seconds(0)); }),
                HasSubstr("the batch duration must be positive: 0 ms"));
    EXPECT_THROW(StreamingContext(sc, Seconds(-1)), IllegalArgumentException);
    sc.stop();
    EXPECT_THROW(StreamingContext(SparkConf(), Seconds(1)), SparkException);
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.concurrentJobs", "many"));
    testkit::collect(numbers(ssc));
    EXPECT_THROW(ssc.start(), IllegalArgumentException);
    ssc.stop();
}

TEST_F(ContextTest, RememberMayBeCalledOnce) {
    auto ssc = makeContext();
    ssc.remember(Seconds(3));
    EXPECT_THAT(errorOf([&] { ssc.remember(Seconds(5)); }), HasSubstr("Remember duration already set as 3000 ms"));
    ssc.stop();
}

TEST_F(ContextTest, StreamsOfAContextThatIsGoneAreRefused) {
    std::optional<DStream<int>> orphan;
    {
        auto ssc = makeContext();
        orphan = numbers(ssc);
    }
    EXPECT_THROW(orphan->map([](int x) { return x; }), IllegalStateException);
}

TEST_F(ContextTest, TheLastHandleStopsTheContext) {
    testkit::Collected<int> output;
    {
        auto ssc = makeContext();
        output = testkit::collect(numbers(ssc));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(1));
    }
    EXPECT_FALSE(StreamingContext::getActive());
    EXPECT_THAT(output.batch(Time(1000)), ElementsAre(1, 2, 3));
}

TEST_F(ContextTest, GracefulStopRunsTheCurrentIntervalAndOneMore) {
    auto ssc = makeContext();
    auto output = testkit::collect(numbers(ssc));
    ssc.start();
    auto& clock = testkit::manualClock(ssc);
    clock.advance(Seconds(2));
    ASSERT_TRUE(clock.awaitTimer());  // stopped before, it would tick once, not twice
    std::jthread stopper([&] { ssc.stop(true, true); });
    while (ssc.getState() != StreamingContextState::STOPPED) clock.advance(Seconds(1));
    EXPECT_GE(output.all().size(), 4u);
}

TEST_F(ContextTest, GracefulStopGivesUpAfterItsTimeout) {
    auto ssc = makeContext(Seconds(1), SparkConf().set("spark.streaming.gracefulStopTimeout", "100ms"));
    testkit::collect(numbers(ssc));
    ssc.start();
    ssc.stop(true, true);  // nobody moves the clock
    EXPECT_EQ(ssc.getState(), StreamingContextState::STOPPED);
}

TEST_F(ContextTest, AnOutputOperationMayStopTheContext) {
    auto ssc = makeContext();
    std::weak_ptr<detail::StreamingOwner> weak = ssc.owner();
    numbers(ssc).foreachRDD([weak](const RDD<int>&) { StreamingContext(weak.lock()).stop(true, false); });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_TRUE(ssc.awaitTerminationOrTimeout(20'000));
}

TEST_F(ContextTest, AListenerCannotStopTheContext) {
    struct Stopper : StreamingListener {
        std::weak_ptr<detail::StreamingOwner> context;
        std::string failure;
        Signal done;
        void onBatchCompleted(const StreamingListenerBatchCompleted&) override {
            failure = errorOf([&] { StreamingContext(context.lock()).stop(); });
            done.notify();
        }
    };
    auto ssc = makeContext();
    auto stopper = std::make_shared<Stopper>();
    stopper->context = ssc.owner();
    ssc.addStreamingListener(stopper);
    testkit::collect(numbers(ssc));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    ASSERT_TRUE(stopper->done.waitFor());
    EXPECT_THAT(stopper->failure, HasSubstr("within listener bus thread"));
    ssc.stop();
}

TEST_F(ContextTest, SliceGivesPastBatchesInsideAndOutsideOfTheGrid) {
    auto ssc = makeContext();
    ssc.remember(Seconds(20));
    auto in = testkit::partitionedBatches<int>(ssc, {{{{1}}}, {{{2}}}, std::nullopt, {{{4}}}});
    auto mapped = in.map([](int x) { return -x; });
    testkit::collect(mapped);
    EXPECT_THAT(errorOf([&] { mapped.slice(Time(0), Time(1)); }), HasSubstr("has not been initialized"));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(4));
    auto contents = [&](int64_t from, int64_t to) {
        std::vector<std::vector<int>> batches;
        for (const auto& rdd : mapped.slice(Time(from), Time(to))) batches.push_back(rdd.collect());
        return batches;
    };
    EXPECT_THAT(contents(1000, 4000), ElementsAre(ElementsAre(-1), ElementsAre(-2), ElementsAre(-4)));
    EXPECT_THAT(contents(1500, 2700), ElementsAre(ElementsAre(-1), ElementsAre(-2)));
    EXPECT_THAT(contents(0, 1000), ElementsAre(ElementsAre(-1)));
    EXPECT_THAT(contents(3000, 1000), IsEmpty());
    EXPECT_EQ(mapped.slice(Interval(Time(1000), Time(2000))).size(), 2u);
    ssc.stop();
}

TEST_F(ContextTest, OldRddsAreForgottenAndUnpersisted) {
    auto ssc = makeContext();
    auto in = testkit::batches<int>(ssc, {{1}, {2}, {3}});
    testkit::collect(in.map([](int x) { return x; }).persist(StorageLevel::MEMORY_ONLY));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_LE(ssc.sparkContext().getPersistentRDDs().size(), 1u);
    ssc.stop();
}

TEST_F(ContextTest, CheckpointSettingsAreCheckedAtStart) {
    auto failure = [&](Duration interval, bool directory) {
        auto ssc = makeContext();
        auto path = std::filesystem::temp_directory_path() / "dstream-context-test";
        if (directory) ssc.checkpoint(path.string());
        testkit::collect(numbers(ssc).map([](int x) { return x; }).checkpoint(interval));
        std::string text = errorOf([&] { ssc.start(); });
        EXPECT_EQ(ssc.getState() == StreamingContextState::STOPPED, text != "no exception");
        ssc.stop();
        std::filesystem::remove_all(path);
        return text;
    };
    EXPECT_THAT(failure(Seconds(2), false), HasSubstr("The checkpoint directory has not been set"));
    EXPECT_THAT(failure(Milliseconds(500), true), HasSubstr("lower than its slide time (1000 ms)"));
    EXPECT_THAT(failure(Milliseconds(1500), true), HasSubstr("not a multiple of its slide time (1000 ms)"));
    EXPECT_EQ(failure(Seconds(2), true), "no exception");
}

TEST_F(ContextTest, AUidIsTakenOnce) {
    auto ssc = makeContext();
    auto in = numbers(ssc).uid("numbers");
    EXPECT_THROW(in.map([](int x) { return x; }).uid("numbers"), IllegalArgumentException);
    ssc.stop();
}

TEST_F(ContextTest, Row46_ManyContextsLeaveNoThreadsAndNoDescriptors) {
    auto count = [](const char* directory) {
        return std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator());
    };
    auto runOne = [&] {
        auto ssc = makeContext();
        auto output = testkit::collect(numbers(ssc));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(1));
        ssc.stop();
        EXPECT_EQ(output.all().size(), 1u);
    };
    for (int i = 0; i < 5; ++i) runOne();
    const auto threads = count("/proc/self/task");
    const auto descriptors = count("/proc/self/fd");
    for (int i = 0; i < 1000; ++i) runOne();
    EXPECT_LE(count("/proc/self/task"), threads);
    EXPECT_LE(count("/proc/self/fd"), descriptors);
}

TEST_F(ContextTest, ASignalStopsGracefullyWhenConfigured) {
    auto ssc = makeContext(
        Milliseconds(20),
        SparkConf().set("spark.streaming.clock", "system").set("spark.streaming.stopGracefullyOnShutdown", "true"));
    Signal ran;
    numbers(ssc).foreachRDD([&](const RDD<int>&) { ran.notify(); });
    ssc.start();
    ASSERT_TRUE(ran.waitFor());
    ASSERT_EQ(::raise(SIGTERM), 0);
    EXPECT_TRUE(ssc.awaitTerminationOrTimeout(20'000));
    EXPECT_FALSE(ssc.sparkContext().isStopped());
    ssc.stop();
}

TEST_F(ContextTest, DeepChainsOfStreamsNeitherOverflowNorLose) {
    auto ssc = makeContext();
    DStream<int> stream = testkit::batches<int>(ssc, {{0}, {0}});
    for (int i = 0; i < 2000; ++i) stream = stream.map([](int x) { return x + 1; });
    auto output = testkit::collect(stream);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(output.batch(Time(2000)), ElementsAre(2000));
    ssc.stop();
}

}  // namespace
}  // namespace dstream
