#pragma once

#include "rdd/exceptions.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dstream {

class Fs;

/// Returns the CRC-32C of `bytes`; give the result for the bytes before to continue.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

namespace detail {
uint32_t crc32cByTable(std::span<const std::byte> bytes, uint32_t before);  // what machines without SSE 4.2 use
}

enum class FrameCompression : uint8_t { kNone = 0, kLz4 = 1 };

/// What was wrong with a frame.
enum class FrameError {
    kTooShort,
    kNotAFrame,
    kHeaderDamaged,
    kUnknownFormat,
    kWrongKind,
    kNewerSchema,
    kWrongLength,
    kTooLarge,
    kBodyDamaged,
};

/// Reports a frame that was refused, with the file, the reason and what to do.
class FrameException : public SparkException {
public:
    FrameException(FrameError error, const std::string& message) : SparkException(message), error_(error) {}
    FrameError error() const { return error_; }

private:
    FrameError error_;
};

/// The contents of a durable file and what they are. In the file, little-endian: magic "DSF1", format u16, kind u16,
/// schema u32, compression u8, flags u8, padding u16, rawLen u64, bodyLen u64, crc32c of the body u32, crc32c of the
/// header before it u32, body.
struct Frame {
    static constexpr size_t kHeaderBytes = 40;
    static constexpr uint16_t kFormat = 1;

    uint16_t kind = 0;    // what the file is for
    uint32_t schema = 0;  // version of the contents' layout
    std::vector<std::byte> body;
};

/// What a reader accepts.
struct FrameExpectation {
    uint16_t kind = 0;
    uint32_t newestSchema = 0;  // older ones are accepted too
    uint64_t maxBodyBytes = uint64_t{1} << 32;
};

/// Returns the bytes of a frame. The body is compressed unless that makes it larger.
std::vector<std::byte> encodeFrame(uint16_t kind, uint32_t schema, std::span<const std::byte> body,
                                   FrameCompression compression = FrameCompression::kLz4);

/// Checks the bytes of a frame and returns its contents; nothing unchecked is interpreted.
/// @param origin  the file, for messages
/// @throws FrameException  when anything is wrong
Frame decodeFrame(std::span<const std::byte> bytes, const FrameExpectation& expected, const std::string& origin);
/// Checks the bytes of a frame without decompressing its body: the checksum is of the body as it is stored.
/// @throws FrameException  when anything is wrong
void checkFrame(std::span<const std::byte> bytes, const FrameExpectation& expected, const std::string& origin);

/// Writes a frame as a whole file, durable on return; see Fs::writeFileAtomically.
void writeFrameFile(Fs& fs, const std::string& path, uint16_t kind, uint32_t schema, std::span<const std::byte> body,
                    FrameCompression compression = FrameCompression::kLz4);

/// Reads such a file.
/// @throws FrameException  when its contents are refused
/// @throws FileSystemException  when it cannot be read
Frame readFrameFile(Fs& fs, const std::string& path, const FrameExpectation& expected);

}  // namespace dstream
