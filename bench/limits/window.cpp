// The limit of W3: counts of 1,000,000 keys over 30 slides of 500,000 records, the new slide added, the old one taken
// out, all counts looked at; each thread half of the keys. Counted is every key
// seen, as in the workload.
//   limit_window hash|array [reps=18]
#include "keyed.hpp"

#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
    const u64 K = 1000000, N = 500000;
    const bool hash = argc > 1 && !strcmp(argv[1], "hash");
    const int reps = argc > 2 ? atoi(argv[2]) : 18;
    std::vector<std::vector<uint32_t>> slides(31);
    u64 b = 0;
    const auto draws = [&] {
        auto& slide = slides[b % 31];
        slide.resize(N);
        for (u64 j = 0; j < N; ++j) slide[j] = draw(42, b * N + j) % K;
        ++b;
    };
    std::vector<CountTable> tables(2, CountTable(1 << 20));
    std::vector<int32_t> window(K);
    const auto add = [&](int t, const std::vector<uint32_t>& slide, int d) {
        if (hash) {
            for (auto k : slide)
                if ((k & 1) == static_cast<u64>(t)) tables[t].add(k, d);
        } else {
            const uint32_t lo = t * K / 2, hi = (t + 1) * K / 2;
            for (auto k : slide)
                if (k >= lo && k < hi) window[k] += d;
        }
    };
    while (b < 31) {
        draws();
        par([&](int t) { add(t, slides[b - 1], 1); });
    }
    par([&](int t) { add(t, slides[0], -1); });
    bench(
        reps,
        [&] {
            u64 live[2] = {};
            par([&](int t) {
                add(t, slides[(b - 1) % 31], 1);
                add(t, slides[b % 31], -1);
                if (hash) {
                    live[t] = tables[t].countIf([](u64 key, int64_t n) { return key != ~0ull && n >= 0; });
                } else {
                    for (u64 k = t * K / 2; k < (t + 1) * K / 2; ++k) live[t] += window[k] >= 0;
                }
            });
            return live[0] + live[1];
        },
        draws);
}
