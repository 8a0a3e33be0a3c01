#include "rdd/spark_context.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"
#include "support/this_process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SparkConf conf(const std::string& master = "local[2]") {
    return SparkConf().setMaster(master).setAppName("storage test");
}

BlockPtr blockOf(int64_t value, int count) {
    return std::make_shared<VectorBlock<int64_t>>(std::vector<int64_t>(static_cast<std::size_t>(count), value));
}

const std::vector<int64_t>& elementsOf(const BlockPtr& block) {
    return static_cast<const VectorBlock<int64_t>&>(*block).elements();
}

BlockId rddBlock(int rdd, int partition) {
    return {BlockId::Kind::kRdd, rdd, partition};
}

const BlockCodec* codec() {
    return detail::blockCodecFor<int64_t>();
}

/// Three blocks of 100 numbers fit.
class BlockManagerTest : public ::testing::Test {
protected:
    std::vector<std::filesystem::path> files() {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::directory_iterator(blocks.localDirectory()))
            found.push_back(entry.path());
        return found;
    }
    testsupport::TemporaryDirectory directory;
    BlockManager blocks{SparkConf().set("dstream.memory.limit", "2500b").set("spark.local.dir", directory.path())};
};

TEST_F(BlockManagerTest, TheLeastRecentlyUsedBlockLeavesFirst) {
    for (int rdd = 1; rdd <= 3; ++rdd)
        EXPECT_TRUE(blocks.put(rddBlock(rdd, 0), blockOf(rdd, 100), StorageLevel::MEMORY_ONLY, codec()));
    EXPECT_EQ(blocks.memoryUsed(), 2400);
    EXPECT_TRUE(blocks.get(rddBlock(1, 0)));
    EXPECT_TRUE(blocks.put(rddBlock(4, 0), blockOf(4, 100), StorageLevel::MEMORY_ONLY, codec()));
    EXPECT_TRUE(blocks.contains(rddBlock(1, 0)));
    EXPECT_FALSE(blocks.contains(rddBlock(2, 0)));
    EXPECT_TRUE(blocks.isLost(rddBlock(2, 0)));
    EXPECT_TRUE(blocks.contains(rddBlock(3, 0)));
    EXPECT_EQ(blocks.memoryUsed(), 2400);
}

TEST_F(BlockManagerTest, PartitionsOfOneRddDoNotPushEachOtherOut) {
    for (int partition = 0; partition < 3; ++partition) {
        EXPECT_TRUE(blocks.put(rddBlock(1, partition), blockOf(partition, 100), StorageLevel::MEMORY_ONLY, codec()));
    }
    EXPECT_FALSE(blocks.put(rddBlock(1, 3), blockOf(3, 100), StorageLevel::MEMORY_ONLY, codec()));
    EXPECT_TRUE(blocks.contains(rddBlock(1, 0)));
}

TEST_F(BlockManagerTest, ABlockWhoseLevelHasDiskIsMovedThereAndReadBack) {
    for (int rdd = 1; rdd <= 5; ++rdd)
        EXPECT_TRUE(blocks.put(rddBlock(rdd, 0), blockOf(rdd, 100), StorageLevel::MEMORY_AND_DISK, codec()));
    EXPECT_EQ(blocks.spills(), 2);
    EXPECT_EQ(files().size(), 2U);
    for (int rdd = 1; rdd <= 5; ++rdd) {
        const BlockPtr block = blocks.get(rddBlock(rdd, 0));
        ASSERT_TRUE(block);
        EXPECT_EQ(elementsOf(block), std::vector<int64_t>(100, rdd));
    }
    const RDDInfo info = blocks.infoOf(1);
    EXPECT_EQ(info.numCachedPartitions, 1);
    EXPECT_EQ(info.memSize, 0);
    EXPECT_GT(info.diskSize, 0);
    blocks.removeAll(BlockId::Kind::kRdd, 1);
    EXPECT_EQ(files().size(), 1U);
    EXPECT_FALSE(blocks.isLost(rddBlock(1, 0))) << "what was given up is not lost";
}

TEST_F(BlockManagerTest, DiskOnlyTakesNoMemory) {
    EXPECT_TRUE(blocks.put(rddBlock(1, 0), blockOf(1, 1000), StorageLevel::DISK_ONLY, codec()));
    EXPECT_EQ(blocks.memoryUsed(), 0);
    EXPECT_EQ(elementsOf(blocks.get(rddBlock(1, 0))).size(), 1000U);
    EXPECT_EQ(blocks.memoryUsed(), 0);
}

TEST_F(BlockManagerTest, Row4AFlippedByteOnDiskIsALostBlock) {
    EXPECT_TRUE(blocks.put(rddBlock(1, 0), blockOf(1, 1000), StorageLevel::DISK_ONLY, codec()));
    {
        std::fstream file(files().front(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(-1, std::ios::end);
        file.put('~');
    }
    EXPECT_FALSE(blocks.get(rddBlock(1, 0)));
    EXPECT_TRUE(blocks.isLost(rddBlock(1, 0)));
    EXPECT_TRUE(files().empty());
}

TEST_F(BlockManagerTest, TheFolderIsPrivateAndGoesWithTheManager) {
    std::string path;
    {
        BlockManager other(SparkConf().set("spark.local.dir", directory.path()));
        path = other.localDirectory();
        EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_all);
        other.put(rddBlock(1, 0), blockOf(1, 10), StorageLevel::DISK_ONLY, codec());
    }
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(BlockManagerTest, ABlockIsComputedOnceAtATime) {
    std::latch computing(1), release(1);
    std::atomic<int> calls{0};
    const auto compute = [&] {
        ++calls;
        computing.count_down();
        release.wait();
        return blockOf(7, 10);
    };
    BlockPtr first, second;
    std::jthread one([&] { first = blocks.getOrCompute(rddBlock(1, 0), StorageLevel::MEMORY_ONLY, codec(), compute); });
    computing.wait();
    std::jthread two(
        [&] { second = blocks.getOrCompute(rddBlock(1, 0), StorageLevel::MEMORY_ONLY, codec(), compute); });
    release.count_down();
    one.join();
    two.join();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(first, second);
}

TEST_F(BlockManagerTest, WhenTheComputationFailsTheNextCallerTries) {
    const auto fail = []() -> BlockPtr { throw std::runtime_error("no"); };
    EXPECT_THROW(blocks.getOrCompute(rddBlock(1, 0), StorageLevel::MEMORY_ONLY, codec(), fail), std::runtime_error);
    EXPECT_TRUE(blocks.getOrCompute(rddBlock(1, 0), StorageLevel::MEMORY_ONLY, codec(), [] { return blockOf(1, 1); }));
}

TEST_F(BlockManagerTest, ReservedMemoryEvictsBlocksAndCounts) {
    EXPECT_TRUE(blocks.put(rddBlock(1, 0), blockOf(1, 100), StorageLevel::MEMORY_ONLY, codec()));
    EXPECT_TRUE(blocks.reserve(2000));
    EXPECT_FALSE(blocks.contains(rddBlock(1, 0)));
    EXPECT_FALSE(blocks.reserve(1000));
    EXPECT_FALSE(blocks.put(rddBlock(2, 0), blockOf(1, 100), StorageLevel::MEMORY_ONLY, codec()));
    blocks.release(2000);
    EXPECT_EQ(blocks.memoryUsed(), 0);
}

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
}

TEST(PersistTest, Row4ALostPartitionIsComputedAgainAndNoOther) {
    SparkContext sc(conf());
    auto calls = std::make_shared<std::atomic<int>>(0);
    RDD<int> rdd = sc.parallelize(numbers(10), 5).map([calls](int x) {
        ++*calls;
        return x * x;
    });
    rdd.cache();
    const auto expected = rdd.collect();
    EXPECT_EQ(*calls, 10);
    EXPECT_EQ(rdd.collect(), expected);
    EXPECT_EQ(*calls, 10);
    sc.core()->blockManager().remove(rddBlock(rdd.id(), 3));
    EXPECT_EQ(rdd.collect(), expected);
    EXPECT_EQ(*calls, 12);
    EXPECT_EQ(sc.core()->counters().recomputedPartitions, 1);
}

TEST(PersistTest, APersistedNodeInTheMiddleOfAChainIsUsed) {
    SparkContext sc(conf());
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto squares = sc.parallelize(numbers(10), 2).map([calls](int x) {
        ++*calls;
        return x * x;
    });
    squares.cache();
    auto even = squares.filter([](int x) { return x % 2 == 0; });
    EXPECT_EQ(even.count(), 5);
    EXPECT_EQ(even.count(), 5);
    EXPECT_EQ(*calls, 10);
    EXPECT_EQ(sc.getPersistentRDDs().size(), 1U);
    ASSERT_EQ(sc.getRDDStorageInfo().size(), 1U);
    EXPECT_EQ(sc.getRDDStorageInfo().front().numCachedPartitions, 2);
    squares.unpersist();
    EXPECT_TRUE(sc.getPersistentRDDs().empty());
    EXPECT_EQ(even.count(), 5);
    EXPECT_EQ(*calls, 20);
    EXPECT_EQ(sc.core()->blockManager().memoryUsed(), 0);
}

TEST(PersistTest, BlocksGoWithTheirRdd) {
    SparkContext sc(conf());
    {
        auto rdd = sc.parallelize(numbers(100), 2).map([](int x) { return x; });
        rdd.cache();
        rdd.count();
        EXPECT_GT(sc.core()->blockManager().memoryUsed(), 0);
    }
    EXPECT_EQ(sc.core()->blockManager().memoryUsed(), 0);
}

TEST(PersistTest, AnotherLevelNeedsUnpersistFirst) {
    SparkContext sc(conf());
    auto rdd = sc.parallelize(numbers(3), 1);
    rdd.persist(StorageLevel::MEMORY_ONLY).persist(StorageLevel::MEMORY_ONLY);
    EXPECT_THROW(rdd.persist(StorageLevel::DISK_ONLY), UnsupportedOperationException);
    rdd.unpersist().persist(StorageLevel::DISK_ONLY);
    EXPECT_EQ(rdd.getStorageLevel(), StorageLevel::DISK_ONLY);
    EXPECT_EQ(rdd.count(), 3);
    EXPECT_EQ(rdd.collect(), numbers(3));
}

struct Plain {
    int value = 0;
};

TEST(PersistTest, ALevelWithDiskNeedsACodecAndSaysForWhat) {
    SparkContext sc(conf());
    auto rdd = sc.parallelize(numbers(3), 1).map([](int x) { return std::make_shared<Plain>(Plain{x}); });
    try {
        rdd.persist(StorageLevel::MEMORY_AND_DISK);
        FAIL();
    } catch (const NotSerializableException& error) {
        EXPECT_THAT(error.what(), HasSubstr("Plain"));
        EXPECT_THAT(error.what(), HasSubstr("map at storage_test.cpp"));
    }
    EXPECT_EQ(rdd.persist(StorageLevel::MEMORY_ONLY).count(), 3);
}

TEST(PersistTest, WithTooLittleMemoryEverythingIsStillRight) {
    testsupport::TemporaryDirectory directory;
    for (const StorageLevel level : {StorageLevel::MEMORY_ONLY, StorageLevel::MEMORY_AND_DISK,
                                     StorageLevel::MEMORY_AND_DISK_SER, StorageLevel::DISK_ONLY}) {
        SparkContext sc(conf().set("dstream.memory.limit", "1k").set("spark.local.dir", directory.path()));
        auto rdd = sc.parallelize(numbers(2000), 8).map([](int x) { return std::to_string(x); });
        rdd.persist(level);
        const auto expected = rdd.collect();
        EXPECT_EQ(rdd.collect(), expected);
        EXPECT_LE(sc.core()->blockManager().memoryUsed(), 1024);
    }
}

TEST(CheckpointTest, TheLineageIsCutOnceTheFilesAreWritten) {
    testsupport::TemporaryDirectory directory;
    SparkContext sc(conf());
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto rdd = sc.parallelize(numbers(6), 3).map([calls](int x) {
        ++*calls;
        return x + 1;
    });
    EXPECT_THROW(rdd.checkpoint(), SparkException);
    sc.setCheckpointDir(directory.path());
    rdd.checkpoint();
    EXPECT_FALSE(rdd.isCheckpointed());
    const auto expected = rdd.collect();
    EXPECT_TRUE(rdd.isCheckpointed());
    ASSERT_TRUE(rdd.getCheckpointFile());
    EXPECT_EQ(*calls, 12) << "written by a second computation";
    EXPECT_EQ(rdd.collect(), expected);
    EXPECT_EQ(*calls, 12);
    EXPECT_EQ(rdd.dependencies().size(), 1U);
    EXPECT_THAT(rdd.toDebugString(), HasSubstr("ReliableCheckpointRDD"));
    EXPECT_EQ(rdd.map([](int x) { return x * 2; }).collect(), (std::vector<int>{2, 4, 6, 8, 10, 12}));
    std::filesystem::remove(*rdd.getCheckpointFile() + "/part-00001");
    EXPECT_THROW(rdd.collect(), SparkException);
}

TEST(CheckpointTest, AMarkedAncestorIsWrittenToo) {
    testsupport::TemporaryDirectory directory;
    SparkContext sc(conf());
    sc.setCheckpointDir(directory.path());
    auto pairs = sc.parallelize(numbers(6), 3).map([](int x) { return std::pair(x % 2, x); });
    pairs.checkpoint();
    EXPECT_EQ(pairs.reduceByKey(std::plus<>{}).count(), 2);
    EXPECT_TRUE(pairs.isCheckpointed());
}

TEST(CheckpointTest, ALocalCheckpointUsesKeptBlocksAndSaysWhenTheyAreLost) {
    SparkContext sc(conf());
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto rdd = sc.parallelize(numbers(6), 3).map([calls](int x) {
        ++*calls;
        return x + 1;
    });
    rdd.localCheckpoint();
    const auto expected = rdd.collect();
    EXPECT_TRUE(rdd.isCheckpointed());
    EXPECT_TRUE(rdd.dependencies().empty());
    EXPECT_EQ(rdd.collect(), expected);
    EXPECT_EQ(*calls, 6);
    sc.core()->blockManager().remove(rddBlock(rdd.id(), 1));
    EXPECT_THROW(rdd.collect(), SparkException);
}

TEST(ResourceTest, Row46AThousandContextsLeaveNeitherFilesNorThreads) {
    { SparkContext warm(conf()); }
    const std::size_t filesBefore = testsupport::openDescriptors();
    const std::size_t threadsBefore = testsupport::numThreads();
    for (int i = 0; i < 1000; ++i) {
        SparkContext sc(conf("local[2]"));
        ASSERT_EQ(sc.parallelize(std::vector<int>{1, 2, 3}, 2).count(), 3);
    }
    EXPECT_EQ(testsupport::openDescriptors(), filesBefore);
    EXPECT_EQ(testsupport::numThreads(), threadsBefore);
}

// Not with the sanitizers, which map more memory than any limit and open pipes to look at objects.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ResourceTest, Row46ARunOutOfThreadsIsAnErrorThatSaysSo) {
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
    rlimit little = before;
    little.rlim_cur = static_cast<rlim_t>(pages * 4096 + (64 << 20));
    ASSERT_EQ(setrlimit(RLIMIT_AS, &little), 0);
    std::string message;
    try {
        SparkContext sc(conf("local[1000]"));
    } catch (const SparkException& error) {
        message = error.what();
    }
    ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
    EXPECT_THAT(message, HasSubstr("asks for 1000 threads"));
    SparkContext sc(conf());
    EXPECT_EQ(sc.parallelize(numbers(3), 2).count(), 3);
}

TEST(ResourceTest, Row46ARunOutOfFileDescriptorsIsAnErrorThatSaysSo) {
    const testsupport::TemporaryDirectory directory;
    for (int i = 0; i < 100; ++i) std::ofstream(directory / std::to_string(i)) << i << "\n";
    const std::string result = testsupport::inChild([&]() -> std::string {
        constexpr rlimit kFew{64, 64};
        if (setrlimit(RLIMIT_NOFILE, &kFew) != 0) return "the limit cannot be set";
        const std::size_t before = testsupport::openDescriptors();
        std::string text;
        {
            // A hundred files, a hundred processes and spilling need only a few at a time.
            SparkContext sc(conf("local[4]").set("spark.local.dir", directory.path()).set("dstream.memory.limit", "0"));
            const auto files = sc.textFile(directory / "[0-9]*", 100);
            const auto pairs = sc.parallelize(numbers(100), 20).map([](int x) { return std::pair(x % 3, x); });
            const auto work = [&] {
                return std::to_string(files.count()) + " " + std::to_string(files.pipe("cat").count()) + " " +
                       std::to_string(pairs.reduceByKey(std::plus<>{}, 20).count()) + "\n";
            };
            text += work();
            std::vector<int> taken;
            for (int file; (file = ::open("/dev/null", O_RDONLY)) >= 0;) taken.push_back(file);
            for (const std::function<void()>& job :
                 {std::function<void()>([&] { files.count(); }),
                  std::function<void()>([&] { sc.parallelize(numbers(3), 1).pipe("cat").count(); }),
                  std::function<void()>([&] { pairs.reduceByKey(std::plus<>{}, 2).count(); })}) {
                const std::string error = testsupport::errorOf(job);
                text += error.find("Too many open files") == error.npos ? error : "too many";
                text += "\n";
            }
            text += std::to_string(sc.parallelize(numbers(10), 2).count()) + " without files\n";
            for (const int file : taken) ::close(file);
            text += work();
        }
        for (int i = 0; i < 200; ++i) SparkContext(conf("local[2]")).parallelize(numbers(3), 2).count();
        return text + std::to_string(static_cast<int64_t>(testsupport::openDescriptors() - before)) + " left open";
    });
    EXPECT_EQ(result, "100 100 3\ntoo many\ntoo many\ntoo many\n10 without files\n100 100 3\n0 left open");
}
#endif

}  // namespace
}  // namespace dstream
