#include "rdd/to_text.hpp"

#include "rdd/storage_level.hpp"
#include "rdd/time.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <ostream>

namespace dstream {
namespace {

struct Plain {};
struct Printed {
    friend std::ostream& operator<<(std::ostream& out, const Printed&) { return out << "printed"; }
};
static_assert(!Printable<Plain> && !Printable<std::vector<Plain>> && Printable<Printed>);

TEST(ToText, WritesDoublesAsTheReferenceDoes) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const std::pair<double, const char*> cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {100.0, "100.0"},
        {123456.789, "123456.789"},
        {9999999.0, "9999999.0"},
        {9999999.999, "9999999.999"},
        {1e7, "1.0E7"},
        {12345678.0, "1.2345678E7"},
        {1.5e10, "1.5E10"},
        {0.001, "0.001"},
        {0.00123, "0.00123"},
        {0.000999, "9.99E-4"},
        {1e-4, "1.0E-4"},
        {1e22, "1.0E22"},
        {1e23, "1.0E23"},
        {1.7976931348623157e308, "1.7976931348623157E308"},
        {3.141592653589793, "3.141592653589793"},
        {-2.5e-7, "-2.5E-7"},
        {kInfinity, "Infinity"},
        {-kInfinity, "-Infinity"},
        {std::numeric_limits<double>::quiet_NaN(), "NaN"},
    };
    for (const auto& [value, text] : cases) EXPECT_EQ(toText(value), text);
    EXPECT_EQ(toText(0.1f), "0.1");
    EXPECT_EQ(toText(16777216.0f), "1.6777216E7");
}

TEST(ToText, WritesIntegersInDecimalAndCharactersAsThemselves) {
    EXPECT_EQ(toText(0), "0");
    EXPECT_EQ(toText(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
    EXPECT_EQ(toText(std::numeric_limits<uint64_t>::max()), "18446744073709551615");
    EXPECT_EQ(toText(int8_t{-5}), "-5");
    EXPECT_EQ(toText(uint8_t{200}), "200");
    EXPECT_EQ(toText('x'), "x");
    EXPECT_EQ(toText(true), "true");
    EXPECT_EQ(toText(false), "false");
}

TEST(ToText, WritesTextAsItIs) {
    EXPECT_EQ(toText("abc"), "abc");
    EXPECT_EQ(toText(std::string("a b")), "a b");
    EXPECT_EQ(toText(std::string_view("view")), "view");
}

TEST(ToText, WritesComposites) {
    EXPECT_EQ(toText(std::pair(std::string("a"), int64_t{1})), "(a,1)");
    EXPECT_EQ(toText(std::tuple(1, 2.0, std::string("c"))), "(1,2.0,c)");
    EXPECT_EQ(toText(std::tuple<>()), "()");
    EXPECT_EQ(toText(std::optional<int>(3)), "Some(3)");
    EXPECT_EQ(toText(std::optional<int>()), "None");
    EXPECT_EQ(toText(std::vector<int>{1, 2, 3}), "[1, 2, 3]");
    EXPECT_EQ(toText(std::vector<int>{}), "[]");
    EXPECT_EQ(toText(std::vector<bool>{true, false}), "[true, false]");
    EXPECT_EQ(toText(std::pair(std::string("k"), std::pair(std::optional(1), std::vector<std::string>{"x"}))),
              "(k,(Some(1),[x]))");
    EXPECT_EQ(toText(std::map<std::string, int>{{"a", 1}, {"b", 2}}), "Map(a -> 1, b -> 2)");
    EXPECT_EQ(toText(std::set<int>{2, 1}), "Set(1, 2)");
    EXPECT_EQ(toText(std::array<int, 2>{1, 2}), "[1, 2]");
}

TEST(ToText, UsesToStringOrTheOutputOperatorOfOtherTypes) {
    EXPECT_EQ(toText(Seconds(2)), "2000 ms");
    EXPECT_EQ(toText(std::optional(Time(5))), "Some(5 ms)");
    EXPECT_EQ(toText(Printed{}), "printed");
}

TEST(ToText, RoundsFixedPointHalfUp) {
    EXPECT_EQ(detail::formatFixed(1.25, 1), "1.3");
    EXPECT_EQ(detail::formatFixed(1.24999, 1), "1.2");
    EXPECT_EQ(detail::formatFixed(9.99, 1), "10.0");
    EXPECT_EQ(detail::formatFixed(0.96, 1), "1.0");
    EXPECT_EQ(detail::formatFixed(0.04, 1), "0.0");
    EXPECT_EQ(detail::formatFixed(0.05, 1), "0.1");
    EXPECT_EQ(detail::formatFixed(0.6, 0), "1");
    EXPECT_EQ(detail::formatFixed(2, 3), "2.000");
    EXPECT_EQ(detail::formatFixed(-1e-9, 6), "-0.000000");
    EXPECT_EQ(detail::formatFixed(1e21, 2), "1000000000000000000000.00");
    EXPECT_EQ(detail::formatFixed(-std::numeric_limits<double>::infinity(), 6), "-Infinity");
}

}  // namespace
}  // namespace dstream
