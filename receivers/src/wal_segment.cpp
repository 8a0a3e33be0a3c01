#include "wal_segment.hpp"

#include "rdd/frame.hpp"

#include <algorithm>
#include <cstring>

namespace dstream::detail {

namespace {

constexpr uint16_t kKind = 6;
constexpr uint32_t kSchema = 1;
constexpr size_t kBodyBytes = kWalHeaderBytes - Frame::kHeaderBytes;
constexpr size_t kLeastLength = 9;  // sequence and type
constexpr size_t kCheckedFrom = 8;

uint32_t u32At(std::span<const std::byte> bytes, size_t offset) {
    uint32_t value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}
uint64_t u64At(std::span<const std::byte> bytes, size_t offset) {
    uint64_t value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

bool isZero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

/// The offset of the next good record from `from` on whose sequence is in [least, most]; the size when there is none.
size_t findRecord(std::span<const std::byte> bytes, size_t from, uint64_t least, uint64_t most) {
    for (size_t at = from; at + kWalRecordHeadBytes <= bytes.size(); ++at) {
        const uint64_t sequence = u64At(bytes, at + kCheckedFrom);
        if (sequence < least || sequence > most) continue;
        if (readWalRecord(bytes.subspan(at))) return at;
    }
    return bytes.size();
}

WalSegmentHeader readHeader(std::span<const std::byte> bytes, const std::string& origin) {
    FrameExpectation expected;
    expected.kind = kKind;
    expected.newestSchema = kSchema;
    expected.maxBodyBytes = kBodyBytes;
    const Frame frame = decodeFrame(bytes.first(std::min(bytes.size(), kWalHeaderBytes)), expected, origin);
    ByteReader in(frame.body);
    WalSegmentHeader header;
    header.segment = in.u64();
    header.firstSequence = in.u64();
    return header;
}

}  // namespace

std::vector<std::byte> encodeWalHeader(const WalSegmentHeader& header) {
    ByteWriter body;
    body.u64(header.segment);
    body.u64(header.firstSequence);
    body.u64(0);  // for later versions
    return encodeFrame(kKind, kSchema, body.view(), FrameCompression::kNone);
}

void appendWalRecordHead(ByteWriter& out, uint64_t sequence, WalRecordType type, std::span<const std::byte> first,
                         std::span<const std::byte> second) {
    const auto length = static_cast<uint32_t>(kLeastLength + first.size() + second.size());
    const size_t begin = out.size();
    out.u32(length);
    out.u32(0);
    out.u64(sequence);
    out.u8(static_cast<uint8_t>(type));
    uint32_t checksum = crc32c(out.view().subspan(begin, sizeof length));
    checksum = crc32c(out.view().subspan(begin + kCheckedFrom), checksum);
    checksum = crc32c(second, crc32c(first, checksum));
    out.patchU32(begin + sizeof length, checksum);
}

std::optional<WalRecord> readWalRecord(std::span<const std::byte> bytes) {
    if (bytes.size() < kWalRecordHeadBytes) return std::nullopt;
    const uint32_t length = u32At(bytes, 0);
    if (length < kLeastLength || length - kLeastLength > kWalMaxPayloadBytes) return std::nullopt;
    if (length > bytes.size() - kCheckedFrom) return std::nullopt;
    const auto type = std::to_integer<uint8_t>(bytes[16]);
    if (type < static_cast<uint8_t>(WalRecordType::kData) || type > static_cast<uint8_t>(WalRecordType::kEnd)) {
        return std::nullopt;
    }
    if (u32At(bytes, 4) != crc32c(bytes.subspan(kCheckedFrom, length), crc32c(bytes.first(4)))) return std::nullopt;
    WalRecord record;
    record.sequence = u64At(bytes, kCheckedFrom);
    record.type = static_cast<WalRecordType>(type);
    record.payload = bytes.subspan(kWalRecordHeadBytes, length - kLeastLength);
    return record;
}

WalScan scanWalSegment(std::span<const std::byte> bytes, uint64_t firstSequence, uint64_t voidFrom,
                       const std::string& origin) {
    WalScan scan;
    scan.nextSequence = firstSequence;
    uint64_t most = UINT64_MAX >> 16;
    size_t at = kWalHeaderBytes;
    bool damaged = false;
    try {
        scan.header = readHeader(bytes, origin);
        scan.nextSequence = scan.header->firstSequence;
        most = scan.nextSequence + bytes.size() / kWalRecordHeadBytes + 1;
    } catch (const FrameException& error) {
        if (error.error() == FrameError::kNewerSchema || error.error() == FrameError::kUnknownFormat) throw;
        scan.headerError = error.what();
        at = findRecord(bytes, 0, firstSequence, most);
        damaged = true;
        scan.damages.push_back({0, at, scan.headerError, false});
        if (at == bytes.size()) return scan;
        scan.nextSequence = u64At(bytes, at + kCheckedFrom);
        most = scan.nextSequence + bytes.size() / kWalRecordHeadBytes + 1;
        scan.damages.back().wasSynced = true;  // the header is synced before the first record is written
    }
    scan.endOffset = std::min<uint64_t>(at, bytes.size());
    while (scan.nextSequence < voidFrom && at < bytes.size()) {
        const auto record = readWalRecord(bytes.subspan(at));
        const uint64_t expected = scan.nextSequence;
        if (record && (record->sequence == expected || (damaged && record->sequence > expected))) {
            if (record->type != WalRecordType::kData) {
                for (WalDamage& damage : scan.damages) damage.wasSynced = true;
            }
            if (record->sequence >= voidFrom) break;
            damaged = false;
            const size_t begin = at;
            at += kWalRecordHeadBytes + record->payload.size();
            scan.endOffset = at;
            scan.nextSequence = record->sequence;
            if (record->type == WalRecordType::kEnd) {
                scan.closed = true;
                break;
            }
            ++scan.nextSequence;
            scan.records.push_back(*record);
            scan.records.back().offset = begin;
            continue;
        }
        if (isZero(bytes.subspan(at))) break;
        const size_t next = findRecord(bytes, at + 1, expected, most);
        const std::string what =
            "no record " + std::to_string(expected) + ", though the bytes there are not the end of what was written";
        scan.damages.push_back({at, next - at, what, false});
        damaged = true;
        at = next;
    }
    // Good bytes behind the end record were never written by a log.
    if (scan.closed && !isZero(bytes.subspan(scan.endOffset))) {
        scan.damages.push_back({scan.endOffset, bytes.size() - scan.endOffset, "bytes behind the end record", true});
    }
    return scan;
}

}  // namespace dstream::detail
