#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

namespace dstream::detail {

/// `std::vector<T>` with contiguous elements also for `bool`.
class BoolArray {
public:
    using value_type = bool;
    void push_back(bool value) { bytes_.push_back(value); }
    bool& emplace_back(bool value) {
        bytes_.push_back(value);
        return data()[size() - 1];
    }
    void reserve(std::size_t n) { bytes_.reserve(n); }
    void clear() { bytes_.clear(); }
    bool empty() const { return bytes_.empty(); }
    std::size_t size() const { return bytes_.size(); }
    bool* data() { return reinterpret_cast<bool*>(bytes_.data()); }
    const bool* data() const { return reinterpret_cast<const bool*>(bytes_.data()); }
    bool* begin() { return data(); }
    bool* end() { return data() + size(); }
    const bool* begin() const { return data(); }
    const bool* end() const { return data() + size(); }
    bool& operator[](std::size_t i) { return data()[i]; }
    const bool& operator[](std::size_t i) const { return data()[i]; }
    bool& back() { return data()[size() - 1]; }

private:
    std::vector<unsigned char> bytes_;
};

template <class T>
using Array = std::conditional_t<std::is_same_v<T, bool>, BoolArray, std::vector<T>>;

}  // namespace dstream::detail
