#include "dstream/window_ops.hpp"

#include "dstream/dstream.hpp"
#include "rdd/exceptions.hpp"

#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

namespace dstream::detail {

void checkWindow(const DStreamBase& parent, Duration window, Duration slide) {
    const Duration step = parent.slideDuration();
    const auto check = [&](const char* what, Duration duration) {
        if (duration.milliseconds() <= 0 || !duration.isMultipleOf(step)) {
            throw IllegalArgumentException(std::string(what) +
                                           " must be a positive multiple of the slide duration of " +
                                           parent.scopeText() + " (" + step.toString() + "): " + duration.toString());
        }
    };
    check("windowDuration", window);
    check("slideDuration", slide);
}

DStream<int64_t> sumByWindow(const DStream<int64_t>& numbers, Duration windowDuration, Duration slideDuration,
                             std::source_location where) {
    return numbers.reduceByWindow(std::plus<int64_t>{}, std::minus<int64_t>{}, windowDuration, slideDuration, where);
}

}  // namespace dstream::detail
