#pragma once

#include "rdd/owned.hpp"
#include "rdd/placement_hash.hpp"

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace dstream {

namespace detail {

template <class T>
struct PairTraits {
    struct NoKey {};
    struct NoValue {};
    static constexpr bool kIsPair = false;
    using Key = NoKey;
    using Value = NoValue;
};
template <class K, class V>
struct PairTraits<std::pair<K, V>> {
    static constexpr bool kIsPair = true;
    using Key = K;
    using Value = V;
};

}  // namespace detail

/// An element that is a key and its value: `std::pair<K, V>`.
template <class T>
concept PairLike = detail::PairTraits<T>::kIsPair;

/// Has an order: `a < b`.
template <class T>
concept Ordered = requires(const T& a, const T& b) {
    { a < b } -> std::convertible_to<bool>;
};

template <class T>
concept Numeric = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;

/// Key and value type of a pair; empty types for other types, so that declarations stay well-formed.
template <class T>
using KeyOf = typename detail::PairTraits<T>::Key;
template <class T>
using ValueOf = typename detail::PairTraits<T>::Value;

}  // namespace dstream
