#include "rdd/failpoint.hpp"

#include "rdd/exceptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace dstream {
namespace {

using testing::ElementsAre;
using testing::Pair;

class FailpointTest : public testing::Test {
public:
    ~FailpointTest() override { setFailpoints({}); }
};

TEST_F(FailpointTest, DoesNothingUnlessArmed) {
    EXPECT_FALSE(failpointsArmed());
    DSTREAM_FAILPOINT("test.a");
    EXPECT_EQ(DSTREAM_FAILPOINT_ERRNO("test.a"), 0);
    EXPECT_TRUE(failpointHits().empty());
}

TEST_F(FailpointTest, FailsAtTheGivenHitOfItsName) {
    setFailpoints(parseFailpoints(nullptr, "test.b:ENOSPC:2", nullptr));
    EXPECT_TRUE(failpointsArmed());
    DSTREAM_FAILPOINT("test.a");
    DSTREAM_FAILPOINT("test.b");
    DSTREAM_FAILPOINT("test.a");
    try {
        DSTREAM_FAILPOINT("test.b");
        FAIL();
    } catch (const std::system_error& error) {
        EXPECT_EQ(error.code().value(), ENOSPC);
    }
    EXPECT_EQ(DSTREAM_FAILPOINT_ERRNO("test.b"), 0);
    EXPECT_THAT(failpointHits(), ElementsAre(Pair("test.a", 2), Pair("test.b", 3)));
}

TEST_F(FailpointTest, KillsTheProcessAtTheGivenHitOfAnyName) {
    EXPECT_EXIT(
        {
            setFailpoints(parseFailpoints("3", nullptr, nullptr));
            DSTREAM_FAILPOINT("test.a");
            DSTREAM_FAILPOINT("test.b");
            std::fprintf(stderr, "still here");
            DSTREAM_FAILPOINT("test.a");
            std::fprintf(stderr, "never here");
        },
        testing::KilledBySignal(SIGKILL), "still here$");
}

TEST_F(FailpointTest, KillsTheProcessAtTheGivenHitOfItsName) {
    EXPECT_EXIT(
        {
            setFailpoints(parseFailpoints(nullptr, "test.b:KILL:2", nullptr));
            DSTREAM_FAILPOINT("test.b");
            DSTREAM_FAILPOINT("test.a");
            DSTREAM_FAILPOINT("test.a");
            std::fprintf(stderr, "still here");
            DSTREAM_FAILPOINT("test.b");
            std::fprintf(stderr, "never here");
        },
        testing::KilledBySignal(SIGKILL), "still here$");
}

TEST_F(FailpointTest, ListsTheNamesAtExit) {
    EXPECT_EXIT(
        {
            setFailpoints(parseFailpoints(nullptr, nullptr, "list"));
            DSTREAM_FAILPOINT("test.b");
            DSTREAM_FAILPOINT("test.a");
            DSTREAM_FAILPOINT("test.b");
            std::exit(0);  // NOLINT(concurrency-mt-unsafe): the child has one thread
        },
        testing::ExitedWithCode(0), "failpoint test.a 1\nfailpoint test.b 2\n");
}

TEST_F(FailpointTest, ParsesErrorsByNameAndNumber) {
    EXPECT_EQ(parseFailpoints(nullptr, "x:EIO:1", nullptr).failErrno, EIO);
    EXPECT_EQ(parseFailpoints(nullptr, "x:28:1", nullptr).failErrno, ENOSPC);
    EXPECT_EQ(parseFailpoints("12", nullptr, nullptr).killAt, 12u);
    for (const char* text : {"", "x", "x:EIO", "x:EIO:0", "x:EIO:y", "x:ENOTHING:1", ":EIO:1", "x:0:1"}) {
        EXPECT_THROW(parseFailpoints(nullptr, text, nullptr), IllegalArgumentException) << text;
    }
    EXPECT_THROW(parseFailpoints("soon", nullptr, nullptr), IllegalArgumentException);
    EXPECT_THROW(parseFailpoints(nullptr, nullptr, "all"), IllegalArgumentException);
}

}  // namespace
}  // namespace dstream
