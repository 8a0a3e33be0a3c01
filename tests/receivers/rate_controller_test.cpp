#include "receivers/rate_controller.hpp"

#include "rdd/exceptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace dstream {
namespace {

using testing::ElementsAre;

TEST(PidRateEstimatorTest, LearnsFromTheFirstBatchAndPublishesNothing) {
    PidRateEstimator estimator(20, 1, 1, 0, 10);
    EXPECT_EQ(estimator.compute(0, 10, 10, 0), std::nullopt);
    EXPECT_NE(estimator.compute(1, 10, 10, 0), std::nullopt);
}

TEST(PidRateEstimatorTest, ChangesNothingWithoutRecordsDelayOrProgress) {
    PidRateEstimator estimator(20, 1, 1, 0, 10);
    EXPECT_EQ(estimator.compute(100, 0, 10, 0), std::nullopt);
    EXPECT_EQ(estimator.compute(100, 10, 0, 0), std::nullopt);
    EXPECT_EQ(estimator.compute(-1, 10, 10, 0), std::nullopt);
    EXPECT_EQ(estimator.compute(100, 10, 10, 0), std::nullopt);
    EXPECT_EQ(estimator.compute(100, 10, 10, 0), std::nullopt);
    EXPECT_NE(estimator.compute(101, 10, 10, 0), std::nullopt);
}

TEST(PidRateEstimatorTest, FollowsTheProcessingRateWithTheProportionalTerm) {
    PidRateEstimator estimator(20, 1, 0, 0, 10);
    estimator.compute(0, 1000, 10, 0);
    EXPECT_DOUBLE_EQ(*estimator.compute(1000, 500, 10, 0), 50'000);
    EXPECT_DOUBLE_EQ(*estimator.compute(2000, 2000, 10, 0), 200'000);
}

TEST(PidRateEstimatorTest, SubtractsWhatTheSchedulingDelayHasPiledUp) {
    PidRateEstimator estimator(1000, 0, 0.2, 0, 10);
    estimator.compute(0, 1000, 1000, 0);
    EXPECT_DOUBLE_EQ(*estimator.compute(1000, 1000, 1000, 500), 1000 - 0.2 * 500);
    EXPECT_DOUBLE_EQ(*estimator.compute(2000, 1000, 1000, 0), 900);
}

TEST(PidRateEstimatorTest, WeighsTheChangeOfTheErrorWithTheDerivativeTerm) {
    PidRateEstimator estimator(1000, 0, 0, 1, 10);
    estimator.compute(0, 1000, 1000, 0);
    EXPECT_DOUBLE_EQ(*estimator.compute(2000, 600, 1000, 0), 1000 - 400 / 2.0);
    EXPECT_DOUBLE_EQ(*estimator.compute(3000, 700, 1000, 0), 800 - (100 - 400));
}

TEST(PidRateEstimatorTest, NeverGoesBelowTheMinimum) {
    PidRateEstimator estimator(20, 1, 1, 1, 100);
    std::mt19937 random(7);
    estimator.compute(0, 1, 10, 0);
    for (int64_t time = 1; time < 1000; ++time) {
        const auto rate = estimator.compute(time, random() % 100 + 1, random() % 1000 + 1, random() % 5000);
        ASSERT_TRUE(rate.has_value());
        ASSERT_GE(*rate, 100);
    }
}

TEST(PidRateEstimatorTest, RefusesWrongSettings) {
    EXPECT_THROW(PidRateEstimator(0, 1, 1, 1, 1), IllegalArgumentException);
    EXPECT_THROW(PidRateEstimator(1, -1, 1, 1, 1), IllegalArgumentException);
    EXPECT_THROW(PidRateEstimator(1, 1, -1, 1, 1), IllegalArgumentException);
    EXPECT_THROW(PidRateEstimator(1, 1, 1, -1, 1), IllegalArgumentException);
    EXPECT_THROW(PidRateEstimator(1, 1, 1, 1, 0), IllegalArgumentException);
}

TEST(RateEstimatorTest, IsMadeByName) {
    SparkConf conf;
    EXPECT_NE(RateEstimator::create(conf, Seconds(1)), nullptr);
    conf.set("spark.streaming.backpressure.rateEstimator", "pid");
    EXPECT_NE(RateEstimator::create(conf, Seconds(1)), nullptr);
    conf.set("spark.streaming.backpressure.pid.minRate", "0");
    EXPECT_THROW(RateEstimator::create(conf, Seconds(1)), IllegalArgumentException);
    conf.set("spark.streaming.backpressure.rateEstimator", "best");
    EXPECT_THROW(RateEstimator::create(conf, Seconds(1)), IllegalArgumentException);
}

TEST(RateControllerTest, PublishesEachNewRateAsAWholeNumber) {
    EXPECT_FALSE(RateController::isBackPressureEnabled(SparkConf()));
    EXPECT_TRUE(RateController::isBackPressureEnabled(SparkConf().set("spark.streaming.backpressure.enabled", "true")));
    std::vector<int64_t> published;
    RateController controller(3, std::make_unique<PidRateEstimator>(1000, 1, 0, 0, 10),
                              [&](int64_t rate) { published.push_back(rate); });
    EXPECT_EQ(controller.getLatestRate(), -1);
    controller.batchCompleted(1000, 1000, 1000, 0);
    EXPECT_EQ(controller.getLatestRate(), -1);
    controller.batchCompleted(2000, 1000, 3000, 0);
    controller.batchCompleted(3000, 0, 100, 0);
    EXPECT_THAT(published, ElementsAre(333));
    EXPECT_EQ(controller.getLatestRate(), 333);
}

TEST(RateControllerTest, NeverPublishesZeroAndLearnsFromBatchesOfNoTimeToo) {
    std::vector<int64_t> published;
    RateController controller(3, std::make_unique<PidRateEstimator>(1000, 1, 0, 0, 0.1),
                              [&](int64_t rate) { published.push_back(rate); });
    controller.batchCompleted(1000, 5, 0, 0);  // taken for 1 ms
    controller.batchCompleted(2000, 5, 0, 0);
    controller.batchCompleted(3000, 1, 5000, 0);  // 0.2 a second
    EXPECT_THAT(published, ElementsAre(5000, 1));
}

}  // namespace
}  // namespace dstream
