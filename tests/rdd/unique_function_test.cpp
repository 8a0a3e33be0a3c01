#include "rdd/detail/unique_function.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

namespace dstream::detail {
namespace {

TEST(UniqueFunctionTest, CallsAndMovesWhatItHolds) {
    UniqueFunction<int(int)> empty;
    EXPECT_FALSE(empty);
    UniqueFunction<int(int)> add = [calls = 0](int number) mutable { return number + ++calls; };
    EXPECT_EQ(add(10), 11);
    UniqueFunction<int(int)> moved = std::move(add);
    EXPECT_FALSE(add);  // NOLINT(bugprone-use-after-move): empty after a move
    EXPECT_EQ(moved(10), 12);
    moved = [](int number) { return -number; };
    EXPECT_EQ(moved(1), -1);
}

TEST(UniqueFunctionTest, DestroysSmallAndLargeCallablesOnce) {
    const auto token = std::make_shared<int>(0);
    {
        UniqueFunction<void()> small = [token] {};
        UniqueFunction<void()> large = [token, room = std::array<char, 200>()] { (void)room; };
        EXPECT_EQ(token.use_count(), 3);
        UniqueFunction<void()> other = std::move(large);
        small = std::move(other);
        EXPECT_EQ(token.use_count(), 2);
        small();
    }
    EXPECT_EQ(token.use_count(), 1);
}

TEST(UniqueFunctionTest, PassesArgumentsOn) {
    UniqueFunction<std::string(std::unique_ptr<int>, std::string&)> join = [](std::unique_ptr<int> number,
                                                                              std::string& text) {
        text += "!";
        return text + std::to_string(*number);
    };
    std::string text = "a";
    EXPECT_EQ(join(std::make_unique<int>(5), text), "a!5");
    EXPECT_EQ(text, "a!");
}

}  // namespace
}  // namespace dstream::detail
