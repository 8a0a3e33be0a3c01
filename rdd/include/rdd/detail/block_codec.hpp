#pragma once

#include "rdd/block.hpp"
#include "rdd/bytes.hpp"
#include "rdd/codec.hpp"
#include "rdd/task_context.hpp"

#include <memory>
#include <span>
#include <string>
#include <typeinfo>

namespace dstream {

/// A Codec<T> without its type: blocks of T to bytes and back. One static object per T.
struct BlockCodec {
    std::string (*name)();
    unsigned (*version)();
    void (*write)(ByteWriter& out, const Block& block);
    std::shared_ptr<const Block> (*read)(ByteReader& in);
};

namespace detail {

/// The codec of blocks of `T`, or null when `T` has none.
template <class T>
const BlockCodec* blockCodecFor() {
    if constexpr (Codable<T>) {
        static constexpr BlockCodec codec{
            [] { return codecName<T>(); }, [] { return static_cast<unsigned>(codecVersion<T>()); },
            [](ByteWriter& out, const Block& block) {
                const auto& elements = static_cast<const VectorBlock<T>&>(block).elements();
                Codec<T>::write(out, std::span<const T>(elements.data(), elements.size()));
            },
            [](ByteReader& in) -> std::shared_ptr<const Block> {
                std::vector<T> elements;
                Codec<T>::read(in, elements);
                if constexpr (std::is_same_v<T, bool>) {
                    Array<bool> array;
                    for (bool element : elements) array.push_back(element);
                    return asShared(new VectorBlock<T>(std::move(array)));
                } else {
                    return asShared(new VectorBlock<T>(std::move(elements)));
                }
            }};
        return &codec;
    } else {
        return nullptr;
    }
}

/// Reads `part-NNNNN` of a directory of block files; checks frame, codec name and version first.
/// @param metrics  counts what is read, unless it is null
/// @throws SparkException  naming the file and what is wrong with it
std::shared_ptr<const Block> readBlockFile(const std::string& directory, int partition, const BlockCodec& codec,
                                           TaskMetrics* metrics = nullptr);
/// Writes `part-NNNNN` by temporary name and rename; a file that is there already stays. Returns how many bytes.
int64_t writeBlockFile(const std::string& directory, int partition, const Block& block, const BlockCodec& codec,
                       int64_t attempt);

}  // namespace detail
}  // namespace dstream
