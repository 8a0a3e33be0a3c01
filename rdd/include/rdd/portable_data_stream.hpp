#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

/// A file that is opened only when somebody reads it: what SparkContext::binaryFiles gives. Cheap to copy.
///
///     sc.binaryFiles("images").map([](const auto& file) { return file.second.toArray().size(); })
class PortableDataStream {
public:
    PortableDataStream() = default;
    PortableDataStream(std::string path, uint64_t sizeBytes) : path_(std::move(path)), sizeBytes_(sizeBytes) {}

    const std::string& path() const { return path_; }
    /// Bytes it had when the job was planned.
    uint64_t size() const { return sizeBytes_; }
    /// Opens the file at its beginning; the stream belongs to the caller.
    /// @throws FileSystemException  when it cannot be opened
    std::unique_ptr<std::istream> open() const;
    /// Reads it all.
    /// @throws FileSystemException  when it cannot be read
    std::vector<std::byte> toArray() const;

private:
    std::string path_;
    uint64_t sizeBytes_ = 0;
};

}  // namespace dstream
