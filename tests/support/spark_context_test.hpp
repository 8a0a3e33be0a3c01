#pragma once

#include "rdd/spark_context.hpp"
#include "support/errors.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace dstream::testsupport {

/// A context of two slots and a directory for each test.
class SparkContextTest : public testing::Test {
public:
    ~SparkContextTest() override { sc.stop(); }

protected:
    explicit SparkContextTest(SparkConf conf = SparkConf())
        : sc(conf.setIfMissing("spark.master", "local[2]").setIfMissing("spark.app.name", "test")) {}

    TemporaryDirectory directory;
    SparkContext sc;
};

}  // namespace dstream::testsupport
