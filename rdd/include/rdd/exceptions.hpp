#pragma once

#include <exception>
#include <stdexcept>
#include <string>

namespace dstream {

/// Reports a wrong value given by the caller.
class IllegalArgumentException : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// Reports a call made at the wrong moment.
class IllegalStateException : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// Reports an operation that is never possible on this object.
class UnsupportedOperationException : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// Reports an action that needs at least one element, called on nothing.
class EmptyCollectionException : public UnsupportedOperationException {
public:
    using UnsupportedOperationException::UnsupportedOperationException;
};

/// Reports an absent key, setting or state.
class NoSuchElementException : public std::out_of_range {
public:
    using std::out_of_range::out_of_range;
};

/// Reports work that failed; the cause, often an exception of the user's function, is nested.
class SparkException : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Reports an output that exists already.
class FileAlreadyExistsException : public SparkException {
public:
    using SparkException::SparkException;
};

/// Reports a type without a codec where bytes are needed; names the type and the operator.
class NotSerializableException : public SparkException {
public:
    using SparkException::SparkException;
};

/// Returns the messages of `error` and of everything nested in it, outermost first, joined by ": ".
/// Anything that is not a std::exception reads "unknown exception"; a null pointer gives "no error".
std::string describeException(std::exception_ptr error);

namespace detail {
[[noreturn]] void checkFailed(const char* condition, const char* file, unsigned line, const std::string& message);
}

/// Throws IllegalArgumentException with `message` unless `condition` holds.
inline void require(bool condition, const std::string& message) {
    if (!condition) throw IllegalArgumentException(message);
}

}  // namespace dstream

/// Throws IllegalStateException when an invariant of the library itself does not hold.
#define DSTREAM_CHECK(condition, message) \
    ((condition) ? void(0) : ::dstream::detail::checkFailed(#condition, __FILE__, __LINE__, (message)))
