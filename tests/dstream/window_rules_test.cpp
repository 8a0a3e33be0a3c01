#include "stream_test.hpp"
#include "support/test_files.hpp"

#include <atomic>

namespace dstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Count = std::pair<std::string, int>;
using Counts = std::vector<Count>;

const auto add = [](int a, int b) { return a + b; };
const auto subtract = [](int a, int b) { return a - b; };

/// What compat rules promise of windows, one test a rule.
class WindowRulesTest : public StreamTest {
protected:
    StreamingContext contextWithCheckpoints() {
        auto ssc = makeContext();
        ssc.checkpoint(directory_ / "checkpoint");
        return ssc;
    }
    /// Feeds one partition a batch to `build(stream)` and returns what each batch put out.
    template <class T, class Build>
    auto output(std::vector<std::vector<T>> batches, Build build) {
        auto ssc = contextWithCheckpoints();
        const auto count = static_cast<int64_t>(batches.size());
        auto collected = testkit::collect(build(testkit::batches<T>(ssc, std::move(batches))));
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(count));
        std::vector<typename decltype(collected.all())::mapped_type> result;
        for (int64_t i = 1; i <= count; ++i) result.push_back(collected.batch(Time(i * 1000)));
        ssc.stop();
        return result;
    }

    testsupport::TemporaryDirectory directory_;
};

TEST_F(WindowRulesTest, DurationsMustBePositiveMultiplesOfTheStreamsSlide) {
    auto ssc = contextWithCheckpoints();
    const auto in = testkit::batches<Count>(ssc, {});
    const auto everySecond = in.window(Seconds(4), Seconds(2));
    const std::vector<std::function<void()>> wrong{
        [&] { in.window(Milliseconds(1500)); },
        [&] { in.window(Seconds(2), Milliseconds(500)); },
        [&] { in.window(Seconds(0)); },
        [&] { in.groupByKeyAndWindow(Milliseconds(2500)); },
        [&] { in.reduceByKeyAndWindow(add, Milliseconds(2500)); },
        [&] { in.reduceByKeyAndWindow(add, Seconds(20), Milliseconds(1500)); },
        [&] { in.reduceByKeyAndWindow(add, subtract, Milliseconds(2500)); },
        [&] { in.reduceByKeyAndWindow(add, subtract, Seconds(2), Milliseconds(1500)); },
        [&] { in.countByWindow(Milliseconds(1500), Seconds(1)); },
        [&] { in.countByValueAndWindow(Seconds(2), Milliseconds(1500)); },
    };
    for (const auto& call : wrong) EXPECT_THROW(call(), IllegalArgumentException);
    EXPECT_THAT(errorOf([&] { everySecond.window(Seconds(3)); }),
                AllOf(HasSubstr("must be a positive multiple"), HasSubstr("2000 ms"), HasSubstr("3000 ms")));
}

TEST_F(WindowRulesTest, AWindowHoldsTheBatchesUpToItsEndAndSlidesWithTheStreamUnlessToldOtherwise) {
    const auto every = run<int>({{1}, {2}, {3}, {4}}, [](const auto& in) { return in.window(Seconds(3)); });
    EXPECT_THAT(every, ElementsAre(ElementsAre(1), ElementsAre(1, 2), ElementsAre(1, 2, 3), ElementsAre(2, 3, 4)));
    const auto second =
        run<int>({{1}, {2}, {3}, {4}}, [](const auto& in) { return in.window(Seconds(3), Seconds(2)); });
    EXPECT_THAT(second, ElementsAre(IsEmpty(), ElementsAre(1, 2), IsEmpty(), ElementsAre(2, 3, 4)));
}

TEST_F(WindowRulesTest, BatchesWithoutRddAreNotInTheWindow) {
    auto ssc = makeContext();
    const auto in = testkit::partitionedBatches<int>(
        ssc, {std::vector<std::vector<int>>{{1}, {2}}, std::nullopt, std::vector<std::vector<int>>{{3}}});
    const auto windows = testkit::collect(in.window(Seconds(2)));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(windows.batch(Time(2000)), ElementsAre(1, 2));
    EXPECT_THAT(windows.batch(Time(3000)), ElementsAre(3));
    ssc.stop();
}

TEST_F(WindowRulesTest, AWindowPersistsItsParentAndPersistMeansTheParent) {
    auto ssc = makeContext();
    const auto in = testkit::batches<int>(ssc, {{1}});
    const auto window = in.window(Seconds(3));
    EXPECT_EQ(in.node()->storageLevel(), StorageLevel::MEMORY_ONLY_SER);
    EXPECT_EQ(window.node()->storageLevel(), StorageLevel::NONE);
    window.persist(StorageLevel::MEMORY_AND_DISK);
    EXPECT_EQ(in.node()->storageLevel(), StorageLevel::MEMORY_AND_DISK);
    EXPECT_EQ(window.node()->storageLevel(), StorageLevel::NONE);
}

TEST_F(WindowRulesTest, ParentsRememberTheWindowOnTopOfWhatTheWindowRemembers) {
    auto ssc = contextWithCheckpoints();
    const auto in = testkit::batches<Count>(ssc, {});
    const auto plain = in.map([](const Count& c) { return c; });
    const auto windowed = plain.window(Seconds(5), Seconds(2));
    testkit::collect(windowed);
    ssc.start();
    EXPECT_EQ(windowed.node()->rememberDuration(), Seconds(2));
    EXPECT_EQ(plain.node()->rememberDuration(), Seconds(7));
    EXPECT_EQ(in.node()->rememberDuration(), Seconds(7));
    ssc.stop();
}

TEST_F(WindowRulesTest, InputOfALongReducedWindowIsRememberedForTheWindow) {
    auto ssc = makeContext();
    const auto in = testkit::batches<Count>(ssc, {});
    const auto sums = in.reduceByKeyAndWindow(add, Seconds(20), Seconds(2));
    testkit::collect(sums);
    ssc.start();
    EXPECT_EQ(sums.node()->rememberDuration(), Seconds(2));
    EXPECT_EQ(in.node()->rememberDuration(), Seconds(22));
    ssc.stop();
}

TEST_F(WindowRulesTest, WindowsWithAnInverseNeedACheckpointDirectoryAndPlainOnesDoNot) {
    const auto start = [&](auto build) {
        auto ssc = makeContext();
        testkit::collect(build(testkit::batches<Count>(ssc, {})));
        ssc.start();
        ssc.stop();
    };
    start([](const auto& in) { return in.reduceByKeyAndWindow(add, Seconds(2)); });
    start([](const auto& in) { return in.reduceByKeyAndWindow(add, Seconds(10)); });
    start([](const auto& in) { return in.groupByKeyAndWindow(Seconds(2)); });
    const auto needed = HasSubstr("The checkpoint directory has not been set");
    EXPECT_THAT(
        errorOf([&] { start([](const auto& in) { return in.reduceByKeyAndWindow(add, subtract, Seconds(2)); }); }),
        needed);
    EXPECT_THAT(errorOf([&] { start([](const auto& in) { return in.countByWindow(Seconds(2), Seconds(1)); }); }),
                needed);
    EXPECT_THAT(
        errorOf([&] { start([](const auto& in) { return in.countByValueAndWindow(Seconds(2), Seconds(1)); }); }),
        needed);
}

TEST_F(WindowRulesTest, CountByWindowGivesNothingUntilThereWasDataAndZeroAfterwards) {
    const auto counts = output<int>({{}, {1, 2}, {3}, {}, {}, {}},
                                    [](const auto& in) { return in.countByWindow(Seconds(2), Seconds(1)); });
    EXPECT_THAT(counts,
                ElementsAre(IsEmpty(), ElementsAre(2), ElementsAre(3), ElementsAre(1), ElementsAre(0), ElementsAre(0)));
}

TEST_F(WindowRulesTest, CountByValueAndWindowDropsValuesThatHaveLeft) {
    const auto counts = output<std::string>({{"a", "b", "a"}, {"b"}, {}, {"a"}}, [](const auto& in) {
        return in.countByValueAndWindow(Seconds(2), Seconds(1), 3);
    });
    EXPECT_THAT(counts, ElementsAre(UnorderedElementsAre(Pair("a", 2), Pair("b", 1)),
                                    UnorderedElementsAre(Pair("a", 2), Pair("b", 2)), ElementsAre(Pair("b", 1)),
                                    ElementsAre(Pair("a", 1))));
}

TEST_F(WindowRulesTest, GroupByKeyAndWindowHasTheValuesOfTheKeysInTheWindow) {
    const auto groups = run<Count>({{{"a", 1}, {"a", 2}}, {{"a", 3}, {"b", 4}}, {}},
                                   [](const auto& in) { return in.groupByKeyAndWindow(Seconds(2)); });
    EXPECT_THAT(groups, ElementsAre(ElementsAre(Pair("a", ElementsAre(1, 2))),
                                    UnorderedElementsAre(Pair("a", ElementsAre(1, 2, 3)), Pair("b", ElementsAre(4))),
                                    UnorderedElementsAre(Pair("a", ElementsAre(3)), Pair("b", ElementsAre(4)))));
}

TEST_F(WindowRulesTest, ReduceByWindowWithAnInverseHasOnePartition) {
    auto ssc = contextWithCheckpoints();
    std::vector<int> partitions;
    testkit::batches<int>(ssc, {{1, 2}, {3}})
        .reduceByWindow(add, subtract, Seconds(2), Seconds(1))
        .foreachRDD([&partitions](const auto& rdd) { partitions.push_back(rdd.getNumPartitions()); });
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(partitions, ElementsAre(1, 1));
    ssc.stop();
}

TEST_F(WindowRulesTest, WithoutAFilterKeysStayAndWithOneTheyLeaveAndBeginAfresh) {
    const std::vector<Counts> batches{{{"a", 1}}, {{"b", 1}}, {}, {{"a", 5}}};
    const auto kept = output<Count>(
        batches, [](const auto& in) { return in.reduceByKeyAndWindow(add, subtract, Seconds(1), Seconds(1)); });
    EXPECT_THAT(kept, ElementsAre(UnorderedElementsAre(Pair("a", 1)), UnorderedElementsAre(Pair("a", 0), Pair("b", 1)),
                                  UnorderedElementsAre(Pair("a", 0), Pair("b", 0)),
                                  UnorderedElementsAre(Pair("a", 5), Pair("b", 0))));
    const auto filtered = output<Count>(batches, [](const auto& in) {
        return in.reduceByKeyAndWindow(add, subtract, Seconds(1), Seconds(1), 2,
                                       [](const Count& entry) { return entry.second > 0; });
    });
    EXPECT_THAT(filtered, ElementsAre(ElementsAre(Pair("a", 1)), ElementsAre(Pair("b", 1)), IsEmpty(),
                                      ElementsAre(Pair("a", 5))));
}

TEST_F(WindowRulesTest, AKeyThatEntersAndLeavesInOneSlideIsFilteredByWhatItIsAtTheEnd) {
    const auto output = this->output<Count>({{{"a", 3}}, {{"a", 4}}, {{"a", -1}}, {{"a", 2}}}, [](const auto& in) {
        return in.reduceByKeyAndWindow(add, subtract, Seconds(1), Seconds(1), 1,
                                       [](const Count& entry) { return entry.second > 0; });
    });
    EXPECT_THAT(output, ElementsAre(ElementsAre(Pair("a", 3)), ElementsAre(Pair("a", 4)), IsEmpty(),
                                    ElementsAre(Pair("a", 2))));
}

TEST_F(WindowRulesTest, AKeyThatLeavesWithoutHavingBeenInTheWindowFailsTheBatch) {
    auto ssc = contextWithCheckpoints();
    const auto in = testkit::batches<Count>(ssc, {{{"a", 1}}, {}, {}});
    const auto sums = testkit::collect(in.reduceByKeyAndWindow(add, subtract, Seconds(2), Seconds(1), 1,
                                                               [](const Count& entry) { return entry.second > 5; }));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(errorOf([&] { ssc.awaitTerminationOrTimeout(0); }), HasSubstr("neither the window before nor a new"));
    EXPECT_THAT(sums.batch(Time(2000)), IsEmpty());
    ssc.stop();
}

TEST_F(WindowRulesTest, SeveralBatchesThatLeaveTogetherAreReducedFirst) {
    const auto sums =
        output<Count>({{{"a", 1}}, {{"a", 2}}, {{"a", 4}}, {{"a", 8}}, {{"b", 1}}, {{"a", 32}}},
                      [](const auto& in) { return in.reduceByKeyAndWindow(add, subtract, Seconds(4), Seconds(2)); });
    EXPECT_THAT(sums[1], ElementsAre(Pair("a", 3)));
    EXPECT_THAT(sums[3], ElementsAre(Pair("a", 15)));
    EXPECT_THAT(sums[5], UnorderedElementsAre(Pair("a", 4 + 8 + 32), Pair("b", 1)));
}

TEST_F(WindowRulesTest, AWindowWithAnInverseIsCheckpointedEveryTenSecondsOrSlide) {
    auto ssc = contextWithCheckpoints();
    const auto in = testkit::batches<Count>(ssc, {});
    const auto window = [&](Duration slide) {
        auto sums = in.reduceByKeyAndWindow(add, subtract, Seconds(40), slide);
        testkit::collect(sums);
        return sums.node();
    };
    const std::vector windows{window(Seconds(1)), window(Seconds(4)), window(Seconds(20))};
    ssc.start();
    const auto interval = [](const DStreamBase& stream) {
        // The tables may be a stream of their own behind the one that the program has.
        return stream.mustCheckpoint() ? stream.checkpointDuration() : stream.dependencies()[0]->checkpointDuration();
    };
    EXPECT_EQ(interval(*windows[0]), Seconds(10));
    EXPECT_EQ(interval(*windows[1]), Seconds(12));
    EXPECT_EQ(interval(*windows[2]), Seconds(20));
    ssc.stop();
}

TEST_F(WindowRulesTest, PartitionsAreANumberOrAPartitionerElseTheDefaultParallelism) {
    auto ssc = contextWithCheckpoints();
    const auto in = testkit::batches<Count>(ssc, {{{"a", 1}}});
    struct Everything final : public KeyPartitioner<std::string> {
        int numPartitions() const override { return 5; }
        int getPartition(const std::string&) const override { return 3; }
        bool equals(const PartitionerBase& other) const override { return this == &other; }
    };
    const Partitioner partitioner(std::make_shared<Everything>());
    std::vector<std::pair<int, int>> found;
    const auto expect = [&](const auto& stream, int partitions) {
        const std::size_t index = found.size();
        found.emplace_back(partitions, -1);
        stream.foreachRDD([&found, index](const auto& rdd) { found[index].second = rdd.getNumPartitions(); });
    };
    for (const Duration window : {Seconds(2), Seconds(12)}) {
        expect(in.reduceByKeyAndWindow(add, window), 2);
        expect(in.reduceByKeyAndWindow(add, window, Seconds(1)), 2);
        expect(in.reduceByKeyAndWindow(add, window, Seconds(1), 3), 3);
        expect(in.reduceByKeyAndWindow(add, window, Seconds(1), partitioner), 5);
        expect(in.reduceByKeyAndWindow(add, subtract, window), 2);
        expect(in.reduceByKeyAndWindow(add, subtract, window, Seconds(1), 4), 4);
        expect(in.reduceByKeyAndWindow(add, subtract, window, Seconds(1), partitioner), 5);
        expect(in.groupByKeyAndWindow(window), 2);
        expect(in.groupByKeyAndWindow(window, Seconds(1)), 2);
        expect(in.groupByKeyAndWindow(window, Seconds(1), 3), 3);
        expect(in.groupByKeyAndWindow(window, Seconds(1), partitioner), 5);
    }
    expect(in.countByValueAndWindow(Seconds(2), Seconds(1)), 2);
    expect(in.countByValueAndWindow(Seconds(2), Seconds(1), 6), 6);
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    for (const auto& [expected, actual] : found) EXPECT_EQ(actual, expected);
    ssc.stop();
}

TEST_F(WindowRulesTest, WindowsAreJoinedAndTransformedLikeAnyStream) {
    auto ssc = contextWithCheckpoints();
    const auto clicks = testkit::batches<Count>(ssc, {{{"a", 1}}, {{"b", 2}}, {}});
    const auto sums = clicks.reduceByKeyAndWindow(add, subtract, Seconds(2), Seconds(1));
    const auto joined = testkit::collect(clicks.window(Seconds(2)).join(sums));
    const auto longSums = clicks.reduceByKeyAndWindow(add, Seconds(10), Seconds(1));
    const auto outer = testkit::collect(longSums.leftOuterJoin(clicks.window(Seconds(1))));
    const auto transformed = testkit::collect(longSums.transform(
        [](const RDD<Count>& rdd, Time) { return rdd.filter([](const Count& c) { return c.second > 1; }); }));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_THAT(joined.batch(Time(2000)), UnorderedElementsAre(Pair("a", Pair(1, 1)), Pair("b", Pair(2, 2))));
    EXPECT_THAT(joined.batch(Time(3000)), ElementsAre(Pair("b", Pair(2, 2))));
    EXPECT_THAT(outer.batch(Time(2000)), UnorderedElementsAre(Pair("a", Pair(1, std::optional<int>())),
                                                              Pair("b", Pair(2, std::optional<int>(2)))));
    EXPECT_THAT(transformed.batch(Time(3000)), ElementsAre(Pair("b", 2)));
    ssc.stop();
    EXPECT_THROW(clicks.join(clicks), IllegalStateException);
}

TEST_F(WindowRulesTest, StreamsOfDifferentSlidesCannotBeJoined) {
    auto ssc = makeContext();
    const auto in = testkit::batches<Count>(ssc, {});
    EXPECT_THROW(in.join(in.window(Seconds(4), Seconds(2))), IllegalArgumentException);
}

/// A value that counts how often it is copied.
struct Tracked {
    int n = 0;
    explicit Tracked(int value = 0) : n(value) {}
    Tracked(const Tracked& other) : n(other.n) { ++copies; }
    Tracked& operator=(const Tracked& other) {
        n = other.n;
        ++copies;
        return *this;
    }
    Tracked(Tracked&&) = default;
    Tracked& operator=(Tracked&&) = default;
    template <class Archive>
    void serialize(Archive& archive, unsigned) {
        archive& n;
    }
    static inline std::atomic<int> copies = 0;
};

TEST_F(WindowRulesTest, AConsumerThatTakesTenElementsDoesNotCopyTheWindow) {
    constexpr int kKeys = 20000;
    auto ssc = contextWithCheckpoints();
    std::vector<std::pair<int, int>> all;
    for (int key = 0; key < kKeys; ++key) all.emplace_back(key, 1);
    const auto in = testkit::batches<std::pair<int, int>>(ssc, {all}).mapValues([](int n) { return Tracked(n); });
    std::vector<int> copies;
    const auto takeTen = [&copies](const auto& stream) {
        stream.foreachRDD([&copies](const auto& rdd) {
            rdd.count();  // the window is there
            const int before = Tracked::copies;
            EXPECT_EQ(rdd.take(10).size(), 10U);
            copies.push_back(Tracked::copies - before);
        });
    };
    const auto sum = [](const Tracked& a, const Tracked& b) { return Tracked(a.n + b.n); };
    const auto difference = [](const Tracked& a, const Tracked& b) { return Tracked(a.n - b.n); };
    takeTen(in.window(Seconds(3)));
    takeTen(in.reduceByKeyAndWindow(sum, Seconds(10), Seconds(1)));
    takeTen(in.reduceByKeyAndWindow(sum, difference, Seconds(10), Seconds(1)));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(copies, ElementsAre(Lt(kKeys / 4), Lt(kKeys / 4), Lt(kKeys / 4)));
    ssc.stop();
}

}  // namespace
}  // namespace dstream
