#pragma once

#include <source_location>
#include <string>

namespace dstream {

/// The line of the user's program that built an operator or started a job; quoted in messages and on the page.
struct CallSite {
    const char* file = "";
    unsigned line = 0;
    const char* function = "";

    static constexpr CallSite from(std::source_location location = std::source_location::current()) {
        return {location.file_name(), location.line(), location.function_name()};
    }

    /// Returns "main.cpp:12": the file without its folders, and the line. Empty for a default-made call site.
    std::string toString() const;
};

}  // namespace dstream
