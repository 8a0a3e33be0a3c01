#pragma once

#include "rdd/bytes.hpp"
#include "rdd/codec.hpp"
#include "rdd/exceptions.hpp"

#include <boost/archive/basic_archive.hpp>
#include <boost/archive/binary_iarchive.hpp>
#include <boost/archive/binary_oarchive.hpp>
#include <boost/serialization/map.hpp>
#include <boost/serialization/set.hpp>
#include <boost/serialization/shared_ptr.hpp>
#include <boost/serialization/string.hpp>
#include <boost/serialization/unique_ptr.hpp>
#include <boost/serialization/utility.hpp>
#include <boost/serialization/vector.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <exception>
#include <span>
#include <streambuf>
#include <string>
#include <type_traits>
#include <vector>

namespace dstream::detail {

/// Lets an archive write straight into a ByteWriter.
class WriterBuffer : public std::streambuf {
public:
    explicit WriterBuffer(ByteWriter& writer) : writer_(writer) {}

protected:
    std::streamsize xsputn(const char* text, std::streamsize count) override {
        writer_.bytes(std::string_view(text, static_cast<size_t>(count)));
        return count;
    }
    int_type overflow(int_type letter) override {
        if (traits_type::eq_int_type(letter, traits_type::eof())) return traits_type::not_eof(letter);
        writer_.u8(static_cast<uint8_t>(letter));
        return letter;
    }

private:
    ByteWriter& writer_;
};

/// Lets an archive read straight from bytes.
class SpanBuffer : public std::streambuf {
public:
    explicit SpanBuffer(std::span<const std::byte> bytes) {
        char* const begin = const_cast<char*>(asText(bytes).data());  // the get area is only read
        setg(begin, begin, begin + bytes.size());
    }
};

/// The codec that DSTREAM_BOOST_CODEC declares: one binary archive per block. Block: count u64, version u32, version of
/// the archives u32, length u64, archive without its header.
template <std::default_initializable T, class Info>
struct BoostCodec {
    static std::string name() { return Info::declaredName(); }
    static uint32_t version() { return Info::declaredVersion(); }

    static void write(ByteWriter& writer, std::span<const T> block) {
        writer.u64(block.size());
        writer.u32(Info::declaredVersion());
        writer.u32(boost::archive::BOOST_ARCHIVE_VERSION());
        const size_t place = writer.size();
        writer.u64(0);
        putMembers(writer, block);
        writer.patchU64(place, writer.size() - place - sizeof(uint64_t));
    }

    static void read(ByteReader& reader, std::vector<T>& block) {
        const uint64_t count = reader.u64();
        const uint32_t version = reader.u32();
        if (version > Info::declaredVersion()) newerVersion(name(), version, Info::declaredVersion());
        const uint32_t archiveVersion = reader.u32();
        if (archiveVersion > boost::archive::BOOST_ARCHIVE_VERSION()) {
            newerVersion("the archive of " + name(), archiveVersion, boost::archive::BOOST_ARCHIVE_VERSION());
        }
        const auto bytes = reader.bytes(reader.count());
        SpanBuffer buffer(bytes);
        // Elements stay where they are read to, because an archive may remember their addresses.
        block.reserve(block.size() + std::min<uint64_t>(count, bytes.size()));
        try {
            boost::archive::binary_iarchive archive(buffer, kFlags);
            archive.set_library_version(boost::archive::library_version_type(archiveVersion));
            for (uint64_t i = 0; i < count; ++i) {
                boost::serialization::serialize_adl(archive, block.emplace_back(), version);
            }
        } catch (const std::exception&) {
            std::throw_with_nested(SparkException("damaged or wrong data for " + name()));
        }
    }

    /// Writes the archive alone; of one value it is what the value is hashed by.
    static void putMembers(ByteWriter& writer, std::span<const T> block) {
        WriterBuffer buffer(writer);
        boost::archive::binary_oarchive archive(buffer, kFlags);
        for (const T& value : block) {
            boost::serialization::serialize_adl(archive, const_cast<T&>(value), Info::declaredVersion());
        }
    }
    static void putMembers(ByteWriter& writer, const T& value) { putMembers(writer, std::span<const T>(&value, 1)); }

private:
    static constexpr unsigned kFlags = boost::archive::no_header | boost::archive::no_codecvt;
};

}  // namespace dstream::detail

/// Gives a type a stable codec name and a version, and sends its blocks through real Boost archives: for types with a
/// private or free function `serialize`, pointers or polymorphic parts. Use it where the type is declared, outside of
/// it, and link with Boost.Serialization. `serialize` is called with the version given here; data of a newer one is
/// refused. A type that DSTREAM_CODEC can walk is faster with that.
///
///     DSTREAM_BOOST_CODEC(Click, "shop.Click", 2)
#define DSTREAM_BOOST_CODEC(Type, codecName_, codecVersion_)                                   \
    [[maybe_unused]] inline auto dstreamCodecOf(std::type_identity<Type>, ::DstreamCodecTag) { \
        struct Info {                                                                          \
            static constexpr const char* declaredName() { return codecName_; }                 \
            static constexpr uint32_t declaredVersion() { return codecVersion_; }              \
        };                                                                                     \
        return ::dstream::detail::BoostCodec<Type, Info>{};                                    \
    }
