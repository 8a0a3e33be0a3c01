#pragma once

#include "rdd/detail/array.hpp"
#include "rdd/detail/table_memory.hpp"
#include "rdd/owned.hpp"
#include "rdd/placement_hash.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace dstream::detail {

/// Equality of keys, where NaN equals itself; a view equals the text it shows.
template <class A, class B>
bool sameKey(const A& a, const B& b) {
    if constexpr (std::is_floating_point_v<A>) {
        return a == b || (a != a && b != b);
    } else if constexpr (std::is_same_v<A, B> || requires { a == b; }) {
        return a == b;
    } else {
        return convertElement<B>(a) == b;
    }
}

/// Keys whose hash costs less to make again than to keep.
template <class K>
inline constexpr bool kHashesAgain = std::is_arithmetic_v<K>;

/// Keys to values by open addressing. Entries lie densely in the order their keys were first seen, the hash beside
/// them where `kHashesAgain` is not so; the slots hold 32 bits of the hash and the entry's index. So the order of a
/// result does not depend on hashes, iterating is a scan, and growing compares no keys. A lookup goes by any form of
/// the key; only a new key is made owning. Slots are chosen by the hash's upper bits: its lower ones have already
/// chosen the partition.
template <class K, class C>
class FlatTable {
public:
    using Entry = std::pair<K, C>;

    FlatTable() = default;

    std::size_t size() const { return entries_.size(); }
    bool empty() const { return entries_.empty(); }
    std::vector<Entry>& entries() { return entries_; }
    const std::vector<Entry>& entries() const { return entries_; }
    /// The hashes of the entries; empty where they are not kept.
    std::vector<uint64_t>& hashes() { return hashes_; }
    uint64_t hashAt(std::size_t entry) const {
        if constexpr (kHashesAgain<K>) {
            return PlacementHash<K>{}(entries_[entry].first);
        } else {
            return hashes_[entry];
        }
    }

    void reserve(std::size_t n);
    /// To be called a few keys ahead of the lookup of a key with this hash.
    void prefetch(uint64_t hash) const {
        if (!slots_.empty()) __builtin_prefetch(&slots_[hash >> shift_], 1);
    }

    /// Finds the entry of `key`; null when there is none.
    template <class Key>
    Entry* find(uint64_t hash, const Key& key) {
        if (slots_.empty()) return nullptr;
        for (std::size_t i = hash >> shift_;; i = (i + 1) & mask_) {
            const uint64_t slot = slots_[i];
            if (slot == 0) return nullptr;
            if (static_cast<uint32_t>(slot >> 32) == static_cast<uint32_t>(hash)) {
                Entry& entry = entries_[static_cast<uint32_t>(slot) - 1];
                if (sameKey(entry.first, key)) return &entry;
            }
        }
    }

    /// Calls `merge(value)` for a key that is there, else adds it with the value that `make()` returns.
    template <class Key, class Make, class Merge>
    void upsert(uint64_t hash, Key&& key, Make&& make, Merge&& merge) {
        if ((entries_.size() + 1) * 2 > slots_.size()) rehash(slots_.empty() ? 32 : slots_.size() * 2);
        std::size_t i = hash >> shift_;
        for (;; i = (i + 1) & mask_) {
            const uint64_t slot = slots_[i];
            if (slot == 0) break;
            if (static_cast<uint32_t>(slot >> 32) == static_cast<uint32_t>(hash)) {
                Entry& entry = entries_[static_cast<uint32_t>(slot) - 1];
                if (sameKey(entry.first, key)) {
                    merge(entry.second);
                    return;
                }
            }
        }
        insert(i, hash, convertElement<K>(std::forward<Key>(key)), make());
    }

    void clear();
    std::size_t memoryBytes() const;
    /// Whether less than an eighth of the room is in use, in a table that is not small.
    bool isTooRoomy() const { return slots_.size() > 4096 && filled_ * 16 < slots_.size(); }

private:
    void rehash(std::size_t capacity);
    /// Adds an entry whose place in `slots_` is known.
    void insert(std::size_t slot, uint64_t hash, K&& key, C&& value);

    std::vector<Entry> entries_;
    std::vector<uint64_t> hashes_;
    std::vector<uint64_t, TableAllocator<uint64_t>> slots_;
    std::size_t filled_ = 0;  // slots in use, also after the entries have been moved out
    std::size_t mask_ = 0;
    int shift_ = 0;
};

template <class K, class C>
void FlatTable<K, C>::reserve(std::size_t n) {
    entries_.reserve(n);
    if constexpr (!kHashesAgain<K>) hashes_.reserve(n);
    if (n * 2 > slots_.size()) rehash(std::bit_ceil(n * 2));
}

template <class K, class C>
void FlatTable<K, C>::clear() {
    entries_.clear();
    hashes_.clear();
    std::fill(slots_.begin(), slots_.end(), 0);
    filled_ = 0;
}

template <class K, class C>
std::size_t FlatTable<K, C>::memoryBytes() const {
    return entries_.capacity() * sizeof(Entry) + hashes_.capacity() * sizeof(uint64_t) +
           slots_.size() * sizeof(uint64_t);
}

template <class K, class C>
void FlatTable<K, C>::rehash(std::size_t capacity) {
    slots_.assign(capacity, 0);
    mask_ = capacity - 1;
    shift_ = 64 - std::countr_zero(capacity);
    for (std::size_t n = 0; n < entries_.size(); ++n) {
        const uint64_t hash = hashAt(n);
        std::size_t i = hash >> shift_;
        while (slots_[i] != 0) i = (i + 1) & mask_;
        slots_[i] = (static_cast<uint64_t>(static_cast<uint32_t>(hash)) << 32) | static_cast<uint32_t>(n + 1);
    }
}

template <class K, class C>
void FlatTable<K, C>::insert(std::size_t slot, uint64_t hash, K&& key, C&& value) {
    entries_.emplace_back(std::move(key), std::move(value));
    if constexpr (!kHashesAgain<K>) hashes_.push_back(hash);
    ++filled_;
    slots_[slot] = (static_cast<uint64_t>(static_cast<uint32_t>(hash)) << 32) | static_cast<uint32_t>(entries_.size());
}

/// An empty table for the work of one task. Its memory is that of the thread's last one of the same types, unless that
/// was large or hardly used.
template <class K, class C>
class ScratchTable {
public:
    ScratchTable() : table_(std::exchange(spare(), {})) {}
    ~ScratchTable() {
        if (table_.isTooRoomy() || table_.memoryBytes() > kMostBytes) return;
        table_.clear();
        spare() = std::move(table_);
    }
    ScratchTable(const ScratchTable&) = delete;
    ScratchTable& operator=(const ScratchTable&) = delete;
    FlatTable<K, C>& operator*() { return table_; }

private:
    static constexpr std::size_t kMostBytes = 16 << 20;

    static FlatTable<K, C>& spare() {
        static thread_local FlatTable<K, C> table;
        return table;
    }

    FlatTable<K, C> table_;
};

}  // namespace dstream::detail
