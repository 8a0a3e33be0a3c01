#include "rdd/frame.hpp"

#include "rdd/bytes.hpp"
#include "rdd/file_system.hpp"
#include "support/test_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <optional>

namespace dstream {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint16_t kKind = 7;
constexpr uint32_t kSchema = 3;
constexpr FrameExpectation kExpected{kKind, kSchema, 1 << 20};

std::vector<std::byte> body(size_t size, bool compressible = true) {
    std::vector<std::byte> bytes(size);
    uint32_t state = 1;
    for (size_t i = 0; i < size; ++i) {
        state = state * 1664525 + 1013904223;
        bytes[i] = compressible ? std::byte(i / 50) : std::byte(state >> 24);
    }
    return bytes;
}

template <class Read>
std::optional<FrameError> refusalOf(Read read) {
    try {
        read();
        return std::nullopt;
    } catch (const FrameException& exception) {
        return exception.error();
    }
}

/// What is wrong with a frame. A check alone must find the same, but that a body is no lz4 data.
std::optional<FrameError> errorOf(std::span<const std::byte> bytes, const FrameExpectation& expected = kExpected,
                                  bool isUnpackable = true) {
    const auto error = refusalOf([&] { (void)decodeFrame(bytes, expected, "file"); });
    EXPECT_EQ(refusalOf([&] { checkFrame(bytes, expected, "file"); }), isUnpackable ? error : std::nullopt);
    return error;
}

/// Changes the header and makes its checksum right again.
std::vector<std::byte> withHeader(std::vector<std::byte> frame, const std::function<void(std::byte*)>& change) {
    change(frame.data());
    const uint32_t checksum = crc32c(std::span(frame).first(36));
    std::memcpy(frame.data() + 36, &checksum, sizeof checksum);
    return frame;
}

TEST(Crc32cTest, MatchesTheStandardByBothWays) {
    EXPECT_EQ(crc32c(asBytes("123456789")), 0xE3069283u);
    EXPECT_EQ(crc32c({}), 0u);
    const std::vector<std::byte> zeros(32);
    EXPECT_EQ(crc32c(zeros), 0x8A9136AAu);
    const auto bytes = body(1000, false);
    for (size_t size = 0; size < 200; ++size) {
        const auto part = std::span(bytes).subspan(size % 7, size);
        EXPECT_EQ(crc32c(part, 99), detail::crc32cByTable(part, 99));
    }
    EXPECT_EQ(crc32c(std::span(bytes).subspan(300), crc32c(std::span(bytes).first(300))), crc32c(bytes));
}

TEST(FrameTest, KeepsBodies) {
    for (const size_t size : {0u, 1u, 39u, 1000u, 100'000u}) {
        for (const bool compressible : {true, false}) {
            for (const auto compression : {FrameCompression::kNone, FrameCompression::kLz4}) {
                const auto bytes = encodeFrame(kKind, kSchema, body(size, compressible), compression);
                EXPECT_LE(bytes.size(), Frame::kHeaderBytes + size);
                const Frame frame = decodeFrame(bytes, kExpected, "file");
                EXPECT_EQ(frame.kind, kKind);
                EXPECT_EQ(frame.schema, kSchema);
                EXPECT_EQ(frame.body, body(size, compressible));
            }
        }
    }
    EXPECT_LT(encodeFrame(kKind, kSchema, body(100'000)).size(), 10'000u);
}

TEST(FrameTest, KeepsItsFormat) {
    const auto bytes = encodeFrame(0x0102, 0x03040506, asBytes("body"), FrameCompression::kNone);
    ByteReader reader(bytes);
    EXPECT_EQ(asText(reader.bytes(4)), "DSF1");
    EXPECT_EQ(reader.u16(), 1);
    EXPECT_EQ(reader.u16(), 0x0102);
    EXPECT_EQ(reader.u32(), 0x03040506u);
    EXPECT_EQ(reader.u8(), 0);
    EXPECT_EQ(reader.u8(), 0);
    EXPECT_EQ(reader.u16(), 0);
    EXPECT_EQ(reader.u64(), 4u);
    EXPECT_EQ(reader.u64(), 4u);
    EXPECT_EQ(reader.u32(), crc32c(asBytes("body")));
    EXPECT_EQ(reader.u32(), crc32c(std::span(bytes).first(36)));
    EXPECT_EQ(asText(reader.bytes(reader.remaining())), "body");
}

TEST(FrameTest, RefusesEveryTruncationAndEveryFlippedBit) {
    for (const auto compression : {FrameCompression::kNone, FrameCompression::kLz4}) {
        const auto bytes = encodeFrame(kKind, kSchema, body(500), compression);
        for (size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_TRUE(errorOf(std::span(bytes).first(size)).has_value()) << "cut to " << size;
        }
        for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
            auto flipped = bytes;
            flipped[bit / 8] ^= std::byte(1 << (bit % 8));
            EXPECT_TRUE(errorOf(flipped).has_value()) << "bit " << bit;
        }
        auto longer = bytes;
        longer.push_back(std::byte{0});
        EXPECT_EQ(errorOf(longer), FrameError::kWrongLength);
    }
}

TEST(FrameTest, ChecksInTheGivenOrder) {
    const auto good = encodeFrame(kKind, kSchema, body(100), FrameCompression::kNone);
    const auto set = [&](size_t offset, uint64_t value, size_t size) {
        return withHeader(good, [&](std::byte* header) { std::memcpy(header + offset, &value, size); });
    };
    EXPECT_EQ(errorOf(std::span(good).first(39)), FrameError::kTooShort);
    EXPECT_EQ(errorOf(set(0, 0, 4)), FrameError::kNotAFrame);
    auto damaged = good;
    damaged[20] ^= std::byte{1};
    EXPECT_EQ(errorOf(damaged), FrameError::kHeaderDamaged);
    EXPECT_EQ(errorOf(set(4, 2, 2)), FrameError::kUnknownFormat);
    EXPECT_EQ(errorOf(set(4, 0, 2)), FrameError::kUnknownFormat);
    EXPECT_EQ(errorOf(set(12, 9, 1)), FrameError::kUnknownFormat);
    EXPECT_EQ(errorOf(set(13, 1, 1)), FrameError::kUnknownFormat);
    EXPECT_EQ(errorOf(set(6, 8, 2)), FrameError::kWrongKind);
    EXPECT_EQ(errorOf(set(8, 4, 4)), FrameError::kNewerSchema);
    EXPECT_EQ(errorOf(set(8, 2, 4)), std::nullopt);  // an older schema is for the reader of the body
    EXPECT_EQ(errorOf(set(24, 99, 8)), FrameError::kWrongLength);
    EXPECT_EQ(errorOf(set(16, (1 << 20) + 1, 8)), FrameError::kTooLarge);
    auto torn = good;
    torn.back() ^= std::byte{1};
    EXPECT_EQ(errorOf(torn), FrameError::kBodyDamaged);
    EXPECT_EQ(errorOf(set(16, 99, 8)), FrameError::kWrongLength);
    EXPECT_EQ(errorOf(set(12, 1, 1), kExpected, false), FrameError::kBodyDamaged);  // not lz4 data
    EXPECT_EQ(errorOf(withHeader(good,
                                 [](std::byte* header) {
                                     const uint64_t huge = 1 << 20;
                                     header[12] = std::byte{1};
                                     std::memcpy(header + 16, &huge, 8);
                                 })),
              FrameError::kTooLarge);
}

TEST(FrameTest, SaysWhatIsWrong) {
    try {
        (void)decodeFrame(encodeFrame(kKind, 9, {}), kExpected, "state/checkpoint-5");
        FAIL();
    } catch (const FrameException& error) {
        EXPECT_THAT(error.what(),
                    AllOf(HasSubstr("state/checkpoint-5"), HasSubstr("written by a newer version (9 > 3)")));
    }
}

TEST(FrameTest, IsWrittenAndReadAsAFile) {
    const testsupport::TemporaryDirectory directory;
    writeFrameFile(posixFs(), directory / "a", kKind, kSchema, body(1000));
    EXPECT_EQ(readFrameFile(posixFs(), directory / "a", kExpected).body, body(1000));
    EXPECT_THAT(posixFs().list(directory.path()), ElementsAre("a"));
    EXPECT_THROW(readFrameFile(posixFs(), directory / "b", kExpected), FileSystemException);
}

}  // namespace
}  // namespace dstream
