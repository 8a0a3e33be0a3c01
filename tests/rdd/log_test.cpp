#include "rdd/log.hpp"

#include "rdd/exceptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LogTest : public testing::Test {
public:
    ~LogTest() override {
        setLogSink({});
        setLogLevel(LogLevel::kWarn);
    }
};

TEST_F(LogTest, HandsLinesOfTheLevelAndAboveToTheSink) {
    std::vector<std::string> lines;
    setLogSink([&](LogLevel, std::string_view component, std::string_view text) {
        lines.push_back(std::string(component) + "/" + std::string(text));
    });
    logMessage(LogLevel::kInfo, "a", "not yet");
    logMessage(LogLevel::kWarn, "a", "1");
    setLogLevel(LogLevel::kDebug);
    logMessage(LogLevel::kDebug, "b", "2");
    setLogLevel(LogLevel::kOff);
    logMessage(LogLevel::kError, "c", "never");
    EXPECT_FALSE(logEnabled(LogLevel::kError));
    EXPECT_THAT(lines, ElementsAre("a/1", "b/2"));
}

TEST_F(LogTest, WritesToStderrByDefaultAndWhenTheSinkFails) {
    testing::internal::CaptureStderr();
    logMessage(LogLevel::kError, "scheduler", "task lost");
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("ERROR scheduler: task lost\n"));
    setLogSink([](LogLevel, std::string_view, std::string_view) { throw std::runtime_error("disk full"); });
    testing::internal::CaptureStderr();
    logMessage(LogLevel::kWarn, "scheduler", "task lost");
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_THAT(text, HasSubstr("the log sink failed: disk full"));
    EXPECT_THAT(text, HasSubstr("WARN  scheduler: task lost"));
}

TEST_F(LogTest, ParsesTheLevelNamesOfTheReference) {
    EXPECT_EQ(parseLogLevel("ALL"), LogLevel::kDebug);
    EXPECT_EQ(parseLogLevel("info"), LogLevel::kInfo);
    EXPECT_EQ(parseLogLevel("WARN"), LogLevel::kWarn);
    EXPECT_EQ(parseLogLevel("Fatal"), LogLevel::kError);
    EXPECT_EQ(parseLogLevel("OFF"), LogLevel::kOff);
    EXPECT_THROW(parseLogLevel("LOUD"), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
