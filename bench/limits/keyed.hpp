#pragma once

#include "limit.hpp"

#include <cstddef>

/// A count for each of many 64-bit keys: open addressing without growing.
class CountTable {
public:
    explicit CountTable(std::size_t capacity) : slots_(capacity, Slot{~0ull, 0}) {}
    void add(u64 key, int64_t n) {
        std::size_t i = mix(key) & (slots_.size() - 1);
        while (slots_[i].key != key && slots_[i].key != ~0ull) i = (i + 1) & (slots_.size() - 1);
        slots_[i].key = key;
        slots_[i].count += n;
    }
    template <class F>
    u64 countIf(F f) const {
        u64 n = 0;
        for (const Slot& slot : slots_) n += f(slot.key, slot.count);
        return n;
    }

private:
    struct Slot {
        u64 key;
        int64_t count;
    };
    std::vector<Slot> slots_;
};
