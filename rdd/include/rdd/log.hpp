#pragma once

#include <functional>
#include <string_view>

namespace dstream {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

using LogSink = std::function<void(LogLevel level, std::string_view component, std::string_view text)>;

/// Hands one line to the log sink if `level` is at least the current level. Any thread.
/// An exception thrown by the sink is dropped; never call it while holding a lock.
void logMessage(LogLevel level, std::string_view component, std::string_view text);

/// Tells whether a line of this level would be written, to spare the making of its text.
bool logEnabled(LogLevel level);

/// Sets the lowest level that is written; kWarn at first. Process-wide.
void setLogLevel(LogLevel level);
LogLevel logLevel();

/// Replaces the sink; an empty function restores the default one, which writes to stderr. The sink is called from
/// any thread, possibly from several at once.
void setLogSink(LogSink sink);

/// Parses a level name of the reference: ALL, TRACE, DEBUG, INFO, WARN, ERROR, FATAL, OFF, in any case.
/// @throws IllegalArgumentException  for any other name
LogLevel parseLogLevel(std::string_view name);

}  // namespace dstream
