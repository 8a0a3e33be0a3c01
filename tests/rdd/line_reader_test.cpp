#include "files/line_reader.hpp"

#include "rdd/exceptions.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace dstream::detail {
namespace {

using namespace std::string_literals;

/// Gives a text from `start` on, at most `piece` bytes a time.
class TextSource final : public ByteSource {
public:
    TextSource(std::string text, uint64_t start, size_t piece)
        : text_(std::move(text)), position_(start), piece_(piece) {}

private:
    size_t doRead(std::span<std::byte> place) override {
        const size_t count = std::min({place.size(), piece_, text_.size() - position_});
        std::memcpy(place.data(), text_.data() + position_, count);
        position_ += count;
        return count;
    }

    std::string text_;
    size_t position_;
    size_t piece_;
};

std::vector<std::string> linesOf(std::unique_ptr<ByteSource> source, uint64_t start, uint64_t end,
                                 LineReader::Options options, size_t linesACall = 3) {
    LineReader reader(std::move(source), "a test", start, end, options);
    std::vector<std::string_view> views(linesACall);
    std::vector<std::string> lines;
    while (!reader.atEnd()) {
        const size_t count = reader.next(views);
        for (size_t i = 0; i < count; ++i) lines.emplace_back(views[i]);
    }
    return lines;
}

std::vector<std::string> linesIn(const std::string& text, uint64_t start, uint64_t end, size_t bufferBytes,
                                 size_t piece) {
    LineReader::Options options;
    options.bufferBytes = bufferBytes;
    return linesOf(std::make_unique<TextSource>(text, start, piece), start, end, options);
}

/// The rule in its simplest form.
std::vector<std::string> splitSimply(std::string_view text) {
    std::vector<std::string> lines;
    std::string line;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\n' && text[i] != '\r') {
            line += text[i];
            continue;
        }
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
        lines.push_back(line);
        line.clear();
    }
    if (!line.empty()) lines.push_back(line);
    return lines;
}

const std::vector<std::string> kTexts = {
    "",
    "\n",
    "\r",
    "\r\n",
    "one",
    "one\n",
    "one\ntwo\nthree",
    "one\rtwo\rthree\r",
    "one\r\ntwo\r\nthree\r\n",
    "\n\n\r\r\r\n\r\n\n\r\n",
    "a\nbb\rccc\r\n\r\n\rdddd\n\reeeee\r\n\nf",
    "with\0nul\xff\xfe bytes\nand more\r\n"s,
    "a line that is longer than any of the small buffers, by far\nshort\r\nanother one that is much too long for "
    "them\r",
};

TEST(LineReader, EndsLinesAtFeedsReturnsAndBothWhereverBufferAndSourceCutThem) {
    for (const std::string& text : kTexts) {
        for (const size_t buffer : {1, 2, 3, 4, 5, 7, 8, 64, 1024}) {
            for (const size_t piece : {1, 2, 3, 1000}) {
                EXPECT_EQ(linesIn(text, 0, text.size(), buffer, piece), splitSimply(text))
                    << testing::PrintToString(text) << " buffer " << buffer << " piece " << piece;
            }
        }
    }
}

TEST(LineReader, CoversEveryLineExactlyOnceByTwoRangesThatTouchAnywhere) {
    for (const std::string& text : kTexts) {
        for (size_t cut = 1; cut <= text.size(); ++cut) {
            for (const size_t buffer : {3, 8, 1024}) {
                std::vector<std::string> lines = linesIn(text, 0, cut, buffer, 1000);
                for (std::string& line : linesIn(text, cut, text.size(), buffer, 1000))
                    lines.push_back(std::move(line));
                EXPECT_EQ(lines, splitSimply(text))
                    << testing::PrintToString(text) << " cut at " << cut << " buffer " << buffer;
            }
        }
    }
}

TEST(LineReader, CoversEveryLineExactlyOnceByAnyNumberOfSplits) {
    for (const std::string& text : kTexts) {
        for (int count = 1; count <= static_cast<int>(text.size()) + 2; ++count) {
            std::vector<std::string> lines;
            for (const FileSplit& split : splitFiles({{"file", text.size()}}, count)) {
                for (std::string& line : linesIn(text, split.start, split.start + split.length, 5, 1000)) {
                    lines.push_back(std::move(line));
                }
            }
            EXPECT_EQ(lines, splitSimply(text)) << testing::PrintToString(text) << " in " << count;
        }
    }
}

TEST(LineReader, LeavesOutTheByteOrderMarkAtTheBeginningOnly) {
    const std::string text = "\xEF\xBB\xBFone\n\xEF\xBB\xBFtwo\n";
    for (const size_t piece : {1, 2, 100}) {
        EXPECT_EQ(linesIn(text, 0, text.size(), 64, piece), (std::vector<std::string>{"one", "\xEF\xBB\xBFtwo"}));
    }
    EXPECT_EQ(linesIn("\xEF\xBB", 0, 2, 64, 1), std::vector<std::string>{"\xEF\xBB"});
}

TEST(LineReader, ReadsLittleBeyondTheEndOfItsRange) {
    class CountingSource final : public ByteSource {
    public:
        explicit CountingSource(size_t& total) : total_(total) {}

    private:
        size_t doRead(std::span<std::byte> place) override {
            for (size_t i = 0; i < place.size(); ++i) place[i] = i % 50 == 0 ? std::byte{'\n'} : std::byte{'x'};
            total_ += place.size();
            return place.size();
        }
        size_t& total_;
    };
    size_t total = 0;
    linesOf(std::make_unique<CountingSource>(total), 0, 1000, {});
    EXPECT_LE(total, 4096U);
}

TEST(LineReader, RefusesALineThatIsLongerThanTheLimitAndNamesWhereItBegins) {
    LineReader::Options options;
    options.bufferBytes = 8;
    options.maxLineBytes = 100;
    const std::string text = "short\n" + std::string(100, 'x') + "\n" + std::string(103, 'y') + "\nlast\n";
    try {
        linesOf(std::make_unique<TextSource>(text, 0, 1000), 0, text.size(), options);
        FAIL() << "no exception";
    } catch (const SparkException& error) {
        EXPECT_EQ(std::string_view(error.what()).substr(0, 60),
                  "a test: the line at byte 107 is longer than 100 bytes; raise");
    }
    // A range that begins inside of such a line leaves it to the one before and needs no memory for it.
    EXPECT_EQ(linesOf(std::make_unique<TextSource>(text, 120, 1000), 120, text.size(), options),
              std::vector<std::string>{"last"});
}

TEST(LineReader, MakesAChunkOfTheLinesThatAreThereWithoutWaitingForMore) {
    LineReader reader(std::make_unique<TextSource>("one\ntwo\nthr", 0, 1000), "a test", 0, LineReader::kToTheEnd, {});
    std::vector<std::string_view> lines(10);
    EXPECT_EQ(reader.next(lines), 0U);  // nothing was read yet
    EXPECT_EQ(reader.next(lines), 2U);
    EXPECT_FALSE(reader.atEnd());
}

std::string gzipped(std::string_view text) {
    z_stream stream{};
    deflateInit2(&stream, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

TEST(Decompression, ReadsStreamsInARowWhereverTheirBytesAreCut) {
    const std::string packed = gzipped("one\ntw") + gzipped("") + gzipped("o\nthree\n");
    for (const size_t piece : {1, 2, 7, 1000}) {
        EXPECT_EQ(
            linesOf(decompress(std::make_unique<TextSource>(packed, 0, piece), "a test"), 0, LineReader::kToTheEnd, {}),
            (std::vector<std::string>{"one", "two", "three"}));
    }
    EXPECT_EQ(linesOf(decompress(std::make_unique<TextSource>("", 0, 1), "empty"), 0, LineReader::kToTheEnd, {}),
              std::vector<std::string>{});
}

TEST(Decompression, RefusesWhatIsCutShortDamagedOrNotCompressed) {
    const std::string packed = gzipped(std::string(1000, 'a') + "bcdefg\n");
    const auto read = [](const std::string& bytes) {
        linesOf(decompress(std::make_unique<TextSource>(bytes, 0, 1000), "x.gz"), 0, LineReader::kToTheEnd, {});
    };
    for (size_t size = 1; size < packed.size(); ++size)
        EXPECT_THROW(read(packed.substr(0, size)), SparkException) << size;
    std::string damaged = packed;
    damaged[damaged.size() - 6] ^= 1;  // in the checksum
    EXPECT_THROW(read(damaged), SparkException);
    EXPECT_THROW(read("plain text\n"), SparkException);
}

TEST(InputFiles, AreCutByTheRuleOfTheReference) {
    const auto lengths = [](const std::vector<FileSplit>& splits) {
        std::vector<uint64_t> all;
        for (const FileSplit& split : splits) all.push_back(split.length);
        return all;
    };
    using Lengths = std::vector<uint64_t>;
    EXPECT_EQ(lengths(splitFiles({{"a", 100}}, 2)), (Lengths{50, 50}));
    EXPECT_EQ(lengths(splitFiles({{"a", 101}}, 2)), (Lengths{50, 51}));     // a tenth more is no split of its own
    EXPECT_EQ(lengths(splitFiles({{"a", 10}}, 3)), (Lengths{3, 3, 3, 1}));  // 4 / 3 is more than a tenth
    EXPECT_EQ(lengths(splitFiles({{"a", 100}, {"b", 10}, {"c", 0}}, 2)), (Lengths{55, 45, 10, 0}));
    EXPECT_EQ(lengths(splitFiles({{"a.gz", 100}, {"b", 10}}, 4)), (Lengths{100, 10}));
    EXPECT_EQ(lengths(splitFiles({{"a", 3}}, 10)), (Lengths{1, 1, 1}));
    EXPECT_EQ(lengths(splitFiles({}, 2)), Lengths{});
    EXPECT_EQ(lengths(splitFiles({{"a", 5}}, 0)), Lengths{5});
}

TEST(InputFiles, ArePackedInOrderIntoGroupsOfAboutTheSameSize) {
    const auto sizes = [](const std::vector<std::vector<InputFile>>& groups) {
        std::vector<std::vector<uint64_t>> all;
        for (const auto& group : groups) {
            all.emplace_back();
            for (const InputFile& file : group) all.back().push_back(file.sizeBytes);
        }
        return all;
    };
    using Groups = std::vector<std::vector<uint64_t>>;
    EXPECT_EQ(sizes(packFiles({{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}}, 2)), (Groups{{1, 1}, {1, 1}}));
    EXPECT_EQ(sizes(packFiles({{"a", 90}, {"b", 1}, {"c", 1}}, 2)), (Groups{{90}, {1, 1}}));
    EXPECT_EQ(sizes(packFiles({{"a", 1}, {"b", 1}, {"c", 90}}, 3)), (Groups{{1}, {1}, {90}}));
    EXPECT_EQ(sizes(packFiles({{"a", 0}, {"b", 0}}, 5)), (Groups{{0}, {0}}));
    EXPECT_EQ(sizes(packFiles({}, 2)), Groups{});
}

}  // namespace
}  // namespace dstream::detail
