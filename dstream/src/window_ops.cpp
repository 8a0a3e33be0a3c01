#include "dstream/window_ops.hpp"

#include "dstream/dstream.hpp"
#include "rdd/exceptions.hpp"

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

}  // namespace dstream::detail
