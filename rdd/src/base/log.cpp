#include "rdd/log.hpp"

#include "rdd/exceptions.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

namespace dstream {

namespace {

std::atomic<LogLevel> currentLevel{LogLevel::kWarn};

// Never destroyed: threads may log while the process ends.
struct SinkSlot {
    std::mutex mutex;                     // guards sink
    std::shared_ptr<const LogSink> sink;  // null means stderr
};
SinkSlot& sinkSlot() {
    static SinkSlot* const slot = new SinkSlot;
    return *slot;
}

void writeToStderr(LogLevel level, std::string_view component, std::string_view text) {
    static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARN", "ERROR", "OFF"};
    const auto now = std::chrono::system_clock::now();
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char head[64];
    const int length = std::snprintf(head, sizeof head, "%02d-%02d-%02dT%02d:%02d:%02d.%03dZ %-5s ",
                                     parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                                     parts.tm_sec, static_cast<int>(millis), kNames[static_cast<int>(level)]);
    std::string line(head, length > 0 ? std::min<size_t>(length, sizeof head - 1) : 0);
    line.append(component).append(": ").append(text).append("\n");
    std::fwrite(line.data(), 1, line.size(), stderr);  // one call, so that lines of two threads do not mix
}

}  // namespace

bool logEnabled(LogLevel level) {
    return level >= currentLevel.load(std::memory_order_relaxed) && level != LogLevel::kOff;
}

void setLogLevel(LogLevel level) {
    currentLevel.store(level, std::memory_order_relaxed);
}

LogLevel logLevel() {
    return currentLevel.load(std::memory_order_relaxed);
}

void setLogSink(LogSink sink) {
    auto fresh = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
    SinkSlot& slot = sinkSlot();
    const std::lock_guard lock(slot.mutex);
    slot.sink.swap(fresh);
}

void logMessage(LogLevel level, std::string_view component, std::string_view text) {
    if (!logEnabled(level)) return;
    std::shared_ptr<const LogSink> sink;
    {
        SinkSlot& slot = sinkSlot();
        const std::lock_guard lock(slot.mutex);
        sink = slot.sink;
    }
    if (sink == nullptr) {
        writeToStderr(level, component, text);
        return;
    }
    try {
        (*sink)(level, component, text);
    } catch (...) {
        // A log must not break what it reports; stderr is the place left to say so.
        writeToStderr(LogLevel::kError, "log", "the log sink failed: " + describeException(std::current_exception()));
        writeToStderr(level, component, text);
    }
}

LogLevel parseLogLevel(std::string_view name) {
    std::string upper(name);
    for (char& letter : upper) {
        if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
    }
    if (upper == "ALL" || upper == "TRACE" || upper == "DEBUG") return LogLevel::kDebug;
    if (upper == "INFO") return LogLevel::kInfo;
    if (upper == "WARN") return LogLevel::kWarn;
    if (upper == "ERROR" || upper == "FATAL") return LogLevel::kError;
    if (upper == "OFF") return LogLevel::kOff;
    throw IllegalArgumentException("log level must be ALL, TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF: '" +
                                   std::string(name) + "'");
}

}  // namespace dstream
