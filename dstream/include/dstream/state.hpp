#pragma once

#include "rdd/exceptions.hpp"
#include "rdd/partitioner.hpp"
#include "rdd/rdd.hpp"
#include "rdd/time.hpp"
#include "rdd/to_text.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace dstream {

namespace detail {
template <class K, class V, class S, class M, class F>
class MapWithStateRdd;
}

/// The state of one key, as the function of `mapWithState` sees and changes it. Valid during the call only.
///
///     int64_t sum = value.value_or(0) + state.getOption().value_or(0);
///     state.update(sum);
template <class S>
class State {
public:
    bool exists() const { return value_.has_value(); }
    /// @throws NoSuchElementException  when there is none
    const S& get() const {
        if (!value_) throw NoSuchElementException("State is not set; ask exists() first or use getOption()");
        return *value_;
    }
    std::optional<S> getOption() const { return value_; }
    /// @throws IllegalArgumentException  after remove() in the same call, or while timing out
    void update(S value) {
        if (removed_) throw IllegalArgumentException("Cannot update the state after it has been removed");
        if (timingOut_) throw IllegalArgumentException("Cannot update the state that is timing out");
        value_ = std::move(value);
        updated_ = true;
    }
    /// Removes the state, if there is one.
    /// @throws IllegalArgumentException  when it has been removed in this call already, or while timing out
    void remove() {
        if (removed_) throw IllegalArgumentException("Cannot remove the state: it has been removed already");
        if (timingOut_) throw IllegalArgumentException("Cannot remove the state that is timing out");
        value_.reset();
        updated_ = false;
        removed_ = true;
    }
    /// True in the last call for an idle key, after which its state goes.
    bool isTimingOut() const { return timingOut_; }
    std::string toString() const {
        if constexpr (requires(const S& value) { toText(value); }) {
            return value_ ? toText(*value_) : "<state not set>";
        } else {
            return value_ ? "<state>" : "<state not set>";
        }
    }

private:
    template <class K, class V, class S2, class M, class F>
    friend class detail::MapWithStateRdd;

    State(std::optional<S> value, bool timingOut) : value_(std::move(value)), timingOut_(timingOut) {}

    std::optional<S> value_;
    bool timingOut_;
    bool updated_ = false;
    bool removed_ = false;
};

namespace detail {

/// What a state function returns, and how it is called.
template <class K, class V, class S, class M>
struct StateCall {
    template <class F>
    static std::optional<M> call(F& f, Time time, const K& key, const std::optional<V>& value, State<S>& state) {
        if constexpr (std::is_invocable_v<F&, Time, const K&, const std::optional<V>&, State<S>&>) {
            return f(time, key, value, state);
        } else {
            return std::optional<M>(f(key, value, state));
        }
    }
};

}  // namespace detail

/// What `mapWithState` does: the function of each record, and the settings of the state.
///
///     auto track = [](Time, const std::string& user, std::optional<Click> click, State<Session>& state) ->
///     std::optional<Ended> {…}; clicks.mapWithState(StateSpec<std::string, Click, Session,
///     Ended>::function(track).timeout(Minutes(30)));
template <class K, class V, class S, class M,
          class F = std::function<std::optional<M>(Time, const K&, std::optional<V>, State<S>&)>>
class StateSpec {
public:
    explicit StateSpec(F mapping) : f_(std::move(mapping)) {}
    /// `f(Time, K, optional<V>, State<S>&) -> optional<M>` (absent: no output), or `f(K, optional<V>, State<S>&) -> M`.
    /// @throws IllegalArgumentException  for an empty function
    template <class G>
    static StateSpec<K, V, S, M, G> function(G f) {
        if constexpr (requires { f == nullptr; }) {
            if (f == nullptr) throw IllegalArgumentException("StateSpec::function needs a function, found none");
        }
        return StateSpec<K, V, S, M, G>(std::move(f));
    }

    /// State to begin with: its update time is the first batch's.
    StateSpec& initialState(RDD<std::pair<K, S>> rdd) {
        initialState_ = std::move(rdd);
        return *this;
    }
    /// The last call of these two wins.
    StateSpec& numPartitions(int n) { return partitioner(HashPartitioner(n)); }
    StateSpec& partitioner(Partitioner partitioner) {
        partitioner_ = std::move(partitioner);
        return *this;
    }
    /// A key without records for longer than this, in batch time, is called once more with isTimingOut() and removed.
    /// Looked for in the batches whose state is checkpointed, or in each with `dstream.state.timeoutScan=everyBatch`.
    StateSpec& timeout(Duration idle) {
        timeout_ = idle;
        return *this;
    }

    const F& f() const { return f_; }
    const std::optional<RDD<std::pair<K, S>>>& getInitialState() const { return initialState_; }
    const std::optional<Partitioner>& getPartitioner() const { return partitioner_; }
    const std::optional<Duration>& getTimeout() const { return timeout_; }

private:
    F f_;
    std::optional<RDD<std::pair<K, S>>> initialState_;
    std::optional<Partitioner> partitioner_;
    std::optional<Duration> timeout_;
};

namespace detail {

template <class F>
struct StateFunctionTraits : StateFunctionTraits<decltype(&F::operator())> {};
template <class C, class M, class K, class V, class S>
struct StateFunctionTraits<std::optional<M> (C::*)(Time, K, std::optional<V>, State<S>&) const> {
    template <class F>
    using Spec = StateSpec<std::remove_cvref_t<K>, V, S, M, F>;
};
template <class C, class M, class K, class V, class S>
struct StateFunctionTraits<M (C::*)(K, std::optional<V>, State<S>&) const> {
    template <class F>
    using Spec = StateSpec<std::remove_cvref_t<K>, V, S, M, F>;
};

}  // namespace detail

/// Makes a StateSpec of a function whose parameter types are spelled out.
template <class F>
auto stateSpec(F f) {
    using Spec = typename detail::StateFunctionTraits<F>::template Spec<F>;
    return Spec(std::move(f));
}

}  // namespace dstream
