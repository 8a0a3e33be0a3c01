#pragma once

#include "dstream/testkit.hpp"
#include "rdd/log.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace dstream {

/// Runs streaming programs under a manual clock.
class StreamTest : public ::testing::Test {
protected:
    static StreamingContext makeContext(Duration batch = Seconds(1), SparkConf conf = SparkConf()) {
        return testkit::makeContext(batch, std::move(conf));
    }

    /// Feeds the batches, one partition each, to the program that `build` makes, and returns what each batch put out.
    template <class T, class Build>
    auto run(std::vector<std::vector<T>> input, Build build) {
        const auto count = static_cast<int64_t>(input.size());
        auto ssc = makeContext();
        auto stream = build(testkit::batches<T>(ssc, std::move(input)));
        auto collected = testkit::collect(stream);
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(count));
        std::vector<typename decltype(collected.all())::mapped_type> output;
        for (int64_t i = 1; i <= count; ++i) output.push_back(collected.batch(Time(i * 1000)));
        ssc.stop();
        return output;
    }
};

/// Counts up to an event that other threads bring about.
class Signal {
public:
    void notify() {
        std::lock_guard lock(mutex_);
        ++count_;
        changed_.notify_all();
    }
    /// False when 20 s have passed first.
    bool waitFor(int count = 1) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return count_ >= count; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int count_ = 0;
};

using testsupport::errorOf;

}  // namespace dstream
