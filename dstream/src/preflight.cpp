#include "preflight.hpp"

#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "streaming_core.hpp"

#include <cstdio>
#include <cstdlib>

namespace dstream::detail {

namespace {

std::string quoted(std::string_view text) {
    std::string json = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            json += '\\';
            json += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
            json += escape;
        } else {
            json += c;
        }
    }
    return json + '"';
}

const char* boolean(bool value) {
    return value ? "true" : "false";
}

}  // namespace

const std::string& preflightFile() {
    static const std::string file = [] {
        const char* const value = std::getenv("DSTREAM_PREFLIGHT");
        return std::string(value == nullptr ? "" : value);
    }();
    return file;
}

std::string describeProgram(StreamingCore& core) {
    std::string json = "{\"dstreamPreflight\":1,\"application\":" + quoted(core.conf.get("spark.app.name", "")) +
                       ",\"batchDurationMs\":" + std::to_string(core.batchDuration.milliseconds()) +
                       ",\"allowDroppedState\":" + boolean(core.allowDroppedState()) +
                       ",\"allowNewState\":" + boolean(core.allowNewState()) + ",\"operators\":[";
    const char* separator = "\n";
    for (const OperatorDescription& op : core.graph.describe()) {
        json += separator + ("{\"id\":" + quoted(op.id)) + ",\"derivedId\":" + quoted(op.derivedId) +
                ",\"kind\":" + quoted(op.kind) + ",\"site\":" + quoted(op.site) + ",\"hasUid\":" + boolean(op.hasUid) +
                ",\"input\":" + boolean(op.input) + ",\"state\":" + boolean(op.state) +
                ",\"codec\":" + quoted(op.codecName) + ",\"codecVersion\":" + std::to_string(op.codecVersion) + "}";
        separator = ",\n";
    }
    return json + "\n]}\n";
}

void endInPreflight(StreamingCore& core) {
    const std::string json = describeProgram(core);
    int status = EXIT_SUCCESS;
    try {
        posixFs().writeFileAtomically(preflightFile(), std::as_bytes(std::span(json)));
    } catch (const std::exception& error) {
        logMessage(LogLevel::kError, "Preflight", error.what());
        status = EXIT_FAILURE;
    }
    // Nothing has been started that would have to be stopped, and main goes on to what a real start would do.
    std::fflush(nullptr);
    std::_Exit(status);
}

}  // namespace dstream::detail
