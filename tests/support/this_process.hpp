#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace dstream::testsupport {

std::size_t openDescriptors();
std::size_t numThreads();
/// The most memory this process has used so far, in MiB.
int64_t peakMemoryMiB();

/// Runs `body` in a copy of this process, which must have no other threads, and returns the text that it returns; what
/// it throws is a text too, and so is a death by a signal.
std::string inChild(const std::function<std::string()>& body);

}  // namespace dstream::testsupport
