#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <sys/resource.h>
#include <thread>
#include <vector>

// What the limit programs share: the same steps as a workload in plain C++ with two threads and no framework.

using u64 = uint64_t;

inline u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
inline u64 draw(u64 seed, u64 i) {
    return mix(seed + (i + 1) * 0x9E3779B97F4A7C15ull);
}

inline void par(const std::function<void(int)>& f) {
    std::thread x([&] { f(1); });
    f(0);
    x.join();
}

inline double cpuSeconds() {
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/// Runs `f` once to warm up and then `reps` times, and prints the seconds each took with the result.
inline void bench(int reps, const std::function<u64()>& f, const std::function<void()>& prep = {}) {
    const auto now = [] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    };
    for (int r = 0; r < reps + 1; ++r) {
        if (prep) prep();
        const double begin = now(), cpu = cpuSeconds();
        const u64 result = f();
        const double end = now();
        if (r > 0) {
            std::printf("SAMPLE %.9f %.6f %lu\n", end - begin, cpuSeconds() - cpu, static_cast<unsigned long>(result));
        }
    }
}
