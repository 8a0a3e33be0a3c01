#pragma once

#include "rdd/chunk.hpp"
#include "rdd/detail/range_traits.hpp"
#include "rdd/exceptions.hpp"

#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace dstream {

template <class T>
class Iterator;

namespace detail {

template <class T>
struct IsIterator : std::false_type {};
template <class T>
struct IsIterator<Iterator<T>> : std::true_type {};

/// Pulls a range chunk by chunk.
template <class T, class Range>
class RangeCursor final : public Cursor<T> {
public:
    RangeCursor(Range range, std::size_t chunkSize) : range_(std::move(range)), chunkSize_(chunkSize) {}

private:
    Chunk<T> doNext() override {
        buffer_.clear();
        if (!begun_) {
            position_.emplace(std::ranges::begin(range_));
            begun_ = true;
        } else if (pendingAdvance_) {
            ++*position_;
        }
        pendingAdvance_ = false;
        // The iterator moves on only when the next element is wanted: a generator does no work ahead of its consumer.
        while (*position_ != std::ranges::end(range_)) {
            buffer_.push_back(static_cast<T>(**position_));
            if (buffer_.size() >= chunkSize_) {
                pendingAdvance_ = true;
                break;
            }
            ++*position_;
        }
        return Chunk<T>::ownedBy(buffer_.data(), buffer_.size());
    }

    Range range_;
    std::size_t chunkSize_;
    std::optional<std::ranges::iterator_t<Range>> position_;
    bool begun_ = false;
    bool pendingAdvance_ = false;
    Array<T> buffer_;
};

}  // namespace detail

/// The elements of one partition as a move-only, single-pass C++20 input range that also has `hasNext()` and `next()`.
/// Nothing is materialised: a chunk of the source is read when the previous one has been consumed.
/// Used by one thread and only while the partition's task runs.
///
///     rdd.mapPartitions([](Iterator<int> part) {
///         int64_t sum = 0;
///         for (int value : part) sum += value;
///         return std::vector{sum};
///     });
template <class T>
class Iterator {
public:
    using value_type = T;

    Iterator() = default;
    explicit Iterator(CursorPtr<T> cursor) : cursor_(std::move(cursor)) {}
    /// Takes over any range, for example a vector. A range that can be read only once, as a generator, is asked for one
    /// element at a time: the next one may be a long time coming.
    template <std::ranges::input_range Range>
    requires(!std::is_same_v<std::remove_cvref_t<Range>, Iterator> &&
             !std::is_reference_v<Range>) explicit Iterator(Range&& range)
        : cursor_(std::make_unique<detail::RangeCursor<T, std::remove_cvref_t<Range>>>(
              std::forward<Range>(range), std::ranges::forward_range<std::remove_cvref_t<Range>> ? 256 : 1)) {}
    template <std::ranges::input_range Range>
    requires(!std::is_same_v<std::remove_cvref_t<Range>, Iterator> &&
             std::is_copy_constructible_v<Range>) explicit Iterator(const Range& range)
        : Iterator(Range(range)) {}

    Iterator(Iterator&&) noexcept = default;
    Iterator& operator=(Iterator&&) noexcept = default;

    /// True when there is one more element.
    bool hasNext() {
        if (position_ < chunk_.size) return true;
        if (!cursor_) return false;
        chunk_ = cursor_->next();
        position_ = 0;
        if (chunk_.empty()) cursor_.reset();
        return !chunk_.empty();
    }

    /// Returns the next element.
    /// @throws NoSuchElementException  at the end
    T next() {
        if (!hasNext())
            throw NoSuchElementException("next() on an Iterator without a next element; ask hasNext() first");
        T& element = chunk_.data[position_++];
        if constexpr (!kMovesByCopying<T>) {
            if (chunk_.owned) return std::move(element);
        }
        return std::as_const(element);
    }

    class iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        explicit iterator(Iterator* source) : source_(source) {}
        const T& operator*() const { return source_->chunk_.data[source_->position_]; }
        iterator& operator++() {
            ++source_->position_;
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& it, std::default_sentinel_t) { return !it.source_->hasNext(); }

    private:
        Iterator* source_ = nullptr;
    };

    iterator begin() { return iterator(this); }
    std::default_sentinel_t end() const { return {}; }

    /// Hands the rest over as a cursor; this iterator is at its end afterwards.
    CursorPtr<T> release();

private:
    friend class iterator;
    CursorPtr<T> cursor_;
    Chunk<T> chunk_;
    std::size_t position_ = 0;
};

namespace detail {

template <class T>
class IteratorCursor final : public Cursor<T> {
public:
    IteratorCursor(Iterator<T> iterator, std::size_t chunkSize)
        : iterator_(std::move(iterator)), chunkSize_(chunkSize) {}

private:
    Chunk<T> doNext() override {
        buffer_.clear();
        while (buffer_.size() < chunkSize_ && iterator_.hasNext()) buffer_.push_back(iterator_.next());
        return Chunk<T>::ownedBy(buffer_.data(), buffer_.size());
    }
    Iterator<T> iterator_;
    std::size_t chunkSize_;
    Array<T> buffer_;
};

template <class F>
class NextRange {
public:
    using value_type = typename std::invoke_result_t<F&>::value_type;
    explicit NextRange(F next) : next_(std::move(next)) {}

    class iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = typename NextRange::value_type;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        explicit iterator(NextRange* range) : range_(range) {}
        value_type& operator*() const { return *range_->current_; }
        iterator& operator++() {
            range_->current_ = range_->next_();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& it, std::default_sentinel_t) { return it.atEnd(); }

    private:
        bool atEnd() const { return !range_->current_.has_value(); }
        NextRange* range_ = nullptr;
    };

    iterator begin() {
        current_ = next_();
        return iterator(this);
    }
    std::default_sentinel_t end() const { return {}; }

private:
    friend class iterator;
    F next_;
    std::optional<value_type> current_;
};

}  // namespace detail

template <class T>
CursorPtr<T> Iterator<T>::release() {
    if (position_ >= chunk_.size && cursor_) return std::move(cursor_);
    return std::make_unique<detail::IteratorCursor<T>>(std::move(*this), 256);
}

/// Makes a lazy single-pass range of a function that returns the next element or `std::nullopt` at the end.
template <class F>
auto fromNext(F next) {
    return detail::NextRange<F>(std::move(next));
}

}  // namespace dstream
