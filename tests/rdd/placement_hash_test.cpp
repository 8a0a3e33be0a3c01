#include "rdd/placement_hash.hpp"

#include "rdd/to_text.hpp"
#include "support/test_files.hpp"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>

namespace dstream {
namespace {

struct Visit {
    int64_t user = 0;
    std::string page;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& user& page;
    }
};
DSTREAM_CODEC(Visit, "test.Visit", 3)

enum class Colour : uint8_t { kRed, kGreen };

std::string bytesOfLength(size_t size) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 + size * 7);
    return bytes;
}

uint64_t hashOf(const std::string& kind, const std::string& value) {
    if (kind == "bytes") return placementHash(bytesOfLength(std::strtoull(value.c_str(), nullptr, 10)));
    if (kind == "word") return placementHash(value.substr(1, value.size() - 2));
    if (kind == "int") return placementHash(int64_t{std::strtoll(value.c_str(), nullptr, 10)});
    if (kind == "double") return placementHash(std::strtod(value.c_str(), nullptr));
    const std::map<std::string, uint64_t> composites = {
        {"pair(1,2)", placementHash(std::pair(1, 2))},
        {"pair(2,1)", placementHash(std::pair(2, int64_t{1}))},
        {"pair(spark,7)", placementHash(std::pair(std::string_view("spark"), 7))},
        {"tuple(1,a,0.5)", placementHash(std::tuple(1, std::string("a"), 0.5))},
        {"none", placementHash(std::optional<int>())},
        {"some(5)", placementHash(std::optional<int>(5))},
        {"vector()", placementHash(std::vector<int>())},
        {"vector(1,2,3)", placementHash(std::vector<int16_t>{1, 2, 3})},
        {"struct(7,ab)", placementHash(Visit{7, "ab"})},
    };
    return composites.at(value);
}

TEST(PlacementHashTest, IsTheSameForEver) {
    size_t lines = 0;
    for (const std::string& line : testsupport::readLines(testsupport::testData("placement_hash.txt"))) {
        const size_t first = line.find(' ');
        const size_t last = line.rfind(' ');
        const uint64_t expected = std::strtoull(line.c_str() + last + 1, nullptr, 16);
        EXPECT_EQ(hashOf(line.substr(0, first), line.substr(first + 1, last - first - 1)), expected) << line;
        ++lines;
    }
    EXPECT_EQ(lines, 344u);
}

TEST(PlacementHashTest, OfStringsIsXxh3AtAnyAlignment) {
    const std::string text = bytesOfLength(400);
    for (size_t size = 0; size <= 40; ++size) {
        for (size_t offset = 0; offset < 8; ++offset) {
            const std::string_view part = std::string_view(text).substr(offset * 3, size);
            EXPECT_EQ(placementHash(part), XXH3_64bits(part.data(), part.size())) << size;
        }
    }
}

TEST(PlacementHashTest, AgreesForTypesThatStandForTheSame) {
    EXPECT_EQ(placementHash(int32_t{-7}), placementHash(int64_t{-7}));
    EXPECT_EQ(placementHash(int8_t{1}), placementHash(true));
    EXPECT_EQ(placementHash(Colour::kGreen), placementHash(1));
    EXPECT_EQ(placementHash(std::string("word")), placementHash(std::string_view("word")));
    EXPECT_EQ(placementHash(std::vector<std::byte>{std::byte{'a'}, std::byte{'b'}}), placementHash(std::string("ab")));
    EXPECT_EQ(placementHash(0.0), placementHash(-0.0));
    EXPECT_EQ(placementHash(std::nan("1")), placementHash(-std::nan("2")));
    EXPECT_EQ(placementHash(0.5f), placementHash(0.5));
    EXPECT_EQ(placementHash(Time(5)), placementHash(5));
    EXPECT_EQ(placementHash(std::pair(std::string("k"), std::string("v"))),
              placementHash(std::pair(std::string_view("k"), std::string_view("v"))));
}

TEST(PlacementHashTest, SpreadsKeysOverPartitions) {
    for (const int partitions : {2, 3, 7, 16, 200}) {
        std::vector<int> counts(static_cast<size_t>(partitions));
        constexpr int kKeys = 100'000;
        for (int key = 0; key < kKeys; ++key) ++counts[placementHash("word" + toText(key)) % counts.size()];
        for (const int count : counts) {
            EXPECT_GT(count, kKeys / partitions / 2);
            EXPECT_LT(count, kKeys / partitions * 2);
        }
    }
}

}  // namespace
}  // namespace dstream
