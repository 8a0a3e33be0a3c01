#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace dstream {

namespace detail {

/// Append the shortest text that reads back as the same number, in the reference's form: "1.0", "1.0E7", "NaN".
void appendReal(std::string& out, double value);
void appendReal(std::string& out, float value);

/// Returns `value` with exactly `decimals` digits after the point, the shortest decimal form rounded half up.
std::string formatFixed(double value, int decimals);

template <class T>
concept WithToString = requires(const T& value) {
    { value.toString() } -> std::convertible_to<std::string>;
};

template <class T>
concept Streamable = requires(std::ostream& out, const T& value) {
    out << value;
};

/// Appends what `write(stream, value)` writes.
void appendStreamed(std::string& out, const void* value, void (*write)(std::ostream&, const void*));

template <class T>
struct Text {
    static void append(std::string& out, const T& value) requires(WithToString<T> || Streamable<T>) {
        if constexpr (WithToString<T>) {
            out += value.toString();
        } else {
            appendStreamed(out, &value,
                           [](std::ostream& stream, const void* v) { stream << *static_cast<const T*>(v); });
        }
    }
};

template <class T>
concept Printable = requires(std::string& out, const T& value) {
    Text<T>::append(out, value);
};

}  // namespace detail

/// A type with a text form; see toText.
template <class T>
concept Printable = detail::Printable<std::remove_cvref_t<T>>;

/// Appends the text form of `value` to `out`.
template <Printable T>
void appendText(std::string& out, const T& value) {
    detail::Text<T>::append(out, value);
}

/// Returns the text form that print(), saveAsTextFile() and messages use: integers decimal; doubles the shortest that
/// reads back, "1.0", "1.0E7", "NaN", "Infinity"; bool "true"/"false"; optional "Some(x)"/"None"; vector "[a, b]";
/// pair and tuple "(a,b)"; map "Map(k -> v)"; set "Set(a, b)"; else the type's toString() or operator<<.
template <Printable T>
std::string toText(const T& value) {
    std::string out;
    detail::Text<T>::append(out, value);
    return out;
}
inline std::string toText(const char* value) {
    return value;
}

namespace detail {

template <class Range>
void appendRange(std::string& out, const Range& range, std::string_view open, std::string_view close) {
    out += open;
    bool first = true;
    for (const auto& element : range) {
        if (!first) out += ", ";
        first = false;
        Text<std::remove_cvref_t<decltype(element)>>::append(out, element);
    }
    out += close;
}

template <class Map>
void appendMap(std::string& out, const Map& map) {
    out += "Map(";
    bool first = true;
    for (const auto& [key, value] : map) {
        if (!first) out += ", ";
        first = false;
        Text<typename Map::key_type>::append(out, key);
        out += " -> ";
        Text<typename Map::mapped_type>::append(out, value);
    }
    out += ')';
}

template <std::integral T>
struct Text<T> {
    static void append(std::string& out, T value) {
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        out.append(digits, end);
    }
};
template <>
struct Text<bool> {
    static void append(std::string& out, bool value) { out += value ? "true" : "false"; }
};
template <>
struct Text<char> {
    static void append(std::string& out, char value) { out += value; }
};
template <std::floating_point T>
struct Text<T> {
    static void append(std::string& out, T value) {
        if constexpr (std::same_as<T, float>) {
            appendReal(out, value);
        } else {
            appendReal(out, static_cast<double>(value));
        }
    }
};
template <>
struct Text<std::string> {
    static void append(std::string& out, const std::string& value) { out += value; }
};
template <>
struct Text<std::string_view> {
    static void append(std::string& out, std::string_view value) { out += value; }
};
template <>
struct Text<const char*> {
    static void append(std::string& out, const char* value) { out += value; }
};
template <size_t N>
struct Text<char[N]> {
    static void append(std::string& out, const char* value) { out += value; }
};
template <>
struct Text<std::byte> {
    static void append(std::string& out, std::byte value) { Text<int>::append(out, static_cast<int>(value)); }
};
template <>
struct Text<std::monostate> {
    static void append(std::string& out, std::monostate) { out += "()"; }
};
template <Printable A, Printable B>
struct Text<std::pair<A, B>> {
    static void append(std::string& out, const std::pair<A, B>& value) {
        out += '(';
        Text<A>::append(out, value.first);
        out += ',';
        Text<B>::append(out, value.second);
        out += ')';
    }
};
template <Printable... A>
struct Text<std::tuple<A...>> {
    static void append(std::string& out, const std::tuple<A...>& value) {
        out += '(';
        std::apply(
            [&](const A&... part) {
                [[maybe_unused]] size_t index = 0;
                ((out += index++ == 0 ? "" : ",", Text<A>::append(out, part)), ...);
            },
            value);
        out += ')';
    }
};
template <Printable T>
struct Text<std::optional<T>> {
    static void append(std::string& out, const std::optional<T>& value) {
        if (!value) {
            out += "None";
            return;
        }
        out += "Some(";
        Text<T>::append(out, *value);
        out += ')';
    }
};
template <Printable T>
struct Text<std::vector<T>> {
    static void append(std::string& out, const std::vector<T>& value) { appendRange(out, value, "[", "]"); }
};
template <Printable T, size_t N>
struct Text<std::array<T, N>> {
    static void append(std::string& out, const std::array<T, N>& value) { appendRange(out, value, "[", "]"); }
};
template <Printable T, class C>
struct Text<std::set<T, C>> {
    static void append(std::string& out, const std::set<T, C>& value) { appendRange(out, value, "Set(", ")"); }
};
template <Printable T, class H, class E>
struct Text<std::unordered_set<T, H, E>> {
    static void append(std::string& out, const std::unordered_set<T, H, E>& v) { appendRange(out, v, "Set(", ")"); }
};
template <Printable K, Printable V, class C>
struct Text<std::map<K, V, C>> {
    static void append(std::string& out, const std::map<K, V, C>& value) { appendMap(out, value); }
};
template <Printable K, Printable V, class H, class E>
struct Text<std::unordered_map<K, V, H, E>> {
    static void append(std::string& out, const std::unordered_map<K, V, H, E>& value) { appendMap(out, value); }
};

}  // namespace detail
}  // namespace dstream
