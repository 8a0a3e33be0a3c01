#pragma once

#include "rdd/bytes.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/time.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstring>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

/// Lets a codec that DSTREAM_CODEC or DSTREAM_BOOST_CODEC declares be found beside its type as well as in the global
/// namespace.
struct DstreamCodecTag {};

namespace dstream {

/// Turns whole blocks of `T` into bytes and back.
///
/// Built in for arithmetic types, enums, strings, pair, tuple, optional, vector, array, map and set of such. A type of
/// one's own has one when it is default-constructible and has a public
///
///     template <class Archive> void serialize(Archive& ar, unsigned version) { ar & page & clicks; }
///
/// Its name is then the type's and its version 0; DSTREAM_CODEC and DSTREAM_BOOST_CODEC give others. Or specialise:
///
///     template <> struct dstream::Codec<Click> {
///         static constexpr const char* kName = "shop.Click";
///         static constexpr uint32_t kVersion = 1;
///         static void write(ByteWriter& writer, std::span<const Click> block);
///         static void read(ByteReader& reader, std::vector<Click>& block);  // appends what one write() wrote
///     };
///
/// read() must consume exactly what write() wrote and throw SparkException for bytes it cannot read.
template <class T>
struct Codec;

/// A type whose blocks can go to disk, to a log or out of the process.
template <class T>
concept Codable = requires(ByteWriter& writer, ByteReader& reader, std::span<const T> elements, std::vector<T>& block) {
    Codec<T>::write(writer, elements);
    Codec<T>::read(reader, block);
};

/// Returns the name of a type as written in C++, "shop::Click".
std::string typeName(const std::type_info& type);
template <class T>
std::string typeName() {
    return typeName(typeid(T));
}

/// Returns the stable name that files record for blocks of `T`.
template <Codable T>
std::string codecName() {
    if constexpr (requires { Codec<T>::name(); }) {
        return Codec<T>::name();
    } else {
        return Codec<T>::kName;
    }
}

/// Returns the version that files record for blocks of `T`. For a pair, vector and so on: the largest of its parts'.
template <Codable T>
uint32_t codecVersion() {
    if constexpr (requires { Codec<T>::version(); }) {
        return Codec<T>::version();
    } else {
        return Codec<T>::kVersion;
    }
}

/// Walks the members of a value into bytes; what `serialize(ar, version)` is called with.
class WriteArchive {
public:
    using is_saving = std::true_type;
    using is_loading = std::false_type;

    explicit WriteArchive(ByteWriter& writer) : writer_(writer) {}
    template <class U>
    WriteArchive& operator&(const U& member);
    template <class U>
    WriteArchive& operator<<(const U& member) {
        return *this & member;
    }

private:
    ByteWriter& writer_;
};

/// Fills the members of a value from bytes.
class ReadArchive {
public:
    using is_saving = std::false_type;
    using is_loading = std::true_type;

    explicit ReadArchive(ByteReader& reader) : reader_(reader) {}
    template <class U>
    ReadArchive& operator&(U&& member);
    template <class U>
    ReadArchive& operator>>(U&& member) {
        return *this & std::forward<U>(member);
    }

private:
    ByteReader& reader_;
};

namespace detail {

[[noreturn]] void newerVersion(const std::string& name, uint32_t found, uint32_t known);
/// "pair<int32,string>"
std::string nameOf(const char* name, std::initializer_list<std::string> parts);
[[noreturn]] void badBlock(const std::string& name, const char* what);

/// How one value becomes bytes, for the types with a codec made here. Members: kRows (values can be written one by
/// one; false when a part of it is written by whole blocks only), kFixedBytes (0 when it varies), put, get, and when
/// !kRows putColumns, getColumns.
template <class T>
struct ValueCodec;

struct ValueBlockTag {};  // base of the codecs that work through ValueCodec

/// A type whose Codec was given by the user or goes through Boost archives: it is only written by whole blocks.
template <class T>
concept BlockOnly = Codable<T> && !std::derived_from<Codec<T>, ValueBlockTag>;

template <class T>
constexpr bool kRows = [] {
    if constexpr (BlockOnly<T>) {
        return false;
    } else {
        return ValueCodec<T>::kRows;
    }
}();

template <class T>
constexpr size_t kFixedBytes = [] {
    if constexpr (BlockOnly<T>) {
        return size_t{0};
    } else {
        return ValueCodec<T>::kFixedBytes;
    }
}();

template <class T, class Writer>
void putValue(Writer& writer, const T& value) {
    if constexpr (BlockOnly<T>) {
        Codec<T>::write(writer, std::span<const T>(&value, 1));
    } else {
        ValueCodec<T>::put(writer, value);
    }
}

template <class T, class Reader>
void getValue(Reader& reader, T& value) {
    if constexpr (BlockOnly<T>) {
        std::vector<T> block;
        Codec<T>::read(reader, block);
        if (block.size() != 1) badBlock(codecName<T>(), "one value expected");
        value = std::move(block.front());
    } else {
        ValueCodec<T>::get(reader, value);
    }
}

/// Writes values of fixed size into room made before, without a check for each.
struct UncheckedWriter {
    std::byte* place;
    std::byte* extend(size_t count) { return std::exchange(place, place + count); }
};
struct UncheckedReader {
    const std::byte* place;
    std::span<const std::byte> bytes(size_t count) { return {std::exchange(place, place + count), count}; }
};

/// Numbers that are written as they lie in memory.
template <class T>
concept Plain = (std::is_arithmetic_v<T> && !std::same_as<T, long double>) || std::is_enum_v<T>;

/// Writes `count` values, taken from `next()` one after the other, as Codec<T>::write would.
template <class T, class Next>
void writeColumn(ByteWriter& writer, size_t count, Next next) {
    if constexpr (kRows<T>) {
        writer.u64(count);
        for (size_t i = 0; i < count; ++i) putValue<T>(writer, next());
    } else {
        std::vector<T> column;
        column.reserve(count);
        for (size_t i = 0; i < count; ++i) column.push_back(next());
        Codec<T>::write(writer, std::span<const T>(column));
    }
}

template <class T>
std::vector<T> readColumn(ByteReader& reader, size_t count, const char* what) {
    std::vector<T> column;
    Codec<T>::read(reader, column);
    if (column.size() != count) badBlock(codecName<T>(), what);
    return column;
}

/// The Codec of the types that ValueCodec knows. Block: count u64, then the values or their columns.
template <class T>
struct ValueBlock : ValueBlockTag {
    static std::string name() { return ValueCodec<T>::name(); }
    static uint32_t version() { return ValueCodec<T>::version(); }

    static void write(ByteWriter& writer, std::span<const T> block) {
        writer.u64(block.size());
        if constexpr (Plain<T>) {
            writer.bytes(std::as_bytes(block));
        } else if constexpr (kFixedBytes<T> != 0) {
            UncheckedWriter raw{writer.extend(block.size() * kFixedBytes<T>)};
            for (const T& value : block) ValueCodec<T>::put(raw, value);
        } else if constexpr (kRows<T>) {
            for (const T& value : block) ValueCodec<T>::put(writer, value);
        } else {
            ValueCodec<T>::putColumns(writer, block);
        }
    }

    /// Writes one value without its version; what a value is hashed by.
    static void putMembers(ByteWriter& writer, const T& value) requires requires {
        ValueCodec<T>::putMembers(writer, value);
    }
    { ValueCodec<T>::putMembers(writer, value); }

    static void read(ByteReader& reader, std::vector<T>& block) {
        if constexpr (!kRows<T>) {
            ValueCodec<T>::getColumns(reader, reader.u64(), block);  // compares the columns' lengths with it
        } else {
            readRows(reader, reader.count(std::max<size_t>(kFixedBytes<T>, 1)), block);
        }
    }

private:
    static void readRows(ByteReader& reader, size_t count, std::vector<T>& block) {
        if constexpr (Plain<T> && !std::same_as<T, bool>) {
            const size_t before = block.size();
            block.resize(before + count);
            const auto bytes = reader.bytes(count * sizeof(T));
            if (count != 0) std::memcpy(block.data() + before, bytes.data(), bytes.size());
        } else if constexpr (kFixedBytes<T> != 0) {
            UncheckedReader raw{reader.bytes(count * kFixedBytes<T>).data()};
            block.reserve(block.size() + count);
            for (size_t i = 0; i < count; ++i) {
                T value{};
                ValueCodec<T>::get(raw, value);
                block.push_back(std::move(value));
            }
        } else {
            // A damaged count must not ask for more memory than the bytes at hand can justify.
            block.reserve(block.size() + std::min(count, 1024 + reader.remaining() / sizeof(T)));
            for (size_t i = 0; i < count; ++i) ValueCodec<T>::get(reader, block.emplace_back());
        }
    }
};

template <class T>
constexpr const char* plainName() {
    if constexpr (std::same_as<T, bool>) return "bool";
    if constexpr (std::floating_point<T>) return sizeof(T) == 4 ? "float" : "double";
    constexpr const char* kSigned[] = {"int8", "int16", "int32", "int64"};
    constexpr const char* kUnsigned[] = {"uint8", "uint16", "uint32", "uint64"};
    constexpr size_t kLog = std::bit_width(sizeof(T)) - 1;
    return std::is_signed_v<T> ? kSigned[kLog] : kUnsigned[kLog];
}

template <Plain T>
struct ValueCodec<T> {
    static constexpr bool kRows = true;
    static constexpr size_t kFixedBytes = sizeof(T);
    static std::string name() {
        if constexpr (std::is_enum_v<T>) {
            return typeName<T>();
        } else {
            return plainName<T>();
        }
    }
    static uint32_t version() { return 0; }
    template <class Writer>
    static void put(Writer& writer, T value) {
        std::memcpy(writer.extend(sizeof value), &value, sizeof value);
    }
    template <class Reader>
    static void get(Reader& reader, T& value) {
        const std::byte* const place = reader.bytes(sizeof value).data();
        if constexpr (std::same_as<T, bool>) {
            value = *place != std::byte{0};
        } else {
            std::memcpy(&value, place, sizeof value);
        }
    }
};

template <class T>
requires std::same_as<T, Time> || std::same_as<T, Duration>
struct ValueCodec<T> {
    static constexpr bool kRows = true;
    static constexpr size_t kFixedBytes = 8;
    static std::string name() { return std::same_as<T, Time> ? "time" : "duration"; }
    static uint32_t version() { return 0; }
    template <class Writer>
    static void put(Writer& writer, T value) {
        putValue<int64_t>(writer, value.milliseconds());
    }
    template <class Reader>
    static void get(Reader& reader, T& value) {
        int64_t millis = 0;
        getValue(reader, millis);
        value = T(millis);
    }
};

template <>
struct ValueCodec<std::string> {
    static constexpr bool kRows = true;
    static constexpr size_t kFixedBytes = 0;
    static std::string name() { return "string"; }
    static uint32_t version() { return 0; }
    static void put(ByteWriter& writer, const std::string& value) { writer.text(value); }
    static void get(ByteReader& reader, std::string& value) { value = reader.text(); }
};

/// pair, tuple and array: their parts one after the other, or one column for each.
template <class T, class... Part>
struct PartsCodec {
    static constexpr bool kRows = (detail::kRows<Part> && ...);
    static constexpr size_t kFixedBytes =
        ((detail::kFixedBytes<Part> != 0) && ...) ? (detail::kFixedBytes<Part> + ...) : 0;
    static uint32_t version() { return std::max({codecVersion<Part>()...}); }

    template <class Writer>
    static void put(Writer& writer, const T& value) {
        std::apply([&](const Part&... part) { (putValue<Part>(writer, part), ...); }, value);
    }
    template <class Reader>
    static void get(Reader& reader, T& value) {
        std::apply([&](Part&... part) { (getValue<Part>(reader, part), ...); }, value);
    }
    static void putColumns(ByteWriter& writer, std::span<const T> block) {
        [&]<size_t... I>(std::index_sequence<I...>) {
            (writeColumn<Part>(writer, block.size(),
                               [place = block.begin()]() mutable -> const Part& { return std::get<I>(*place++); }),
             ...);
        }
        (std::index_sequence_for<Part...>{});
    }
    static void getColumns(ByteReader& reader, size_t count, std::vector<T>& block) {
        // A braced list is evaluated from left to right.
        std::tuple<std::vector<Part>...> columns{readColumn<Part>(reader, count, "columns of different lengths")...};
        block.reserve(block.size() + count);
        for (size_t i = 0; i < count; ++i) {
            std::apply([&](auto&... column) { block.push_back(T{Part(std::move(column[i]))...}); }, columns);
        }
    }
};

template <Codable A, Codable B>
struct ValueCodec<std::pair<A, B>> : PartsCodec<std::pair<A, B>, A, B> {
    static std::string name() { return nameOf("pair", {codecName<A>(), codecName<B>()}); }
};

template <Codable A, Codable... B>
struct ValueCodec<std::tuple<A, B...>> : PartsCodec<std::tuple<A, B...>, A, B...> {
    static std::string name() { return nameOf("tuple", {codecName<A>(), codecName<B>()...}); }
};

template <Codable T>
struct ValueCodec<std::optional<T>> {
    static constexpr bool kRows = detail::kRows<T>;
    static constexpr size_t kFixedBytes = 0;
    static std::string name() { return nameOf("optional", {codecName<T>()}); }
    static uint32_t version() { return codecVersion<T>(); }
    static void put(ByteWriter& writer, const std::optional<T>& value) {
        writer.u8(value.has_value());
        if (value) putValue<T>(writer, *value);
    }
    static void get(ByteReader& reader, std::optional<T>& value) {
        value.reset();
        if (reader.u8() != 0) getValue<T>(reader, value.emplace());
    }
    static void putColumns(ByteWriter& writer, std::span<const std::optional<T>> block) {
        writeColumn<bool>(writer, block.size(), [place = block.begin()]() mutable { return place++->has_value(); });
        auto place = block.begin();
        const auto next = [&place]() -> const T& {
            while (!*place) ++place;
            return **place++;
        };
        writeColumn<T>(writer,
                       std::count_if(block.begin(), block.end(), [](const auto& value) { return value.has_value(); }),
                       next);
    }
    static void getColumns(ByteReader& reader, size_t count, std::vector<std::optional<T>>& block) {
        const std::vector<bool> present = readColumn<bool>(reader, count, "flags missing");
        const size_t values = std::count(present.begin(), present.end(), true);
        std::vector<T> column = readColumn<T>(reader, values, "values missing");
        for (size_t i = 0, next = 0; i < count; ++i) {
            if (present[i]) {
                block.emplace_back(std::move(column[next++]));
            } else {
                block.emplace_back();
            }
        }
    }
};

/// vector, set, map: the length as u32, then the elements.
template <class Container, class Element>
struct SequenceCodec {
    static constexpr bool kRows = detail::kRows<Element>;
    static constexpr size_t kFixedBytes = 0;
    static uint32_t version() { return codecVersion<Element>(); }

    static void put(ByteWriter& writer, const Container& value) {
        if constexpr (kRows && Plain<Element> && requires { value.data(); }) {
            writer.text(asText(std::as_bytes(std::span(value.data(), value.size()))));
        } else if constexpr (kRows) {
            const size_t start = writer.size();
            writer.u32(0);
            for (const auto& element : value) putElement(writer, element);
            writer.patchU32(start, length(value));
        } else {
            writeColumn<Element>(writer, length(value),
                                 [place = value.begin()]() mutable { return Element(*place++); });
        }
    }
    static void get(ByteReader& reader, Container& value) {
        if constexpr (kRows && Plain<Element> && requires { value.data(); }) {
            const std::string_view bytes = reader.text();
            if (bytes.size() % sizeof(Element) != 0) badBlock(codecName<Container>(), "a length that does not fit");
            value.resize(bytes.size() / sizeof(Element));
            if (!bytes.empty()) std::memcpy(value.data(), bytes.data(), bytes.size());
        } else if constexpr (kRows) {
            value.clear();
            for (uint32_t left = reader.u32(); left > 0; --left) {
                Element element{};
                getValue<Element>(reader, element);
                value.insert(value.end(), std::move(element));
            }
        } else {
            value.clear();
            std::vector<Element> elements;
            Codec<Element>::read(reader, elements);
            for (auto&& element : elements) value.insert(value.end(), std::move(element));
        }
    }
    static void putColumns(ByteWriter& writer, std::span<const Container> block) {
        size_t total = 0;
        for (const Container& value : block) total += value.size();
        writeColumn<uint32_t>(writer, block.size(), [place = block.begin()]() mutable { return length(*place++); });
        std::vector<Element> elements;
        elements.reserve(total);
        for (const Container& value : block) elements.insert(elements.end(), value.begin(), value.end());
        Codec<Element>::write(writer, std::span<const Element>(elements));
    }
    static void getColumns(ByteReader& reader, size_t count, std::vector<Container>& block) {
        const std::vector<uint32_t> lengths = readColumn<uint32_t>(reader, count, "lengths missing");
        size_t total = 0;
        for (const uint32_t length : lengths) total += length;
        std::vector<Element> elements = readColumn<Element>(reader, total, "elements missing");
        auto place = elements.begin();
        for (const uint32_t length : lengths) {
            Container& value = block.emplace_back();
            for (uint32_t i = 0; i < length; ++i) value.insert(value.end(), std::move(*place++));
        }
    }

private:
    static uint32_t length(const Container& value) {
        if (value.size() > UINT32_MAX) badBlock(codecName<Container>(), "more than 2^32 - 1 elements");
        return static_cast<uint32_t>(value.size());
    }
    template <class E>
    static void putElement(ByteWriter& writer, const E& element) {
        if constexpr (requires { typename Container::mapped_type; }) {
            putValue<typename Container::key_type>(writer, element.first);
            putValue<typename Container::mapped_type>(writer, element.second);
        } else {
            putValue<Element>(writer, element);
        }
    }
};

template <Codable T>
struct ValueCodec<std::vector<T>> : SequenceCodec<std::vector<T>, T> {
    static std::string name() { return nameOf("vector", {codecName<T>()}); }
};
template <Codable T>
struct ValueCodec<std::set<T>> : SequenceCodec<std::set<T>, T> {
    static std::string name() { return nameOf("set", {codecName<T>()}); }
};
template <Codable T>
struct ValueCodec<std::unordered_set<T>> : SequenceCodec<std::unordered_set<T>, T> {
    static std::string name() { return nameOf("unordered_set", {codecName<T>()}); }
};
template <Codable K, Codable V>
struct ValueCodec<std::map<K, V>> : SequenceCodec<std::map<K, V>, std::pair<K, V>> {
    static std::string name() { return nameOf("map", {codecName<K>(), codecName<V>()}); }
};
template <Codable K, Codable V>
struct ValueCodec<std::unordered_map<K, V>> : SequenceCodec<std::unordered_map<K, V>, std::pair<K, V>> {
    static std::string name() { return nameOf("unordered_map", {codecName<K>(), codecName<V>()}); }
};
template <Codable T, size_t N>
requires(N > 0) struct ValueCodec<std::array<T, N>> {
    static constexpr bool kRows = true;
    static constexpr size_t kFixedBytes = detail::kFixedBytes<T> * N;
    static std::string name() { return nameOf("array", {codecName<T>(), std::to_string(N)}); }
    static uint32_t version() { return codecVersion<T>(); }
    template <class Writer>
    static void put(Writer& writer, const std::array<T, N>& value) {
        for (const T& element : value) putValue<T>(writer, element);
    }
    template <class Reader>
    static void get(Reader& reader, std::array<T, N>& value) {
        for (T& element : value) getValue<T>(reader, element);
    }
};

template <class T>
concept Walkable = std::is_class_v<T> && std::default_initializable<T> &&
    requires(T& value, WriteArchive& writing, ReadArchive& reading, unsigned version) {
    value.serialize(writing, version);
    value.serialize(reading, version);
};

/// A type that declares its codec by a macro.
template <class T>
concept Declared = requires {
    dstreamCodecOf(std::type_identity<T>{}, DstreamCodecTag{});
};

template <class T>
using DeclaredCodec = decltype(dstreamCodecOf(std::type_identity<T>{}, DstreamCodecTag{}));

/// A type with a member serialize: its version as varint, then what it passes to the archive.
template <Walkable T>
struct ValueCodec<T> {
    static constexpr bool kRows = true;
    static constexpr size_t kFixedBytes = 0;
    static std::string name() {
        if constexpr (Declared<T>) {
            return DeclaredCodec<T>::declaredName();
        } else {
            return typeName<T>();
        }
    }
    static constexpr uint32_t version() {
        if constexpr (Declared<T>) {
            return DeclaredCodec<T>::declaredVersion();
        } else {
            return 0;
        }
    }
    static void put(ByteWriter& writer, const T& value) {
        writer.varint(version());
        putMembers(writer, value);
    }
    static void putMembers(ByteWriter& writer, const T& value) {
        WriteArchive archive(writer);
        const_cast<T&>(value).serialize(archive, static_cast<unsigned>(version()));  // one member serves both ways
    }
    static void get(ByteReader& reader, T& value) {
        const uint64_t found = reader.varint();
        if (found > version()) newerVersion(name(), static_cast<uint32_t>(found), version());
        ReadArchive archive(reader);
        value.serialize(archive, static_cast<unsigned>(found));
    }
};

struct NoCodec {};

template <class T>
auto chooseCodec() {
    if constexpr (Declared<T>) {
        return std::type_identity<DeclaredCodec<T>>{};
    } else if constexpr (requires { ValueCodec<T>::kRows; }) {
        return std::type_identity<ValueBlock<T>>{};
    } else {
        return std::type_identity<NoCodec>{};
    }
}

/// The codec that DSTREAM_CODEC declares.
template <class T, class Info>
struct NamedCodec : ValueBlock<T>, Info {};

/// Boost's name-value pairs, known by their shape.
template <class U>
concept NameValue = requires(const U& wrapped) {
    wrapped.name();
    wrapped.const_value();
    wrapped.value();
};

}  // namespace detail

template <class T>
struct Codec : decltype(detail::chooseCodec<T>())::type {};

template <class U>
WriteArchive& WriteArchive::operator&(const U& member) {
    if constexpr (detail::NameValue<U>) {
        return *this & member.const_value();
    } else if constexpr (std::is_array_v<U>) {
        for (const auto& element : member) *this& element;
    } else {
        static_assert(
            Codable<U>,
            "this member has no Codec: give its type a public member serialize(Archive&, unsigned), specialise "
            "dstream::Codec, or send the whole type through Boost archives with DSTREAM_BOOST_CODEC");
        detail::putValue<U>(writer_, member);
    }
    return *this;
}

template <class U>
ReadArchive& ReadArchive::operator&(U&& member) {
    using Member = std::remove_cvref_t<U>;
    if constexpr (detail::NameValue<Member>) {
        return *this & member.value();
    } else if constexpr (std::is_array_v<Member>) {
        for (auto& element : member) *this& element;
    } else {
        static_assert(Codable<Member>, "this member has no Codec");
        detail::getValue<Member>(reader_, member);
    }
    return *this;
}

}  // namespace dstream

/// Gives a type with a public member serialize(Archive&, unsigned) a stable codec name and a version, which serialize
/// is called with; use it where the type is declared, outside of it. Data of a newer version is refused.
///
///     DSTREAM_CODEC(Click, "shop.Click", 2)
#define DSTREAM_CODEC(Type, codecName_, codecVersion_)                                         \
    [[maybe_unused]] inline auto dstreamCodecOf(std::type_identity<Type>, ::DstreamCodecTag) { \
        struct Info {                                                                          \
            static constexpr const char* declaredName() { return codecName_; }                 \
            static constexpr uint32_t declaredVersion() { return codecVersion_; }              \
        };                                                                                     \
        return ::dstream::detail::NamedCodec<Type, Info>{};                                    \
    }
