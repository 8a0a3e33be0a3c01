#pragma once

#include "files/input_files.hpp"
#include "rdd/file_system.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace dstream::detail {

/// Bytes that come one after the other. One thread.
class ByteSource {
public:
    virtual ~ByteSource() = default;
    /// Fills the beginning of `place`, which is not empty; returns how many bytes, 0 only at the end.
    size_t read(std::span<std::byte> place) { return doRead(place); }

private:
    virtual size_t doRead(std::span<std::byte> place) = 0;
};

/// The bytes of a file from `start` up to its planned size, by pread.
/// @throws SparkException  naming the file when it has become shorter
std::unique_ptr<ByteSource> openFile(const InputFile& file, uint64_t start, Fs& fs = posixFs());

/// Decompresses gzip and zlib streams, several in a row too, with bounded memory.
/// @param origin  the file, for messages
std::unique_ptr<ByteSource> decompress(std::unique_ptr<ByteSource> compressed, std::string origin);

/// The file's contents, decompressed when its name says so.
std::unique_ptr<ByteSource> openContents(const InputFile& file);

}  // namespace dstream::detail
