#pragma once

#include "rdd/exceptions.hpp"

#include <exception>
#include <string>

namespace dstream::testsupport {

/// Calls `call` and returns the text of what it throws, with everything nested in it.
template <class F>
std::string errorOf(F&& call) {
    try {
        call();
    } catch (...) {
        return describeException(std::current_exception());
    }
    return "no exception";
}

}  // namespace dstream::testsupport
