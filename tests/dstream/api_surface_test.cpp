// One call of every form that the compatibility inventory lists for streams and their context, with the names, argument
// orders and defaults given there: a form that is missing does not compile.

#include "dstream/stream_test.hpp"
#include "support/test_files.hpp"

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Words = std::vector<std::string>;
using Pair = std::pair<std::string, int>;

class StreamApiSurfaceTest : public StreamTest {
protected:
    testsupport::TemporaryDirectory directory_;
    StreamingContext ssc_ = makeContext();

    InputDStream<int> numbers() { return constant(std::vector{1, 2, 3}); }
    InputDStream<Pair> pairs() { return constant(std::vector<Pair>{{"a", 1}, {"b", 2}, {"a", 3}}); }

    template <class T>
    InputDStream<T> constant(std::vector<T> elements) {
        return ConstantInputDStream<T>(ssc_, ssc_.sparkContext().parallelize(std::move(elements), 2));
    }
    /// Runs one batch with all streams that were made visible.
    void runOneBatch() {
        ssc_.start();
        testkit::manualClock(ssc_).advance(Seconds(1));
        ssc_.stop();
        for (const auto& size : sizes_) EXPECT_EQ(size(), 1) << "a stream gave no batch";
    }
    template <class... Streams>
    void expectBatches(const Streams&... streams) {
        (sizes_.push_back([collected = testkit::collect(streams)] { return collected.all().size(); }), ...);
    }

    void TearDown() override { ssc_.stop(); }

private:
    std::vector<std::function<std::size_t()>> sizes_;
};

TEST_F(StreamApiSurfaceTest, StreamsAreTransformed) {
    const auto n = numbers();
    const auto plus = [](int a, int b) { return a + b; };
    const auto same = [](Iterator<int> part) { return part; };
    expectBatches(n.map([](int x) { return x + 1; }), n.flatMap([](int x) {
        return std::vector{x, x};
    }),
                  n.flatMap<int>([](int x, auto&& emit) { emit(x); }), n.filter([](int x) { return x > 1; }), n.glom(),
                  n.repartition(2), n.mapPartitions(same), n.mapPartitions(same, true), n.reduce(plus), n.count(),
                  n.countByValue(), n.countByValue(2), n.transform([](const RDD<int>& rdd) { return rdd; }),
                  n.transform([](const RDD<int>& rdd, Time) { return rdd; }),
                  n.transformWith(n, [](const RDD<int>& a, const RDD<int>& b) { return a.unionWith(b); }),
                  n.transformWith(n, [](const RDD<int>& a, const RDD<int>& b, Time) { return a.unionWith(b); }),
                  n.unionWith(n));
    EXPECT_EQ(n.context(), ssc_);
    EXPECT_EQ(n.slideDuration(), Seconds(1));
    n.map([](int x) { return x; }).persist().persist(StorageLevel::MEMORY_ONLY_SER).cache().setName("n").uid("n");
    runOneBatch();
}

TEST_F(StreamApiSurfaceTest, StreamsHaveWindows) {
    ssc_.checkpoint(directory_ / "checkpoints");
    const auto n = numbers();
    const auto p = pairs();
    const HashPartitioner two(2);
    const auto plus = [](int a, int b) { return a + b; };
    const auto minus = [](int a, int b) { return a - b; };
    const auto keep = [](const Pair&) { return true; };
    const Duration w = Seconds(2), s = Seconds(1);
    expectBatches(n.window(w), n.window(w, s), n.reduceByWindow(plus, w, s), n.reduceByWindow(plus, minus, w, s),
                  n.countByWindow(w, s), n.countByValueAndWindow(w, s), n.countByValueAndWindow(w, s, 2),
                  p.groupByKeyAndWindow(w), p.groupByKeyAndWindow(w, s), p.groupByKeyAndWindow(w, s, 2),
                  p.groupByKeyAndWindow(w, s, two), p.reduceByKeyAndWindow(plus, w), p.reduceByKeyAndWindow(plus, w, s),
                  p.reduceByKeyAndWindow(plus, w, s, 2), p.reduceByKeyAndWindow(plus, w, s, two));
    expectBatches(p.reduceByKeyAndWindow(plus, minus, w), p.reduceByKeyAndWindow(plus, minus, w, s),
                  p.reduceByKeyAndWindow(plus, minus, w, s, 2), p.reduceByKeyAndWindow(plus, minus, w, s, 2, keep),
                  p.reduceByKeyAndWindow(plus, minus, w, s, two, keep));
    runOneBatch();
}

TEST_F(StreamApiSurfaceTest, PairsAreCombined) {
    const auto p = pairs();
    const HashPartitioner two(2);
    const auto plus = [](int a, int b) { return a + b; };
    const auto create = [](int v) { return v; };
    expectBatches(p.groupByKey(), p.groupByKey(2), p.groupByKey(two), p.reduceByKey(plus), p.reduceByKey(plus, 2),
                  p.reduceByKey(plus, two), p.combineByKey(create, plus, plus, two),
                  p.combineByKey<int>(create, plus, plus, two, false), p.mapValues([](int v) { return v; }),
                  p.flatMapValues([](int v) { return std::vector{v}; }));
    expectBatches(p.cogroup(p), p.cogroup(p, 2), p.cogroup(p, two), p.join(p), p.join(p, 2), p.join(p, two),
                  p.leftOuterJoin(p), p.leftOuterJoin(p, 2), p.leftOuterJoin(p, two), p.rightOuterJoin(p),
                  p.rightOuterJoin(p, 2), p.rightOuterJoin(p, two), p.fullOuterJoin(p), p.fullOuterJoin(p, 2),
                  p.fullOuterJoin(p, two));
    runOneBatch();
}

TEST_F(StreamApiSurfaceTest, KeysHaveState) {
    ssc_.checkpoint(directory_ / "checkpoints");
    const auto p = pairs();
    const HashPartitioner two(2);
    const RDD<Pair> initial = ssc_.sparkContext().parallelize(std::vector<Pair>{{"a", 5}}, 1);
    const auto simple = [](std::vector<int> values, std::optional<int>) -> std::optional<int> {
        return static_cast<int>(values.size());
    };
    const auto timed = [](Time, const std::string&, std::vector<int> values, std::optional<int>) -> std::optional<int> {
        return static_cast<int>(values.size());
    };
    using Update = std::tuple<std::string, std::vector<int>, std::optional<int>>;
    const auto whole = [](Iterator<Update> part) {
        std::vector<Pair> states;
        while (part.hasNext()) states.emplace_back(std::get<0>(part.next()), 1);
        return states;
    };
    expectBatches(p.updateStateByKey<int>(simple), p.updateStateByKey<int>(simple, 2),
                  p.updateStateByKey<int>(simple, two), p.updateStateByKey<int>(simple, two, initial),
                  p.updateStateByKey<int>(whole, two, true), p.updateStateByKey<int>(whole, two, false, initial),
                  p.updateStateByKey<int>(timed, two, true), p.updateStateByKey<int>(timed, two, true, initial));
    const auto count = [](const std::string& key, std::optional<int> value, State<int>& state) -> std::string {
        if (!state.isTimingOut() && value) state.update(state.getOption().value_or(0) + *value);
        if (state.exists() && state.get() < 0) state.remove();
        return key + state.toString();
    };
    const auto maybe = [](Time, const std::string& key, std::optional<int>, State<int>&) {
        return std::optional<std::string>(key);
    };
    const auto mapped = p.mapWithState(StateSpec<std::string, int, int, std::string>::function(count)
                                           .initialState(initial)
                                           .numPartitions(2)
                                           .partitioner(two)
                                           .timeout(Minutes(1)));
    expectBatches(mapped, mapped.stateSnapshots(), p.mapWithState(stateSpec(maybe)),
                  p.mapWithState(StateSpec<std::string, int, int, std::string>::function(maybe)));
    runOneBatch();
}

TEST_F(StreamApiSurfaceTest, BatchesArePutOut) {
    const auto n = numbers();
    int batches = 0;
    n.foreachRDD([&](const RDD<int>&) { ++batches; });
    n.foreachRDD([&](const RDD<int>&, Time) { ++batches; });
    n.print();
    n.print(1);
    n.saveAsTextFiles(directory_ / "text");
    n.saveAsTextFiles(directory_ / "text", "txt");
    n.saveAsObjectFiles(directory_ / "objects");
    n.saveAsObjectFiles(directory_ / "objects", "bin");
    EXPECT_THROW(n.slice(Time(1000), Time(1000)), SparkException);
    ssc_.start();
    testkit::manualClock(ssc_).advance(Seconds(1));
    EXPECT_EQ(batches, 2);
    EXPECT_THAT(n.slice(Time(1000), Time(1000)), SizeIs(1));
    EXPECT_THAT(n.slice(Interval(Time(1000), Time(1000))), SizeIs(1));
    EXPECT_EQ(ssc_.sparkContext().textFile(directory_ / "text-1000.txt").count(), 3);
    EXPECT_EQ(ssc_.sparkContext().objectFile<int>(directory_ / "objects-1000").count(), 3);
}

struct Silent : Receiver<int> {
    Silent() : Receiver(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {}
    void onStop() override {}
};

TEST_F(StreamApiSurfaceTest, AContextMakesInputs) {
    const auto nothing = [](std::istream&) { return Iterator<int>(std::vector<int>()); };
    const auto read = [](const std::string& path) { return std::vector<std::pair<std::string, int>>{{path, 1}}; };
    const auto anyFile = [](const std::string&) { return true; };
    const std::string place = directory_.path();
    auto queue = std::make_shared<RDDQueue<int>>();
    queue->push(ssc_.sparkContext().parallelize(std::vector{1}));
    const auto level = StorageLevel::MEMORY_ONLY;
    EXPECT_EQ(ssc_.receiverStream(std::shared_ptr<Receiver<int>>(std::make_shared<Silent>())).id(), 0);
    EXPECT_EQ(ssc_.socketTextStream("localhost", 1).name(), "Socket stream [1]");
    EXPECT_EQ(ssc_.socketTextStream("localhost", 1, level).id(), 2);
    EXPECT_EQ(ssc_.socketStream<int>("localhost", 1, nothing, level).id(), 3);
    EXPECT_EQ(ssc_.rawSocketStream<int>("localhost", 1).id(), 4);
    EXPECT_EQ(ssc_.rawSocketStream<int>("localhost", 1, level).id(), 5);
    EXPECT_EQ((ssc_.fileStream<std::string, int, decltype(read)>(place).id()), 6);
    EXPECT_EQ((ssc_.fileStream<std::string, int, decltype(read)>(place, anyFile, false).id()), 7);
    EXPECT_EQ(ssc_.textFileStream(place).id(), 8);
    ssc_.binaryRecordsStream(place, 4);
    ssc_.queueStream(queue);
    ssc_.queueStream(queue, true);
    ssc_.queueStream(queue, true, ssc_.sparkContext().emptyRDD<int>());
    const auto n = numbers();
    const std::vector<DStream<int>> both{n, n};
    ssc_.unionAll(both);
    ssc_.transform([](const RDD<int>& a, const RDD<Pair>&, Time) { return a; }, n, pairs());
    ssc_.transform(both, [](const std::vector<RDD<int>>& rdds, Time) { return rdds.front(); });
}

TEST_F(StreamApiSurfaceTest, AContextLivesAndEnds) {
    EXPECT_EQ(ssc_.getState(), StreamingContextState::INITIALIZED);
    EXPECT_EQ(ssc_.batchDuration(), Seconds(1));
    ssc_.remember(Seconds(5));
    ssc_.checkpoint(directory_ / "checkpoints");
    ssc_.checkpoint(nullptr);
    auto listener = std::make_shared<StreamingListener>();
    ssc_.addStreamingListener(listener);
    ssc_.removeStreamingListener(listener);
    ssc_.addStreamingListener(std::make_shared<StatsReportListener>());
    ssc_.addStreamingListener(std::make_shared<StatsReportListener>(3));
    numbers().print();
    ssc_.start();
    EXPECT_EQ(StreamingContext::getActive(), ssc_);
    const auto never = []() -> StreamingContext { throw IllegalStateException("not to be called"); };
    EXPECT_EQ(StreamingContext::getActiveOrCreate(never), ssc_);
    EXPECT_EQ(StreamingContext::getActiveOrCreate(directory_ / "none", never), ssc_);
    EXPECT_EQ(StreamingContext::getActiveOrCreate(directory_ / "none", never, true), ssc_);
    EXPECT_FALSE(ssc_.awaitTerminationOrTimeout(1));
    ssc_.stop(false);
    const SparkContext sc = ssc_.sparkContext();
    ssc_.awaitTermination();
    StreamingContext second(sc, Seconds(1));
    const auto create = [&] { return StreamingContext(sc, Seconds(2)); };
    EXPECT_EQ(StreamingContext::getOrCreate(directory_ / "none", create).batchDuration(), Seconds(2));
    EXPECT_EQ(StreamingContext::getOrCreate(directory_ / "none", create, true).batchDuration(), Seconds(2));
    EXPECT_THROW(StreamingContext(directory_ / "none", sc), IllegalArgumentException);
    second.stop(true, true);
    EXPECT_THROW(StreamingContext(directory_ / "none"), IllegalArgumentException);
    StreamingContext third("local[2]", "app", Seconds(1));
    third.stop();
    StreamingContext fourth("local[2]", "app", Seconds(1), "", {}, {});
    fourth.stop();
    StreamingContext fifth(SparkConf().setMaster("local[2]").setAppName("app"), Seconds(1));
    fifth.stop(true);
}

TEST_F(StreamApiSurfaceTest, TimesAndDurationsHaveTheirTwins) {
    const Duration d = Seconds(2), e = Milliseconds(500);
    EXPECT_EQ(d + e, d.plus(e));
    EXPECT_EQ(d - e, d.minus(e));
    EXPECT_EQ(d * 2, d.times(2));
    EXPECT_EQ(d / e, d.div(e));
    EXPECT_TRUE(e.less(d) && e.lessEq(d) && d.greater(e) && d.greaterEq(e) && e < d && d >= e);
    EXPECT_TRUE(d.isMultipleOf(e) && !d.isZero());
    EXPECT_EQ(d.max(e), d);
    EXPECT_EQ(d.min(e), e);
    EXPECT_EQ(d.toString() + d.toFormattedString() + d.prettyPrint(), "2000 ms20002.0 s");
    EXPECT_EQ(Durations::milliseconds(60000), Durations::minutes(1));
    EXPECT_EQ(Durations::seconds(60), Minutes(1));
    const Time t(5500);
    EXPECT_EQ(t + d, t.plus(d));
    EXPECT_EQ(t - d, t.minus(d));
    EXPECT_EQ(t - Time(500), t.minus(Time(500)));
    EXPECT_EQ(t.floor(d), Time(4000));
    EXPECT_EQ(t.floor(d, Time(1500)), Time(5500));
    EXPECT_TRUE(t.isMultipleOf(e));
    EXPECT_THAT(Time(0).until(Time(2000), Seconds(1)), SizeIs(2));
    EXPECT_THAT(Time(0).to(Time(2000), Seconds(1)), SizeIs(3));
    EXPECT_EQ(t.max(Time(1)).min(t), t);
    EXPECT_TRUE(Time(1).less(t) && Time(1).lessEq(t) && t.greater(Time(1)) && t.greaterEq(Time(1)));
    EXPECT_EQ(t.toString(), "5500 ms");
    const Interval i(Time(0), Time(1000));
    EXPECT_EQ((i + Seconds(1)).endTime(), Time(2000));
    EXPECT_EQ((i - Seconds(1)).beginTime(), Time(-1000));
    EXPECT_EQ(i.duration(), Seconds(1));
    EXPECT_TRUE(i < i + Seconds(1));
}

}  // namespace
}  // namespace dstream
