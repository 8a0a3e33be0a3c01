// The limit of W4: 100,000 updates of the sums of KEYS keys, each thread half of the keys; with `scan` every sum is
// looked at too.
//   limit_state update|scan KEYS [reps=30]
#include "keyed.hpp"

#include <bit>
#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
    const bool scan = argc > 1 && !strcmp(argv[1], "scan");
    const u64 K = argc > 2 ? strtoull(argv[2], nullptr, 10) : 1000000;
    std::vector<CountTable> tables(2, CountTable(std::bit_ceil(K)));
    for (u64 k = 0; k < K; ++k) tables[k & 1].add(k, 1);
    std::vector<u64> updates(100000);
    u64 b = 1;
    bench(
        argc > 3 ? atoi(argv[3]) : 30,
        [&] {
            u64 rows[2] = {};
            par([&](int t) {
                for (auto k : updates)
                    if ((k & 1) == static_cast<u64>(t)) {
                        tables[t].add(k, 1);
                        rows[t] += !scan;
                    }
                if (scan) rows[t] = tables[t].countIf([](u64 key, int64_t n) { return key != ~0ull && n > 0; });
            });
            return rows[0] + rows[1];
        },
        [&] {
            for (u64 j = 0; j < updates.size(); ++j) updates[j] = draw(42, b * updates.size() + j) % K;
            ++b;
        });
}
