// The limit of W7c: a chained hash join of 2,000,000 with 2,000,000 pairs, each thread half of the keys; rows are
// counted.
//   limit_join [reps=5]
#include "limit.hpp"

#include <cstdlib>
#include <utility>

int main(int argc, char** argv) {
    const u64 N = 2000000;
    std::vector<std::pair<u64, u64>> A(N), B(N);
    for (u64 i = 0; i < N; ++i) {
        A[i] = {draw(1, i) % N, i % 1000000};
        B[i] = {draw(2, i) % N, i % 1000000};
    }
    bench(argc > 1 ? atoi(argv[1]) : 5, [&] {
        u64 c[2] = {};
        par([&](int t) {  // chained hash join on half of the keys
            std::vector<uint32_t> head(1 << 20, ~0u), next(N);
            for (u64 i = 0; i < N; ++i)
                if ((A[i].first & 1) == (u64)t) {
                    auto& hh = head[(A[i].first >> 1) & ((1 << 20) - 1)];
                    next[i] = hh;
                    hh = i;
                }
            for (u64 i = 0; i < N; ++i)
                if ((B[i].first & 1) == (u64)t)
                    for (uint32_t j = head[(B[i].first >> 1) & ((1 << 20) - 1)]; j != ~0u; j = next[j])
                        c[t] += A[j].first == B[i].first;
        });
        return c[0] + c[1];
    });
}
