#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

namespace dstream::detail {

template <class Signature>
class UniqueFunction;

/// A callable that is moved, never copied: std::function for work that is queued once. Callables of up to six words
/// lie inside of it, without an allocation. Calling an empty one is undefined.
template <class R, class... A>
class UniqueFunction<R(A...)> {
public:
    UniqueFunction() = default;
    template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, UniqueFunction> && std::is_invocable_r_v<R, std::decay_t<F>&, A...>)
        UniqueFunction(F&& function) {  // NOLINT(google-explicit-constructor): a lambda is passed as it is
        using Stored = std::decay_t<F>;
        if constexpr (kInside<Stored>) {
            ::new (static_cast<void*>(place_)) Stored(std::forward<F>(function));
        } else {
            ::new (static_cast<void*>(place_)) Stored*(new Stored(std::forward<F>(function)));
        }
        operations_ = &kOperations<Stored>;
    }
    UniqueFunction(UniqueFunction&& that) noexcept { takeFrom(that); }
    UniqueFunction& operator=(UniqueFunction&& that) noexcept {
        if (this != &that) {
            reset();
            takeFrom(that);
        }
        return *this;
    }
    ~UniqueFunction() { reset(); }

    explicit operator bool() const { return operations_ != nullptr; }
    R operator()(A... arguments) { return operations_->call(place_, std::forward<A>(arguments)...); }

private:
    static constexpr size_t kPlaceBytes = 6 * sizeof(void*);

    template <class F>
    static constexpr bool kInside = sizeof(F) <= kPlaceBytes &&
                                    alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

    struct Operations {
        R (*call)(void* place, A&&... arguments);
        void (*move)(void* from, void* to) noexcept;  // and destroys the source
        void (*destroy)(void* place) noexcept;
    };

    template <class F>
    static F& stored(void* place) {
        if constexpr (kInside<F>) {
            return *std::launder(static_cast<F*>(place));
        } else {
            return **std::launder(static_cast<F**>(place));
        }
    }

    template <class F>
    static constexpr Operations kOperations{[](void* place, A&&... arguments) -> R {
                                                if constexpr (std::is_void_v<R>) {
                                                    std::invoke(stored<F>(place), std::forward<A>(arguments)...);
                                                } else {
                                                    return std::invoke(stored<F>(place), std::forward<A>(arguments)...);
                                                }
                                            },
                                            [](void* from, void* to) noexcept {
                                                if constexpr (kInside<F>) {
                                                    ::new (to) F(std::move(stored<F>(from)));
                                                    stored<F>(from).~F();
                                                } else {
                                                    ::new (to) F*(&stored<F>(from));
                                                }
                                            },
                                            [](void* place) noexcept {
                                                if constexpr (kInside<F>) {
                                                    stored<F>(place).~F();
                                                } else {
                                                    delete &stored<F>(place);
                                                }
                                            }};

    void takeFrom(UniqueFunction& that) noexcept {
        operations_ = std::exchange(that.operations_, nullptr);
        if (operations_ != nullptr) operations_->move(that.place_, place_);
    }
    void reset() noexcept {
        if (operations_ != nullptr) std::exchange(operations_, nullptr)->destroy(place_);
    }

    const Operations* operations_ = nullptr;
    alignas(std::max_align_t) std::byte place_[kPlaceBytes];
};

}  // namespace dstream::detail
