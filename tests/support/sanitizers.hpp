#pragma once

#include <cstddef>

namespace dstream::testsupport {

/// True in builds with a sanitizer. They are several times slower, and keep freed memory for a while: tests of sizes
/// and limits take this into account.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// Threads that the sanitizer runs in each process.
#if defined(__SANITIZE_THREAD__)
inline constexpr std::size_t kSanitizerThreads = 1;
#else
inline constexpr std::size_t kSanitizerThreads = 0;
#endif

}  // namespace dstream::testsupport
