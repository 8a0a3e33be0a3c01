#include "storage/block_file.hpp"

#include "rdd/bytes.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/frame.hpp"

namespace dstream::detail {
namespace {

constexpr uint16_t kBlockKind = 2;
constexpr uint32_t kSchema = 1;

}  // namespace

std::vector<std::byte> encodeBlock(const Block& block, const BlockCodec& codec) {
    ByteWriter body;
    body.text(codec.name());
    body.u32(codec.version());
    codec.write(body, block);
    return encodeFrame(kBlockKind, kSchema, body.view(), FrameCompression::kLz4);
}

void checkBlock(std::span<const std::byte> frame, const std::string& origin) {
    checkFrame(frame, {.kind = kBlockKind, .newestSchema = kSchema}, origin);
}

BlockPtr decodeBlock(std::span<const std::byte> frame, const BlockCodec& codec, const std::string& origin) {
    FrameExpectation expected;
    expected.kind = kBlockKind;
    expected.newestSchema = kSchema;
    const Frame decoded = decodeFrame(frame, expected, origin);
    ByteReader in(decoded.body);
    const std::string_view name = in.text();
    if (name != codec.name()) {
        throw SparkException(origin + " holds elements of type " + std::string(name) + ", expected " + codec.name() +
                             "; read it with the type that wrote it");
    }
    if (const uint32_t version = in.u32(); version > codec.version()) {
        throw SparkException(origin + " was written by a newer version of " + codec.name() + " (" +
                             std::to_string(version) + " > " + std::to_string(codec.version()) +
                             "); run the program that wrote it");
    }
    BlockPtr block = codec.read(in);
    if (in.remaining() != 0) {
        throw SparkException(origin + " has " + std::to_string(in.remaining()) +
                             " bytes behind its last element; the codec " + codec.name() +
                             " does not read what it wrote");
    }
    return block;
}

}  // namespace dstream::detail
