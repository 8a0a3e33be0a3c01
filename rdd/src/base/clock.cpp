#include "rdd/clock.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace dstream {

namespace {

using std::chrono::duration_cast;
using std::chrono::floor;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

nanoseconds wallNow() {
    return duration_cast<nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
}

struct Registry {
    std::mutex mutex;  // guards factories
    std::map<std::string, ClockFactory> factories;
};

Registry& registry() {
    static Registry instance;
    return instance;
}

}  // namespace

SystemClock::SystemClock() : start_(std::chrono::steady_clock::now()), wallAtStart_(wallNow()) {}

int64_t SystemClock::getTimeMillis() const {
    return floor<milliseconds>(wallAtStart_ + (std::chrono::steady_clock::now() - start_)).count();
}

int64_t SystemClock::waitTillTime(int64_t time, std::stop_token stop) {
    // Nothing but a request to stop ends the wait early, so the lock and the condition can be this call's own.
    std::mutex mutex;
    std::condition_variable_any condition;
    std::unique_lock lock(mutex);
    const int64_t farthest = getTimeMillis() + duration_cast<milliseconds>(std::chrono::years(100)).count();
    const auto until = start_ + (milliseconds(std::clamp<int64_t>(time, 0, farthest)) - wallAtStart_);
    condition.wait_until(lock, stop, until, [until] { return std::chrono::steady_clock::now() >= until; });
    return getTimeMillis();
}

int64_t SystemClock::wallDistanceMillis() const {
    return floor<milliseconds>(wallNow()).count() - getTimeMillis();
}

int64_t ManualClock::getTimeMillis() const {
    const std::lock_guard lock(mutex_);
    return time_;
}

int64_t ManualClock::waitTillTime(int64_t time, std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (time_ >= time) return time_;
    const auto place = waiting_.insert(time);
    waiterCame_.notify_all();
    timeMoved_.wait(lock, stop, [this, time] { return time_ >= time; });
    waiting_.erase(place);
    return time_;
}

int64_t ManualClock::wallDistanceMillis() const {
    const std::lock_guard lock(mutex_);
    return wallDistance_;
}

void ManualClock::setTime(int64_t time) {
    const std::lock_guard lock(mutex_);
    time_ = time;
    timeMoved_.notify_all();
}

void ManualClock::advance(int64_t millis) {
    const std::lock_guard lock(mutex_);
    time_ += millis;
    timeMoved_.notify_all();
}

void ManualClock::setWallDistance(int64_t millis) {
    const std::lock_guard lock(mutex_);
    wallDistance_ = millis;
}

bool ManualClock::isWaiting(int64_t time) const {
    const std::lock_guard lock(mutex_);
    return time_ < time && waiting_.contains(time);
}

bool ManualClock::waitUntilWaiting(int64_t time, milliseconds deadline) {
    std::unique_lock lock(mutex_);
    return waiterCame_.wait_for(lock, deadline, [this, time] { return time_ < time && waiting_.contains(time); });
}

std::shared_ptr<Clock> makeClock(const std::string& name) {
    // The reference moved its clocks once and still takes their old names.
    static constexpr std::string_view kPackages[] = {"org.apache.spark.util.", "org.apache.spark.streaming.util."};
    ClockFactory factory;
    {
        Registry& known = registry();
        const std::lock_guard lock(known.mutex);
        const auto found = known.factories.find(name);
        if (found != known.factories.end()) factory = found->second;
    }
    if (factory) return factory();
    std::string_view plain = name;
    for (const std::string_view package : kPackages) {
        if (plain.starts_with(package)) plain.remove_prefix(package.size());
    }
    if (plain.empty() || plain == "system" || plain == "SystemClock") return std::make_shared<SystemClock>();
    if (plain == "manual" || plain == "ManualClock") return std::make_shared<ManualClock>();
    throw IllegalArgumentException("spark.streaming.clock must be system, manual or the name of a registered clock: '" +
                                   name + "'");
}

void registerClock(const std::string& name, ClockFactory factory) {
    require(factory != nullptr, "a clock needs a factory: '" + name + "'");
    Registry& known = registry();
    const std::lock_guard lock(known.mutex);
    known.factories.insert_or_assign(name, std::move(factory));
}

}  // namespace dstream
