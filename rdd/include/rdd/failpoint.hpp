#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

namespace dstream {

/// What failpoints do in this process. At its beginning it is read from the environment: DSTREAM_KILL_AT=n,
/// DSTREAM_FAIL=name:errno:k (errno by name or number) and DSTREAM_FAILPOINTS=list.
struct FailpointPlan {
    uint64_t killAt = 0;   // raise SIGKILL at that hit of any failpoint, counted from 1; 0 never
    std::string failName;  // make that failpoint fail …
    int failErrno = 0;     // … with this error …
    uint64_t failAt = 0;   // … at this hit of it, counted from 1; 0 never
    bool list = false;     // print "failpoint NAME HITS" lines to stderr when the process exits
};

/// Replaces the plan and forgets the hits; for tests. A default-made plan disarms all failpoints.
void setFailpoints(FailpointPlan plan);

/// Parses the three environment values; null stands for "not set".
/// @throws IllegalArgumentException  when one of them is malformed
FailpointPlan parseFailpoints(const char* killAt, const char* fail, const char* failpoints);

/// Returns how often each failpoint was hit while they were armed.
std::map<std::string, uint64_t> failpointHits();

namespace detail {

extern std::atomic<bool> failpointsArmed;
int hitFailpoint(const char* name);
void hitFailpointOrThrow(const char* name);

}  // namespace detail

/// Tells whether a plan is active; writes are then split so that a kill leaves torn records.
inline bool failpointsArmed() {
    return detail::failpointsArmed.load(std::memory_order_relaxed);
}

}  // namespace dstream

/// Marks a place beside I/O or a commit where a test may kill the process or inject an error, which is thrown as
/// std::system_error. Costs one relaxed load; never use it per record.
#define DSTREAM_FAILPOINT(name) (::dstream::failpointsArmed() ? ::dstream::detail::hitFailpointOrThrow(name) : void(0))

/// The same as an expression: 0, or the errno to fail with.
#define DSTREAM_FAILPOINT_ERRNO(name) (::dstream::failpointsArmed() ? ::dstream::detail::hitFailpoint(name) : 0)
