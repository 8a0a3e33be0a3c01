#include "shutdown_signals.hpp"

#include "rdd/log.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <thread>

namespace dstream::detail {

struct ShutdownSignals::Impl {
    explicit Impl(std::function<void()> onSignal) : signals(io, SIGINT, SIGTERM) {
        signals.async_wait([this, onSignal = std::move(onSignal)](const boost::system::error_code& error, int number) {
            if (error) return;
            logMessage(LogLevel::kWarn, "StreamingContext",
                       "signal " + std::to_string(number) + ": stopping gracefully");
            // The default action again: a second signal ends the process at once.
            signals.clear();
            onSignal();
        });
        thread = std::jthread([this] { io.run(); });
    }
    ~Impl() { io.stop(); }

    boost::asio::io_context io;
    boost::asio::signal_set signals;
    std::jthread thread;  // last: joined first
};

ShutdownSignals::ShutdownSignals(std::function<void()> onSignal) : impl_(std::make_unique<Impl>(std::move(onSignal))) {}
ShutdownSignals::~ShutdownSignals() = default;

}  // namespace dstream::detail
