#include "dstream/stream_test.hpp"

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class OperatorsTest : public StreamTest {};

std::vector<std::string_view> split(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        const std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0) words.push_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

TEST_F(OperatorsTest, MapAppliesTheFunctionToEachElementOfEachBatch) {
    auto output = run<int>({{1, 2}, {}, {3}}, [](const auto& in) { return in.map([](int x) { return x * 10; }); });
    EXPECT_THAT(output, ElementsAre(ElementsAre(10, 20), IsEmpty(), ElementsAre(30)));
}

TEST_F(OperatorsTest, ReduceByKeySumsWithinABatchOnly) {
    auto output = run<std::string>({{"a", "b", "a"}, {}, {"b"}}, [](const DStream<std::string>& words) {
        return words.map([](const std::string& word) { return std::pair(word, 1); }).reduceByKey(std::plus<>{});
    });
    EXPECT_THAT(output,
                ElementsAre(UnorderedElementsAre(Pair("a", 2), Pair("b", 1)), IsEmpty(), ElementsAre(Pair("b", 1))));
}

TEST_F(OperatorsTest, AFusedChainOverViewsCountsWords) {
    auto output = run<std::string>({{"to be or", "not to be"}, {"be"}}, [](const auto& lines) {
        return lines.flatMap([](std::string_view line) { return split(line); })
            .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
            .reduceByKey(std::plus<>{});
    });
    EXPECT_THAT(output, ElementsAre(UnorderedElementsAre(Pair("to", 2), Pair("be", 2), Pair("or", 1), Pair("not", 1)),
                                    ElementsAre(Pair("be", 1))));
}

TEST_F(OperatorsTest, APersistedStreamInsideAChainIsComputedOnce) {
    auto ssc = makeContext();
    auto calls = ssc.sparkContext().longAccumulator("calls");
    auto in = testkit::batches<int>(ssc, {{1, 2, 3}});
    auto kept = in.map([calls](int x) {
                      calls.add(1);
                      return x;
                  }).cache();
    auto even = testkit::collect(kept.filter([](int x) { return x % 2 == 0; }));
    auto odd = testkit::collect(kept.filter([](int x) { return x % 2 != 0; }));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(even.batch(Time(1000)), ElementsAre(2));
    EXPECT_THAT(odd.batch(Time(1000)), ElementsAre(1, 3));
    EXPECT_EQ(calls.value(), 3);
    ssc.stop();
}

TEST_F(OperatorsTest, FlatMapWithAnEmitterNamesItsElementType) {
    auto output = run<int>({{1, 2}}, [](const auto& in) {
        return in.template flatMap<int>([](int x, auto&& emit) {
            for (int i = 0; i < x; ++i) emit(x);
        });
    });
    EXPECT_THAT(output, ElementsAre(ElementsAre(1, 2, 2)));
}

TEST_F(OperatorsTest, ReduceGivesNothingForAnEmptyBatch) {
    auto output = run<int>({{1, 2, 3}, {}}, [](const DStream<int>& in) { return in.reduce(std::plus<>{}); });
    EXPECT_THAT(output, ElementsAre(ElementsAre(6), IsEmpty()));
}

TEST_F(OperatorsTest, CountGivesZeroForAnEmptyBatch) {
    auto output = run<int>({{1, 2, 3}, {}}, [](const DStream<int>& in) { return in.count(); });
    EXPECT_THAT(output, ElementsAre(ElementsAre(3), ElementsAre(0)));
}

TEST_F(OperatorsTest, CountByValueCountsEachValueOfABatch) {
    auto output = run<std::string>({{"x", "y", "x"}}, [](const auto& in) { return in.countByValue(); });
    EXPECT_THAT(output, ElementsAre(UnorderedElementsAre(Pair("x", 2), Pair("y", 1))));
}

TEST_F(OperatorsTest, GlomAndRepartitionShowAndChangeThePartitions) {
    auto glommed = run<int>({{1, 2}}, [](const auto& in) { return in.glom(); });
    EXPECT_THAT(glommed, ElementsAre(ElementsAre(ElementsAre(1, 2))));
    auto dealt = run<int>({{1, 2, 3, 4}}, [](const auto& in) { return in.repartition(3).glom(); });
    EXPECT_EQ(dealt.at(0).size(), 3u);
}

TEST_F(OperatorsTest, MapPartitionsSeesEachPartitionOnce) {
    auto output = run<int>({{1, 2, 3}}, [](const auto& in) {
        return in.mapPartitions([](Iterator<int> part) {
            int sum = 0;
            for (int x : part) sum += x;
            return std::vector{sum};
        });
    });
    EXPECT_THAT(output, ElementsAre(ElementsAre(6)));
}

TEST_F(OperatorsTest, ValuesAreGroupedMappedAndCombinedByKey) {
    using P = std::pair<std::string, int>;
    auto grouped = run<P>({{{"a", 1}, {"a", 2}}}, [](const auto& in) { return in.groupByKey(); });
    EXPECT_THAT(grouped, ElementsAre(ElementsAre(Pair("a", UnorderedElementsAre(1, 2)))));
    auto mapped = run<P>({{{"a", 1}}}, [](const auto& in) { return in.mapValues([](int v) { return v + 0.5; }); });
    EXPECT_THAT(mapped, ElementsAre(ElementsAre(Pair("a", 1.5))));
    auto flat =
        run<P>({{{"a", 2}}}, [](const auto& in) { return in.flatMapValues([](int v) { return std::vector(2, v); }); });
    EXPECT_THAT(flat, ElementsAre(ElementsAre(Pair("a", 2), Pair("a", 2))));
    auto combined = run<P>({{{"a", 1}, {"a", 5}}}, [](const auto& in) {
        return in.combineByKey([](int v) { return std::pair(v, 1); },
                               [](std::pair<int, int> c, int v) { return std::pair(c.first + v, c.second + 1); },
                               [](std::pair<int, int> a, std::pair<int, int> b) {
                                   return std::pair(a.first + b.first, a.second + b.second);
                               },
                               HashPartitioner(2));
    });
    EXPECT_THAT(combined, ElementsAre(ElementsAre(Pair("a", Pair(6, 2)))));
}

TEST_F(OperatorsTest, StreamsAreJoinedBatchByBatch) {
    using P = std::pair<std::string, int>;
    auto ssc = makeContext();
    auto a = testkit::batches<P>(ssc, {{{"x", 1}, {"y", 2}}, {{"x", 3}}});
    auto b = testkit::batches<P>(ssc, {{{"x", 10}}, {{"z", 20}}});
    auto inner = testkit::collect(a.join(b));
    auto left = testkit::collect(a.leftOuterJoin(b));
    auto right = testkit::collect(a.rightOuterJoin(b));
    auto full = testkit::collect(a.fullOuterJoin(b));
    auto grouped = testkit::collect(a.cogroup(b));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(inner.batch(Time(1000)), ElementsAre(Pair("x", Pair(1, 10))));
    EXPECT_THAT(inner.batch(Time(2000)), IsEmpty());
    EXPECT_THAT(left.batch(Time(1000)),
                UnorderedElementsAre(Pair("x", Pair(1, Optional(10))), Pair("y", Pair(2, std::nullopt))));
    EXPECT_THAT(right.batch(Time(2000)), ElementsAre(Pair("z", Pair(std::nullopt, 20))));
    EXPECT_THAT(full.batch(Time(2000)), UnorderedElementsAre(Pair("x", Pair(Optional(3), std::nullopt)),
                                                             Pair("z", Pair(std::nullopt, Optional(20)))));
    EXPECT_THAT(grouped.batch(Time(1000)), UnorderedElementsAre(Pair("x", Pair(ElementsAre(1), ElementsAre(10))),
                                                                Pair("y", Pair(ElementsAre(2), IsEmpty()))));
    ssc.stop();
}

TEST_F(OperatorsTest, AStreamIsJoinedWithAStaticRddInTransform) {
    using P = std::pair<std::string, int>;
    auto ssc = makeContext();
    RDD<P> table = ssc.sparkContext().parallelize(std::vector<P>{{"x", 100}});
    auto joined =
        testkit::collect(testkit::batches<P>(ssc, {{{"x", 1}, {"y", 2}}}).transform([table](const RDD<P>& rdd) {
            return rdd.join(table);
        }));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(joined.batch(Time(1000)), ElementsAre(Pair("x", Pair(1, 100))));
    ssc.stop();
}

TEST_F(OperatorsTest, TransformGetsTheBatchTime) {
    auto output = run<int>({{1}, {1}}, [](const auto& in) {
        return in.transform(
            [](const RDD<int>& rdd, Time time) { return rdd.map([time](int x) { return x + time.milliseconds(); }); });
    });
    EXPECT_THAT(output, ElementsAre(ElementsAre(1001), ElementsAre(2001)));
}

TEST_F(OperatorsTest, UnionKeepsTheOrderOfTheStreams) {
    auto ssc = makeContext();
    auto a = testkit::batches<int>(ssc, {{1}, {2}});
    auto b = testkit::batches<int>(ssc, {{10}, {20}});
    auto both = testkit::collect(a.unionWith(b));
    auto three = testkit::collect(ssc.unionAll<int>({b, a, b}));
    auto sums = testkit::collect(ssc.transform(
        [](const RDD<int>& x, const RDD<int>& y, Time) {
            return x.zipPartitions(y,
                                   [](Iterator<int> p, Iterator<int> q) { return std::vector{p.next() + q.next()}; });
        },
        a, b));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(2));
    EXPECT_THAT(both.batch(Time(2000)), ElementsAre(2, 20));
    EXPECT_THAT(three.batch(Time(1000)), ElementsAre(10, 1, 10));
    EXPECT_THAT(sums.batch(Time(2000)), ElementsAre(22));
    ssc.stop();
}

TEST_F(OperatorsTest, AnInputWithoutRddMakesNoJobForMapAndFailsUnion) {
    auto ssc = makeContext();
    auto in = testkit::partitionedBatches<int>(ssc, {{{{1}}}, std::nullopt, {{{3}}}});
    auto mapped = testkit::collect(in.map([](int x) { return x; }));
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(3));
    EXPECT_EQ(mapped.all().size(), 2u);
    EXPECT_FALSE(ssc.awaitTerminationOrTimeout(0));
    ssc.stop();

    auto second = makeContext();
    auto missing = testkit::partitionedBatches<int>(second, {std::nullopt});
    missing.unionWith(missing).print();
    second.start();
    testkit::manualClock(second).advance(Seconds(1));
    EXPECT_THAT(errorOf([&] { second.awaitTermination(); }),
                HasSubstr("Couldn't generate RDD from parent at time 1000 ms"));
    second.stop();
}

TEST_F(OperatorsTest, AnEmptyHandleFromTransformFailsTheBatch) {
    auto ssc = makeContext();
    testkit::batches<int>(ssc, {{1}}).transform([](const RDD<int>&) { return RDD<int>(); }).print();
    ssc.start();
    testkit::manualClock(ssc).advance(Seconds(1));
    EXPECT_THAT(errorOf([&] { ssc.awaitTermination(); }), HasSubstr("must not return an empty RDD handle"));
    ssc.stop();
}

TEST_F(OperatorsTest, PrintWritesTheHeaderAtMostNumElementsAndDots) {
    auto ssc = makeContext();
    testkit::batches<int>(ssc, {{1, 2, 3}, {}}).print(2);
    ssc.start();
    ::testing::internal::CaptureStdout();
    testkit::manualClock(ssc).advance(Seconds(2));
    const std::string rule(43, '-');
    EXPECT_EQ(::testing::internal::GetCapturedStdout(),
              rule + "\nTime: 1000 ms\n" + rule + "\n1\n2\n...\n\n" + rule + "\nTime: 2000 ms\n" + rule + "\n\n");
    ssc.stop();
}

}  // namespace
}  // namespace dstream
