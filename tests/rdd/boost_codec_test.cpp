#include "rdd/boost_codec.hpp"

#include "rdd/placement_hash.hpp"

#include <boost/serialization/base_object.hpp>
#include <boost/serialization/export.hpp>
#include <boost/serialization/nvp.hpp>
#include <boost/serialization/split_member.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace shapes {

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
    template <class Archive>
    void serialize(Archive&, unsigned) {}
};

struct Square : Shape {
    double side = 0;
    double area() const override { return side * side; }
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& boost::serialization::base_object<Shape>(*this);
        ar& side;
    }
};

/// Serialize is private, with pointers to a base and twice to the same object.
class Drawing {
public:
    std::string title;
    std::vector<std::unique_ptr<Shape>> parts;
    std::shared_ptr<Shape> first, second;
    unsigned version = 0;

private:
    friend class boost::serialization::access;
    template <class Archive>
    void serialize(Archive& ar, unsigned writtenBy) {
        version = writtenBy;
        ar& title& parts& first& second;
    }
};
DSTREAM_BOOST_CODEC(Drawing, "shapes.Drawing", 4)

struct Point {
    int x = 0, y = 0;
    bool operator==(const Point&) const = default;
};
template <class Archive>
void serialize(Archive& ar, Point& point, unsigned) {
    ar& point.x& point.y;
}
DSTREAM_BOOST_CODEC(Point, "shapes.Point", 1)

/// Written for Boost, but walked by our own archive.
struct Split {
    int stored = 0;
    int named = 0;
    bool operator==(const Split&) const = default;
    template <class Archive>
    void save(Archive& ar, unsigned) const {
        ar << stored << BOOST_SERIALIZATION_NVP(named);
    }
    template <class Archive>
    void load(Archive& ar, unsigned) {
        ar >> stored >> BOOST_SERIALIZATION_NVP(named);
    }
    BOOST_SERIALIZATION_SPLIT_MEMBER()
};

}  // namespace shapes

BOOST_CLASS_EXPORT_GUID(shapes::Square, "shapes.Square")

namespace dstream {
namespace {

using shapes::Drawing;
using shapes::Point;

TEST(BoostCodecTest, CarriesPointersAndPolymorphicParts) {
    static_assert(Codable<Drawing> && detail::BlockOnly<Drawing>);
    EXPECT_EQ(codecName<Drawing>(), "shapes.Drawing");
    EXPECT_EQ(codecVersion<Drawing>(), 4u);
    std::vector<Drawing> drawings(2);
    auto square = std::make_unique<shapes::Square>();
    square->side = 3;
    drawings[1].title = "plan";
    drawings[1].parts.push_back(std::move(square));
    drawings[1].first = drawings[1].second = std::make_shared<shapes::Square>();
    ByteWriter writer;
    Codec<Drawing>::write(writer, drawings);
    writer.u8(99);  // something of somebody else's follows

    ByteReader reader(writer.view());
    std::vector<Drawing> result(1);
    Codec<Drawing>::read(reader, result);
    EXPECT_EQ(reader.remaining(), 1u);
    ASSERT_EQ(result.size(), 3u);
    EXPECT_EQ(result[2].title, "plan");
    EXPECT_EQ(result[2].version, 4u);
    ASSERT_EQ(result[2].parts.size(), 1u);
    EXPECT_EQ(result[2].parts[0]->area(), 9);
    ASSERT_NE(result[2].first, nullptr);
    EXPECT_EQ(result[2].first, result[2].second);
}

TEST(BoostCodecTest, CarriesTypesWithAFreeFunctionInsideOthers) {
    std::vector<std::pair<std::string, Point>> block;
    block.reserve(100);
    for (int i = 0; i < 100; ++i) block.emplace_back(std::to_string(i), Point{i, -i});
    ByteWriter writer;
    Codec<std::pair<std::string, Point>>::write(writer, block);
    EXPECT_LT(writer.size(), 100 * 16u);  // one archive for all of them
    ByteReader reader(writer.view());
    std::vector<std::pair<std::string, Point>> result;
    Codec<std::pair<std::string, Point>>::read(reader, result);
    EXPECT_EQ(result, block);
    EXPECT_EQ((codecName<std::pair<std::string, Point>>()), "pair<string,shapes.Point>");
}

TEST(BoostCodecTest, RefusesNewerAndShortenedData) {
    const std::vector<Point> points{{1, 2}, {3, 4}};
    ByteWriter writer;
    Codec<Point>::write(writer, points);
    std::vector<Point> result;
    for (size_t size = 0; size < writer.size(); ++size) {
        ByteReader cut(writer.view().first(size));
        EXPECT_THROW(Codec<Point>::read(cut, result), SparkException) << size;
    }
    writer.patchU32(8, 2);
    ByteReader newer(writer.view());
    EXPECT_THROW(Codec<Point>::read(newer, result), SparkException);
    writer.patchU32(8, 1);
    writer.patchU64(0, 3);  // one element more than there is
    ByteReader longer(writer.view());
    EXPECT_THROW(Codec<Point>::read(longer, result), SparkException);
}

TEST(BoostCodecTest, HashesTheValueAlone) {
    EXPECT_EQ(placementHash(Point{1, 2}), placementHash(Point{1, 2}));
    EXPECT_NE(placementHash(Point{1, 2}), placementHash(Point{2, 1}));
    EXPECT_EQ(placementHash(Point{1, 2}), detail::xxh3(std::string_view("\1\0\0\0\2\0\0\0", 8)));
}

TEST(BoostCodecTest, OurOwnArchiveTakesWhatBoostsMacrosPass) {
    const std::vector<shapes::Split> block{{1, 2}, {3, 4}};
    static_assert(!detail::BlockOnly<shapes::Split>);
    ByteWriter writer;
    Codec<shapes::Split>::write(writer, block);
    ByteReader reader(writer.view());
    std::vector<shapes::Split> result;
    Codec<shapes::Split>::read(reader, result);
    EXPECT_EQ(result, block);
}

}  // namespace
}  // namespace dstream
