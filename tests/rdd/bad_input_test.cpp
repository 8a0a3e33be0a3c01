#include "rdd/block_manager.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/spark_context.hpp"
#include "support/spark_context_test.hpp"

#include <atomic>
#include <cerrno>
#include <compare>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// What bad input gets: user types that throw when they are copied, and a disk that is full.

namespace dstream {

/// A key whose copies throw when they are armed.
struct Touchy {
    Touchy() = default;
    explicit Touchy(int value_) : value(value_) {}
    Touchy(const Touchy& that) : value(that.value) { check(); }
    Touchy(Touchy&& that) noexcept = default;
    Touchy& operator=(const Touchy& that) {
        value = that.value;
        check();
        return *this;
    }
    Touchy& operator=(Touchy&& that) noexcept = default;
    ~Touchy() = default;
    static void check() {
        if (left.load() > 0 && left.fetch_sub(1) == 1) {
            thrown = true;
            throw std::runtime_error("this one cannot be copied");
        }
    }
    template <class Archive>
    void serialize(Archive& archive, unsigned) {
        archive& value;
    }
    friend auto operator<=>(const Touchy&, const Touchy&) = default;

    int value = 0;
    static inline std::atomic<int> left{-1};  // copies until one throws
    static inline std::atomic<bool> thrown{false};
};

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testsupport::errorOf;

class BadInputTest : public testsupport::SparkContextTest {
protected:
    using SparkContextTest::SparkContextTest;
    ~BadInputTest() override {
        Touchy::left = -1;
        setFailpoints({});
    }

    /// Runs the job with the first copy throwing, then the second and so on, until one run needs fewer copies: each
    /// run fails with that error or gives the right number, and the next one without an error does.
    void sweep(const std::function<std::size_t()>& job) {
        const std::size_t expected = job();
        int failures = 0;
        for (int i = 1;; ++i) {
            Touchy::thrown = false;
            Touchy::left = i;
            std::size_t result = 0;
            const std::string error = errorOf([&] { result = job(); });
            Touchy::left = -1;
            if (!Touchy::thrown) break;
            if (error == "no exception") {
                EXPECT_EQ(result, expected) << "copy " << i;
            } else {
                ++failures;
                EXPECT_THAT(error, HasSubstr("this one cannot be copied")) << "copy " << i;
            }
        }
        EXPECT_EQ(job(), expected);
        EXPECT_GT(failures, 0);
    }

    std::vector<Touchy> elements() const {
        std::vector<Touchy> all;
        for (int i = 0; i < 20; ++i) all.emplace_back(i % 5);
        return all;
    }
};

TEST_F(BadInputTest, AnElementThatThrowsWhenItIsCopiedFailsItsJobOnly) {
    const RDD<Touchy> rdd = sc.parallelize(elements(), 2);
    sweep([&] { return rdd.collect().size(); });
    sweep([&] { return rdd.glom().collect().size(); });
    sweep([&] { return rdd.repartition(3).collect().size(); });
    sweep([&] {
        auto kept = rdd.map([](const Touchy& x) { return Touchy(x.value + 1); }).persist(StorageLevel::MEMORY_AND_DISK);
        const std::size_t count = kept.collect().size() + kept.collect().size();
        kept.unpersist();
        return count;
    });
    EXPECT_EQ(sc.core()->blockManager().memoryUsed(), 0);
}

TEST_F(BadInputTest, AKeyOrAValueThatThrowsWhenItIsCopiedFailsItsJobOnly) {
    const auto pairs = sc.parallelize(elements(), 2).map([](const Touchy& x) { return std::pair(x, Touchy(1)); });
    const auto add = [](const Touchy& a, const Touchy& b) { return Touchy(a.value + b.value); };
    sweep([&] { return pairs.reduceByKey(add, 2).collect().size(); });
    sweep([&] { return pairs.groupByKey(2).collect().size(); });
    sweep([&] { return pairs.sortByKey(true, 2).collect().size(); });
    sweep([&] { return pairs.join(pairs, 2).collect().size(); });
}

TEST_F(BadInputTest, AFunctionThatThrowsWhenItIsCopiedFailsTheJobOrTheCall) {
    struct Times {
        Touchy factor{2};
        int operator()(int x) const { return x * factor.value; }
    };
    const RDD<int> numbers = sc.parallelize(std::vector{1, 2, 3}, 2);
    const Times times;
    sweep([&] { return numbers.map(times).collect().size(); });
}

TEST_F(BadInputTest, AnAccumulatorOrBroadcastOfSuchAValueFailsTheJobOrTheCall) {
    const RDD<int> numbers = sc.parallelize(std::vector{1, 2, 3}, 2);
    sweep([&] {
        const auto seen = sc.collectionAccumulator<Touchy>();
        const auto value = sc.broadcast(Touchy(3));
        numbers.foreach ([seen, value](int x) { seen.add(Touchy(x * value.value().value)); });
        return seen.value().size();
    });
}

class BadDiskTest : public BadInputTest {
protected:
    explicit BadDiskTest(const char* master = "local[2]")
        : BadInputTest(SparkConf().setMaster(master).set("dstream.memory.limit", "0")) {}

    static void failWith(const std::string& failpoint, int error, uint64_t at) {
        const std::string plan = failpoint + ":" + std::to_string(error) + ":" + std::to_string(at);
        setFailpoints(parseFailpoints(nullptr, plan.c_str(), nullptr));
    }
    RDD<std::pair<int, int>> sums() const {
        return sc.parallelize(std::vector{1, 2, 3, 4, 5, 6}, 3)
            .map([](int x) { return std::pair(x % 2, x); })
            .reduceByKey(std::plus<>{}, 2);
    }
};

TEST_F(BadDiskTest, AFullDiskDuringASpillFailsTheJobWithTheReasonAndTheNextOneGoesOn) {
    for (uint64_t at = 1; at <= 6; ++at) {
        failWith("shuffle.write_spill", ENOSPC, at);
        EXPECT_THAT(errorOf([&] { sums().count(); }),
                    AllOf(HasSubstr("partition "), HasSubstr("No space left on device")))
            << at;
        setFailpoints({});
        EXPECT_EQ(sums().count(), 2);
    }
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(sc.core()->blockManager().localDirectory()))
        ++files;
    EXPECT_EQ(files, 0U) << "what was written goes with its RDD or its failed attempt";
}

TEST_F(BadDiskTest, ACachedBlockThatCannotBeWrittenIsComputedAgain) {
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto kept = sc.parallelize(std::vector{1, 2, 3, 4}, 2)
                    .map([calls](int x) {
                        ++*calls;
                        return x;
                    })
                    .persist(StorageLevel::MEMORY_AND_DISK);
    failWith("storage.write_block", ENOSPC, 1);
    EXPECT_EQ(kept.count(), 4);
    setFailpoints({});
    EXPECT_EQ(kept.count(), 4);
    EXPECT_EQ(*calls, 4 + 2) << "the other partition was kept";
}

class BadDiskWithRetriesTest : public BadDiskTest {
protected:
    BadDiskWithRetriesTest() : BadDiskTest("local[2,3]") {}
};

TEST_F(BadDiskWithRetriesTest, ADiskThatIsFullForAMomentCostsAnAttempt) {
    failWith("shuffle.write_spill", ENOSPC, 2);
    EXPECT_EQ(sums().count(), 2);
    EXPECT_EQ(sc.core()->counters().failedTasks, 1);
}

}  // namespace
}  // namespace dstream
