// The limit of W7b: 10,000,000 pairs of 32-bit integers sorted by their first.
//   limit_sort_by_key [reps=5]
#include "limit.hpp"

#include <tbb/global_control.h>
#include <tbb/parallel_sort.h>

#include <cstdlib>
#include <utility>

int main(int argc, char** argv) {
    tbb::global_control g(tbb::global_control::max_allowed_parallelism, 2);
    std::vector<std::pair<int32_t, int32_t>> ps(10000000), pv;
    for (u64 i = 0; i < ps.size(); ++i) ps[i] = {int32_t(draw(42, i) >> 33), 1};
    bench(
        argc > 1 ? atoi(argv[1]) : 5,
        [&] {
            tbb::parallel_sort(pv.begin(), pv.end(), [](auto& x, auto& y) { return x.first < y.first; });
            return pv.size();
        },
        [&] { pv = ps; });
}
