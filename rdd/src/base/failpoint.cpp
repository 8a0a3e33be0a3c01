#include "rdd/failpoint.hpp"

#include "rdd/exceptions.hpp"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace dstream {

namespace {

/// In the place of an errno: the process is killed.
constexpr int kKill = -1;

// Never destroyed: threads may pass failpoints while the process ends.
struct State {
    std::mutex mutex;  // guards what follows
    FailpointPlan plan;
    uint64_t total = 0;
    std::map<std::string, uint64_t> hits;
};
State& state() {
    static State* const instance = new State;
    return *instance;
}

void printHits() {
    for (const auto& [name, hits] : failpointHits()) {
        std::fprintf(stderr, "failpoint %s %llu\n", name.c_str(), static_cast<unsigned long long>(hits));
    }
}

std::optional<uint64_t> parseCount(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<int> parseErrno(std::string_view text) {
    if (text == "KILL") return kKill;
    if (const auto number = parseCount(text)) {
        return *number > 0 && *number < 4096 ? std::optional(static_cast<int>(*number)) : std::nullopt;
    }
    for (int error = 1; error < 4096; ++error) {
        const char* const name = strerrorname_np(error);
        if (name != nullptr && text == name) return error;
    }
    return std::nullopt;
}

/// Reads the environment once, before main.
const bool environmentRead = [] {
    const char* const killAt = std::getenv("DSTREAM_KILL_AT");
    const char* const fail = std::getenv("DSTREAM_FAIL");
    const char* const failpoints = std::getenv("DSTREAM_FAILPOINTS");
    if (killAt == nullptr && fail == nullptr && failpoints == nullptr) return false;
    try {
        setFailpoints(parseFailpoints(killAt, fail, failpoints));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        std::_Exit(2);
    }
    return true;
}();

}  // namespace

// Constant-initialised: it has its value before any of the dynamic initialisers runs.
constinit std::atomic<bool> detail::failpointsArmed{false};

FailpointPlan parseFailpoints(const char* killAt, const char* fail, const char* failpoints) {
    FailpointPlan plan;
    if (killAt != nullptr) {
        const auto hit = parseCount(killAt);
        require(hit.has_value(), std::string("DSTREAM_KILL_AT must be a number of a hit: '") + killAt + "'");
        plan.killAt = *hit;
    }
    if (fail != nullptr) {
        const std::string_view text = fail;
        const size_t first = text.find(':');
        const size_t second = first == text.npos ? text.npos : text.find(':', first + 1);
        std::optional<int> error;
        std::optional<uint64_t> hit;
        if (second != text.npos) {
            error = parseErrno(text.substr(first + 1, second - first - 1));
            hit = parseCount(text.substr(second + 1));
        }
        require(first != 0 && error && hit && *hit > 0,
                std::string("DSTREAM_FAIL must be name:errno:k as wal.after_write:EIO:3, or KILL for the errno: '") +
                    fail + "'");
        plan.failName = text.substr(0, first);
        plan.failErrno = *error;
        plan.failAt = *hit;
    }
    if (failpoints != nullptr) {
        require(std::string_view(failpoints) == "list",
                std::string("DSTREAM_FAILPOINTS must be list: '") + failpoints + "'");
        plan.list = true;
    }
    return plan;
}

void setFailpoints(FailpointPlan plan) {
    State& current = state();
    const std::lock_guard lock(current.mutex);
    const bool armed = plan.killAt != 0 || plan.failAt != 0 || plan.list;
    if (plan.list) {
        [[maybe_unused]] static const int registered = std::atexit(printHits);
    }
    current.plan = std::move(plan);
    current.total = 0;
    current.hits.clear();
    detail::failpointsArmed.store(armed);
}

std::map<std::string, uint64_t> failpointHits() {
    State& current = state();
    const std::lock_guard lock(current.mutex);
    return current.hits;
}

int detail::hitFailpoint(const char* name) {
    State& current = state();
    const std::lock_guard lock(current.mutex);
    const uint64_t hit = ++current.hits[name];
    if (++current.total == current.plan.killAt) std::raise(SIGKILL);
    if (current.plan.failAt != hit || current.plan.failName != name) return 0;
    if (current.plan.failErrno == kKill) std::raise(SIGKILL);
    return current.plan.failErrno;
}

void detail::hitFailpointOrThrow(const char* name) {
    if (const int error = hitFailpoint(name)) {
        throw std::system_error(error, std::generic_category(), std::string("injected at failpoint ") + name);
    }
}

}  // namespace dstream
