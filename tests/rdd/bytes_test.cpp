#include "rdd/bytes.hpp"

#include "rdd/exceptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace dstream {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(BytesTest, ReadsBackWhatWasWritten) {
    ByteWriter writer;
    writer.u8(1);
    writer.u16(2);
    writer.u32(3);
    writer.u64(4);
    writer.i64(-5);
    writer.f64(0.5);
    writer.text("text");
    writer.bytes(std::string_view("raw"));
    for (const uint64_t number : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{300}, UINT64_MAX})
        writer.varint(number);
    writer.patchU32(3, 33);

    ByteReader reader(writer.view());
    EXPECT_EQ(reader.u8(), 1);
    EXPECT_EQ(reader.u16(), 2);
    EXPECT_EQ(reader.u32(), 33u);
    EXPECT_EQ(reader.u64(), 4u);
    EXPECT_EQ(reader.i64(), -5);
    EXPECT_EQ(reader.f64(), 0.5);
    EXPECT_EQ(reader.text(), "text");
    EXPECT_EQ(asText(reader.bytes(3)), "raw");
    for (const uint64_t number : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{300}, UINT64_MAX}) {
        EXPECT_EQ(reader.varint(), number);
    }
    EXPECT_EQ(reader.remaining(), 0u);
}

TEST(BytesTest, IsLittleEndian) {
    ByteWriter writer;
    writer.u32(0x01020304);
    EXPECT_EQ(writer.takeString(), "\x04\x03\x02\x01");
    EXPECT_EQ(writer.size(), 0u);
}

TEST(BytesTest, HandsOverItsContentsAndStartsAnew) {
    ByteWriter writer;
    for (int i = 0; i < 1000; ++i) writer.u64(7);
    EXPECT_EQ(writer.take().size(), 8000u);
    EXPECT_EQ(writer.size(), 0u);
    writer.u8(1);
    EXPECT_EQ(writer.take(), std::vector<std::byte>{std::byte{1}});
}

TEST(BytesTest, GoesOnInItsOwnMemoryWhenTheCallersIsFull) {
    for (const std::size_t bytes : {0, 7, 8, 9, 100}) {
        std::array<std::byte, 8> room;
        ByteWriter writer(room);
        for (std::size_t i = 0; i < bytes; ++i) writer.u8(static_cast<uint8_t>(i));
        EXPECT_EQ(writer.view().data() == room.data(), bytes <= room.size()) << bytes;
        ByteWriter moved(std::move(writer));
        EXPECT_EQ(writer.size(), 0u);
        const std::vector<std::byte> taken = moved.take();
        ASSERT_EQ(taken.size(), bytes);
        for (std::size_t i = 0; i < bytes; ++i) EXPECT_EQ(taken[i], static_cast<std::byte>(i));
        moved.u8(1);
        EXPECT_EQ(moved.take(), std::vector<std::byte>{std::byte{1}}) << bytes;
    }
}

TEST(BytesTest, NamesThePlaceWhereDataEnds) {
    ByteWriter writer;
    writer.u32(9);
    ByteReader reader(writer.view());
    reader.u16();
    try {
        reader.u64();
        FAIL();
    } catch (const SparkException& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("expected 8 bytes"), HasSubstr("offset 2"), HasSubstr("found 2")));
    }
    EXPECT_EQ(reader.u16(), 0u);  // a failed read takes nothing
    EXPECT_THROW(reader.bytes(1), SparkException);
}

TEST(BytesTest, RefusesImpossibleCountsAndEndlessNumbers) {
    ByteWriter writer;
    writer.u64(4);
    writer.u32(0);
    EXPECT_EQ(ByteReader(writer.view()).count(1), 4u);
    EXPECT_THROW(ByteReader(writer.view()).count(2), SparkException);
    const std::string endless(11, '\xff');
    EXPECT_THROW(ByteReader(endless).varint(), SparkException);
    EXPECT_THROW(ByteReader(std::string_view("\xff")).varint(), SparkException);
}

}  // namespace
}  // namespace dstream
