#include "rdd/codec.hpp"

#include "fuzz/fuzz.hpp"
#include "rdd/bytes.hpp"

namespace fuzzed {

struct Item {
    std::string name;
    double price = 0;
    std::optional<std::vector<int32_t>> marks;
    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& name& price& marks;
    }
};
DSTREAM_CODEC(Item, "fuzz.Item", 2)

/// Written by blocks only, so that pairs and lists of it go by columns.
struct Block {
    int64_t value = 0;
};

}  // namespace fuzzed

template <>
struct dstream::Codec<fuzzed::Block> {
    static constexpr const char* kName = "fuzz.Block";
    static constexpr uint32_t kVersion = 1;
    static void write(ByteWriter& writer, std::span<const fuzzed::Block> block) {
        writer.u64(block.size());
        for (const fuzzed::Block& element : block) writer.i64(element.value);
    }
    static void read(ByteReader& reader, std::vector<fuzzed::Block>& block) {
        for (size_t left = reader.count(8); left > 0; --left) block.push_back({reader.i64()});
    }
};

namespace dstream {
namespace {

using fuzzed::Block;
using fuzzed::Item;
using Try = std::string (*)(std::string_view bytes);

/// Reads a block; what can be read can be written and read again to the same bytes.
template <class T>
std::string attempt(std::string_view bytes) {
    std::vector<T> block;
    try {
        ByteReader reader(bytes);
        Codec<T>::read(reader, block);
    } catch (const SparkException&) {
        return {};
    }
    ByteWriter first;
    Codec<T>::write(first, block);
    std::vector<T> again;
    ByteReader reader(first.view());
    Codec<T>::read(reader, again);
    ByteWriter second;
    Codec<T>::write(second, again);
    return asText(first.view()) == asText(second.view()) ? "" : "not the same bytes again: " + codecName<T>();
}

template <class T>
std::string encoded(const std::vector<T>& block) {
    ByteWriter writer;
    Codec<T>::write(writer, block);
    return writer.takeString();
}

int fuzzAll(int argc, char** argv) {
    using Pairs = std::pair<std::string, int64_t>;
    using Nested = std::tuple<int32_t, std::vector<std::string>, std::map<std::string, std::optional<double>>>;
    using Columns = std::pair<std::optional<Block>, std::vector<Block>>;
    static constexpr Try kTries[] = {attempt<int64_t>,
                                     attempt<std::string>,
                                     attempt<Pairs>,
                                     attempt<Nested>,
                                     attempt<Item>,
                                     attempt<Columns>,
                                     attempt<std::pair<std::string, Item>>,
                                     attempt<std::vector<bool>>};
    const std::vector<std::string> seeds = {
        encoded<int64_t>({1, -2, 3}),
        encoded<std::string>({"a", "", "word"}),
        encoded<Pairs>({{"a", 1}, {"b", 2}}),
        encoded<Nested>({{1, {"x", "y"}, {{"k", 1.5}, {"l", std::nullopt}}}, {2, {}, {}}}),
        encoded<Item>({{"pen", 1.5, std::vector<int32_t>{1, 2}}, {"", 0, std::nullopt}}),
        encoded<Columns>({{Block{1}, {{2}, {3}}}, {std::nullopt, {}}}),
        encoded<std::pair<std::string, Item>>({{"k", {"pen", 1.5, std::nullopt}}}),
        encoded<std::vector<bool>>({{true, false}, {}}),
    };
    return fuzz::run(argc, argv, seeds, [](const std::string& input, fuzz::Random& random) {
        return kTries[fuzz::below(random, std::size(kTries))](input);
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
