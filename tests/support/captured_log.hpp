#pragma once

#include "rdd/log.hpp"

#include <mutex>
#include <string>
#include <string_view>

namespace dstream::testsupport {

/// What is logged while it lives, a line each. Thread-safe.
class CapturedLog {
public:
    CapturedLog() {
        setLogSink([this](LogLevel, std::string_view, std::string_view text) {
            const std::lock_guard lock(mutex_);
            text_.append(text).append("\n");
        });
    }
    ~CapturedLog() { setLogSink({}); }
    CapturedLog(const CapturedLog&) = delete;
    CapturedLog& operator=(const CapturedLog&) = delete;

    std::string text() const {
        const std::lock_guard lock(mutex_);
        return text_;
    }

private:
    mutable std::mutex mutex_;
    std::string text_;
};

}  // namespace dstream::testsupport
