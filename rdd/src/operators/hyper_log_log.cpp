#include "rdd/detail/hyper_log_log.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

namespace dstream::detail {

HyperLogLog::HyperLogLog(int p) : p_(p), registers_(std::size_t{1} << p) {}

void HyperLogLog::check(int p, int sp) {
    if (p < 4 || p > 32) throw IllegalArgumentException("p must be from 4 to 32: " + std::to_string(p));
    if (sp > 32) throw IllegalArgumentException("sp must be at most 32: " + std::to_string(sp));
    if (sp != 0 && p > sp) {
        throw IllegalArgumentException("p must not be more than sp unless sp is 0: p " + std::to_string(p) + ", sp " +
                                       std::to_string(sp));
    }
}

int HyperLogLog::precisionFor(double relativeSD) {
    if (!(relativeSD > 0.000017)) {
        throw IllegalArgumentException("relativeSD must be more than 0.000017: " + std::to_string(relativeSD));
    }
    return std::max(4, static_cast<int>(std::ceil(2.0 * std::log(1.054 / relativeSD) / std::log(2.0))));
}

void HyperLogLog::add(uint64_t hash) {
    // The placement hash of small integers is a bijection already; one more round keeps registers and ranks
    // independent.
    hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93ULL;
    hash ^= hash >> 32;
    const std::size_t index = hash >> (64 - p_);
    const auto rank = static_cast<uint8_t>(std::countl_zero((hash << p_) | (uint64_t{1} << (p_ - 1))) + 1);
    registers_[index] = std::max(registers_[index], rank);
}

void HyperLogLog::merge(const HyperLogLog& other) {
    for (std::size_t i = 0; i < registers_.size(); ++i) registers_[i] = std::max(registers_[i], other.registers_[i]);
}

namespace {

// Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog sketches"): unbiased over the whole range.
double sigma(double x) {
    if (x == 1.0) return INFINITY;
    double y = 1, z = x;
    for (double before = -1; before != z;) {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    }
    return z;
}

double tau(double x) {
    if (x == 0.0 || x == 1.0) return 0;
    double y = 1, z = 1 - x;
    for (double before = -1; before != z;) {
        x = std::sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    }
    return z / 3;
}

}  // namespace

int64_t HyperLogLog::estimate() const {
    const int q = 64 - p_;
    const auto m = static_cast<double>(registers_.size());
    std::vector<int64_t> counts(static_cast<std::size_t>(q) + 2);
    for (const uint8_t rank : registers_) ++counts[rank];
    double z = m * tau(1 - static_cast<double>(counts[static_cast<std::size_t>(q) + 1]) / m);
    for (int k = q; k >= 1; --k) z = 0.5 * (z + static_cast<double>(counts[static_cast<std::size_t>(k)]));
    z += m * sigma(static_cast<double>(counts[0]) / m);
    return std::llround(m / (2 * std::log(2.0)) * m / z);
}

}  // namespace dstream::detail
