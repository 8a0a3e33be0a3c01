#include "context/context.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_context.hpp"
#include "support/test_files.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace dstream {
namespace {

using Pairs = std::vector<std::pair<int, int64_t>>;

uint64_t seedOf(uint64_t otherwise) {
    const char* const text = std::getenv("DSTREAM_TEST_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Jobs from several threads over the same shuffles and caches, while blocks and map outputs get lost, tasks fail and
/// jobs are cancelled: whatever ends well has the right result, and everything ends.
TEST(SchedulerRandomTest, JobsThatEndWellAreRightWhateverIsLostFailsOrIsCancelled) {
    const uint64_t seed = seedOf(20240607);
    RecordProperty("seed", std::to_string(seed));
    const LogLevel before = logLevel();
    setLogLevel(LogLevel::kError);
    testsupport::TemporaryDirectory directory;
    SparkContext sc(SparkConf()
                        .setMaster("local[3,3]")
                        .setAppName("random jobs")
                        .set("dstream.memory.limit", "20k")
                        .set("spark.local.dir", directory.path())
                        .set("spark.stage.maxConsecutiveAttempts", "1000"));
    Context& context = Context::of(sc.core());
    constexpr int kChains = 4;
    {
        std::vector<RDD<std::pair<int, int64_t>>> rdds;
        std::vector<Pairs> expected;
        for (int c = 0; c < kChains; ++c) {
            std::vector<int> numbers(500);
            for (int i = 0; i < 500; ++i) numbers[static_cast<std::size_t>(i)] = i;
            RDD<std::pair<int, int64_t>> rdd =
                sc.parallelize(numbers, 5).map([c](int x) { return std::pair(x % (20 + c), int64_t{x}); });
            for (int depth = 0; depth <= c; ++depth) {
                rdd = rdd.reduceByKey(
                             [](int64_t a, int64_t b) {
                                 // Some first attempts fail.
                                 const TaskContext& task = *TaskContext::get();
                                 if (task.attemptNumber() == 0 && task.taskAttemptId() % 97 == 0)
                                     throw std::runtime_error("unlucky");
                                 return a + b;
                             },
                             4)
                          .map([](const std::pair<int, int64_t>& p) { return std::pair(p.first + 1, p.second); });
                if (depth % 2 == 1)
                    rdd.persist(depth % 4 == 1 ? StorageLevel::MEMORY_ONLY : StorageLevel::MEMORY_AND_DISK);
            }
            Pairs want = rdd.collect();
            std::ranges::sort(want);
            expected.push_back(std::move(want));
            rdds.push_back(rdd);
        }

        std::atomic<int> right{0}, failed{0};
        std::atomic<bool> done{false};
        std::vector<std::jthread> threads;
        for (uint64_t t = 0; t < 3; ++t) {
            threads.emplace_back([&, t] {
                std::mt19937_64 random(seed + t);
                for (int i = 0; i < 60; ++i) {
                    const std::size_t c = random() % kChains;
                    auto future = rdds[c].collectAsync();
                    if (random() % 5 == 0) future.cancel();
                    try {
                        Pairs got = future.get();
                        std::ranges::sort(got);
                        EXPECT_EQ(got, expected[c]);
                        ++right;
                    } catch (const SparkException&) {
                        ++failed;
                    }
                }
            });
        }
        std::jthread loser([&] {
            std::mt19937_64 random(seed + 100);
            while (!done) {
                const int shuffle = static_cast<int>(random() % 10);
                context.shuffles().drop(shuffle, static_cast<int>(random() % 4));
                for (const auto& [id, rdd] : sc.getPersistentRDDs()) {
                    if (random() % 2 == 0)
                        sc.core()->blockManager().remove({BlockId::Kind::kRdd, id, static_cast<int64_t>(random() % 4)});
                }
                std::this_thread::yield();
            }
        });
        threads.clear();
        done = true;
        loser.join();
        EXPECT_EQ(right + failed, 180);
        EXPECT_GT(right, 100);
    }
    EXPECT_EQ(sc.core()->blockManager().memoryUsed(), 0);
    EXPECT_TRUE(sc.statusTracker().getActiveJobIds().empty());
    sc.stop();
    setLogLevel(before);
}

/// One slot takes ready tasks in many orders: the result and its order are the same.
TEST(SchedulerRandomTest, ResultsDoNotDependOnTheOrderInWhichTasksRun) {
    std::vector<std::pair<int, std::vector<int>>> expected;
    for (uint64_t seed = 0; seed < 100; ++seed) {
        SparkContext sc(SparkConf()
                            .setMaster("local[4]")
                            .setAppName("orders")
                            .set("dstream.executor", "seeded:" + std::to_string(seed)));
        std::vector<int> numbers(200);
        for (int i = 0; i < 200; ++i) numbers[static_cast<std::size_t>(i)] = i;
        auto left = sc.parallelize(numbers, 7).map([](int x) { return std::pair(x % 11, x); });
        auto right =
            sc.parallelize(numbers, 5).map([](int x) { return std::pair(x % 13, -x); }).reduceByKey(std::plus<>{}, 3);
        const auto got = left.unionWith(right).groupByKey(4).collect();
        if (expected.empty()) expected = got;
        ASSERT_EQ(got, expected) << "seed " << seed;
    }
}

}  // namespace
}  // namespace dstream
