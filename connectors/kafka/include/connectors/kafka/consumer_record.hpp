#pragma once

#include "rdd/owned.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream::kafka {

/// Makes a key or value from the bytes of a record; specialise it for types of one's own. What it throws makes the
/// record undecodable, see `dstream.kafka.onUndecodable`. A missing key or value is not decoded but left
/// default-made.
///
///     template <>
///     struct dstream::kafka::Decoder<Click> {
///         static Click decode(std::string_view bytes) { return Click::parse(bytes); }
///     };
template <class T>
struct Decoder {
    static_assert(sizeof(T) == 0, "specialise dstream::kafka::Decoder for this key or value type");
};

template <>
struct Decoder<std::string_view> {
    static std::string_view decode(std::string_view bytes) { return bytes; }
};
template <>
struct Decoder<std::string> {
    static std::string decode(std::string_view bytes) { return std::string(bytes); }
};
template <>
struct Decoder<std::vector<std::byte>> {
    static std::vector<std::byte> decode(std::string_view bytes) {
        const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
        return {first, first + bytes.size()};
    }
};

namespace detail {
/// Numbers as the reference's serializers write them: big-endian, of their full size.
template <class T>
T decodeBigEndian(std::string_view bytes) {
    if (bytes.size() != sizeof(T)) {
        throw std::invalid_argument("expected " + std::to_string(sizeof(T)) + " bytes of a number, found " +
                                    std::to_string(bytes.size()));
    }
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    Bits bits = 0;
    for (const char byte : bytes) bits = bits << 8 | static_cast<unsigned char>(byte);
    return std::bit_cast<T>(bits);
}
}  // namespace detail

template <>
struct Decoder<int32_t> {
    static int32_t decode(std::string_view bytes) { return detail::decodeBigEndian<int32_t>(bytes); }
};
template <>
struct Decoder<int64_t> {
    static int64_t decode(std::string_view bytes) { return detail::decodeBigEndian<int64_t>(bytes); }
};
template <>
struct Decoder<double> {
    static double decode(std::string_view bytes) { return detail::decodeBigEndian<double>(bytes); }
};
/// A missing key or value is an empty optional.
template <class T>
struct Decoder<std::optional<T>> {
    static std::optional<T> decode(std::string_view bytes) { return Decoder<T>::decode(bytes); }
};

namespace detail {
using HeaderViews = std::vector<std::pair<std::string_view, std::optional<std::string_view>>>;
/// The headers of one of the client's messages, which librdkafka parses when it is asked for them.
HeaderViews headersOf(const void* message);
}  // namespace detail

/// What a record's timestamp says: when it was made, or when the broker took it.
enum class TimestampType : int8_t { NO_TIMESTAMP_TYPE = -1, CREATE_TIME = 0, LOG_APPEND_TIME = 1 };

/// One header of a record; `Text` is std::string or std::string_view.
template <class Text>
struct Header {
    Text key;
    std::optional<Text> value;

    Header() = default;
    Header(Text name, std::optional<Text> content) : key(std::move(name)), value(std::move(content)) {}
    template <class Other>
    explicit Header(const Header<Other>& other) : key(other.key) {
        if (other.value) value.emplace(*other.value);
    }
    bool operator==(const Header&) const = default;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& key& value;
    }
};

/// One record as it was read. With `std::string_view` as key or value it looks into the client's buffers, valid as long
/// as the chunk that it came in: whatever keeps it (collect, persist, shuffle, window) keeps the owning form,
/// ConsumerRecord<Owned<K>, Owned<V>>.
template <class K, class V>
class ConsumerRecord {
public:
    /// Of topic and headers.
    using Text = std::conditional_t<kIsView<K> || kIsView<V>, std::string_view, std::string>;
    using Headers = std::vector<Header<Text>>;

    ConsumerRecord() = default;
    ConsumerRecord(Text topic, int partition, int64_t offset, int64_t timestamp, TimestampType timestampType)
        : topic_(std::move(topic)),
          partition_(partition),
          timestampType_(timestampType),
          offset_(offset),
          timestamp_(timestamp) {}
    template <class K2, class V2>
    requires(!std::is_same_v<ConsumerRecord<K2, V2>, ConsumerRecord>) explicit ConsumerRecord(
        const ConsumerRecord<K2, V2>& other)
        : ConsumerRecord(Text(other.topic()), other.partition(), other.offset(), other.timestamp(),
                         other.timestampType()) {
        if (other.hasKey()) setKey(dstream::detail::convertElement<K>(other.key()));
        if (other.hasValue()) setValue(dstream::detail::convertElement<V>(other.value()));
        for (const auto& header : other.headers()) headers_.emplace_back(header);
    }

    const Text& topic() const { return topic_; }
    int partition() const { return partition_; }
    int64_t offset() const { return offset_; }
    /// Milliseconds since the epoch; -1 without one.
    int64_t timestamp() const { return timestamp_; }
    TimestampType timestampType() const { return timestampType_; }
    /// Default-made when the record has no key.
    const K& key() const { return key_; }
    bool hasKey() const { return hasKey_; }
    /// Default-made when the record has no value (in a compacted topic: its key is deleted).
    const V& value() const { return value_; }
    bool hasValue() const { return hasValue_; }
    /// With views they are read of the client's buffers when they are first asked for, by one thread.
    const Headers& headers() const {
        if (message_ != nullptr) {
            for (const auto& [name, value] : detail::headersOf(std::exchange(message_, nullptr))) {
                headers_.emplace_back(Text(name), value ? std::optional<Text>(*value) : std::nullopt);
            }
        }
        return headers_;
    }
    void setKey(K key) {
        key_ = std::move(key);
        hasKey_ = true;
    }
    void setValue(V value) {
        value_ = std::move(value);
        hasValue_ = true;
    }
    void setHeaders(Headers headers) { headers_ = std::move(headers); }
    /// Sets them to those of the client's message that the record was made of.
    void setHeadersOf(const void* message) {
        message_ = message;
        if constexpr (!std::is_same_v<Text, std::string_view>) headers();
    }

    bool operator==(const ConsumerRecord& other) const {
        return topic_ == other.topic_ && partition_ == other.partition_ && offset_ == other.offset_ &&
               timestamp_ == other.timestamp_ && timestampType_ == other.timestampType_ && hasKey_ == other.hasKey_ &&
               hasValue_ == other.hasValue_ && key_ == other.key_ && value_ == other.value_ &&
               headers() == other.headers();
    }
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        auto type = static_cast<int>(timestampType_);
        headers();
        ar& topic_& partition_& offset_& timestamp_& type& hasKey_& hasValue_& key_& value_& headers_;
        timestampType_ = static_cast<TimestampType>(type);
    }

private:
    Text topic_{};
    int partition_ = 0;
    TimestampType timestampType_ = TimestampType::NO_TIMESTAMP_TYPE;
    bool hasKey_ = false;
    bool hasValue_ = false;
    int64_t offset_ = 0;
    int64_t timestamp_ = -1;
    K key_{};
    V value_{};
    mutable Headers headers_;
    mutable const void* message_ = nullptr;  // whose headers are not read yet
};

}  // namespace dstream::kafka

template <class K, class V>
struct dstream::OwnedTrait<dstream::kafka::ConsumerRecord<K, V>> {
    using type = dstream::kafka::ConsumerRecord<dstream::Owned<K>, dstream::Owned<V>>;
};
