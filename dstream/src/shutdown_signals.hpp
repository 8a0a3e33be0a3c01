#pragma once

#include <functional>
#include <memory>

namespace dstream::detail {

/// Listens for SIGINT and SIGTERM on a thread of its own. The first one calls `onSignal`; the second ends the process
/// as if nobody listened.
class ShutdownSignals {
public:
    explicit ShutdownSignals(std::function<void()> onSignal);
    ~ShutdownSignals();
    ShutdownSignals(const ShutdownSignals&) = delete;
    ShutdownSignals& operator=(const ShutdownSignals&) = delete;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstream::detail
