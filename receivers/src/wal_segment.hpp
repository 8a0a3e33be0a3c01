#pragma once

#include "rdd/bytes.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dstream::detail {

// A segment file: a header frame of fixed size, records, zeros up to the end of the file.
// Record, little-endian: len u32 (bytes after the checksum), crc32c of len and of what follows the checksum u32,
// sequence u64, type u8, payload. Sequences rise by one through all segments. A len of 0 ends the written part.

constexpr size_t kWalHeaderBytes = 64;
constexpr size_t kWalRecordHeadBytes = 17;
constexpr uint32_t kWalMaxPayloadBytes = uint32_t{1} << 31;

enum class WalRecordType : uint8_t {
    kData = 1,       // of the same write as the record before
    kFirstData = 2,  // begins a write: all before it had been synced
    kEnd = 3,        // closes the segment: all before it had been synced. Takes no sequence of its own.
};

struct WalSegmentHeader {
    uint64_t segment = 0;        // its number, as in the file's name
    uint64_t firstSequence = 0;  // records of earlier segments from this sequence on are void: their sync had failed
};

struct WalRecord {
    uint64_t sequence = 0;
    uint64_t offset = 0;
    WalRecordType type = WalRecordType::kData;
    std::span<const std::byte> payload;  // in the scanned bytes
};

/// Bytes that are no record where one should be.
struct WalDamage {
    uint64_t offset = 0;
    uint64_t sizeBytes = 0;
    std::string what;
    /// A record behind it shows that this place had been synced, so this is no write that was cut off.
    bool wasSynced = false;
};

/// What a segment holds.
struct WalScan {
    std::optional<WalSegmentHeader> header;
    std::string headerError;         // why there is no header
    std::vector<WalRecord> records;  // good ones in the order of the file, the end record left out
    std::vector<WalDamage> damages;
    uint64_t nextSequence = 0;  // behind the last good record
    uint64_t endOffset = 0;     // behind the last good record, the end record included
    bool closed = false;        // there is an end record
};

std::vector<std::byte> encodeWalHeader(const WalSegmentHeader& header);
/// Appends the first 17 bytes of a record; its payload, given in two parts, follows.
void appendWalRecordHead(ByteWriter& out, uint64_t sequence, WalRecordType type, std::span<const std::byte> first,
                         std::span<const std::byte> second = {});

/// Reads the one record at the beginning of `bytes`, which may hold more; nothing when it is not good.
std::optional<WalRecord> readWalRecord(std::span<const std::byte> bytes);

/// Reads a whole segment file without trusting it.
/// @param firstSequence  what the segment must begin with if its header cannot be read
/// @param voidFrom       records from this sequence on are not looked at
/// @param origin         the file, for messages
WalScan scanWalSegment(std::span<const std::byte> bytes, uint64_t firstSequence, uint64_t voidFrom,
                       const std::string& origin);

}  // namespace dstream::detail
