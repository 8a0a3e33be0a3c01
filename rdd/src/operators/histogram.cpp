#include "rdd/detail/ordered_impl.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace dstream::detail {

void checkHistogramBounds(const std::vector<double>& bounds) {
    if (bounds.size() < 2) {
        throw IllegalArgumentException("histogram needs at least two bounds: " + std::to_string(bounds.size()));
    }
}

std::vector<double> histogramBounds(double min, double max, int buckets) {
    if (min == max) return {min, min};
    std::vector<double> bounds;
    for (int i = 0; i < buckets; ++i) bounds.push_back(min + i * (max - min) / buckets);
    bounds.push_back(max);
    return bounds;
}

int histogramBucket(const std::vector<double>& bounds, bool even, double value) {
    const auto buckets = static_cast<int>(bounds.size()) - 1;
    if (!(value >= bounds.front() && value <= bounds.back())) return -1;  // NaN too
    if (even) {
        const double width = (bounds.back() - bounds.front()) / buckets;
        if (width == 0) return buckets - 1;
        return std::min(static_cast<int>((value - bounds.front()) / width), buckets - 1);
    }
    const auto above = std::upper_bound(bounds.begin(), bounds.end(), value);
    return std::min(static_cast<int>(above - bounds.begin()) - 1, buckets - 1);
}

}  // namespace dstream::detail
