#include "plugins/options.hpp"

#include "rdd/exceptions.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::Pair;
using testsupport::errorOf;

OptionSchema schema() {
    return {
        {"host", OptionType::kString, kRequired, "the server"}, {"port", OptionType::kInt, "9999", "its port"},
        {"ratio", OptionType::kDouble, "0.5", "how much"},      {"again", OptionType::kBool, "true", "or once"},
        {"wait", OptionType::kDuration, "500ms", "how long"},   {"room", OptionType::kSize, "64k", "of the buffer"}};
}

TEST(PluginOptions, HaveTheirDefaultsAndTheGivenValues) {
    const Options options(schema(), {{"host", "here"}, {"port", "80"}});
    EXPECT_EQ(options.getString("host"), "here");
    EXPECT_EQ(options.getInt("port"), 80);
    EXPECT_EQ(options.getDouble("ratio"), 0.5);
    EXPECT_TRUE(options.getBool("again"));
    EXPECT_EQ(options.getDuration("wait"), Milliseconds(500));
    EXPECT_EQ(options.getSize("room"), 65536);
}

TEST(PluginOptions, SayWhatIsWrongWithThem) {
    const auto error = [](std::map<std::string, std::string> values) {
        values.emplace("host", "here");
        return errorOf([&] { Options(schema(), values); });
    };
    EXPECT_EQ(errorOf([] { Options(schema(), {}); }), "option \"host\" (the server) must be given");
    EXPECT_EQ(error({{"prot", "1"}}), "option \"prot\" is not known; there are host, port, ratio, again, wait, room");
    EXPECT_THAT(error({{"port", "many"}}), testing::StartsWith("option \"port\" must be of type int: "));
    EXPECT_THAT(error({{"ratio", "1,5"}}), testing::StartsWith("option \"ratio\" must be of type double: "));
    EXPECT_THAT(error({{"again", "yes"}}), testing::StartsWith("option \"again\" must be of type bool: "));
    EXPECT_THAT(error({{"wait", "soon"}}), testing::StartsWith("option \"wait\" must be of type duration: "));
    EXPECT_THAT(error({{"room", "-"}}), testing::StartsWith("option \"room\" must be of type size: "));
    EXPECT_EQ(errorOf([] { Options({}, {{"a", "b"}}); }), "option \"a\" is not known; there are none");
}

TEST(PluginOptions, AreReadAsWhatTheyAreDescribedAs) {
    const Options options(schema(), {{"host", "here"}});
    EXPECT_EQ(errorOf([&] { options.getInt("host"); }), "option \"host\" is of type string, asked for as int");
    EXPECT_EQ(errorOf([&] { options.getString("nothing"); }), "option \"nothing\" is not in the schema");
}

TEST(PluginOptions, AreTakenFromArgumentsByNameOrInTheirOrder) {
    const std::vector<std::string> arguments = {"port=80", "here", "0.25"};
    EXPECT_THAT(schema().parseArguments(arguments),
                ElementsAre(Pair("host", "here"), Pair("port", "80"), Pair("ratio", "0.25")));
    const auto error = [](std::vector<std::string> wrong) { return errorOf([&] { schema().parseArguments(wrong); }); };
    EXPECT_EQ(error({"port=1", "port=2"}), "option \"port\" is given twice");
    EXPECT_EQ(error({"prot=1"}), "option \"prot\" is not known; there are host, port, ratio, again, wait, room");
    EXPECT_EQ(error({"1", "2", "3", "4", "5", "6", "7"}),
              "no option is left for the argument \"7\"; there are host, port, ratio, again, wait, room");
}

TEST(PluginOptions, AreNotDescribedInAWrongWay) {
    const auto error = [](std::vector<OptionSpec> specs) { return errorOf([&] { OptionSchema(std::move(specs)); }); };
    EXPECT_EQ(error({{"a", OptionType::kInt, "1", ""}, {"a", OptionType::kInt, "1", ""}}),
              "option \"a\" is described twice");
    EXPECT_EQ(error({{"", OptionType::kInt, "1", ""}}), "the name of an option must be a word without '=': \"\"");
    EXPECT_THAT(error({{"a", OptionType::kInt, "one", ""}}), testing::StartsWith("option \"a\" must be of type int: "));
}

TEST(PluginOptions, KeepSecretsOutOfMessages) {
    const OptionSchema secret{{"password", OptionType::kInt, kRequired, "a number"}};
    EXPECT_EQ(errorOf([&] {
                  Options(secret, {{"password", "hunter2"}});
              }),
              "option \"password\" must be of type int: *********(redacted)");
}

}  // namespace
}  // namespace dstream
