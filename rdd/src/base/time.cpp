#include "rdd/time.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/to_text.hpp"

#include <chrono>

namespace dstream {

namespace {

int64_t divisor(Duration step) {
    require(!step.isZero(), "a duration other than 0 ms is needed to divide by");
    return step.milliseconds();
}

std::string inUnit(int64_t millis, int64_t unit, int decimals, const char* name) {
    return detail::formatFixed(static_cast<float>(millis) / static_cast<float>(unit), decimals) + name;
}

std::vector<Time> series(Time begin, Time end, Duration step) {
    require(step > Duration(0), "step must be positive: " + step.toString());
    std::vector<Time> times;
    for (Time time = begin; time < end; time = time + step) times.push_back(time);
    return times;
}

}  // namespace

bool Duration::isMultipleOf(Duration that) const {
    return millis_ % divisor(that) == 0;
}

std::string Duration::toString() const {
    return std::to_string(millis_) + " ms";
}

std::string Duration::toFormattedString() const {
    return std::to_string(millis_);
}

std::string Duration::prettyPrint() const {
    if (millis_ < 1000) return toString();
    if (millis_ < 60'000) return inUnit(millis_, 1000, 1, " s");
    if (millis_ < 3'600'000) return inUnit(millis_, 60'000, 1, " m");
    return inUnit(millis_, 3'600'000, 2, " h");
}

Time Time::floor(Duration step) const {
    return floor(step, Time(0));
}

Time Time::floor(Duration step, Time zeroTime) const {
    const int64_t unit = divisor(step);
    return Time((millis_ - zeroTime.millis_) / unit * unit + zeroTime.millis_);
}

bool Time::isMultipleOf(Duration step) const {
    return millis_ % divisor(step) == 0;
}

std::vector<Time> Time::until(Time end, Duration step) const {
    return series(*this, end, step);
}

std::vector<Time> Time::to(Time end, Duration step) const {
    return series(*this, end + Milliseconds(1), step);
}

std::string Time::toString() const {
    return std::to_string(millis_) + " ms";
}

Interval Interval::currentInterval(Duration step) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const Time begin = Time(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()).floor(step);
    return {begin, begin + step};
}

bool Interval::operator<(const Interval& that) const {
    require(duration() == that.duration(), "intervals can be ordered only when they have the same length: " +
                                               duration().toString() + " and " + that.duration().toString());
    return endTime_ < that.endTime_;
}

std::string Interval::toString() const {
    return "[" + beginTime_.toString() + ", " + endTime_.toString() + "]";
}

}  // namespace dstream
