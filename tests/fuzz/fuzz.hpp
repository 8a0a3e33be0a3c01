#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <typeinfo>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
// Freed memory that is kept to find its use would count as growth: 256 MB of it by default.
extern "C" __attribute__((used)) const char* __asan_default_options() {
    return "quarantine_size_mb=16";
}
#endif

namespace dstream::fuzz {

/// What a parser may add to the memory of its process, whatever it is given.
inline constexpr long kMostGrowthKb = 64 << 10;

using Random = std::mt19937_64;

inline size_t below(Random& random, size_t end) {
    return end == 0 ? 0 : random() % end;
}

/// Changes an input in one to eight places: bits, bytes, numbers, lengths, pieces of itself and of another input.
inline std::string mutate(std::string input, const std::string& other, Random& random) {
    static constexpr uint64_t kNumbers[] = {0,      1,          0x7F,       0x80,      0xFF,      0x7FFF,
                                            0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, INT64_MAX, UINT64_MAX};
    for (size_t changes = 1 + below(random, 8); changes > 0; --changes) {
        const size_t at = below(random, input.size());
        const size_t length = below(random, std::min<size_t>(input.size() - at, 64) + 1);
        switch (below(random, 9)) {
            case 0:
                if (!input.empty()) input[at] = static_cast<char>(input[at] ^ (1 << below(random, 8)));
                break;
            case 1:
                if (!input.empty()) input[at] = static_cast<char>(random());
                break;
            case 2:
                input.erase(at, length);
                break;
            case 3:
                input.insert(at, input.substr(below(random, input.size()), length));
                break;
            case 4:
                input.resize(at);
                break;
            case 5:
                input.insert(at, length, static_cast<char>(random()));
                break;
            case 6: {
                const uint64_t number = kNumbers[below(random, std::size(kNumbers))] + (random() % 3) - 1;
                const size_t size = std::min<size_t>(size_t{1} << below(random, 4), input.size() - at);
                std::memcpy(input.data() + at, &number, size);
                break;
            }
            case 7:
                input.replace(at, length, other.substr(below(random, other.size()), below(random, 64)));
                break;
            default:
                if (at + 1 < input.size()) std::swap(input[at], input[below(random, input.size())]);
        }
    }
    return input;
}

/// Calls `target(input, random)` with mutations of the valid `seeds`. The target returns an empty text, or what was
/// wrong; an exception out of it is wrong too. Run i alone is repeated by `--runs 1 --seed (S + i)`.
template <class Target>
int run(int argc, char** argv, const std::vector<std::string>& seeds, Target target) {
    uint64_t runs = 1000;
    uint64_t seed = std::random_device()();
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view name = argv[i];
        if (name == "--runs") {
            runs = std::strtoull(argv[i + 1], nullptr, 10);
        } else if (name == "--seed") {
            seed = std::strtoull(argv[i + 1], nullptr, 10);
        } else {
            std::fprintf(stderr, "usage: %s [--runs N] [--seed S]\n", argv[0]);
            return 2;
        }
    }
    const auto residentKb = [] {
        rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        return usage.ru_maxrss;
    };
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    const long before = residentKb();
    std::chrono::steady_clock::duration slowest{};
    for (uint64_t i = 0; i < runs; ++i) {
        Random random(seed + i);
        const std::string input =
            mutate(seeds[below(random, seeds.size())], seeds[below(random, seeds.size())], random);
        const auto start = std::chrono::steady_clock::now();
        std::string wrong;
        try {
            wrong = target(input, random);
        } catch (const std::exception& error) {
            wrong = std::string(typeid(error).name()) + " came out: " + error.what();
        } catch (...) {
            wrong = "an unknown exception came out";
        }
        slowest = std::max(slowest, std::chrono::steady_clock::now() - start);
        if (!wrong.empty()) {
            std::fprintf(stderr, "%s\nrepeat with --runs 1 --seed %llu; input:\n", wrong.c_str(),
                         static_cast<unsigned long long>(seed + i));
            for (const char byte : input) std::fprintf(stderr, "%02x", static_cast<unsigned char>(byte));
            std::fprintf(stderr, "\n");
            return 1;
        }
    }
    const long growth = residentKb() - before;
    std::printf("%llu runs, slowest %.1f ms, memory +%ld kB\n", static_cast<unsigned long long>(runs),
                std::chrono::duration<double, std::milli>(slowest).count(), growth);
    if (growth <= kMostGrowthKb) return 0;
    std::fprintf(stderr, "memory grew by more than %ld kB\n", kMostGrowthKb);
    return 1;
}

}  // namespace dstream::fuzz
