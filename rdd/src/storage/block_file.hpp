#pragma once

#include "rdd/block.hpp"
#include "rdd/detail/block_codec.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace dstream::detail {

/// The bytes of a block as one frame with lz4: name and version of its codec, then what the codec writes.
std::vector<std::byte> encodeBlock(const Block& block, const BlockCodec& codec);

/// Checks and reads such a frame; no byte reaches the codec before frame, codec name and version are right.
/// @throws SparkException  naming `origin` and what is wrong
BlockPtr decodeBlock(std::span<const std::byte> frame, const BlockCodec& codec, const std::string& origin);

/// Checks such a frame without reading its elements.
/// @throws SparkException  naming `origin` and what is wrong
void checkBlock(std::span<const std::byte> frame, const std::string& origin);

}  // namespace dstream::detail
