#include "rdd/exceptions.hpp"

#include "rdd/call_site.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dstream {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ExceptionsTest, HaveTheBasesOfTheStandard) {
    EXPECT_THROW(throw IllegalArgumentException("x"), std::invalid_argument);
    EXPECT_THROW(throw IllegalStateException("x"), std::logic_error);
    EXPECT_THROW(throw EmptyCollectionException("x"), UnsupportedOperationException);
    EXPECT_THROW(throw NoSuchElementException("x"), std::out_of_range);
    EXPECT_THROW(throw FileAlreadyExistsException("x"), SparkException);
    EXPECT_THROW(throw NotSerializableException("x"), std::runtime_error);
}

TEST(ExceptionsTest, AreDescribedWithEverythingNested) {
    std::exception_ptr error;
    try {
        try {
            try {
                throw 42;
            } catch (...) {
                std::throw_with_nested(std::runtime_error("map failed"));
            }
        } catch (...) {
            std::throw_with_nested(SparkException("job 3 failed"));
        }
    } catch (...) {
        error = std::current_exception();
    }
    EXPECT_EQ(describeException(error), "job 3 failed: map failed: unknown exception");
    EXPECT_EQ(describeException(nullptr), "no error");
}

TEST(ExceptionsTest, AFailedCheckNamesItsPlace) {
    DSTREAM_CHECK(1 + 1 == 2, "arithmetic");
    try {
        DSTREAM_CHECK(1 + 1 == 3, "arithmetic");
        FAIL();
    } catch (const IllegalStateException& error) {
        EXPECT_THAT(error.what(),
                    AllOf(HasSubstr("arithmetic"), HasSubstr("1 + 1 == 3"), HasSubstr("exceptions_test.cpp:")));
    }
}

TEST(CallSiteTest, IsTheFileWithoutFoldersAndTheLine) {
    const CallSite site = CallSite::from();
    EXPECT_EQ(site.toString(), "exceptions_test.cpp:" + std::to_string(site.line));
    EXPECT_EQ((CallSite{"/deep/down/main.cpp", 12, "main"}).toString(), "main.cpp:12");
    EXPECT_EQ(CallSite().toString(), "");
}

}  // namespace
}  // namespace dstream
