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
    if (std::isnan(value)) return -1;
    const auto buckets = static_cast<int>(bounds.size()) - 1;
    if (even) {
        const double min = bounds.front(), max = bounds.back();
        if (value < min || value > max) return -1;
        if (min == max) return 0;
        // The share of the range first: a bound lands in the bucket that it begins.
        return std::min(static_cast<int>((value - min) / (max - min) * buckets), buckets - 1);
    }
    // Not std::upper_bound: bounds that do not rise are allowed, and count what these steps find.
    int low = 0, high = buckets;
    while (low <= high) {
        const int middle = (low + high) / 2;
        const double bound = bounds[static_cast<std::size_t>(middle)];
        if (bound == value) return std::min(middle, buckets - 1);
        bound < value ? low = middle + 1 : high = middle - 1;
    }
    return low <= buckets ? low - 1 : -1;
}

}  // namespace dstream::detail
