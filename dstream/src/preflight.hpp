#pragma once

#include <string>

namespace dstream::detail {

class StreamingCore;

/// What DSTREAM_PREFLIGHT names: the file that takes the description of the program, which then ends before any job,
/// receiver or file is touched. Empty: the program runs.
const std::string& preflightFile();

/// Writes the operators of a context to the preflight file as JSON, and ends the process.
[[noreturn]] void endInPreflight(StreamingCore& core);

/// {"dstreamPreflight":1,"application":…,"batchDurationMs":…,"operators":[…]}
std::string describeProgram(StreamingCore& core);

}  // namespace dstream::detail
