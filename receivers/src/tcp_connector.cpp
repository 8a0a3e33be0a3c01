#include "receivers/socket_receivers.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace dstream::detail {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class TcpConnection final : public ByteSource {
public:
    explicit TcpConnection(std::stop_token stop) : stop_(std::move(stop)) {}

    void connect(const std::string& host, int port) {
        error_code error;
        const auto endpoints =
            tcp::resolver(io_).resolve(host, std::to_string(port), tcp::resolver::numeric_service, error);
        if (error)
            throw ConnectException("expected the address of a host, found " + host + ": " + error.message(), false);
        for (const auto& endpoint : endpoints) {
            if (stop_.stop_requested()) return;
            error_code ignored;
            socket_.close(ignored);
            error = waitFor([&](auto done) { socket_.async_connect(endpoint, done); });
            if (!error) break;
        }
        if (stop_.stop_requested()) return;
        if (error) {
            const bool retry = error == asio::error::connection_refused || error == asio::error::timed_out;
            throw ConnectException("cannot connect to " + host + ":" + std::to_string(port) + ": " + error.message(),
                                   retry);
        }
        socket_.set_option(asio::socket_base::keep_alive(true));
        socket_.non_blocking(true);
    }

    size_t read(std::span<char> into) override {
        for (;;) {
            if (stop_.stop_requested()) return 0;
            error_code error;
            const size_t count = socket_.read_some(asio::buffer(into.data(), into.size()), error);
            if (!error) return count;
            if (error == asio::error::would_block || error == asio::error::try_again) {
                error = waitFor([&](auto done) { socket_.async_wait(tcp::socket::wait_read, done); });
                if (!error) continue;
            }
            if (stop_.stop_requested() || error == asio::error::eof) return 0;
            throw SparkException("the connection broke: " + error.message());
        }
    }

private:
    /// Starts an operation and waits until it is done or stop is requested; then it is cancelled.
    template <class Start>
    error_code waitFor(Start start) {
        error_code result = asio::error::would_block;
        start([&result](const error_code& error) { result = error; });
        io_.restart();
        {
            const std::stop_callback interrupt(stop_, [this] { io_.stop(); });
            io_.run();
        }
        if (result == asio::error::would_block) {
            error_code ignored;
            socket_.close(ignored);
            io_.restart();
            io_.run();
        }
        return result;
    }

    const std::stop_token stop_;
    asio::io_context io_{1};
    tcp::socket socket_{io_};
};

}  // namespace

Connector tcpConnector() {
    return [](const std::string& host, int port, std::stop_token stop) -> std::unique_ptr<ByteSource> {
        auto connection = std::make_unique<TcpConnection>(std::move(stop));
        connection->connect(host, port);
        return connection;
    };
}

}  // namespace dstream::detail
