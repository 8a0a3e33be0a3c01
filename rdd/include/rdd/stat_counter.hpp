#pragma once

#include "rdd/detail/range_traits.hpp"

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>

namespace dstream {

/// Count, mean, variance and extremes of numbers in one pass, by a running update that stays accurate.
///
///     StatCounter counter;
///     counter.merge(1.0).merge(3.0);
///     counter.mean();  // 2
class StatCounter {
public:
    StatCounter() = default;
    template <std::ranges::input_range Range>
    requires std::convertible_to < std::ranges::range_value_t<Range>,
    double > explicit StatCounter(Range&& values) { merge(values); }

    StatCounter& merge(double value);
    template <std::ranges::input_range Range>
    requires std::convertible_to < std::ranges::range_value_t<Range>,
    double > StatCounter& merge(Range&& values) {
        for (const double value : values) merge(value);
        return *this;
    }
    StatCounter& merge(const StatCounter& other);
    StatCounter copy() const { return *this; }

    int64_t count() const { return count_; }
    double mean() const { return mean_; }
    double sum() const { return static_cast<double>(count_) * mean_; }
    /// Negative infinity when nothing was counted.
    double max() const { return max_; }
    /// Positive infinity when nothing was counted.
    double min() const { return min_; }
    /// The population variance: divided by n; NaN when nothing was counted.
    double variance() const { return popVariance(); }
    double popVariance() const;
    /// Divided by n - 1; NaN for fewer than two numbers.
    double sampleVariance() const;
    double stdev() const { return popStdev(); }
    double popStdev() const;
    double sampleStdev() const;

    /// Returns "(count: 2, mean: 2.000000, stdev: 1.000000, max: 3.000000, min: 1.000000)".
    std::string toString() const;

private:
    int64_t count_ = 0;
    double mean_ = 0;
    double squares_ = 0;  // sum of squared distances from the mean
    double max_ = -std::numeric_limits<double>::infinity();
    double min_ = std::numeric_limits<double>::infinity();
};

}  // namespace dstream
