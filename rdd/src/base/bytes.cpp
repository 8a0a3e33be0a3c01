#include "rdd/bytes.hpp"

#include "rdd/exceptions.hpp"

namespace dstream {

void ByteWriter::grow(size_t count) {
    buffer_.resize(std::max({size_ + count, 2 * buffer_.size(), size_t{64}}));
}

void ByteWriter::tooLong(size_t size) {
    throw SparkException("a text or list in a record must be shorter than 4 GiB: " + std::to_string(size) + " bytes");
}

void ByteReader::underflow(size_t wanted) const {
    throw SparkException("data ends too early: expected " + std::to_string(wanted) + " bytes at offset " +
                         std::to_string(position_) + ", found " + std::to_string(remaining()));
}

void ByteReader::badVarint() const {
    throw SparkException("damaged data: a number of more than 64 bits before offset " + std::to_string(position_));
}

void ByteReader::badCount(uint64_t number) const {
    throw SparkException("damaged data: " + std::to_string(number) + " elements cannot follow offset " +
                         std::to_string(position_) + ", where " + std::to_string(remaining()) + " bytes are left");
}

}  // namespace dstream
