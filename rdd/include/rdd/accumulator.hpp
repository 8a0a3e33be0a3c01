#pragma once

#include "rdd/detail/context_core.hpp"
#include "rdd/exceptions.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

namespace detail {

/// What all handles of one accumulator share: on the driver its value, in a task that task's own updates.
class AccumulatorBase {
public:
    explicit AccumulatorBase(int64_t id) : id_(id) {}
    virtual ~AccumulatorBase();
    AccumulatorBase(const AccumulatorBase&) = delete;
    AccumulatorBase& operator=(const AccumulatorBase&) = delete;

    /// The calling task's updates of `accumulator`, begun as zero at the first call; outside of tasks the accumulator
    /// itself.
    /// @throws UnsupportedOperationException  in a task, when it is not registered
    static AccumulatorBase& here(const std::shared_ptr<AccumulatorBase>& accumulator);
    /// @throws UnsupportedOperationException  in a task
    static void requireDriver(const char* what);
    bool isRegistered() const { return id_ != kUnregistered; }
    /// @throws IllegalStateException  when it is registered already
    void registerAs(int64_t id, std::string name);
    /// @throws IllegalStateException  when it is not registered
    int64_t id() const;
    const std::string& name() const;
    /// Adds a task's updates to the value on the driver.
    void mergeIntoOrigin();
    /// Adds the updates of another part of the same task.
    void mergeUpdates(const AccumulatorBase& part) { merge(part); }

    static constexpr int64_t kUnregistered = -1;

protected:
    /// Taken for the value on the driver; a task's updates belong to its thread.
    std::unique_lock<std::mutex> lock() const;

private:
    virtual std::shared_ptr<AccumulatorBase> zeroed() const = 0;
    virtual void merge(const AccumulatorBase& updates) = 0;

    int64_t id_;
    std::string name_;
    std::shared_ptr<AccumulatorBase> origin_;  // of a task's updates
    mutable std::mutex mutex_;                 // guards the value on the driver; taken by nobody who holds another lock
};

}  // namespace detail

/// A value that tasks add to and the driver reads. A copyable handle: copies, also those that functions carry into
/// tasks, speak of the same accumulator. What a task adds counts once, when the task succeeds; in actions once per
/// partition, in transformations again whenever a partition is computed again. `value` is for the driver.
///
/// One's own: derive, say in the private functions what the value does, register, and capture it by value.
///
///     class Longest : public AccumulatorV2<std::string, std::size_t> {
///         bool doIsZero() const override { return size_ == 0; }
///         std::unique_ptr<AccumulatorV2> doCopy() const override { return std::make_unique<Longest>(*this); }
///         void doReset() override { size_ = 0; }
///         void doAdd(const std::string& word) override { size_ = std::max(size_, word.size()); }
///         void doMerge(const AccumulatorV2& other) override { size_ = std::max(size_, other.stateAs<Longest>().size_);
///         } std::size_t doValue() const override { return size_; } std::size_t size_ = 0;
///     };
///     Longest longest;
///     sc.registerAccumulator(longest, "longest word");
///     words.foreach([longest](const std::string& word) { longest.add(word); });
template <class In, class Out>
class AccumulatorV2 {
public:
    AccumulatorV2() = default;
    AccumulatorV2(const AccumulatorV2&) = default;
    AccumulatorV2& operator=(const AccumulatorV2&) = default;
    virtual ~AccumulatorV2() = default;

    void add(const In& value) const {
        shared();
        static_cast<Shared&>(detail::AccumulatorBase::here(shared_)).add(value);
    }
    Out value() const {
        return read("value()", [](const AccumulatorV2& state) { return state.doValue(); });
    }
    bool isZero() const {
        return read("isZero()", [](const AccumulatorV2& state) { return state.doIsZero(); });
    }
    void reset() const {
        detail::AccumulatorBase::requireDriver("reset()");
        shared().reset();
    }
    /// Adds the value of another accumulator of the same class.
    /// @throws UnsupportedOperationException  when it is of another class
    void merge(const AccumulatorV2& other) const {
        detail::AccumulatorBase::requireDriver("merge()");
        const auto copied = other.copy();
        shared().mergeState(*copied);
    }
    /// An unregistered accumulator of the same value.
    std::unique_ptr<AccumulatorV2> copy() const {
        return read("copy()", [](const AccumulatorV2& state) { return state.doCopy(); });
    }
    std::unique_ptr<AccumulatorV2> copyAndReset() const {
        auto copied = copy();
        copied->doReset();
        return copied;
    }

    bool isRegistered() const { return shared_ && shared_->isRegistered(); }
    /// @throws IllegalStateException  before the registration
    int64_t id() const { return shared().id(); }
    /// @throws IllegalStateException  before the registration
    std::string name() const { return shared().name(); }

    /// What SparkContext::registerAccumulator calls.
    void registerWith(SparkContextCore& core, const std::string& name) { shared().registerAs(core.newId(), name); }

    /// This value as its own class, for doMerge.
    /// @throws UnsupportedOperationException  when it is of another class
    template <class Derived>
    const Derived& stateAs() const {
        if (const auto* same = dynamic_cast<const Derived*>(this)) return *same;
        throw UnsupportedOperationException("accumulators of different classes cannot be merged");
    }

protected:
    /// Calls `f` with the value, which no other thread changes meanwhile.
    template <class F>
    auto read(const char* what, F f) const {
        detail::AccumulatorBase::requireDriver(what);
        return shared().read(f);
    }

private:
    // What the value does. Called on the value, never by two threads at once; never through a handle.
    virtual bool doIsZero() const = 0;
    virtual std::unique_ptr<AccumulatorV2> doCopy() const = 0;
    virtual void doReset() = 0;
    virtual void doAdd(const In& value) = 0;
    virtual void doMerge(const AccumulatorV2& other) = 0;
    virtual Out doValue() const = 0;

    class Shared final : public detail::AccumulatorBase {
    public:
        Shared(int64_t id, std::unique_ptr<AccumulatorV2> state) : AccumulatorBase(id), state_(std::move(state)) {}
        void add(const In& value) {
            const auto guard = lock();
            state_->doAdd(value);
        }
        void reset() {
            const auto guard = lock();
            state_->doReset();
        }
        void mergeState(const AccumulatorV2& other) {
            const auto guard = lock();
            state_->doMerge(other);
        }
        template <class F>
        auto read(F& f) const {
            const auto guard = lock();
            return f(*state_);
        }

    private:
        std::shared_ptr<AccumulatorBase> zeroed() const override {
            std::unique_ptr<AccumulatorV2> copy;
            {
                const auto guard = lock();
                copy = state_->doCopy();
            }
            copy->doReset();
            return std::make_shared<Shared>(kUnregistered, std::move(copy));
        }
        void merge(const AccumulatorBase& updates) override { mergeState(*static_cast<const Shared&>(updates).state_); }

        std::unique_ptr<AccumulatorV2> state_;
    };

    /// This object is only where the value begins, and the handle of what is shared.
    Shared& shared() const {
        if (!shared_) shared_ = std::make_shared<Shared>(detail::AccumulatorBase::kUnregistered, doCopy());
        return static_cast<Shared&>(*shared_);
    }

    mutable std::shared_ptr<detail::AccumulatorBase> shared_;
};

extern template class AccumulatorV2<int64_t, int64_t>;
extern template class AccumulatorV2<double, double>;

/// Sums and counts integers.
class LongAccumulator : public AccumulatorV2<int64_t, int64_t> {
public:
    int64_t sum() const;
    int64_t count() const;
    /// NaN when nothing was added.
    double avg() const;

private:
    bool doIsZero() const override { return sum_ == 0 && count_ == 0; }
    std::unique_ptr<AccumulatorV2> doCopy() const override;
    void doReset() override { sum_ = count_ = 0; }
    void doAdd(const int64_t& value) override;
    void doMerge(const AccumulatorV2& other) override;
    int64_t doValue() const override { return sum_; }

    int64_t sum_ = 0;
    int64_t count_ = 0;
};

/// Sums and counts numbers.
class DoubleAccumulator : public AccumulatorV2<double, double> {
public:
    double sum() const;
    int64_t count() const;
    /// NaN when nothing was added.
    double avg() const;

private:
    bool doIsZero() const override { return sum_ == 0 && count_ == 0; }
    std::unique_ptr<AccumulatorV2> doCopy() const override;
    void doReset() override;
    void doAdd(const double& value) override;
    void doMerge(const AccumulatorV2& other) override;
    double doValue() const override { return sum_; }

    double sum_ = 0;
    int64_t count_ = 0;
};

/// Gathers elements, in no particular order.
template <class T>
class CollectionAccumulator : public AccumulatorV2<T, std::vector<T>> {
    using Base = AccumulatorV2<T, std::vector<T>>;
    bool doIsZero() const override { return elements_.empty(); }
    std::unique_ptr<Base> doCopy() const override { return std::make_unique<CollectionAccumulator>(*this); }
    void doReset() override { elements_.clear(); }
    void doAdd(const T& value) override { elements_.push_back(value); }
    void doMerge(const Base& other) override {
        const auto& more = other.template stateAs<CollectionAccumulator>().elements_;
        elements_.insert(elements_.end(), more.begin(), more.end());
    }
    std::vector<T> doValue() const override { return elements_; }

    std::vector<T> elements_;
};

}  // namespace dstream
