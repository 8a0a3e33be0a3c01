#pragma once

#include "rdd/detail/completion.hpp"
#include "rdd/exceptions.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace dstream {

/// An estimate: its most likely value and an interval that holds the true one with probability `confidence`.
struct BoundedDouble {
    double mean = 0;
    double confidence = 0;
    double low = 0;
    double high = 0;
    /// "[low, high]" with three decimals.
    std::string toString() const;
    friend bool operator==(const BoundedDouble&, const BoundedDouble&) = default;
};

/// What an approximate action knew at its time-out, and how to learn the final value. Copyable; all copies share one
/// result. Thread-safe.
///
///     auto count = rdd.countApprox(200);
///     std::cout << count.initialValue().toString() << " … " << count.getFinalValue().mean << "\n";
template <class R>
class PartialResult {
public:
    PartialResult(R initial, bool isFinal) : state_(std::make_shared<State>(std::move(initial), isFinal)) {}

    /// The estimate at the time-out, or the exact value when the job was done by then.
    R initialValue() const { return state_->initial; }
    bool isInitialValueFinal() const { return state_->initialIsFinal; }
    /// Waits for the job's end.
    /// @throws SparkException  what made the job fail
    R getFinalValue() const {
        state_->ended.wait();
        const std::lock_guard lock(state_->mutex);
        if (state_->failure) std::rethrow_exception(state_->failure);
        return *state_->final;
    }
    /// Calls `f(R)` with the final value, at once if it is known.
    /// @throws UnsupportedOperationException  for a second handler
    PartialResult& onComplete(std::function<void(const R&)> f) {
        std::unique_lock lock(state_->mutex);
        if (state_->hasCompleteHandler)
            throw UnsupportedOperationException("onComplete can be set only once on a PartialResult");
        state_->hasCompleteHandler = true;
        if (!state_->final) {
            state_->onComplete = std::move(f);
            return *this;
        }
        lock.unlock();
        f(*state_->final);
        return *this;
    }
    /// Calls `f(exception)` when the job fails, at once if it has.
    /// @throws UnsupportedOperationException  for a second handler
    void onFail(std::function<void(std::exception_ptr)> f) {
        std::unique_lock lock(state_->mutex);
        if (state_->hasFailHandler)
            throw UnsupportedOperationException("onFail can be set only once on a PartialResult");
        state_->hasFailHandler = true;
        if (!state_->failure) {
            state_->onFail = std::move(f);
            return;
        }
        lock.unlock();
        f(state_->failure);
    }
    /// The result with `f` applied to its values. Uses up the handlers of this one.
    template <class F>
    auto map(F f) {
        using U = std::invoke_result_t<F&, const R&>;
        PartialResult<U> mapped(f(state_->initial), state_->initialIsFinal);
        if (!state_->initialIsFinal) {
            onComplete([mapped, f](const R& value) mutable { mapped.complete(f(value)); });
            onFail([mapped](std::exception_ptr error) mutable { mapped.fail(error); });
        }
        return mapped;
    }

    /// For the library: sets the final value or the failure, once.
    void complete(R value) {
        std::function<void(const R&)> handler;
        {
            const std::lock_guard lock(state_->mutex);
            state_->final = std::move(value);
            handler = std::move(state_->onComplete);
        }
        state_->ended.set();
        if (handler) handler(*state_->final);
    }
    void fail(std::exception_ptr error) {
        std::function<void(std::exception_ptr)> handler;
        {
            const std::lock_guard lock(state_->mutex);
            state_->failure = error;
            handler = std::move(state_->onFail);
        }
        state_->ended.set();
        if (handler) handler(error);
    }

private:
    struct State {
        State(R value, bool isFinal) : initial(std::move(value)), initialIsFinal(isFinal) {
            if (!isFinal) return;
            final = initial;
            ended.set();
        }
        const R initial;
        const bool initialIsFinal;
        detail::Completion ended;
        std::mutex mutex;  // guards the fields below
        std::optional<R> final;
        std::exception_ptr failure;
        std::function<void(const R&)> onComplete;
        std::function<void(std::exception_ptr)> onFail;
        bool hasCompleteHandler = false;
        bool hasFailHandler = false;
    };
    std::shared_ptr<State> state_;
};

namespace detail {

/// @throws IllegalArgumentException  outside of [0, 1]
void checkConfidence(double confidence);
/// A count seen in `merged` of `total` partitions, extrapolated to all.
BoundedDouble estimateCount(int64_t seen, int merged, int total, double confidence);
struct Moments {
    int64_t count = 0;
    double mean = 0;
    double sampleVariance = 0;
};
BoundedDouble estimateMean(const Moments& seen, int merged, int total, double confidence);
BoundedDouble estimateSum(const Moments& seen, int merged, int total, double confidence);

}  // namespace detail
}  // namespace dstream
