// The limit of W1 and W7a: words of a mapped file counted in open addressing tables whose keys stay in the file.
//   limit_word_count FILE [reps=5]
#include "limit.hpp"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <immintrin.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Open addressing, power of two, stored 64-bit hash; keys stay in the input buffer.
struct Map {
    struct S {
        u64 h;
        const char* p;
        uint32_t n;
        uint32_t c;
    };
    std::vector<S> t;
    u64 mask;
    size_t used = 0;
    explicit Map(size_t cap = 1 << 18) : t(cap), mask(cap - 1) {}
    void grow() {
        std::vector<S> o(t.size() * 2);
        o.swap(t);
        mask = t.size() - 1;
        for (auto& s : o)
            if (s.c) {
                u64 i = s.h & mask;
                while (t[i].c) i = (i + 1) & mask;
                t[i] = s;
            }
    }
    void add(u64 h, const char* p, uint32_t n, uint32_t c) {
        for (u64 i = h & mask;; i = (i + 1) & mask) {
            S& s = t[i];
            if (!s.c) {
                s = {h, p, n, c};
                if (++used * 2 > t.size()) grow();
                return;
            }
            if (s.h == h && s.n == n && !memcmp(s.p, p, n)) {
                s.c += c;
                return;
            }
        }
    }
};

static u64 hashw(const char* p, size_t n) {
    u64 a = 0, b = 0;
    if (n >= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, p + n - 8, 8);
        for (size_t i = 8; i + 8 < n; i += 8) {
            u64 x;
            memcpy(&x, p + i, 8);
            a = (a ^ x) * 0x9E3779B97F4A7C15ull;
        }
    } else if (n >= 4) {
        uint32_t x, y;
        memcpy(&x, p, 4);
        memcpy(&y, p + n - 4, 4);
        a = x;
        b = y;
    } else if (n) {
        a = (unsigned char)p[0] | (unsigned char)p[n / 2] << 8 | (unsigned char)p[n - 1] << 16;
    }
    __uint128_t m = (__uint128_t)(a ^ 0x9E3779B97F4A7C15ull ^ n) * (b ^ 0xBF58476D1CE4E5B9ull);
    return u64(m) ^ u64(m >> 64);
}

static void countRange(const char* p, const char* e, Map& m) {  // AVX2 separator masks
    const char* w = p;
    const __m256i sp = _mm256_set1_epi8(' ' + 1);
    for (; p + 32 <= e; p += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i*)p);
        uint32_t k = ~_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(v, sp), v));  // bytes <= ' '
        while (k) {
            const char* q = p + __builtin_ctz(k);
            k &= k - 1;
            if (q > w) m.add(hashw(w, q - w), w, q - w, 1);
            w = q + 1;
        }
    }
    for (; p < e; ++p)
        if (*p <= ' ') {
            if (p > w) m.add(hashw(w, p - w), w, p - w, 1);
            w = p + 1;
        }
}

static std::string_view load(const char* f) {
    int fd = open(f, O_RDONLY);
    struct stat s;
    if (fd < 0 || fstat(fd, &s)) {
        perror(f);
        exit(1);
    }
    char* p = (char*)mmap(0, s.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    return {p, (size_t)s.st_size};
}

int main(int argc, char** argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: limit_word_count FILE [reps]\n");
        return 2;
    }
    auto d = load(argv[1]);
    bench(argc > 2 ? atoi(argv[2]) : 5, [&] {
        const char* mid = d.data() + d.size() / 2;
        while (*mid++ != '\n') {
        }
        Map m[2];
        par([&](int t) { t ? countRange(mid, d.data() + d.size(), m[1]) : countRange(d.data(), mid, m[0]); });
        // merge by two hash halves in parallel
        Map r[2];
        par([&](int t) {
            for (auto& x : m)
                for (auto& k : x.t)
                    if (k.c && int(k.h >> 63) == t) r[t].add(k.h, k.p, k.n, k.c);
        });
        return r[0].used + r[1].used;
    });
}
