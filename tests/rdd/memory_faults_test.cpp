#include "rdd/block_manager.hpp"
#include "rdd/spark_context.hpp"
#include "support/spark_context_test.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

// Tasks that run out of memory at every allocation that they make. The operators new and delete below are those of the
// whole test program; inlined, the compiler takes them for mismatched.

namespace {

std::atomic<int64_t> allocationsLeft{-1};  // of tasks, until one fails; negative: none does
std::atomic<bool> failed{false};

void* allocate(std::size_t size, std::size_t alignment) {
    if (allocationsLeft.load(std::memory_order_relaxed) > 0 && dstream::TaskContext::get() != nullptr &&
        allocationsLeft.fetch_sub(1) == 1) {
        failed = true;
        throw std::bad_alloc();
    }
    void* const memory = alignment <= alignof(std::max_align_t)
                             ? std::malloc(size == 0 ? 1 : size)
                             : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
    return allocate(size, 1);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
// As the standard library's own; the address sanitizer's would not go with the operators below.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    try {
        return allocate(size, 1);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}

namespace dstream {
namespace {

using testing::HasSubstr;
using testsupport::errorOf;

class MemoryFaultsTest : public testsupport::SparkContextTest {
protected:
    using SparkContextTest::SparkContextTest;

    /// Runs the job again and again, failing the first allocation of its tasks, then the second and so on, until one
    /// run needs fewer. Each run fails with a bad_alloc or is right, and so is the next one.
    void sweep(const std::function<int64_t()>& job) {
        const int64_t expected = job();
        int faults = 0;
        for (int64_t i = 1;; ++i) {
            failed = false;
            allocationsLeft = i;
            int64_t result = expected;
            const std::string error = errorOf([&] { result = job(); });
            allocationsLeft = -1;
            if (!failed) break;
            ++faults;
            if (error == "no exception") {
                EXPECT_EQ(result, expected) << "allocation " << i;
            } else {
                EXPECT_THAT(error, HasSubstr("bad_alloc")) << "allocation " << i;
            }
            if (i % 16 == 0) {
                ASSERT_EQ(job(), expected) << "after allocation " << i;
            }
        }
        EXPECT_EQ(job(), expected);
        EXPECT_GT(faults, 10);
    }
};

std::vector<std::string> texts(int count) {
    std::vector<std::string> all;
    for (int i = 0; i < count; ++i) all.push_back("a text that is too long for its own place " + std::to_string(i % 7));
    return all;
}

TEST_F(MemoryFaultsTest, Row45AShuffleSurvivesAFaultAtEveryAllocation) {
    const auto rdd = sc.parallelize(texts(40), 2);
    sweep([&] {
        return rdd.map([](const std::string& text) { return std::pair(text, int64_t{1}); })
            .reduceByKey(std::plus<>{}, 2)
            .filter([](const auto& pair) { return pair.second > 5; })
            .count();
    });
}

TEST_F(MemoryFaultsTest, Row45SortingAndGroupingSurviveAFaultAtEveryAllocation) {
    const auto rdd = sc.parallelize(texts(30), 2).map([](const std::string& text) { return std::pair(text, 1); });
    sweep([&] { return static_cast<int64_t>(rdd.sortByKey(true, 2).groupByKey(2).collect().size()); });
}

TEST_F(MemoryFaultsTest, Row45ACachedRddSurvivesAFaultAtEveryAllocation) {
    const auto rdd = sc.parallelize(texts(30), 3);
    sweep([&] {
        auto kept = rdd.map([](const std::string& text) { return text + "!"; }).persist(StorageLevel::MEMORY_AND_DISK);
        const int64_t count = kept.count() + kept.count();
        kept.unpersist();
        return count;
    });
    EXPECT_EQ(sc.core()->blockManager().memoryUsed(), 0) << "what a failed task has reserved is given back";
}

class MemoryFaultsWhileSpillingTest : public MemoryFaultsTest {
protected:
    MemoryFaultsWhileSpillingTest() : MemoryFaultsTest(SparkConf().set("dstream.memory.limit", "0")) {}
};

TEST_F(MemoryFaultsWhileSpillingTest, Row45SpillingSurvivesAFaultAtEveryAllocation) {
    const auto rdd = sc.parallelize(texts(20), 2).map([](const std::string& text) { return std::pair(text, 1); });
    sweep([&] { return rdd.reduceByKey(std::plus<>{}, 2).count(); });
}

class MemoryFaultsWithRetriesTest : public MemoryFaultsTest {
protected:
    MemoryFaultsWithRetriesTest() : MemoryFaultsTest(SparkConf().setMaster("local[2,2]")) {}
};

TEST_F(MemoryFaultsWithRetriesTest, Row45AFaultIsGoneAtTheNextAttempt) {
    const auto rdd = sc.parallelize(texts(20), 2);
    allocationsLeft = 5;
    failed = false;
    EXPECT_EQ(rdd.map([](const std::string& text) { return text + "!"; }).collect().size(), 20U);
    EXPECT_TRUE(failed);
    allocationsLeft = -1;
    EXPECT_EQ(sc.core()->counters().failedTasks, 1);
}

}  // namespace
}  // namespace dstream
