#include "rdd/codec.hpp"
#include "recovery_fixture.hpp"

namespace dstream {

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

/// What a change of the program between two runs means for its state: it comes back, or the start is refused.
class RecoveryChangesTest : public RecoveryTest {
protected:
    static SparkConf allowing(bool dropped, bool added) {
        SparkConf conf;
        conf.set("dstream.checkpoint.allowDroppedState", dropped ? "true" : "false");
        return conf.set("dstream.checkpoint.allowNewState", added ? "true" : "false");
    }

    static DStream<Count> counted(const DStream<Count>& from, const std::string& uid = "") {
        auto counts = from.updateStateByKey<int>(addUp, 2).checkpoint(Seconds(2));
        return uid.empty() ? counts : counts.uid(uid);
    }
    static DStream<Count> times(const DStream<Count>& from, int factor) {
        return from.map([factor](const Count& count) { return Count(count.first, count.second * factor); });
    }

    /// Two equal operators, one counting by one, the other by ten; their uids if not empty.
    static auto pairOf(const std::string& one, const std::string& ten, bool tenFirst = false) {
        return [=](const StreamingContext& ssc) {
            const DStream<Count> from = input(ssc);
            std::optional<DStream<Count>> first, second;
            if (tenFirst) second = counted(times(from, 10), ten);
            first = counted(from, one);
            if (!tenFirst) second = counted(times(from, 10), ten);
            return first->unionWith(*second);
        };
    }
    static auto alone(const std::string& uid = "", int factor = 1) {
        return [=](const StreamingContext& ssc) { return counted(times(input(ssc), factor), uid); };
    }
};

TEST_F(RecoveryChangesTest, OfTwoEqualsOneIsNewAndTheStartAsksForUids) {
    runOn(4, alone());
    const std::string refusal = errorOf([&] { runOn(1, pairOf("", ""), allowing(true, true)); });
    EXPECT_THAT(refusal,
                AllOf(HasSubstr("ambiguous: updateStateByKey(batches()) is 1 times in the checkpoint and 2 times"),
                      HasSubstr("give these a uid"), HasSubstr("recovery_changes_test.cpp"),
                      HasSubstr("uid(\"updateStateByKey(batches())\")")));
}

TEST_F(RecoveryChangesTest, AUidForTheNewOneOfTwoEqualsTellsThemApart) {
    runOn(4, alone());
    EXPECT_THAT(errorOf([&] { runOn(1, pairOf("", "tens", true)); }), HasSubstr("new: tens, updateStateByKey at"));
    EXPECT_THAT(runOn(1, pairOf("", "tens", true), allowing(false, true))[Time(5000)],
                ElementsAre(Count("a", 5), Count("a", 20)))
        << "the new one begins with the batch of the checkpoint";
}

TEST_F(RecoveryChangesTest, TheIdOfTheCheckpointAsAUidTellsWhichOfTwoEqualsIsOld) {
    runOn(4, alone());
    EXPECT_THAT(runOn(1, pairOf("updateStateByKey(batches())", "", true), allowing(false, true))[Time(5000)],
                ElementsAre(Count("a", 5), Count("a", 20)));
}

TEST_F(RecoveryChangesTest, OfTwoEqualsOneIsGoneAndTheStartAsksForUids) {
    runOn(4, pairOf("", ""));
    EXPECT_THAT(errorOf([&] { runOn(1, alone(), allowing(true, true)); }),
                AllOf(HasSubstr("so which one is gone cannot be told"), HasSubstr("give these a uid"),
                      HasSubstr("uid(\"updateStateByKey(batches()) 2\")")));
    EXPECT_THAT(runOn(1, alone("updateStateByKey(batches()) 2", 10), allowing(true, false))[Time(5000)],
                ElementsAre(Count("a", 50)));
}

TEST_F(RecoveryChangesTest, AUidGivenLaterKeepsTheState) {
    runOn(4, pairOf("", ""));
    EXPECT_THAT(runOn(1, pairOf("ones", "tens"))[Time(5000)], ElementsAre(Count("a", 5), Count("a", 50)));
    EXPECT_THAT(runOn(1, pairOf("ones", "tens", true))[Time(6000)], ElementsAre(Count("a", 6), Count("a", 60)))
        << "and then their order is free";
}

TEST_F(RecoveryChangesTest, WhatIsDownstreamOfAUidGivenLaterKeepsItsState) {
    const auto chain = [](const std::string& uid) {
        return [=](const StreamingContext& ssc) { return counted(counted(input(ssc), uid)); };
    };
    runOn(4, chain(""));
    EXPECT_THAT(runOn(1, chain("first"))[Time(5000)], ElementsAre(Count("a", 15)));
}

TEST_F(RecoveryChangesTest, AnOperatorWhoseUidIsRenamedIsMissingAndNew) {
    runOn(4, alone("counts"));
    EXPECT_THAT(errorOf([&] { runOn(1, alone("sums")); }),
                AllOf(HasSubstr("missing: counts"), HasSubstr("new: sums, updateStateByKey at")));
    EXPECT_THAT(runOn(1, alone("sums"), allowing(true, true))[Time(5000)], ElementsAre(Count("a", 2)))
        << "the state begins empty with the first batch that is run, the checkpointed one";
    EXPECT_THAT(runOn(1, alone("sums"))[Time(6000)], ElementsAre(Count("a", 3))) << "and stays so";
}

TEST_F(RecoveryChangesTest, AnAddedInputIsRefusedUnlessNewOnesAreAllowed) {
    runOn(4, alone());
    const auto more = [](const StreamingContext& ssc) {
        auto counts = counted(input(ssc));
        testkit::collect(ssc.textFileStream(std::filesystem::temp_directory_path().string() + "/no-such-directory"));
        return counts;
    };
    EXPECT_THAT(errorOf([&] { runOn(1, more); }), HasSubstr("new: textFileStream(), textFileStream at"));
    setLogLevel(LogLevel::kOff);
    EXPECT_THAT(runOn(1, more, allowing(false, true))[Time(5000)], ElementsAre(Count("a", 5)));
    setLogLevel(LogLevel::kWarn);
}

TEST_F(RecoveryChangesTest, ARemovedOperatorIsRefusedUnlessDroppingIsAllowed) {
    runOn(4, [](const StreamingContext& ssc) {
        auto from = input(ssc);
        testkit::collect(from.mapWithState(StateSpec<std::string, int, int, Count>::function(countAgain)));
        return counted(from);
    });
    EXPECT_THAT(errorOf([&] { runOn(1, alone()); }), HasSubstr("missing: mapWithState(batches()), mapWithState at"));
    EXPECT_THAT(runOn(1, alone(), allowing(true, false))[Time(5000)], ElementsAre(Count("a", 5)));
}

TEST_F(RecoveryChangesTest, OperatorsOfDifferentKindsMayChangeTheirOrder) {
    const auto define = [](bool swapped) {
        return [=](const StreamingContext& ssc) {
            const DStream<Count> from = input(ssc);
            const auto mapped = [&] {
                auto counts = from.mapWithState(StateSpec<std::string, int, int, Count>::function(countAgain));
                counts.checkpoint(Seconds(2));
                return DStream<Count>(counts);
            };
            if (!swapped) {
                const auto first = counted(from);
                return first.unionWith(mapped());
            }
            const auto second = mapped();
            return counted(from).unionWith(second);
        };
    };
    runOn(4, define(false));
    EXPECT_THAT(runOn(1, define(true))[Time(5000)], ElementsAre(Count("a", 5), Count("a", 5)));
}

TEST_F(RecoveryChangesTest, TheOrderOfOutputsDoesNotMoveStateBetweenEquals) {
    const auto define = [](bool swapped) {
        return [=](const StreamingContext& ssc) {
            const DStream<Count> from = input(ssc);
            const DStream<Count> ones = counted(from), tens = counted(times(from, 10));
            (swapped ? tens : ones).count().foreachRDD([](const RDD<int64_t>&) {});
            return ones.unionWith(tens);
        };
    };
    runOn(4, define(false));
    EXPECT_THAT(runOn(1, define(true))[Time(5000)], ElementsAre(Count("a", 5), Count("a", 50)));
}

TEST_F(RecoveryChangesTest, StateIsPlacedByKeyWhenTheParallelismChanges) {
    const auto define = [](int partitions) {
        return [=](const StreamingContext& ssc) {
            std::vector<Counts> batches(20);
            for (auto& batch : batches) {
                for (int i = 0; i < 50; ++i) batch.emplace_back("key" + std::to_string(i), i);
            }
            return testkit::batches<Count>(ssc, batches)
                .updateStateByKey<int>(addUp, partitions)
                .checkpoint(Seconds(2))
                .map([](const Count& count) { return count; });
        };
    };
    runOn(4, define(2));
    auto sums = runOn(1, define(7))[Time(5000)];
    ASSERT_EQ(sums.size(), 50U);
    for (const auto& [key, sum] : sums) EXPECT_EQ(sum, 5 * std::stoi(key.substr(3))) << key;
}

TEST_F(RecoveryChangesTest, TheDefaultParallelismOfTheFirstRunIsKept) {
    const auto define = [](const StreamingContext& ssc) {
        return input(ssc)
            .updateStateByKey<int>(addUp)
            .checkpoint(Seconds(2))
            .glom()
            .map([](const std::vector<Count>& part) { return part.size(); });
    };
    SparkConf three, one;
    EXPECT_EQ(runOn(2, define, three.set("spark.master", "local[3]"))[Time(2000)].size(), 3U);
    EXPECT_EQ(runOn(1, define, one.set("spark.master", "local[1]"))[Time(3000)].size(), 3U);
}

TEST_F(RecoveryChangesTest, AStateOfAnotherTypeIsRefusedOrBegunAnew) {
    runOn(4, alone("counts"));
    const auto other = [](const StreamingContext& ssc) {
        return input(ssc)
            .updateStateByKey<int64_t>([](const std::vector<int>& values, std::optional<int64_t> sum) {
                return std::optional(sum.value_or(0) + static_cast<int64_t>(values.size()));
            })
            .uid("counts");
    };
    EXPECT_THAT(errorOf([&] { runOn(1, other, allowing(true, false)); }),
                AllOf(HasSubstr("changed: the state of counts is updateStateByKey of "), HasSubstr("version 0")));
    EXPECT_THAT((runOn(1, other, allowing(true, true))[Time(5000)]),
                ElementsAre(std::pair<std::string, int64_t>("a", 2)));
}

TEST_F(RecoveryChangesTest, AnOperatorOfAnotherKindUnderTheSameUidIsRefused) {
    runOn(4, alone("counts"));
    const auto other = [](const StreamingContext& ssc) {
        return input(ssc)
            .reduceByKeyAndWindow(std::plus<int>(), std::minus<int>(), Seconds(3), Seconds(1), 2)
            .uid("counts");
    };
    EXPECT_THAT(errorOf([&] { runOn(1, other); }), HasSubstr("and reduceByKeyAndWindow of"));
}

}  // namespace

// The two versions of a class, as two classes with one codec name.
struct Visits {
    int count = 0;
    template <class Archive>
    void serialize(Archive& archive, unsigned) {
        archive& count;
    }
};
struct VisitsWithPages {
    int count = 0;
    int pages = -1;
    template <class Archive>
    void serialize(Archive& archive, unsigned version) {
        archive& count;
        if (version >= 2) archive& pages;
    }
};

}  // namespace dstream

DSTREAM_CODEC(dstream::Visits, "test.Visits", 1)
DSTREAM_CODEC(dstream::VisitsWithPages, "test.Visits", 2)

namespace dstream {

namespace {

template <class State>
auto visits(const StreamingContext& ssc) {
    return testkit::batches<Count>(ssc, std::vector<Counts>(20, Counts{{"a", 1}}))
        .updateStateByKey<State>([](const std::vector<int>& values, std::optional<State> state) {
            State next = state.value_or(State{});
            next.count += static_cast<int>(values.size());
            return std::optional(next);
        })
        .checkpoint(Seconds(2))
        .map([](const std::pair<std::string, State>& entry) { return entry.second.count; });
}

TEST_F(RecoveryChangesTest, StateOfAnOlderClassVersionIsReadByTheNewerClass) {
    runOn(4, visits<Visits>);
    EXPECT_THAT(runOn(1, visits<VisitsWithPages>)[Time(5000)], ElementsAre(5));
}

TEST_F(RecoveryChangesTest, StateOfANewerClassVersionIsRefusedByTheOlderClass) {
    runOn(4, visits<VisitsWithPages>);
    EXPECT_THAT(errorOf([&] { runOn(1, visits<Visits>); }),
                AllOf(HasSubstr("changed: "), HasSubstr("version 2 in the checkpoint"), HasSubstr("version 1 in")));
}

}  // namespace

}  // namespace dstream
