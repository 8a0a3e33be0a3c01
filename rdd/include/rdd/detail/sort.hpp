#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

// Stable sorting of pairs by key. Keys that are integers in their own order are sorted by their bytes.

namespace dstream::detail {

/// A comparison in a direction: ascending or its reverse.
template <class Compare>
struct Directed {
    Compare less;
    bool ascending;
    template <class A>
    bool operator()(const A& a, const A& b) const {
        return ascending ? less(a, b) : less(b, a);
    }
};

template <class K, class Compare>
inline constexpr bool kIsIntegerOrder = std::integral<K> && !std::same_as<K, bool> &&
                                        (std::same_as<Compare, std::less<K>> || std::same_as<Compare, std::less<>>);

/// Stable, from the lowest byte that differs to the highest; `keyOf(element)` gives an unsigned integer.
template <class T, class KeyOf>
void sortByBytes(std::vector<T>& elements, unsigned bytes, KeyOf keyOf) {
    using Key = decltype(keyOf(elements[0]));
    std::vector<std::array<std::size_t, 256>> counts(bytes);
    for (const T& element : elements) {
        const Key key = keyOf(element);
        for (unsigned b = 0; b < bytes; ++b) ++counts[b][(key >> (8 * b)) & 0xFF];
    }
    std::vector<T> other(elements.size());
    for (unsigned b = 0; b < bytes; ++b) {
        std::size_t place = 0;
        bool differ = false;
        for (std::size_t& count : counts[b]) {
            differ = differ || (count != 0 && count != elements.size());
            place += std::exchange(count, place);
        }
        if (!differ) continue;
        for (const T& element : elements) other[counts[b][(keyOf(element) >> (8 * b)) & 0xFF]++] = element;
        elements.swap(other);
    }
}

/// Sorts integer keys; false when comparing would be faster.
template <class K, class V>
bool sortIntegerKeys(std::vector<std::pair<K, V>>& pairs, bool ascending) {
    using Pair = std::pair<K, V>;
    using Key = std::make_unsigned_t<K>;
    if (pairs.size() < 256 || pairs.size() > UINT32_MAX) return false;
    const auto [low, high] =
        std::minmax_element(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.first < b.first; });
    // Distances from the smallest key, or to the largest, have the order of the keys and no more bytes than needed.
    const Key from = static_cast<Key>(low->first), to = static_cast<Key>(high->first);
    const auto distance = [from, to, ascending](const K& key) {
        return static_cast<Key>(ascending ? static_cast<Key>(key) - from : to - static_cast<Key>(key));
    };
    const unsigned bytes = (static_cast<unsigned>(std::bit_width(static_cast<Key>(to - from))) + 7) / 8;
    if (bytes > static_cast<unsigned>(std::bit_width(pairs.size())) / 2) return false;
    if constexpr (std::is_trivially_copyable_v<V> && std::is_default_constructible_v<V> && sizeof(Pair) <= 16) {
        sortByBytes(pairs, bytes, [&](const Pair& pair) { return distance(pair.first); });
    } else {
        struct Place {
            Key key;
            uint32_t index;
        };
        std::vector<Place> places(pairs.size());
        for (std::size_t i = 0; i < pairs.size(); ++i) places[i] = {distance(pairs[i].first), static_cast<uint32_t>(i)};
        sortByBytes(places, bytes, [](const Place& place) { return place.key; });
        std::vector<Pair> sorted;
        sorted.reserve(pairs.size());
        for (const Place& place : places) sorted.push_back(std::move(pairs[place.index]));
        pairs.swap(sorted);
    }
    return true;
}

template <class K, class V, class Compare>
void stableSortByKey(std::vector<std::pair<K, V>>& pairs, Compare compare) {
    using Pair = std::pair<K, V>;
    if constexpr (kIsIntegerOrder<K, Compare>) {
        if (sortIntegerKeys(pairs, true)) return;
    } else if constexpr (requires {
                             requires kIsIntegerOrder<K, decltype(compare.less)>;
                             compare.ascending;
                         }) {
        if (sortIntegerKeys(pairs, compare.ascending)) return;
    }
    std::stable_sort(pairs.begin(), pairs.end(),
                     [&](const Pair& a, const Pair& b) { return compare(a.first, b.first); });
}

}  // namespace dstream::detail
