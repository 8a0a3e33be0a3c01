#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream {

/// Names the owning counterpart of an element type that may only look into a buffer.
/// `std::string_view` owns as `std::string`; pair, tuple, optional and vector follow their members. A struct of one's
/// own that holds views specialises it: `type` is the owning struct, explicitly constructible from the view struct and
/// back.
template <class T>
struct OwnedTrait {
    using type = T;
};

/// The type that an element of type `T` has once it is kept (collected, shuffled, cached, windowed).
template <class T>
using Owned = typename OwnedTrait<T>::type;

template <>
struct OwnedTrait<std::string_view> {
    using type = std::string;
};
template <class A, class B>
struct OwnedTrait<std::pair<A, B>> {
    using type = std::pair<Owned<A>, Owned<B>>;
};
template <class... Ts>
struct OwnedTrait<std::tuple<Ts...>> {
    using type = std::tuple<Owned<Ts>...>;
};
template <class T>
struct OwnedTrait<std::optional<T>> {
    using type = std::optional<Owned<T>>;
};
template <class T, class A>
struct OwnedTrait<std::vector<T, A>> {
    using type = std::conditional_t<std::is_same_v<T, Owned<T>>, std::vector<T, A>, std::vector<Owned<T>>>;
};

/// True when a `T` may point into memory that it does not own.
template <class T>
inline constexpr bool kIsView = !std::is_same_v<T, Owned<T>>;

namespace detail {

template <class To, class From>
To convertElement(From&& from);

template <class To>
struct ElementConverter {
    template <class From>
    static To convert(From&& from) {
        return static_cast<To>(std::forward<From>(from));
    }
};
template <class A, class B>
struct ElementConverter<std::pair<A, B>> {
    template <class From>
    static std::pair<A, B> convert(From&& from) {
        return std::pair<A, B>(convertElement<A>(std::forward<From>(from).first),
                               convertElement<B>(std::forward<From>(from).second));
    }
};
template <class... Ts>
struct ElementConverter<std::tuple<Ts...>> {
    template <class From>
    static std::tuple<Ts...> convert(From&& from) {
        return std::apply(
            [](auto&&... parts) {
                return std::tuple<Ts...>(convertElement<Ts>(std::forward<decltype(parts)>(parts))...);
            },
            std::forward<From>(from));
    }
};
template <class T>
struct ElementConverter<std::optional<T>> {
    template <class From>
    static std::optional<T> convert(From&& from) {
        if (!from) return std::nullopt;
        return convertElement<T>(*std::forward<From>(from));
    }
};
template <class T, class A>
struct ElementConverter<std::vector<T, A>> {
    template <class From>
    static std::vector<T, A> convert(From&& from) {
        std::vector<T, A> out;
        out.reserve(from.size());
        for (auto&& item : from) out.push_back(convertElement<T>(item));
        return out;
    }
};

/// Converts between an element type and its owning or viewing counterpart; a plain copy or move when they are the same.
template <class To, class From>
To convertElement(From&& from) {
    if constexpr (std::is_same_v<To, std::remove_cvref_t<From>>) {
        return std::forward<From>(from);
    } else {
        return ElementConverter<To>::convert(std::forward<From>(from));
    }
}

}  // namespace detail

/// Copies an element into its owning form.
template <class T>
Owned<std::remove_cvref_t<T>> toOwned(T&& element) {
    return detail::convertElement<Owned<std::remove_cvref_t<T>>>(std::forward<T>(element));
}

}  // namespace dstream
