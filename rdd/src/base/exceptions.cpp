#include "rdd/exceptions.hpp"

namespace dstream {

namespace {

void appendNested(std::string& out, const std::exception& error) {
    try {
        std::rethrow_if_nested(error);
    } catch (...) {
        out += ": " + describeException(std::current_exception());
    }
}

}  // namespace

std::string describeException(std::exception_ptr error) {
    if (error == nullptr) return "no error";
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& known) {
        std::string out = known.what();
        appendNested(out, known);
        return out;
    } catch (...) {
        return "unknown exception";
    }
}

void detail::checkFailed(const char* condition, const char* file, unsigned line, const std::string& message) {
    throw IllegalStateException("internal error, please report it: " + message + " (" + condition + " at " + file +
                                ":" + std::to_string(line) + ")");
}

}  // namespace dstream
