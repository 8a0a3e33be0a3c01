#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace dstream {

/// A length of time in milliseconds. Immutable value; negative lengths are allowed.
///
///     Duration batch = Seconds(2);
///     batch.isMultipleOf(Milliseconds(500));  // true
///     (batch + Milliseconds(500)).toString(); // "2500 ms"
class Duration {
public:
    constexpr Duration() = default;
    constexpr explicit Duration(int64_t millis) : millis_(millis) {}

    constexpr int64_t milliseconds() const { return millis_; }

    constexpr auto operator<=>(const Duration&) const = default;
    constexpr Duration operator+(Duration that) const { return Duration(millis_ + that.millis_); }
    constexpr Duration operator-(Duration that) const { return Duration(millis_ - that.millis_); }
    constexpr Duration operator*(int times) const { return Duration(millis_ * times); }
    /// Returns the ratio of the two lengths.
    constexpr double operator/(Duration that) const {
        return static_cast<double>(millis_) / static_cast<double>(that.millis_);
    }

    constexpr Duration plus(Duration that) const { return *this + that; }
    constexpr Duration minus(Duration that) const { return *this - that; }
    constexpr Duration times(int factor) const { return *this * factor; }
    constexpr double div(Duration that) const { return *this / that; }
    constexpr bool less(Duration that) const { return *this < that; }
    constexpr bool lessEq(Duration that) const { return *this <= that; }
    constexpr bool greater(Duration that) const { return *this > that; }
    constexpr bool greaterEq(Duration that) const { return *this >= that; }
    constexpr Duration min(Duration that) const { return *this < that ? *this : that; }
    constexpr Duration max(Duration that) const { return *this > that ? *this : that; }
    constexpr bool isZero() const { return millis_ == 0; }

    /// Tells whether this length is a whole number of `that`.
    /// @throws IllegalArgumentException  when `that` is zero
    bool isMultipleOf(Duration that) const;

    /// Returns "<millis> ms".
    std::string toString() const;
    /// Returns the bare number of milliseconds.
    std::string toFormattedString() const;
    /// Returns the length for people: "12 ms", "1.5 s", "2.0 m" or "1.25 h".
    std::string prettyPrint() const;

private:
    int64_t millis_ = 0;
};

constexpr Duration Milliseconds(int64_t millis) {
    return Duration(millis);
}
constexpr Duration Seconds(int64_t seconds) {
    return Duration(seconds * 1000);
}
constexpr Duration Minutes(int64_t minutes) {
    return Duration(minutes * 60000);
}

/// The factories of the reference's Java API; the same as Milliseconds, Seconds and Minutes.
struct Durations {
    static constexpr Duration milliseconds(int64_t millis) { return Milliseconds(millis); }
    static constexpr Duration seconds(int64_t count) { return Seconds(count); }
    static constexpr Duration minutes(int64_t count) { return Minutes(count); }
};

/// A moment in milliseconds since the epoch. Immutable value with a total order, usable as a map key.
class Time {
public:
    constexpr Time() = default;
    constexpr explicit Time(int64_t millis) : millis_(millis) {}

    constexpr int64_t milliseconds() const { return millis_; }

    constexpr auto operator<=>(const Time&) const = default;
    constexpr Time operator+(Duration that) const { return Time(millis_ + that.milliseconds()); }
    constexpr Time operator-(Duration that) const { return Time(millis_ - that.milliseconds()); }
    constexpr Duration operator-(Time that) const { return Duration(millis_ - that.millis_); }

    constexpr Time plus(Duration that) const { return *this + that; }
    constexpr Time minus(Duration that) const { return *this - that; }
    constexpr Duration minus(Time that) const { return *this - that; }
    constexpr bool less(Time that) const { return *this < that; }
    constexpr bool lessEq(Time that) const { return *this <= that; }
    constexpr bool greater(Time that) const { return *this > that; }
    constexpr bool greaterEq(Time that) const { return *this >= that; }
    constexpr Time min(Time that) const { return *this < that ? *this : that; }
    constexpr Time max(Time that) const { return *this > that ? *this : that; }

    /// Returns the multiple of `step` since the epoch at which this moment's step begins; the division truncates
    /// toward zero.
    /// @throws IllegalArgumentException  when `step` is zero
    Time floor(Duration step) const;
    /// The same counted from `zeroTime`: moments before it round up, toward it.
    Time floor(Duration step, Time zeroTime) const;
    /// Tells whether this moment lies a whole number of `step` after the epoch.
    /// @throws IllegalArgumentException  when `step` is zero
    bool isMultipleOf(Duration step) const;

    /// Returns this moment and every `step` after it, strictly before `end`.
    /// @throws IllegalArgumentException  when `step` is not positive
    std::vector<Time> until(Time end, Duration step) const;
    /// Returns this moment and every `step` after it, `end` included if hit exactly.
    /// @throws IllegalArgumentException  when `step` is not positive
    std::vector<Time> to(Time end, Duration step) const;

    /// Returns "<millis> ms".
    std::string toString() const;

private:
    int64_t millis_ = 0;
};

/// A stretch of time between two moments. Whether the ends belong to it is up to who uses it.
class Interval {
public:
    constexpr Interval(Time beginTime, Time endTime) : beginTime_(beginTime), endTime_(endTime) {}

    /// Returns the interval of length `step` that the wall clock is in.
    static Interval currentInterval(Duration step);

    constexpr Time beginTime() const { return beginTime_; }
    constexpr Time endTime() const { return endTime_; }
    constexpr Duration duration() const { return endTime_ - beginTime_; }

    constexpr Interval operator+(Duration shift) const { return {beginTime_ + shift, endTime_ + shift}; }
    constexpr Interval operator-(Duration shift) const { return {beginTime_ - shift, endTime_ - shift}; }
    constexpr bool operator==(const Interval&) const = default;
    /// Orders by end.
    /// @throws IllegalArgumentException  when the two have different lengths
    bool operator<(const Interval& that) const;
    bool operator<=(const Interval& that) const { return !(that < *this); }
    bool operator>(const Interval& that) const { return that < *this; }
    bool operator>=(const Interval& that) const { return !(*this < that); }

    /// Returns "[<begin>, <end>]".
    std::string toString() const;

private:
    Time beginTime_;
    Time endTime_;
};

}  // namespace dstream

template <>
struct std::hash<dstream::Duration> {
    size_t operator()(dstream::Duration value) const noexcept { return std::hash<int64_t>{}(value.milliseconds()); }
};

template <>
struct std::hash<dstream::Time> {
    size_t operator()(dstream::Time value) const noexcept { return std::hash<int64_t>{}(value.milliseconds()); }
};
