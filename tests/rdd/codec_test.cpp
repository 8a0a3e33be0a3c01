#include "rdd/codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <list>

namespace shop {

struct Item {
    std::string name;
    double price = 0;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& name& price;
    }
    bool operator==(const Item&) const = default;
};

struct Order {
    int64_t id = 0;
    std::vector<Item> items;
    std::optional<std::string> note;
    int32_t marks[3] = {};
    unsigned version = 0;  // what serialize was called with
    template <class Archive>
    void serialize(Archive& ar, unsigned writtenBy) {
        version = writtenBy;
        ar& id& items& marks;
        if (writtenBy >= 2) ar& note;
    }
    bool operator==(const Order& that) const {
        return id == that.id && items == that.items && note == that.note && std::ranges::equal(marks, that.marks);
    }
};
DSTREAM_CODEC(Order, "shop.Order", 2)

/// The same as an older program would have it.
struct OldOrder : Order {};
DSTREAM_CODEC(OldOrder, "shop.Order", 1)

struct Tree {
    int value = 0;
    std::vector<Tree> children;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& value& children;
    }
    bool operator==(const Tree&) const = default;
};

/// Has a codec of its own and no default constructor.
struct Code {
    explicit Code(int value) : number(value) {}
    int number;
    bool operator==(const Code&) const = default;
    bool operator<(const Code& that) const { return number < that.number; }
};

struct Without {
    int* pointer = nullptr;
};
struct Hidden {
private:
    template <class Archive>
    void serialize(Archive&, unsigned) {}
};
enum class Colour : int16_t { kRed = -1, kGreen = 300 };

}  // namespace shop

struct Global {
    uint8_t level = 0;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& level;
    }
    bool operator==(const Global&) const = default;
};
DSTREAM_CODEC(Global, "the.Global", 4)

namespace elsewhere {
struct Far {
    int value = 0;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& value;
    }
    bool operator==(const Far&) const = default;
};
}  // namespace elsewhere
DSTREAM_CODEC(elsewhere::Far, "else.Far", 1)

template <>
struct dstream::Codec<shop::Code> {
    static constexpr const char* kName = "shop.Code";
    static constexpr uint32_t kVersion = 5;
    static inline int writes = 0;
    static void write(ByteWriter& writer, std::span<const shop::Code> block) {
        ++writes;
        writer.u64(block.size());
        for (const shop::Code& code : block) writer.u32(static_cast<uint32_t>(code.number));
    }
    static void read(ByteReader& reader, std::vector<shop::Code>& block) {
        for (size_t left = reader.count(4); left > 0; --left) block.emplace_back(static_cast<int>(reader.u32()));
    }
};

namespace dstream {
namespace {

using shop::Code;
using testing::AllOf;
using testing::HasSubstr;

static_assert(Codable<shop::Order> && Codable<shop::Tree> && Codable<Code>);
static_assert(Codable<std::map<std::string, std::vector<std::optional<shop::Item>>>>);
static_assert(!Codable<shop::Without> && !Codable<std::vector<shop::Without>> && !Codable<shop::Hidden>);
static_assert(!Codable<std::list<int>> && !Codable<int*> && !Codable<std::string_view>);

template <class T>
std::vector<std::byte> written(const std::vector<T>& block) {
    ByteWriter writer;
    if constexpr (std::same_as<T, bool>) {
        const auto copy = std::make_unique<bool[]>(block.size());
        std::copy(block.begin(), block.end(), copy.get());
        Codec<T>::write(writer, std::span<const bool>(copy.get(), block.size()));
    } else {
        Codec<T>::write(writer, std::span<const T>(block));
    }
    return writer.take();
}

/// Two blocks one after the other come back as they were, and no shortened block is taken.
template <class T>
void roundTrip(const std::vector<T>& block) {
    std::vector<std::byte> bytes = written(block);
    const size_t one = bytes.size();
    bytes.insert(bytes.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(one));
    ByteReader reader(bytes);
    std::vector<T> result;
    Codec<T>::read(reader, result);
    EXPECT_EQ(reader.position(), one) << codecName<T>();
    EXPECT_EQ(result, block) << codecName<T>();
    Codec<T>::read(reader, result);
    EXPECT_EQ(reader.remaining(), 0u);
    ASSERT_EQ(result.size(), 2 * block.size()) << codecName<T>();
    EXPECT_TRUE(std::equal(block.begin(), block.end(), result.begin() + static_cast<ptrdiff_t>(block.size())));

    for (size_t size = 0; size < one; ++size) {
        ByteReader cut{std::span(bytes).first(size)};
        std::vector<T> ignored;
        EXPECT_THROW(Codec<T>::read(cut, ignored), SparkException) << codecName<T>() << " cut to " << size;
    }
}

TEST(CodecTest, CarriesNumbers) {
    roundTrip<int64_t>({});
    roundTrip<int64_t>({0, -1, std::numeric_limits<int64_t>::min()});
    roundTrip<uint8_t>({0, 255});
    roundTrip<char>({'a', '\0'});
    roundTrip<float>({1.5f, -0.0f});
    roundTrip<double>({0.1, std::numeric_limits<double>::infinity()});
    roundTrip<bool>({true, false, true});
    roundTrip<shop::Colour>({shop::Colour::kRed, shop::Colour::kGreen});
    roundTrip<Time>({Time(1), Time(-5)});
    roundTrip<Duration>({Seconds(3)});
}

TEST(CodecTest, CarriesStringsWithAnyBytes) {
    roundTrip<std::string>({"", "plain", std::string("nul\0inside", 10), "\xff\xfe", std::string(1000, 'x')});
}

TEST(CodecTest, CarriesComposites) {
    roundTrip<std::pair<std::string, int64_t>>({{"a", 1}, {"", -2}});
    roundTrip<std::pair<int32_t, int64_t>>({{1, 2}, {-3, 4}});
    roundTrip<std::tuple<int8_t, std::string, double>>({{int8_t{1}, "b", 2.5}, {int8_t{-1}, "", 0.0}});
    roundTrip<std::tuple<bool, float>>({{true, 1.0f}});
    roundTrip<std::optional<std::string>>({std::nullopt, "x", ""});
    roundTrip<std::vector<int32_t>>({{}, {1, 2, 3}});
    roundTrip<std::vector<std::string>>({{"a", "b"}, {}});
    roundTrip<std::vector<bool>>({{true, false}, {}});
    roundTrip<std::array<int32_t, 2>>({{1, 2}, {3, 4}});
    roundTrip<std::map<std::string, std::vector<double>>>({{{"a", {1.0}}, {"b", {}}}, {}});
    roundTrip<std::unordered_map<int, std::string>>({{{1, "a"}, {2, "b"}}});
    roundTrip<std::set<std::pair<int, int>>>({{{1, 2}, {0, 1}}, {}});
    roundTrip<std::unordered_set<std::string>>({{"a", "b"}});
    roundTrip<std::pair<std::pair<int, std::string>, std::optional<std::vector<int64_t>>>>(
        {{{1, "a"}, std::vector<int64_t>{1}}, {{2, "b"}, std::nullopt}});
}

TEST(CodecTest, WalksTypesWithAMemberSerialize) {
    roundTrip<shop::Item>({{"pen", 1.5}, {"", 0}});
    roundTrip<shop::Order>({{1, {{"pen", 1.5}}, "note", {1, 2, 3}}, {2, {}, std::nullopt, {}}});
    roundTrip<std::pair<std::string, shop::Order>>({{"k", {1, {{"pen", 1.5}}, "note", {1, 2, 3}}}});
    roundTrip<shop::Tree>({{1, {{2, {}}, {3, {{4, {}}}}}}});
    roundTrip<Global>({{1}, {2}});
    roundTrip<elsewhere::Far>({{1}});
}

TEST(CodecTest, NamesTypesAndVersions) {
    EXPECT_EQ(codecName<long>(), "int64");
    EXPECT_EQ(codecName<long long>(), "int64");
    EXPECT_EQ(codecName<bool>(), "bool");
    EXPECT_EQ(codecName<float>(), "float");
    EXPECT_EQ(codecName<uint16_t>(), "uint16");
    EXPECT_EQ((codecName<std::map<std::string, std::pair<double, std::optional<int>>>>()),
              "map<string,pair<double,optional<int32>>>");
    EXPECT_EQ((codecName<std::tuple<int, std::vector<shop::Order>, Code>>()),
              "tuple<int32,vector<shop.Order>,shop.Code>");
    EXPECT_EQ(codecName<shop::Item>(), "shop::Item");
    EXPECT_EQ(codecName<Global>(), "the.Global");
    EXPECT_EQ(codecName<elsewhere::Far>(), "else.Far");
    EXPECT_EQ(codecVersion<shop::Item>(), 0u);
    EXPECT_EQ(codecVersion<Global>(), 4u);
    EXPECT_EQ((codecVersion<std::pair<Global, std::vector<Code>>>()), 5u);
    EXPECT_EQ(codecVersion<std::string>(), 0u);
}

TEST(CodecTest, ReadsOlderVersionsAndRefusesNewerOnes) {
    shop::OldOrder old;
    old.id = 9;
    const std::vector<std::byte> oldBytes = written(std::vector{old});
    ByteReader reader(oldBytes);
    std::vector<shop::Order> orders;
    Codec<shop::Order>::read(reader, orders);
    ASSERT_EQ(orders.size(), 1u);
    EXPECT_EQ(orders[0].id, 9);
    EXPECT_EQ(orders[0].version, 1u);

    const std::vector<std::byte> newBytes = written(orders);
    ByteReader newer(newBytes);
    std::vector<shop::OldOrder> refused;
    try {
        Codec<shop::OldOrder>::read(newer, refused);
        FAIL() << "a newer version was read";
    } catch (const SparkException& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("shop.Order"), HasSubstr("newer version (2 > 1)")));
    }
}

TEST(CodecTest, OpensACodecOfTheUsersOncePerBlock) {
    Codec<Code>::writes = 0;
    std::vector<std::pair<std::string, Code>> pairs;
    std::vector<std::optional<Code>> options;
    std::vector<std::vector<Code>> lists;
    for (int i = 0; i < 100; ++i) {
        pairs.emplace_back(std::to_string(i), Code(i));
        options.emplace_back(i % 3 == 0 ? std::nullopt : std::optional(Code(i)));
        lists.emplace_back(static_cast<size_t>(i % 4), Code(i));
    }
    (void)written(pairs);
    (void)written(options);
    (void)written(lists);
    EXPECT_EQ(Codec<Code>::writes, 3);
    roundTrip(pairs);
    roundTrip(options);
    roundTrip(lists);
    roundTrip<std::tuple<bool, Code, std::string>>({{true, Code(1), "a"}, {false, Code(2), "b"}});
    roundTrip<std::map<int, Code>>({{{1, Code(1)}, {2, Code(2)}}, {}});
    roundTrip<std::set<Code>>({{Code(2), Code(1)}});
    roundTrip<std::pair<int, std::vector<std::optional<Code>>>>({{1, {Code(1), std::nullopt}}, {2, {}}});
}

TEST(CodecTest, RefusesImpossibleLengthsBeforeAskingForMemory) {
    ByteWriter writer;
    writer.u64(UINT64_MAX);
    writer.u64(1);
    const auto refuses = [&]<class T>(T) {
        ByteReader reader(writer.view());
        std::vector<T> block;
        EXPECT_THROW(Codec<T>::read(reader, block), SparkException) << codecName<T>();
    };
    refuses(int64_t{});
    refuses(std::string());
    refuses(std::pair<int, int>());
    refuses(std::vector<std::string>());
    refuses(shop::Item());
    ByteWriter odd;
    odd.u64(1);
    odd.u32(3);
    odd.bytes(std::string_view("abc"));
    ByteReader reader(odd.view());
    std::vector<std::vector<int32_t>> block;
    EXPECT_THROW(Codec<std::vector<int32_t>>::read(reader, block), SparkException);
}

TEST(CodecTest, KeepsItsFormat) {
    const auto hex = [](const std::vector<std::byte>& bytes) {
        std::string text;
        for (const std::byte byte : bytes) {
            constexpr char kDigits[] = "0123456789abcdef";
            text += kDigits[std::to_integer<int>(byte >> 4)];
            text += kDigits[std::to_integer<int>(byte & std::byte{15})];
        }
        return text;
    };
    EXPECT_EQ(hex(written<int32_t>({1, -1})), "020000000000000001000000ffffffff");
    EXPECT_EQ(hex(written<std::string>({"ab"})), "0100000000000000020000006162");
    EXPECT_EQ(hex(written<std::pair<std::string, int16_t>>({{"a", int16_t{2}}})), "010000000000000001000000610200");
    EXPECT_EQ(hex(written<std::optional<uint8_t>>({std::nullopt, uint8_t{7}})), "0200000000000000000107");
    EXPECT_EQ(hex(written<std::vector<uint16_t>>({{1, 2}})), "01000000000000000400000001000200");
    EXPECT_EQ(hex(written<std::vector<std::string>>({{"a"}})), "0100000000000000010000000100000061");
    EXPECT_EQ(hex(written<Global>({{9}})), "01000000000000000409");
}

}  // namespace
}  // namespace dstream
