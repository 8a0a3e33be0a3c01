#include "recovery_fixture.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dstream {
namespace {

using UpdateStateTest = RecoveryTest;

TEST_F(UpdateStateTest, EachOfManyKeysGetsItsValuesInTheirOrder) {
    constexpr int kKeys = 5000;
    std::vector<std::vector<std::pair<int, std::string>>> batches(3);
    std::vector<std::pair<int, std::string>> expected;
    for (int key = 0; key < kKeys; ++key) {
        batches[0].emplace_back(key, "a");
        std::string text = "a";
        if (key % 3 == 0) text += "bcd";
        if (key % 7 == 1) text += "ef";
        expected.emplace_back(key, text);
    }
    // The keys out of order, their values between those of others.
    for (const char* value : {"b", "c", "d"}) {
        for (int i = 0; i < kKeys; ++i) {
            const int key = i * 1999 % kKeys;
            if (key % 3 == 0) batches[1].emplace_back(key, value);
        }
    }
    for (const char* value : {"e", "f"}) {
        for (int i = 0; i < kKeys; ++i) {
            const int key = i * 2003 % kKeys;
            if (key % 7 == 1) batches[2].emplace_back(key, value);
        }
    }
    const auto output = runOn(3, [&](const StreamingContext& ssc) {
        const auto append = [](const std::vector<std::string>& values, std::optional<std::string> text) {
            for (const std::string& value : values) text = text.value_or("") + value;
            return text;
        };
        return testkit::batches<std::pair<int, std::string>>(ssc, batches).updateStateByKey<std::string>(append, 2);
    });
    auto last = output.at(Time(3000));
    std::sort(last.begin(), last.end());
    EXPECT_EQ(last, expected);
}

}  // namespace
}  // namespace dstream
