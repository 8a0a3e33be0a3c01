#include "rdd/frame.hpp"

#include "rdd/bytes.hpp"
#include "rdd/file_system.hpp"

#include <lz4.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

namespace dstream {

namespace {

constexpr uint32_t kMagic = 0x31465344;  // "DSF1"
constexpr size_t kCheckedHeaderBytes = Frame::kHeaderBytes - sizeof(uint32_t);

[[noreturn]] void refuse(FrameError error, const std::string& origin, const std::string& what) {
    throw FrameException(error, origin + " is refused: " + what);
}

/// The body compressed; empty when that does not pay.
struct Packed {
    std::unique_ptr<std::byte[]> bytes;
    size_t size = 0;
};

Packed compress(std::span<const std::byte> body) {
    if (body.size() > LZ4_MAX_INPUT_SIZE) return {};
    const int size = static_cast<int>(body.size());
    const int bound = LZ4_compressBound(size);
    auto packed = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(bound));
    const int count = LZ4_compress_default(reinterpret_cast<const char*>(body.data()),
                                           reinterpret_cast<char*>(packed.get()), size, bound);
    if (count <= 0 || static_cast<size_t>(count) >= body.size()) return {};
    return {std::move(packed), static_cast<size_t>(count)};
}

/// A frame whose checksums are right, its body as it is stored.
struct Stored {
    uint16_t kind = 0;
    uint32_t schema = 0;
    bool isPacked = false;
    uint64_t rawBytes = 0;
    std::span<const std::byte> body;
};

Stored checkStored(std::span<const std::byte> bytes, const FrameExpectation& expected, const std::string& origin) {
    const auto number = [](uint64_t value) { return std::to_string(value); };
    if (bytes.size() < Frame::kHeaderBytes) {
        refuse(FrameError::kTooShort, origin,
               "a header of " + number(Frame::kHeaderBytes) + " bytes expected, the file has " + number(bytes.size()));
    }
    ByteReader reader(bytes);
    if (reader.u32() != kMagic)
        refuse(FrameError::kNotAFrame, origin, "it does not begin with DSF1, so it is not ours");
    const uint16_t format = reader.u16();
    Stored frame;
    frame.kind = reader.u16();
    frame.schema = reader.u32();
    const uint8_t compression = reader.u8();
    const uint8_t flags = reader.u8();
    const uint16_t padding = reader.u16();
    frame.rawBytes = reader.u64();
    const uint64_t bodyBytes = reader.u64();
    const uint32_t bodyChecksum = reader.u32();
    if (reader.u32() != crc32c(bytes.first(kCheckedHeaderBytes))) {
        refuse(FrameError::kHeaderDamaged, origin, "the checksum of its header does not match, the file is damaged");
    }
    if (format > Frame::kFormat) {
        refuse(FrameError::kUnknownFormat, origin,
               "written by a newer version (format " + number(format) + " > " + number(Frame::kFormat) + ")");
    }
    if (format != Frame::kFormat || flags != 0 || padding != 0 ||
        compression > static_cast<uint8_t>(FrameCompression::kLz4)) {
        refuse(
            FrameError::kUnknownFormat, origin,
            "unknown format " + number(format) + ", compression " + number(compression) + ", flags " + number(flags));
    }
    if (frame.kind != expected.kind) {
        refuse(FrameError::kWrongKind, origin,
               "a file of kind " + number(expected.kind) + " expected, this is of kind " + number(frame.kind));
    }
    if (frame.schema > expected.newestSchema) {
        refuse(FrameError::kNewerSchema, origin,
               "written by a newer version (" + number(frame.schema) + " > " + number(expected.newestSchema) +
                   "); read it with a program of that version");
    }
    if (bodyBytes != reader.remaining()) {
        refuse(FrameError::kWrongLength, origin,
               "a body of " + number(bodyBytes) + " bytes expected, found " + number(reader.remaining()));
    }
    if (frame.rawBytes > expected.maxBodyBytes) {
        refuse(FrameError::kTooLarge, origin,
               "contents of " + number(frame.rawBytes) + " bytes, at most " + number(expected.maxBodyBytes) +
                   " are expected");
    }
    frame.body = bytes.subspan(Frame::kHeaderBytes);
    if (crc32c(frame.body) != bodyChecksum) {
        refuse(FrameError::kBodyDamaged, origin, "the checksum of its body does not match, the file is damaged");
    }
    frame.isPacked = compression == static_cast<uint8_t>(FrameCompression::kLz4);
    if (!frame.isPacked) {
        if (frame.rawBytes != bodyBytes) refuse(FrameError::kWrongLength, origin, "two different lengths of one body");
        return frame;
    }
    // lz4 cannot make more than 255 bytes of one, so a larger claim is a lie that would only ask for memory.
    if (bodyBytes > LZ4_MAX_INPUT_SIZE || frame.rawBytes > LZ4_MAX_INPUT_SIZE || frame.rawBytes / 255 > bodyBytes) {
        refuse(FrameError::kTooLarge, origin, "impossible lengths of a compressed body");
    }
    return frame;
}

}  // namespace

std::vector<std::byte> encodeFrame(uint16_t kind, uint32_t schema, std::span<const std::byte> body,
                                   FrameCompression compression) {
    Packed packed;
    if (compression == FrameCompression::kLz4) packed = compress(body);
    const bool isPacked = packed.size != 0;
    const std::span<const std::byte> stored =
        isPacked ? std::span<const std::byte>(packed.bytes.get(), packed.size) : body;

    std::array<std::byte, Frame::kHeaderBytes> header;
    ByteWriter writer(header);
    writer.u32(kMagic);
    writer.u16(Frame::kFormat);
    writer.u16(kind);
    writer.u32(schema);
    writer.u8(static_cast<uint8_t>(isPacked ? FrameCompression::kLz4 : FrameCompression::kNone));
    writer.u8(0);
    writer.u16(0);
    writer.u64(body.size());
    writer.u64(stored.size());
    writer.u32(crc32c(stored));
    writer.u32(crc32c(writer.view()));
    std::vector<std::byte> frame;
    frame.reserve(header.size() + stored.size());
    frame.assign(header.begin(), header.end());
    frame.insert(frame.end(), stored.begin(), stored.end());
    return frame;
}

Frame decodeFrame(std::span<const std::byte> bytes, const FrameExpectation& expected, const std::string& origin) {
    const Stored stored = checkStored(bytes, expected, origin);
    Frame frame{stored.kind, stored.schema, {}};
    if (!stored.isPacked) {
        frame.body.assign(stored.body.begin(), stored.body.end());
        return frame;
    }
    frame.body.resize(stored.rawBytes);
    const int unpacked = LZ4_decompress_safe(reinterpret_cast<const char*>(stored.body.data()),
                                             reinterpret_cast<char*>(frame.body.data()),
                                             static_cast<int>(stored.body.size()), static_cast<int>(stored.rawBytes));
    if (unpacked < 0 || static_cast<uint64_t>(unpacked) != stored.rawBytes) {
        refuse(FrameError::kBodyDamaged, origin, "its body cannot be decompressed");
    }
    return frame;
}

void checkFrame(std::span<const std::byte> bytes, const FrameExpectation& expected, const std::string& origin) {
    (void)checkStored(bytes, expected, origin);
}

void writeFrameFile(Fs& fs, const std::string& path, uint16_t kind, uint32_t schema, std::span<const std::byte> body,
                    FrameCompression compression) {
    fs.writeFileAtomically(path, encodeFrame(kind, schema, body, compression));
}

Frame readFrameFile(Fs& fs, const std::string& path, const FrameExpectation& expected) {
    return decodeFrame(fs.readFile(path), expected, path);
}

}  // namespace dstream
