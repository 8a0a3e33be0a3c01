#pragma once

#include "rdd/detail/array.hpp"
#include "rdd/owned.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream {

/// A run of consecutive elements, the unit that moves between operators that are not fused.
/// `owned`: the consumer may move elements out. Otherwise the elements are shared and must be treated as const.
/// The memory stays valid until the cursor that gave the chunk is asked for the next one or dies.
template <class T>
struct Chunk {
    T* data = nullptr;
    std::size_t size = 0;
    bool owned = false;

    bool empty() const { return size == 0; }
    const T& operator[](std::size_t index) const { return data[index]; }

    static Chunk borrowed(const T* data, std::size_t size) { return {const_cast<T*>(data), size, false}; }
    static Chunk ownedBy(T* data, std::size_t size) { return {data, size, true}; }
};

/// Hands out the elements of one partition, chunk by chunk. Used by one thread; an empty chunk is the end.
template <class T>
class Cursor {
public:
    virtual ~Cursor() = default;
    Chunk<T> next() { return doNext(); }
    /// Hands over all elements in one array, instead of `next`, when it has them in one; else gives nothing.
    virtual std::optional<detail::Array<T>> takeArray() { return std::nullopt; }
    /// How many elements are left, when that is known without making them.
    virtual std::optional<std::size_t> left() const { return std::nullopt; }

private:
    virtual Chunk<T> doNext() = 0;
};

template <class T>
using CursorPtr = std::unique_ptr<Cursor<T>>;

/// True when moving a `T` does what copying it does, as for pairs of numbers and views.
template <class T>
inline constexpr bool kMovesByCopying = std::is_trivially_copy_constructible_v<T>&& std::is_trivially_destructible_v<T>;

/// Calls `sink` for every element of a chunk: with an rvalue when it may be moved from, else with a const reference.
template <class T, class Sink>
void forEachIn(const Chunk<T>& chunk, Sink&& sink) {
    if constexpr (!kMovesByCopying<T>) {
        if (chunk.owned) {
            for (std::size_t i = 0; i < chunk.size; ++i) sink(std::move(chunk.data[i]));
            return;
        }
    }
    for (std::size_t i = 0; i < chunk.size; ++i) sink(std::as_const(chunk.data[i]));
}

namespace detail {

/// Serves the elements of a shared array, without copying, in chunks of at most `chunkSize`.
/// Element type `T` may be a view type over an array of `Owned<T>`.
template <class T, class Holder>
class SharedArrayCursor final : public Cursor<T> {
public:
    SharedArrayCursor(Holder holder, const Owned<T>* data, std::size_t size, std::size_t chunkSize)
        : holder_(std::move(holder)), data_(data), size_(size), chunkSize_(chunkSize) {}

private:
    Chunk<T> doNext() override {
        const std::size_t n = std::min(chunkSize_, size_ - position_);
        const Owned<T>* from = data_ + position_;
        position_ += n;
        if constexpr (kIsView<T>) {
            views_.clear();
            for (std::size_t i = 0; i < n; ++i) views_.push_back(convertElement<T>(from[i]));
            return Chunk<T>::ownedBy(views_.data(), n);
        } else {
            return Chunk<T>::borrowed(from, n);
        }
    }

    struct Nothing {};
    Holder holder_;
    const Owned<T>* data_;
    std::size_t size_;
    std::size_t chunkSize_;
    std::size_t position_ = 0;
    [[no_unique_address]] std::conditional_t<kIsView<T>, Array<T>, Nothing> views_;
};

/// Serves an array that the cursor owns: its elements may be moved out.
template <class T>
class OwnedArrayCursor final : public Cursor<T> {
public:
    OwnedArrayCursor(Array<T> elements, std::size_t chunkSize)
        : elements_(std::move(elements)), chunkSize_(chunkSize) {}
    std::optional<Array<T>> takeArray() override { return std::move(elements_); }

private:
    Chunk<T> doNext() override {
        const std::size_t n = std::min(chunkSize_, elements_.size() - position_);
        T* from = elements_.data() + position_;
        position_ += n;
        return Chunk<T>::ownedBy(from, n);
    }

    Array<T> elements_;
    std::size_t chunkSize_;
    std::size_t position_ = 0;
};

}  // namespace detail
}  // namespace dstream
