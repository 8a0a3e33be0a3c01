#pragma once

#include <cstdint>
#include <vector>

namespace dstream::detail {

/// Estimates the number of distinct elements from their hashes in 2^p bytes.
class HyperLogLog {
public:
    explicit HyperLogLog(int p);
    /// @throws IllegalArgumentException  unless p >= 4, sp <= 32, sp is 0 or at least p
    static void check(int p, int sp);
    /// The precision that gives this relative standard deviation.
    /// @throws IllegalArgumentException  when relativeSD <= 0.000017
    static int precisionFor(double relativeSD);

    void add(uint64_t hash);
    void merge(const HyperLogLog& other);
    int64_t estimate() const;

private:
    int p_;
    std::vector<uint8_t> registers_;
};

}  // namespace dstream::detail
