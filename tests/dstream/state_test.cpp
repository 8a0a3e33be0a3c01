#include "rdd/clock.hpp"
#include "rdd/log.hpp"
#include "stream_test.hpp"
#include "support/test_files.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <iostream>
#include <latch>
#include <malloc.h>

namespace dstream {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Count = std::pair<std::string, int>;
using Counts = std::vector<Count>;

/// Sums up the numbers of each key, and puts out the key with its sum.
std::optional<Count> track(Time, const std::string& key, std::optional<int> value, State<int>& state) {
    if (state.isTimingOut()) return Count(key, -state.get());
    state.update(state.getOption().value_or(0) + value.value_or(0));
    return Count(key, state.get());
}

std::optional<int> addUp(std::vector<int> values, std::optional<int> sum) {
    for (const int value : values) sum = sum.value_or(0) + value;
    return sum;
}

template <class F>
auto spec(F f) {
    return StateSpec<std::string, int, int, Count>::function(std::move(f));
}

class StateTest : public StreamTest {
protected:
    StreamingContext makeContext(SparkConf conf = SparkConf(), Duration batch = Seconds(1)) const {
        auto ssc = StreamTest::makeContext(batch, std::move(conf));
        ssc.checkpoint(directory_ / "checkpoint");
        return ssc;
    }
    static SparkConf retrying() { return SparkConf().setMaster("local[2,4]"); }

    testsupport::TemporaryDirectory directory_;
};

TEST_F(StateTest, EveryAttemptOfATaskCountsOnce) {
    // Each of both tasks fails three times in the second batch, after it has seen some of its records.
    const auto failing = [failures = std::make_shared<std::atomic<int>>(0)](const std::string& key, int value) {
        if (value == 7 && TaskContext::get()->attemptNumber() < 3) {
            ++*failures;
            throw std::runtime_error("not yet: " + key);
        }
    };
    auto ssc = makeContext(retrying());
    auto input = testkit::batches<Count>(
        ssc, {{{"a", 1}, {"b", 2}}, {{"a", 1}, {"c", 3}, {"b", 1}, {"c", 7}, {"a", 7}, {"b", 7}}, {{"a", 1}}});
    auto mapped = input.mapWithState(
        spec([failing](Time time, const std::string& key, std::optional<int> value, State<int>& state) {
            failing(key, value.value_or(0));
            return track(time, key, value, state);
        }));
    auto updated = input.updateStateByKey<int>([failing](std::vector<int> values, std::optional<int> sum) {
        for (const int value : values) failing("", value);
        return addUp(std::move(values), sum);
    });
    auto byPartition = input.updateStateByKey<int>(
        [failing](Iterator<std::tuple<std::string, std::vector<int>, std::optional<int>>> part) {
            Counts sums;
            while (part.hasNext()) {
                auto [key, values, sum] = part.next();
                for (const int value : values) failing(key, value);
                sums.emplace_back(key, *addUp(std::move(values), sum));
            }
            return sums;
        },
        HashPartitioner(2), true);
    auto outputs = testkit::collect(mapped);
    auto snapshots = testkit::collect(mapped.stateSnapshots());
    auto sums = testkit::collect(updated);
    auto partitionSums = testkit::collect(byPartition);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    ssc.stop();
    EXPECT_THAT(outputs.batch(Time(2000)), UnorderedElementsAre(Pair("a", 2), Pair("c", 3), Pair("b", 3), Pair("c", 10),
                                                                Pair("a", 9), Pair("b", 10)));
    const auto second = UnorderedElementsAre(Pair("a", 9), Pair("b", 10), Pair("c", 10));
    const auto third = UnorderedElementsAre(Pair("a", 10), Pair("b", 10), Pair("c", 10));
    for (const auto& states : {snapshots, sums, partitionSums}) {
        EXPECT_THAT(states.batch(Time(2000)), second);
        EXPECT_THAT(states.batch(Time(3000)), third);
    }
}

TEST_F(StateTest, BatchesAndAttemptsAtOnceGiveWhatOneAfterTheOtherGives) {
    // Several batches and outputs at a time; one call of fifty fails its task, which is tried again.
    auto ssc = makeContext(SparkConf().setMaster("local[4,100]").set("spark.streaming.concurrentJobs", "3"));
    std::vector<std::vector<std::pair<int, int>>> batches(30);
    for (std::size_t b = 0; b < batches.size(); ++b) {
        for (int i = 0; i < 40; ++i) batches[b].emplace_back((i * static_cast<int>(b + 1)) % 37, i);
    }
    const auto mayFail = [calls = std::make_shared<std::atomic<int>>(0)] {
        if (++*calls % 50 == 0) throw std::runtime_error("now and then");
    };
    auto input = testkit::batches<std::pair<int, int>>(ssc, batches);
    auto mapped = input.mapWithState(
        StateSpec<int, int, int, int>::function([mayFail](int, std::optional<int> value, State<int>& state) {
            mayFail();
            state.update(state.getOption().value_or(0) + value.value_or(0));
            return state.get();
        }));
    auto outputs = testkit::collect(mapped);
    auto again = testkit::collect(mapped);
    auto states = testkit::collect(mapped.stateSnapshots());
    auto sums =
        testkit::collect(input.updateStateByKey<int>([mayFail](std::vector<int> values, std::optional<int> sum) {
            mayFail();
            return addUp(std::move(values), sum);
        }));
    const LogLevel before = logLevel();
    setLogLevel(LogLevel::kError);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(static_cast<int64_t>(batches.size())));
    ssc.stop();
    setLogLevel(before);
    std::map<int, int> expected;
    for (std::size_t b = 0; b < batches.size(); ++b) {
        const Time time(static_cast<int64_t>(b + 1) * 1000);
        std::vector<int> emitted;
        for (const auto& [key, value] : batches[b]) emitted.push_back(expected[key] += value);
        EXPECT_THAT(outputs.batch(time), ::testing::UnorderedElementsAreArray(emitted)) << time.toString();
        EXPECT_THAT(again.batch(time), ::testing::UnorderedElementsAreArray(emitted)) << time.toString();
        EXPECT_THAT(states.batch(time), ::testing::UnorderedElementsAreArray(expected)) << time.toString();
        EXPECT_THAT(sums.batch(time), ::testing::UnorderedElementsAreArray(expected)) << time.toString();
    }
}

TEST_F(StateTest, ABatchThatFailedForGoodIsMadeUpForByTheNextOne) {
    auto failing = std::make_shared<std::atomic<bool>>(true);
    auto ssc = makeContext();
    auto input = testkit::batches<Count>(ssc, {{{"a", 1}}, {{"a", 2}}, {{"a", 4}}});
    auto mapped = input.mapWithState(
        spec([failing](Time time, const std::string& key, std::optional<int> value, State<int>& state) {
            if (value == 2 && failing->exchange(false)) throw std::runtime_error("once");
            return track(time, key, value, state);
        }));
    auto states = testkit::collect(mapped.stateSnapshots());
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    ssc.stop();
    EXPECT_THAT(states.batch(Time(1000)), ElementsAre(Pair("a", 1)));
    EXPECT_THAT(states.batch(Time(2000)), IsEmpty());
    EXPECT_THAT(states.batch(Time(3000)), ElementsAre(Pair("a", 7)));
}

TEST_F(StateTest, Row3TheCopyOfASlowTaskTakesTheStateOver) {
    auto ssc = makeContext(
        SparkConf().setMaster("local[4]").set("spark.speculation", "true").set("spark.default.parallelism", "4"),
        Seconds(1));
    auto& clock = dynamic_cast<ManualClock&>(ssc.sparkContext().core()->clock());
    std::vector<std::pair<int, int>> events;
    for (int key = 0; key < 40; ++key) events.emplace_back(key, 1);
    std::latch stuck(1), release(1);
    std::atomic<int> copies{0};
    std::promise<void> copyRuns;
    const auto slow = [&](Time time, int key, std::optional<int> value, State<int>& state) -> std::optional<int> {
        state.update(state.getOption().value_or(0) + value.value_or(0));
        if (key == 17 && time == Time(2000)) {
            if (TaskContext::get()->attemptNumber() == 0) {
                stuck.count_down();
                release.wait();
            } else if (copies++ == 0) {
                copyRuns.set_value();
            }
        }
        return state.get();
    };
    auto mapped = testkit::batches<std::pair<int, int>>(ssc, {events, events, events})
                      .mapWithState(StateSpec<int, int, int, int>::function(slow));
    auto outputs = testkit::collect(mapped);
    auto states = testkit::collect(mapped.stateSnapshots());
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    std::jthread batch([&] { testkit::manualClock(ssc).advance(Seconds(1)); });
    stuck.wait();
    auto copy = copyRuns.get_future();
    for (int64_t time = 100; copy.wait_for(std::chrono::seconds(0)) != std::future_status::ready; time += 100) {
        ASSERT_LE(time, 100'000) << "no copy was started";
        ASSERT_TRUE(clock.waitUntilWaiting(time));
        clock.advance(100);
    }
    batch.join();
    EXPECT_EQ(copies, 1);
    EXPECT_THAT(outputs.batch(Time(2000)), ::testing::AllOf(::testing::SizeIs(40), ::testing::Each(2)));
    release.count_down();
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    EXPECT_THAT(outputs.batch(Time(3000)), ::testing::AllOf(::testing::SizeIs(40), ::testing::Each(3)));
    EXPECT_THAT(states.batch(Time(3000)),
                ::testing::AllOf(::testing::SizeIs(40), ::testing::Each(Pair(::testing::_, 3))));
}

TEST_F(StateTest, AnOlderBatchIsComputedFromItsVersionAndNeverFromTheHead) {
    auto ssc = makeContext();
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto input = testkit::batches<Count>(ssc, {{{"a", 1}, {"b", 1}}, {{"a", 2}}, {{"a", 4}}, {{"a", 8}}, {{"b", 16}}});
    auto mapped = input.mapWithState(
        spec([calls](Time time, const std::string& key, std::optional<int> value, State<int>& state) {
            ++*calls;
            return track(time, key, value, state);
        }));
    // The RDDs of the first two batches are kept without being computed, and that of the third is computed.
    std::map<Time, RDD<Count>> outputs, states;
    const auto keepIn = [](std::map<Time, RDD<Count>>& kept) {
        return [&kept](const RDD<Count>& rdd, Time time) {
            kept[time] = rdd;
            if (time >= Time(3000)) rdd.count();
        };
    };
    mapped.foreachRDD(keepIn(outputs));
    mapped.stateSnapshots().foreachRDD(keepIn(states));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(5));
    const int before = *calls;
    EXPECT_EQ(before, 6);
    EXPECT_THAT(states[Time(5000)].collect(), UnorderedElementsAre(Pair("a", 15), Pair("b", 17)));
    EXPECT_THAT(states[Time(3000)].collect(), UnorderedElementsAre(Pair("a", 7), Pair("b", 1)));
    EXPECT_EQ(*calls, before) << "what a handle has read is kept for it";
    EXPECT_THAT(states[Time(2000)].collect(), UnorderedElementsAre(Pair("a", 3), Pair("b", 1)));
    EXPECT_THAT(outputs[Time(2000)].collect(), ElementsAre(Pair("a", 3)));
    EXPECT_GT(*calls, before) << "nobody held the second batch's state: it is made again";
    EXPECT_THAT(states[Time(5000)].collect(), UnorderedElementsAre(Pair("a", 15), Pair("b", 17)));
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(states[Time(6000)].collect(), UnorderedElementsAre(Pair("a", 15), Pair("b", 17)));
    ssc.stop();
}

TEST_F(StateTest, RememberedBatchesCanBeSliced) {
    auto ssc = makeContext();
    ssc.remember(Seconds(20));
    auto sums =
        testkit::batches<Count>(ssc, {{{"a", 1}}, {{"a", 2}, {"b", 1}}, {{"a", 4}}}).updateStateByKey<int>(addUp);
    testkit::collect(sums);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(6));
    const auto rdds = sums.slice(Time(1000), Time(3000));
    ASSERT_EQ(rdds.size(), 3U);
    EXPECT_THAT(rdds[0].collect(), ElementsAre(Pair("a", 1)));
    EXPECT_THAT(rdds[1].collect(), UnorderedElementsAre(Pair("a", 3), Pair("b", 1)));
    EXPECT_THAT(rdds[2].collect(), UnorderedElementsAre(Pair("a", 7), Pair("b", 1)));
    ssc.stop();
}

TEST_F(StateTest, PartitionsThatNobodyReadsCatchUp) {
    auto ssc = makeContext();
    std::vector<std::vector<std::pair<int, int>>> batches(25);
    for (auto& batch : batches) {
        for (int key = 0; key < 10; ++key) batch.emplace_back(key, 1);
    }
    auto sums = testkit::batches<std::pair<int, int>>(ssc, batches).updateStateByKey<int>(addUp, 5);
    std::vector<std::pair<int, int>> last;
    sums.foreachRDD([&](const RDD<std::pair<int, int>>& rdd, Time time) {
        if (time < Time(25'000)) {
            rdd.take(1);
        } else {
            last = rdd.collect();
        }
    });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(25));
    ssc.stop();
    EXPECT_THAT(last, ::testing::AllOf(::testing::SizeIs(10), ::testing::Each(Pair(::testing::_, 25))));
}

TEST_F(StateTest, StateIsReadAtABatchBoundaryWhileTheNextBatchIsComputed) {
    auto ssc = makeContext();
    auto reached = std::make_shared<std::latch>(1), release = std::make_shared<std::latch>(1);
    auto input = testkit::batches<Count>(ssc, {{{"a", 1}, {"b", 1}}, {{"a", 2}, {"b", 2}, {"c", 3}, {"c", 7}}});
    auto mapped =
        input.mapWithState(spec([=](Time time, const std::string& key, std::optional<int> value, State<int>& state) {
                               if (value == 7) {
                                   reached->count_down();
                                   release->wait();
                               }
                               return track(time, key, value, state);
                           }).numPartitions(1));
    auto sums = input.updateStateByKey<int>(addUp);
    mapped.foreachRDD([](const RDD<Count>& rdd) { rdd.count(); });
    sums.foreachRDD([](const RDD<Count>& rdd) { rdd.count(); });
    EXPECT_EQ(mapped.stateOf("a"), std::nullopt);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    std::jthread batch([&] { testkit::manualClock(ssc).advance(Seconds(1)); });
    reached->wait();
    EXPECT_EQ(mapped.stateOf("a"), 1);
    EXPECT_EQ(mapped.stateOf("c"), std::nullopt);
    const auto snapshot = mapped.stateSnapshot();
    EXPECT_THAT(snapshot.collect(), UnorderedElementsAre(Pair("a", 1), Pair("b", 1)));
    release->count_down();
    batch.join();
    EXPECT_EQ(mapped.stateOf("a"), 3);
    EXPECT_EQ(mapped.stateOf("c"), 10);
    EXPECT_EQ(sums.stateOf("c"), 10);
    EXPECT_THAT(snapshot.collect(), UnorderedElementsAre(Pair("a", 1), Pair("b", 1)));
    EXPECT_THAT(sums.stateSnapshot().collect(), UnorderedElementsAre(Pair("a", 3), Pair("b", 3), Pair("c", 10)));
    ssc.stop();
}

/// Counts how often it is hashed.
struct CountedKey {
    static inline std::atomic<int64_t> hashes{0};
    int64_t id = 0;
    bool operator==(const CountedKey&) const = default;
    template <class A>
    void serialize(A& archive, unsigned) {
        archive& id;
    }
};

}  // namespace

template <>
struct PlacementHash<CountedKey> {
    uint64_t operator()(const CountedKey& key) const {
        ++CountedKey::hashes;
        return PlacementHash<int64_t>{}(key.id);
    }
};

namespace {

TEST_F(StateTest, IdleKeysCostNothing) {
    auto ssc = makeContext();
    using Event = std::pair<CountedKey, int>;
    std::vector<std::vector<Event>> batches(1);
    for (int64_t id = 0; id < 5000; ++id) batches[0].emplace_back(CountedKey{id}, 1);
    batches.insert(batches.end(), 8, {{CountedKey{3}, 1}, {CountedKey{4}, 1}});
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto mapped =
        testkit::batches<Event>(ssc, batches)
            .mapWithState(StateSpec<CountedKey, int, int, int>::function([calls](CountedKey, std::optional<int> value,
                                                                                 State<int>& state) {
                              ++*calls;
                              state.update(state.getOption().value_or(0) + value.value_or(0));
                              return state.get();
                          }).timeout(Seconds(100)));
    auto outputs = testkit::collect(mapped);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    const int64_t hashes = CountedKey::hashes;
    *calls = 0;
    testkit::manualClock(ssc).advance(Seconds(6));
    EXPECT_LE(CountedKey::hashes - hashes, 6 * 2 * 4);
    EXPECT_EQ(*calls, 12);
    EXPECT_THAT(outputs.batch(Time(8000)), UnorderedElementsAre(8, 8));
    ssc.stop();
}

TEST_F(StateTest, IdleKeysTimeOutInCheckpointedBatchesOrInEachBatchByChoice) {
    for (const bool everyBatch : {false, true}) {
        SparkConf conf;
        if (everyBatch) conf.set("dstream.state.timeoutScan", "everyBatch");
        auto ssc = StreamTest::makeContext(Seconds(1), conf);
        ssc.checkpoint(directory_ / (everyBatch ? "every" : "default"));
        auto mapped = testkit::batches<Count>(ssc, {{{"a", 1}, {"b", 2}}, {{"b", 3}}, {}, {{"b", 1}}})
                          .mapWithState(spec(track).timeout(Seconds(2)));
        mapped.checkpoint(Seconds(5));
        auto outputs = testkit::collect(mapped);
        auto states = testkit::collect(mapped.stateSnapshots());
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(10));
        ssc.stop();
        const auto timedOut = [](std::map<Time, Counts> all) {
            std::map<std::string, int64_t> times;
            for (const auto& [time, batch] : all) {
                for (const auto& [key, sum] : batch) {
                    if (sum >= 0) continue;
                    EXPECT_TRUE(times.emplace(key, time.milliseconds()).second);
                }
            }
            return times;
        };
        EXPECT_THAT(timedOut(outputs.all()), everyBatch ? ElementsAre(Pair("a", 4000), Pair("b", 7000))
                                                        : ElementsAre(Pair("a", 5000), Pair("b", 10000)));
        EXPECT_THAT(states.batch(Time(10000)), IsEmpty());
    }
    auto ssc = makeContext(SparkConf().set("dstream.state.timeoutScan", "sometimes"));
    const auto input = testkit::batches<Count>(ssc, {});
    EXPECT_THAT(errorOf([&] { input.mapWithState(spec(track)); }),
                HasSubstr("dstream.state.timeoutScan must be checkpoint or everyBatch: sometimes"));
}

TEST_F(StateTest, AFunctionOfAPartitionMayEmitWhatItLikes) {
    auto ssc = makeContext();
    using Part = Iterator<std::tuple<std::string, std::vector<int>, std::optional<int>>>;
    // Emits each key twice, drops "b" when it has state, and knows "z", which nobody sent.
    const auto twice = [](Part part) {
        Counts out;
        for (const auto& [key, values, sum] : part) {
            if (key == "b" && sum) continue;
            out.emplace_back(key, sum.value_or(0) + static_cast<int>(values.size()));
            out.emplace_back(key, 100);
        }
        out.emplace_back("z", 0);
        return out;
    };
    auto input = testkit::batches<Count>(ssc, {{{"a", 1}, {"b", 1}}, {{"a", 1}}, {{"b", 1}}});
    auto states = input.updateStateByKey<int>(twice, HashPartitioner(1), true);
    auto inPlace = testkit::collect(states);
    std::vector<int64_t> counts;
    states.foreachRDD([&](const RDD<Count>& rdd) { counts.push_back(rdd.count()); });
    auto shuffled = testkit::collect(input.updateStateByKey<int>(twice, HashPartitioner(1), false));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    ssc.stop();
    for (int64_t time = 1000; time <= 3000; time += 1000) {
        EXPECT_THAT(inPlace.batch(Time(time)), ::testing::UnorderedElementsAreArray(shuffled.batch(Time(time))));
    }
    EXPECT_THAT(counts, ElementsAre(inPlace.batch(Time(1000)).size(), 5, inPlace.batch(Time(3000)).size()));
    EXPECT_THAT(shuffled.batch(Time(2000)),
                UnorderedElementsAre(Pair("a", 2), Pair("a", 100), Pair("z", 0), Pair("z", 100), Pair("z", 0)));
}

struct NoCodec {
    int x = 0;
    std::vector<void*> pointers;
};

TEST_F(StateTest, AStateWithoutCodecIsRefusedAtStartByName) {
    auto ssc = makeContext();
    auto input = testkit::batches<Count>(ssc, {});
    input
        .mapWithState(StateSpec<std::string, int, NoCodec, int>::function(
            [](std::string, std::optional<int>, State<NoCodec>& state) {
                state.update({});
                return 1;
            }))
        .foreachRDD([](const auto& rdd) { rdd.count(); });
    const std::string failure = errorOf([&] { ssc.start(); });
    EXPECT_THAT(failure, HasSubstr("NoCodec"));
    EXPECT_THAT(failure, HasSubstr("mapWithState at"));
}

TEST_F(StateTest, Row6BatchesOfStateLeaveNothingBehind) {
    // A state that changes, one that is removed and comes back, and a checkpoint now and then.
    constexpr int64_t kBatches = 10'000;
    auto ssc = makeContext(SparkConf(), Milliseconds(1));
    const auto source = ssc.sparkContext().parallelize(std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {3, 1}}, 2);
    ConstantInputDStream<std::pair<int, int>> input(ssc, source);
    auto sums = input.updateStateByKey<int>([](std::vector<int> values, std::optional<int> sum) -> std::optional<int> {
        const int next = *addUp(std::move(values), sum);
        return next % 5 == 0 ? std::nullopt : std::optional(next);
    });
    sums.checkpoint(Seconds(1));
    int64_t total = 0;
    sums.foreachRDD([&](const RDD<std::pair<int, int>>& rdd) { total += rdd.count(); });
    ssc.start();
    const auto allocated = [] {
        const struct mallinfo2 info = mallinfo2();
        return static_cast<int64_t>(info.uordblks + info.hblkhd);
    };
    testkit::manualClock(ssc).advance(Milliseconds(kBatches / 2));
    const int64_t before = allocated();
    testkit::manualClock(ssc).advance(Milliseconds(kBatches / 2));
    const int64_t after = allocated();
    ssc.stop();
    std::cout << "allocated after half of the batches " << before << ", after all " << after << '\n';
    EXPECT_EQ(total, kBatches / 5 * 4 * 3);
    EXPECT_LE(after - before, 1 << 20);
    EXPECT_LE(std::distance(std::filesystem::recursive_directory_iterator(directory_ / "checkpoint"), {}), 100);
}

}  // namespace
}  // namespace dstream
