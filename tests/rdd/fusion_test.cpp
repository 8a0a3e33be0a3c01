#include "rdd/rdd.hpp"
#include "rdd/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Narrow operators compute the same whether they are fused, stand at chunk edges, or start from a cache in the middle.

namespace dstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

SparkConf confOf(std::size_t chunkSize) {
    return SparkConf().setMaster("local[2]").setAppName("fusion").set("dstream.chunkSize", std::to_string(chunkSize));
}

/// Serves lines from a buffer that is overwritten as soon as the next chunk is asked for, as a file's read buffer is.
class PoisoningLines final : public RddNode<std::string_view> {
public:
    PoisoningLines(const std::shared_ptr<SparkContextCore>& context, std::vector<std::string> lines)
        : RddNode<std::string_view>(context, {}, "poisoning", CallSite::from(), std::nullopt),
          lines_(std::move(lines)) {}
    const char* className() const override { return "PoisoningRDD"; }

private:
    class Lines final : public Cursor<std::string_view> {
    public:
        Lines(const std::vector<std::string>& lines, std::size_t chunkSize) : lines_(lines), chunkSize_(chunkSize) {}
        ~Lines() override { std::ranges::fill(buffer_, '#'); }

    private:
        Chunk<std::string_view> doNext() override {
            std::ranges::fill(buffer_, '#');
            buffer_ = std::vector<char>();
            views_.clear();
            std::size_t bytes = 0;
            const std::size_t end = std::min(next_ + chunkSize_, lines_.size());
            for (std::size_t i = next_; i < end; ++i) bytes += lines_[i].size();
            buffer_.resize(bytes);
            std::size_t at = 0;
            for (; next_ < end; ++next_) {
                std::ranges::copy(lines_[next_], buffer_.begin() + static_cast<std::ptrdiff_t>(at));
                views_.emplace_back(buffer_.data() + at, lines_[next_].size());
                at += lines_[next_].size();
            }
            return Chunk<std::string_view>::ownedBy(views_.data(), views_.size());
        }
        const std::vector<std::string>& lines_;
        std::size_t chunkSize_;
        std::size_t next_ = 0;
        std::vector<char> buffer_;
        std::vector<std::string_view> views_;
    };

    int doNumPartitions() const override { return 1; }
    CursorPtr<std::string_view> doCompute(int, TaskContext& context) const override {
        return std::make_unique<Lines>(lines_, context.chunkSize());
    }
    std::vector<std::string> lines_;
};

std::vector<std::string> manyLines() {
    std::vector<std::string> lines;
    for (int i = 0; i < 3000; ++i)
        lines.push_back("line" + std::to_string(i) + " word" + std::to_string(i % 7) + " tail");
    return lines;
}

std::vector<std::string> wordsOf(const std::vector<std::string>& lines, const std::string& suffix = "") {
    std::vector<std::string> words;
    for (const auto& line : lines) {
        const std::string text = line + suffix;
        for (const std::string_view word : splitWords(text)) words.emplace_back(word);
    }
    return words;
}

class FusionTest : public ::testing::TestWithParam<std::size_t> {
protected:
    SparkContext sc_{confOf(GetParam())};
    std::vector<std::string> lines_ = manyLines();

    TextRDD text() {
        return TextRDD::of(std::make_shared<PoisoningLines>(sc_.core(), lines_), "text", CallSite::from());
    }
    void TearDown() override { sc_.stop(); }
};

constexpr auto kSplit = [](std::string_view line) { return splitWords(line); };

TEST_P(FusionTest, ViewsIntoTheSourceAreRightFusedAndAtAnEdge) {
    auto words = text().flatMap(kSplit);
    EXPECT_EQ(words.collect(), wordsOf(lines_));
    const RDD<std::string_view> edge = words;
    EXPECT_EQ(edge.map([](std::string_view word) { return std::string(word); }).collect(), wordsOf(lines_));
}

TEST_P(FusionTest, ViewsIntoATemporaryOfTheStepBeforeAreOwnedAtAnEdge) {
    auto words =
        text()
            .map([](std::string_view line) { return std::string(line) + " and some text that does not fit inline"; })
            .flatMap([](const std::string& line) { return splitWords(line); });
    const auto expected = wordsOf(lines_, " and some text that does not fit inline");
    EXPECT_EQ(words.collect(), expected);
    const RDD<std::string_view> edge = words;
    EXPECT_EQ(edge.map([](std::string_view word) { return std::string(word); }).collect(), expected);
}

TEST_P(FusionTest, ViewsIntoTheScratchStringOfAStringFunctionAreOwnedAtAnEdge) {
    auto words = text().flatMap([](const std::string& line) { return splitWords(line); });
    const RDD<std::string_view> edge = words;
    EXPECT_EQ(words.collect(), wordsOf(lines_));
    EXPECT_EQ(edge.collect(), wordsOf(lines_));
}

TEST_P(FusionTest, AFilterBetweenKeepsViewsWhereTheyPoint) {
    auto words = text().filter([](std::string_view line) { return line.find("word3") != line.npos; }).flatMap(kSplit);
    std::vector<std::string> kept;
    for (const auto& line : lines_) {
        if (line.find("word3") != line.npos) kept.push_back(line);
    }
    EXPECT_EQ(words.collect(), wordsOf(kept));
    EXPECT_EQ(RDD<std::string_view>(words).collect(), wordsOf(kept));
}

TEST_P(FusionTest, PairsOfViewsAreOwnedByAShuffle) {
    const auto pairs = text().flatMap(kSplit).map([](std::string_view word) { return std::pair(word, int64_t{1}); });
    const RDD<std::pair<std::string_view, int64_t>> edge = pairs;
    const auto fused = pairs.reduceByKey(std::plus<>{}).collectAsMap();
    EXPECT_EQ(fused, edge.reduceByKey(std::plus<>{}).collectAsMap());
    EXPECT_EQ(fused.at("tail"), 3000);
    EXPECT_EQ(fused.at("word3"), 429);
    EXPECT_EQ(edge.groupByKey().mapValues([](const auto& ones) { return ones.size(); }).collectAsMap().at("tail"),
              3000U);
}

TEST_P(FusionTest, APersistedOperatorInTheMiddleIsHonoured) {
    auto calls = std::make_shared<std::atomic<int>>(0);
    auto words = text().flatMap(kSplit).map([calls](std::string_view word) {
        ++*calls;
        return word;
    });
    auto cached = words.persist();
    auto lengths = cached.map([](std::string_view word) { return word.size(); });
    const auto first = lengths.collect();
    EXPECT_EQ(*calls, 9000);
    EXPECT_EQ(lengths.collect(), first);
    EXPECT_EQ(*calls, 9000);
    cached.unpersist();
    EXPECT_EQ(lengths.collect(), first);
    EXPECT_EQ(*calls, 18000);
}

TEST_P(FusionTest, EveryOperatorIsInTheLineageWithItsDirectParent) {
    auto words = text().flatMap(kSplit).filter([](std::string_view word) { return !word.empty(); });
    int depth = 0;
    for (const RddBase* rdd = words.node().get(); !rdd->lineage()->empty(); rdd = &rdd->lineage()->front()->rdd())
        ++depth;
    EXPECT_EQ(depth, 3);  // filter, flatMap, text, the lines
    EXPECT_THAT(words.toDebugString(), HasSubstr("flatMap at fusion_test.cpp:"));
}

TEST_P(FusionTest, AMutableFunctionIsCopiedPerTask) {
    auto numbered = sc_.parallelize(std::vector<int>(10, 0), 2).map([n = 0](int) mutable { return n++; });
    EXPECT_THAT(numbered.collect(), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4));
    EXPECT_THAT(numbered.collect(), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4));
}

TEST_P(FusionTest, AnErrorNamesTheOperatorAndTheLineThatBuiltIt) {
    auto failing = sc_.parallelize(std::vector<int>{1, 2, 3}, 1)
                       .map([](int x) { return x + 1; })
                       .filter([](int x) -> bool {
                           if (x == 3) throw std::runtime_error("three is not for us");
                           return true;
                       })
                       .map([](int x) { return x; });
    try {
        failing.count();
        FAIL() << "expected an error";
    } catch (const SparkException& error) {
        EXPECT_THAT(error.what(), HasSubstr("three is not for us"));
        EXPECT_THAT(error.what(), HasSubstr("filter at fusion_test.cpp:"));
        EXPECT_THAT(error.what(), HasSubstr("partition 0"));
    }
}

TEST_P(FusionTest, AGenericFunctionOverTextGetsAView) {
    auto isView = text().map(
        [](const auto& line) { return std::is_same_v<std::remove_cvref_t<decltype(line)>, std::string_view>; });
    EXPECT_TRUE(isView.first());
    EXPECT_EQ(text().map([](const std::string& line) { return line.size(); }).first(), lines_[0].size());
}

TEST_P(FusionTest, TextStoredAsStringsHasStrings) {
    const RDD<std::string> stored = text();
    EXPECT_EQ(stored.collect(), lines_);
    EXPECT_EQ(stored.persist().count(), 3000);
    EXPECT_EQ(text().take(2), (std::vector<std::string>{lines_[0], lines_[1]}));
}

TEST_P(FusionTest, RddOfBoolWorks) {
    auto odd = sc_.parallelize(std::vector<int>{1, 2, 3}).map([](int x) { return x % 2 == 1; });
    EXPECT_THAT(odd.collect(), ElementsAre(true, false, true));
    EXPECT_EQ(odd.filter([](bool b) { return b; }).count(), 2);
    EXPECT_EQ(RDD<bool>(odd).persist().count(), 3);
    EXPECT_THAT(sc_.parallelize(std::vector<bool>{true, true}).distinct().collect(), ElementsAre(true));
}

INSTANTIATE_TEST_SUITE_P(ChunkSizes, FusionTest, ::testing::Values(1, 7, 1024),
                         [](const auto& suite) { return "Chunk" + std::to_string(suite.param); });

}  // namespace
}  // namespace dstream
