#include "rdd/portable_data_stream.hpp"

#include "rdd/file_system.hpp"

#include <cerrno>
#include <fstream>

namespace dstream {

std::unique_ptr<std::istream> PortableDataStream::open() const {
    auto stream = std::make_unique<std::ifstream>(path_, std::ios::binary);
    if (!*stream) throw FileSystemException("open", path_, errno);
    return stream;
}

std::vector<std::byte> PortableDataStream::toArray() const {
    return posixFs().readFile(path_);
}

}  // namespace dstream
