#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <utility>

/// What a workload prints for run.py: a line `SAMPLE wall_s cpu_s result` per measured repetition, and `PEAK_KB n`.
namespace measure {

inline double wallSeconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// CPU seconds of the whole process so far.
inline double cpuSeconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Runs `f`, which returns the number to be checked, `warmUp` times unmeasured and then `repetitions` times. What
/// `prepare` does before each is not measured.
template <class F, class Prepare>
void repeat(int warmUp, int repetitions, F f, Prepare prepare) {
    for (int i = 0; i < warmUp + repetitions; ++i) {
        prepare();
        const double wall = wallSeconds(), cpu = cpuSeconds();
        const int64_t result = f();
        const double wallTaken = wallSeconds() - wall, cpuTaken = cpuSeconds() - cpu;
        if (i >= warmUp) std::printf("SAMPLE %.9f %.6f %lld\n", wallTaken, cpuTaken, static_cast<long long>(result));
    }
}

template <class F>
void repeat(int warmUp, int repetitions, F f) {
    repeat(warmUp, repetitions, std::move(f), [] {});
}

/// The most memory the process has had resident, VmHWM.
inline void printPeakMemory() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) std::printf("PEAK_KB %lld\n", std::stoll(line.substr(6)));
    }
}

}  // namespace measure
