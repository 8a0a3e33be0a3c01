#include "rdd/block.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace dstream {
namespace {

using namespace std::string_literals;

std::vector<std::string> linesOf(const TextBlock* block) {
    std::vector<std::string> lines;
    for (size_t i = 0; block != nullptr && i < block->numLines(); ++i) lines.emplace_back(block->line(i));
    return lines;
}

void takeInto(TextBlockBuilder& builder, std::vector<std::string>& lines) {
    for (std::string& line : linesOf(builder.take().get())) lines.push_back(std::move(line));
}

/// The rule in its simplest form: CR LF, CR and LF end a line, the rest at the end is a line if it is not empty.
std::vector<std::string> splitSimply(std::string_view text, size_t maxLineBytes = TextBlockBuilder::kNoLimit) {
    std::vector<std::string> lines;
    std::string line;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\n' && text[i] != '\r') {
            line += text[i];
            continue;
        }
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
        if (line.size() <= maxLineBytes) lines.push_back(line);
        line.clear();
    }
    if (!line.empty() && line.size() <= maxLineBytes) lines.push_back(line);
    return lines;
}

const std::string kText = "one\ntwo\r\nthree\r\r\n\n\xff\xfe\0x\n\rfour\r\rfive\r\n\r\nlast"s;

TEST(TextBlockTest, Row22SplitsAtEveryPairOfPositionsAndKeepsNulsAndInvalidUtf8) {
    const std::vector<std::string> expected = splitSimply(kText);
    for (size_t first = 0; first <= kText.size(); ++first) {
        for (size_t second = first; second <= kText.size(); ++second) {
            for (int takes = 0; takes < 4; ++takes) {
                TextBlockBuilder builder;
                std::vector<std::string> lines;
                const std::string_view text = kText;
                EXPECT_EQ(builder.append(text.substr(0, first)), first);
                if ((takes & 1) != 0) takeInto(builder, lines);
                EXPECT_EQ(builder.append(text.substr(first, second - first)), second - first);
                if ((takes & 2) != 0) takeInto(builder, lines);
                EXPECT_EQ(builder.append(text.substr(second)), text.size() - second);
                builder.finish();
                takeInto(builder, lines);
                ASSERT_EQ(lines, expected) << first << ' ' << second << ' ' << takes;
            }
        }
    }
}

TEST(TextBlockTest, StopsAfterTheWantedNumberOfLines) {
    for (size_t portion = 1; portion < 5; ++portion) {
        TextBlockBuilder builder;
        std::vector<std::string> lines;
        std::string_view rest = kText;
        while (!rest.empty()) {
            rest.remove_prefix(builder.append(rest, portion));
            EXPECT_LE(builder.numLines(), portion);
            takeInto(builder, lines);
        }
        builder.finish();
        takeInto(builder, lines);
        EXPECT_EQ(lines, splitSimply(kText));
    }
}

TEST(TextBlockTest, DropsAndCountsLongLinesWhereverTheyAreCut) {
    const std::string_view text = "ab\rabcdef\n\nabc\nabcdefgh\r\nx\rabcdabcd\r\n\nabcd";
    const std::vector<std::string> expected = splitSimply(text, 3);
    for (size_t piece = 1; piece <= text.size(); ++piece) {
        for (const bool takeOften : {false, true}) {
            TextBlockBuilder builder(3);
            std::vector<std::string> lines;
            for (size_t from = 0; from < text.size(); from += piece) {
                builder.append(text.substr(from, piece));
                if (takeOften) takeInto(builder, lines);
            }
            builder.finish();
            takeInto(builder, lines);
            EXPECT_EQ(lines, expected) << piece;
            EXPECT_EQ(builder.longLines(), 4U) << piece;
        }
    }
}

TEST(TextBlockTest, HoldsNoMoreOfAnEndlessLineThanTheLimit) {
    TextBlockBuilder builder(1000);
    const std::string piece(300, 'x');
    builder.append("first\n");
    for (int i = 0; i < 1000; ++i) {
        builder.append(piece);
        EXPECT_LE(builder.sizeBytes(), 1100U);
    }
    EXPECT_TRUE(builder.insideLongLine());
    EXPECT_EQ(builder.longLines(), 1U);
    builder.append("\nsecond\n");
    EXPECT_EQ(linesOf(builder.take().get()), (std::vector<std::string>{"first", "second"}));
}

TEST(TextBlockTest, DropsAnUnfinishedLineOnRequestOnly) {
    TextBlockBuilder builder;
    builder.append("a\nhalf");
    builder.dropPartialLine();
    builder.append("b\n");
    EXPECT_EQ(linesOf(builder.take().get()), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(builder.take(), nullptr);
}

TEST(TextBlockTest, CountsRecordsAndBytes) {
    TextBlockBuilder builder;
    builder.append("a\nbb\n");
    const auto block = builder.take();
    EXPECT_EQ(block->numRecords(), 2);
    EXPECT_EQ(block->bytes(), "a\nbb\n");
    EXPECT_GE(block->sizeBytes(), 5U);
    const VectorBlock<std::pair<std::string, int>> pairs({{std::string(1000, 'x'), 1}});
    EXPECT_GE(pairs.sizeBytes(), 1000U);
    EXPECT_EQ(pairs.numRecords(), 1);
    EXPECT_EQ(BytesBlock("abc").numRecords(), std::nullopt);
}

}  // namespace
}  // namespace dstream
