#include "context/context.hpp"
#include "rdd/spark_context.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace dstream {
namespace {

using ::testing::HasSubstr;

/// A shuffle of six map tasks, all of whose runs go to disk when `limit` is 0.
class ShuffleTest : public ::testing::Test {
protected:
    void start(const std::string& limit) {
        sc.emplace(SparkConf()
                       .setMaster("local[2]")
                       .setAppName("shuffle test")
                       .set("dstream.memory.limit", limit)
                       .set("spark.local.dir", directory.path()));
        std::vector<int> numbers;
        for (int i = 0; i < 600; ++i) numbers.push_back(i);
        sums.emplace(sc->parallelize(numbers, 6)
                         .map([calls = calls](int x) {
                             ++*calls;
                             return std::pair(x % 7, int64_t{x});
                         })
                         .reduceByKey(std::plus<>{}, 3));
    }
    std::vector<std::pair<int, int64_t>> result() {
        auto all = sums->collect();
        std::ranges::sort(all);
        return all;
    }
    ShuffleManager& shuffles() { return Context::of(sc->core()).shuffles(); }
    EngineCounters counters() { return sc->core()->counters(); }

    testsupport::TemporaryDirectory directory;
    std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);
    std::optional<SparkContext> sc;
    std::optional<RDD<std::pair<int, int64_t>>> sums;
};

TEST_F(ShuffleTest, Row5ALostMapOutputIsMadeAgainAndNoOther) {
    start("64m");
    const auto expected = result();
    EXPECT_EQ(*calls, 600);
    shuffles().drop(0, 2);
    EXPECT_EQ(result(), expected);
    EXPECT_EQ(*calls, 700);
    EXPECT_EQ(counters().recomputedPartitions, 1);
}

TEST_F(ShuffleTest, Row5ADeletedSpillFileIsMadeAgain) {
    start("0");
    const auto expected = result();
    EXPECT_GE(counters().spills, 6);
    EXPECT_EQ(shuffles().files(0).size(), 6U);
    std::filesystem::remove(shuffles().files(0)[4]);
    EXPECT_EQ(result(), expected);
    EXPECT_EQ(*calls, 700);
    EXPECT_EQ(counters().recomputedPartitions, 1);
    EXPECT_EQ(counters().resubmittedStages, 1);
}

TEST_F(ShuffleTest, Row5EverySpillFileDamagedAtOnceCostsOneMoreAttempt) {
    start("0");
    const auto expected = result();
    for (const std::string& path : shuffles().files(0)) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(-1, std::ios::end);
        file.put('~');
    }
    EXPECT_EQ(result(), expected);
    EXPECT_EQ(*calls, 1200);
    EXPECT_EQ(counters().recomputedPartitions, 6);
    EXPECT_EQ(counters().resubmittedStages, 1);
}

TEST_F(ShuffleTest, Row5OutputsThatAreLostAgainAndAgainFailTheJobAfterFourAttempts) {
    start("64m");
    result();
    auto attempts = std::make_shared<std::atomic<int>>(0);
    auto& manager = shuffles();
    manager.drop(0, 0);
    // The reader loses an output each time before it reads.
    auto reader = sums->mapPartitions([](Iterator<std::pair<int, int64_t>> part) { return part; });
    JobRequest request;
    request.rdd = reader.node();
    request.partitions = {0};
    request.task = [&, node = sums->node()](TaskContext& context) -> std::shared_ptr<void> {
        ++*attempts;
        manager.drop(0, 1);
        node->compute(0, context);
        return nullptr;
    };
    request.action = "read";
    try {
        sc->core()->runJob(std::move(request));
        FAIL();
    } catch (const SparkException& error) {
        EXPECT_THAT(error.what(), HasSubstr("4 times in a row"));
    }
    EXPECT_EQ(*attempts, 4);
    EXPECT_EQ(result().size(), 7U) << "the next job finds its input again";
}

TEST_F(ShuffleTest, OutputsAndFilesGoWithTheRdd) {
    start("0");
    result();
    const std::string folder = sc->core()->blockManager().localDirectory();
    EXPECT_FALSE(std::filesystem::is_empty(folder));
    sums.reset();
    EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(ShuffleTest, MemoryOfOutputsIsGivenBack) {
    start("64m");
    result();
    EXPECT_GT(sc->core()->blockManager().memoryUsed(), 0);
    sums.reset();
    EXPECT_EQ(sc->core()->blockManager().memoryUsed(), 0);
}

TEST_F(ShuffleTest, AFailedTaskLeavesNoSpillFileBehind) {
    start("0");
    const std::string folder = sc->core()->blockManager().localDirectory();
    auto failing = sc->parallelize(std::vector<int>{1, 2, 3}, 1).map([](int x) {
        return x == 3 ? throw std::runtime_error("no") : std::pair(x, x);
    });
    EXPECT_THROW(failing.groupByKey().count(), SparkException);
    EXPECT_TRUE(std::filesystem::is_empty(folder));
}

struct Opaque {
    int value = 0;
};

TEST_F(ShuffleTest, WithoutACodecAFullBudgetSaysWhichTypeNeedsOne) {
    start("0");
    auto pairs = sc->parallelize(std::vector<int>{1, 2, 3}, 1).map([](int x) {
        return std::pair(x, std::make_shared<Opaque>(Opaque{x}));
    });
    try {
        pairs.groupByKey().count();
        FAIL();
    } catch (const SparkException& error) {
        EXPECT_THAT(describeException(std::current_exception()), HasSubstr("Opaque"));
    }
}

TEST_F(ShuffleTest, ACachedReaderNeedsItsShuffleOnlyWhenABlockIsLost) {
    start("64m");
    sums->cache();
    const auto expected = result();
    shuffles().remove(0);
    EXPECT_EQ(result(), expected);
    EXPECT_EQ(*calls, 600);
    sc->core()->blockManager().remove({BlockId::Kind::kRdd, sums->id(), 0});
    EXPECT_EQ(result(), expected);
    EXPECT_EQ(*calls, 1200);
}

}  // namespace
}  // namespace dstream
