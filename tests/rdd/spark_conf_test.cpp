#include "rdd/spark_conf.hpp"

#include "rdd/exceptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace dstream {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

std::string messageOf(const std::function<void()>& call) {
    try {
        call();
    } catch (const IllegalArgumentException& error) {
        return error.what();
    }
    return "nothing was thrown";
}

TEST(SparkConfTest, KeepsSettingsSortedByKey) {
    SparkConf conf;
    conf.setMaster("local[2]")
        .setAppName("App")
        .set("b", "1")
        .set("b", "2")
        .setIfMissing("b", "3")
        .setIfMissing("a", "4");
    conf.setAll({{"c", "5"}, {"d", "6"}}).remove("d").remove("never set");
    EXPECT_THAT(conf.getAll(), ElementsAre(Pair("a", "4"), Pair("b", "2"), Pair("c", "5"),
                                           Pair("spark.app.name", "App"), Pair("spark.master", "local[2]")));
    EXPECT_THAT(conf.getAllWithPrefix("spark."), ElementsAre(Pair("app.name", "App"), Pair("master", "local[2]")));
}

TEST(SparkConfTest, CopiesAreIndependent) {
    SparkConf conf;
    conf.set("a", "1");
    SparkConf other = conf.clone();
    other.set("a", "2");
    EXPECT_EQ(conf.get("a"), "1");
    EXPECT_NE(conf, other);
}

TEST(SparkConfTest, MissingKeysThrowOrTakeTheDefault) {
    const SparkConf conf;
    EXPECT_THROW(conf.get("k"), NoSuchElementException);
    EXPECT_THROW(conf.getTimeAsMs("k"), NoSuchElementException);
    EXPECT_EQ(conf.get("k", "default"), "default");
    EXPECT_EQ(conf.getOption("k"), std::nullopt);
    EXPECT_FALSE(conf.contains("k"));
    EXPECT_EQ(conf.getInt("k", 7), 7);
    EXPECT_EQ(conf.getLong("k", 8), 8);
    EXPECT_EQ(conf.getDouble("k", 0.5), 0.5);
    EXPECT_TRUE(conf.getBoolean("k", true));
    EXPECT_EQ(conf.getTimeAsMs("k", "2s"), 2000);
    EXPECT_EQ(conf.getSizeAsBytes("k", "2k"), 2048);
    EXPECT_EQ(conf.getSizeAsBytes("k", int64_t{5}), 5);
}

TEST(SparkConfTest, ReadsNumbersAndBooleans) {
    SparkConf conf;
    conf.set("int", " -42 ")
        .set("plus", "+7")
        .set("big", "9223372036854775807")
        .set("real", "2.5e3")
        .set("flag", "TRUE");
    EXPECT_EQ(conf.getInt("int", 0), -42);
    EXPECT_EQ(conf.getInt("plus", 0), 7);
    EXPECT_EQ(conf.getLong("big", 0), INT64_MAX);
    EXPECT_EQ(conf.getDouble("real", 0), 2500.0);
    EXPECT_TRUE(conf.getBoolean("flag", false));
}

TEST(SparkConfTest, ReadsTimes) {
    const std::tuple<const char*, int64_t, int64_t> cases[] = {
        // text, as ms, as s
        {"50", 50, 50},       {"1500ms", 1500, 1},    {"2500us", 2, 0},        {"3s", 3000, 3},
        {"2m", 120'000, 120}, {"2min", 120'000, 120}, {"1h", 3'600'000, 3600}, {"1d", 86'400'000, 86'400},
        {"5S", 5000, 5},      {"-1s", -1000, -1},
    };
    for (const auto& [text, millis, seconds] : cases) {
        SparkConf conf;
        conf.set("k", text);
        EXPECT_EQ(conf.getTimeAsMs("k"), millis) << text;
        EXPECT_EQ(conf.getTimeAsSeconds("k"), seconds) << text;
    }
    EXPECT_EQ(parseTimeMs("5"), 5);
    EXPECT_EQ(parseTimeMs("5", 1000), 5000);
    EXPECT_EQ(parseTimeMs(" 106751991d "), int64_t{106751991} * 86'400'000);
}

TEST(SparkConfTest, ReadsSizes) {
    const std::pair<const char*, int64_t> cases[] = {
        {"0", 0},
        {"512b", 512},
        {"4k", 4096},
        {"4KB", 4096},
        {"3m", 3 << 20},
        {"3mb", 3 << 20},
        {"2g", int64_t{2} << 30},
        {"2gb", int64_t{2} << 30},
        {"1t", int64_t{1} << 40},
        {"1tb", int64_t{1} << 40},
        {"1p", int64_t{1} << 50},
    };
    for (const auto& [text, bytes] : cases) {
        SparkConf conf;
        conf.set("k", text);
        EXPECT_EQ(conf.getSizeAsBytes("k"), bytes) << text;
    }
    SparkConf conf;
    conf.set("bare", "3").set("unit", "5m");
    EXPECT_EQ(conf.getSizeAsKb("bare"), 3);
    EXPECT_EQ(conf.getSizeAsKb("unit"), 5 * 1024);
    EXPECT_EQ(conf.getSizeAsMb("unit"), 5);
    EXPECT_EQ(conf.getSizeAsGb("unit"), 0);
    EXPECT_EQ(conf.getSizeAsMb("none", "1g"), 1024);
    EXPECT_EQ(parseSizeBytes("64m"), 64 << 20);
    EXPECT_EQ(parseSizeBytes("64", 1024), 64 << 10);
}

TEST(SparkConfTest, RefusesMalformedValuesNamingKeyValueAndWhatWasExpected) {
    for (const char* text :
         {"", " ", "x", "1.5", "0x10", "1 2", "--1", "+-1", "2147483648", "1e3", "99999999999999999999"}) {
        SparkConf conf;
        conf.set("some.key", text);
        EXPECT_THAT(messageOf([&] { conf.getInt("some.key", 0); }),
                    AllOf(HasSubstr("some.key"), HasSubstr(std::string("'") + text + "'"), HasSubstr("whole number")))
            << text;
    }
    for (const char* text :
         {"", "s", "1.5s", "5 s", "s5", "5x", "5sec", "1s1", "9223372036854775807d", "- 1s", "1-2ms"}) {
        SparkConf conf;
        conf.set("some.key", text);
        EXPECT_THAT(messageOf([&] { conf.getTimeAsMs("some.key"); }),
                    AllOf(HasSubstr("some.key"), HasSubstr(std::string("'") + text + "'"), HasSubstr("100ms")))
            << text;
        EXPECT_THROW(parseTimeMs(text), IllegalArgumentException) << text;
    }
    for (const char* text : {"", "k", "1.5k", "0.064m", "-1k", "5kib", "9223372036854775807k", "5 k"}) {
        SparkConf conf;
        conf.set("some.key", text);
        EXPECT_THAT(messageOf([&] { conf.getSizeAsBytes("some.key"); }),
                    AllOf(HasSubstr("some.key"), HasSubstr(std::string("'") + text + "'"), HasSubstr("64k")))
            << text;
        EXPECT_THROW(parseSizeBytes(text), IllegalArgumentException) << text;
    }
    SparkConf conf;
    conf.set("real", "1,5").set("flag", "yes");
    EXPECT_THAT(messageOf([&] { conf.getDouble("real", 0); }), AllOf(HasSubstr("real"), HasSubstr("'1,5'")));
    EXPECT_THAT(messageOf([&] { conf.getBoolean("flag", false); }), HasSubstr("flag must be true or false: 'yes'"));
}

TEST(SparkConfTest, NeverShowsSecrets) {
    const char* const secret[] = {"spark.ssl.keyPassword", "my.Secret.thing",  "api.TOKEN",        "fs.s3.access.key",
                                  "x.accesskey",           "sasl.jaas.config", "ssl.key.location", "ssl-key"};
    const char* const open[] = {"spark.app.name", "accession.keys", "ssl.truststore", "keys"};
    SparkConf conf;
    for (const char* key : secret) {
        EXPECT_TRUE(isSecretKey(key)) << key;
        conf.set(key, "hunter2");
    }
    for (const char* key : open) EXPECT_FALSE(isSecretKey(key)) << key;
    conf.set("spark.app.name", "App");
    EXPECT_THAT(conf.toDebugString(), AllOf(HasSubstr("spark.app.name=App"), HasSubstr("api.TOKEN=*********(redacted)"),
                                            Not(HasSubstr("hunter2"))));
    EXPECT_THAT(messageOf([&] { conf.getInt("api.TOKEN", 0); }), Not(HasSubstr("hunter2")));
    EXPECT_EQ(SparkConf().set("b", "2").set("a", "1").toDebugString(), "a=1\nb=2");
}

}  // namespace
}  // namespace dstream
