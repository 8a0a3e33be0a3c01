#include "rdd/approximate.hpp"

#include <cmath>
#include <cstdio>
#include <limits>

namespace dstream {

std::string BoundedDouble::toString() const {
    char text[128];
    std::snprintf(text, sizeof text, "[%.3f, %.3f]", low, high);
    return text;
}

namespace detail {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The quantile of the standard normal distribution, by bisection of the error function: rarely called, exact enough.
double normalQuantile(double p) {
    if (p <= 0) return -kInfinity;
    if (p >= 1) return kInfinity;
    double low = -40, high = 40;
    for (int i = 0; i < 80; ++i) {
        const double mid = (low + high) / 2;
        (0.5 * std::erfc(-mid / std::sqrt(2.0)) < p ? low : high) = mid;
    }
    return (low + high) / 2;
}

/// How many standard deviations to each side hold this much, with `n` observations (Student's t by its expansion).
double halfWidth(double confidence, double n) {
    const double z = normalQuantile(1 - (1 - confidence) / 2);
    if (!std::isfinite(z) || n > 100) return z;
    const double df = n - 1;
    if (df < 1) return kInfinity;
    const double z3 = z * z * z, z5 = z3 * z * z;
    return z + (z3 + z) / (4 * df) + (5 * z5 + 16 * z3 + 3 * z) / (96 * df * df);
}

}  // namespace

void checkConfidence(double confidence) {
    if (!(confidence >= 0 && confidence <= 1)) {
        throw IllegalArgumentException("confidence must be from 0 to 1: " + std::to_string(confidence));
    }
}

BoundedDouble estimateCount(int64_t seen, int merged, int total, double confidence) {
    const auto count = static_cast<double>(seen);
    if (merged == total) return {count, 1.0, count, count};
    if (merged == 0 || seen == 0) return {0, 0, 0, kInfinity};
    // What is missing is negative binomial: `seen` successes came with probability p each.
    const double p = static_cast<double>(merged) / total;
    const double missing = count * (1 - p) / p;
    const double deviation = std::sqrt(count * (1 - p)) / p;
    const double width = normalQuantile(1 - (1 - confidence) / 2) * deviation;
    return {count + missing, confidence, count + std::max(0.0, missing - width), count + missing + width};
}

BoundedDouble estimateMean(const Moments& seen, int merged, int total, double confidence) {
    if (merged == total) return {seen.mean, 1.0, seen.mean, seen.mean};
    if (merged == 0 || seen.count == 0) return {0, 0, -kInfinity, kInfinity};
    if (seen.count == 1) return {seen.mean, confidence, -kInfinity, kInfinity};
    const auto n = static_cast<double>(seen.count);
    const double width = halfWidth(confidence, n) * std::sqrt(seen.sampleVariance / n);
    return {seen.mean, confidence, seen.mean - width, seen.mean + width};
}

BoundedDouble estimateSum(const Moments& seen, int merged, int total, double confidence) {
    const auto n = static_cast<double>(seen.count);
    const double sum = seen.mean * n;
    if (merged == total) return {sum, 1.0, sum, sum};
    if (merged == 0 || seen.count == 0) return {0, 0, -kInfinity, kInfinity};
    const double p = static_cast<double>(merged) / total;
    const double estimate = sum / p;
    if (seen.count == 1) return {estimate, confidence, -kInfinity, kInfinity};
    // Product of two independent estimates: the mean and the count.
    const double meanVariance = seen.sampleVariance / n;
    const double count = n / p, countVariance = n * (1 - p) / (p * p);
    const double variance =
        meanVariance * count * count + countVariance * seen.mean * seen.mean + meanVariance * countVariance;
    const double width = halfWidth(confidence, n) * std::sqrt(variance);
    return {estimate, confidence, estimate - width, estimate + width};
}

}  // namespace detail
}  // namespace dstream
