#include "rdd/stat_counter.hpp"

#include "rdd/to_text.hpp"

#include <cmath>

namespace dstream {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// As the reference: not a number if one of them is not.
double larger(double a, double b) {
    return std::isnan(a) || std::isnan(b) ? kNaN : std::fmax(a, b);
}
double smaller(double a, double b) {
    return std::isnan(a) || std::isnan(b) ? kNaN : std::fmin(a, b);
}

}  // namespace

StatCounter& StatCounter::merge(double value) {
    const double distance = value - mean_;
    ++count_;
    mean_ += distance / static_cast<double>(count_);
    squares_ += distance * (value - mean_);
    max_ = larger(max_, value);
    min_ = smaller(min_, value);
    return *this;
}

StatCounter& StatCounter::merge(const StatCounter& other) {
    if (other.count_ == 0) return *this;
    if (count_ == 0) return *this = other;
    const double mine = static_cast<double>(count_);
    const double theirs = static_cast<double>(other.count_);
    const double both = mine + theirs;
    const double distance = other.mean_ - mean_;
    squares_ += other.squares_ + distance * distance * mine * theirs / both;
    if (theirs * 10 < mine) {
        mean_ += distance * theirs / both;
    } else if (mine * 10 < theirs) {
        mean_ = other.mean_ - distance * mine / both;
    } else {
        mean_ = (mean_ * mine + other.mean_ * theirs) / both;
    }
    max_ = larger(max_, other.max_);
    min_ = smaller(min_, other.min_);
    count_ += other.count_;  // last: the other one may be this one
    return *this;
}

double StatCounter::popVariance() const {
    return count_ == 0 ? kNaN : squares_ / static_cast<double>(count_);
}

double StatCounter::sampleVariance() const {
    return count_ <= 1 ? kNaN : squares_ / static_cast<double>(count_ - 1);
}

double StatCounter::popStdev() const {
    return std::sqrt(popVariance());
}

double StatCounter::sampleStdev() const {
    return std::sqrt(sampleVariance());
}

std::string StatCounter::toString() const {
    const auto fixed = [](double value) { return detail::formatFixed(value, 6); };
    return "(count: " + std::to_string(count_) + ", mean: " + fixed(mean_) + ", stdev: " + fixed(stdev()) +
           ", max: " + fixed(max_) + ", min: " + fixed(min_) + ")";
}

}  // namespace dstream
