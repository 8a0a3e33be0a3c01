#include "rdd/bytes.hpp"

#include "rdd/exceptions.hpp"

namespace dstream {

ByteWriter::ByteWriter(ByteWriter&& that) noexcept
    : buffer_(std::move(that.buffer_)),
      place_(std::exchange(that.place_, nullptr)),
      capacity_(std::exchange(that.capacity_, 0)),
      size_(std::exchange(that.size_, 0)) {}

ByteWriter& ByteWriter::operator=(ByteWriter&& that) noexcept {
    buffer_ = std::move(that.buffer_);
    place_ = std::exchange(that.place_, nullptr);
    capacity_ = std::exchange(that.capacity_, 0);
    size_ = std::exchange(that.size_, 0);
    return *this;
}

void ByteWriter::grow(size_t count) {
    const bool outside = buffer_.empty();
    buffer_.resize(std::max({size_ + count, 2 * capacity_, size_t{64}}));
    if (outside && size_ != 0) std::memcpy(buffer_.data(), place_, size_);
    place_ = buffer_.data();
    capacity_ = buffer_.size();
}

std::vector<std::byte> ByteWriter::take() {
    std::vector<std::byte> taken;
    if (buffer_.empty()) {
        taken.assign(place_, place_ + size_);
    } else {
        buffer_.resize(size_);
        taken.swap(buffer_);
        place_ = nullptr;
        capacity_ = 0;
    }
    size_ = 0;
    return taken;
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
