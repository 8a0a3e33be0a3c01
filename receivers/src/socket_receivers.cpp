#include "receivers/socket_receivers.hpp"

#include "receivers/text_receiver.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <streambuf>
#include <vector>

namespace dstream {
namespace detail {

namespace {

class SourceBuffer final : public std::streambuf {
public:
    explicit SourceBuffer(ByteSource& source) : source_(source) {}

private:
    int_type underflow() override {
        if (gptr() == egptr()) {
            const size_t count = source_.read(bytes_);
            setg(bytes_.data(), bytes_.data(), bytes_.data() + count);
        }
        return gptr() == egptr() ? traits_type::eof() : traits_type::to_int_type(*gptr());
    }

    ByteSource& source_;
    std::array<char, 64 * 1024> bytes_;
};

class SourceStream final : public std::istream {
public:
    explicit SourceStream(ByteSource& source) : std::istream(nullptr), buffer_(source) {
        rdbuf(&buffer_);
        exceptions(std::ios::badbit);
    }

private:
    SourceBuffer buffer_;
};

/// Reads exactly `size` bytes; false at the end of the source.
bool readFully(ByteSource& source, char* into, size_t size) {
    for (size_t done = 0; done < size;) {
        const size_t count = source.read({into + done, size - done});
        if (count == 0) return false;
        done += count;
    }
    return true;
}

}  // namespace

std::unique_ptr<std::istream> makeInputStream(ByteSource& source) {
    return std::make_unique<SourceStream>(source);
}

void readFrames(ByteSource& source, int64_t maxFrameBytes, std::stop_token stop,
                const std::function<void(std::string)>& onFrame) {
    constexpr size_t kStepBytes = 1 << 20;  // memory is taken as bytes arrive, not as a length promises them
    while (!stop.stop_requested()) {
        std::array<char, 4> header;
        if (!readFully(source, header.data(), header.size())) {
            if (stop.stop_requested()) return;
            throw SparkException("the connection ended; expected another frame");
        }
        uint32_t length = 0;
        for (const char byte : header) length = length << 8 | static_cast<unsigned char>(byte);
        if (length > INT32_MAX || length > maxFrameBytes) {
            throw SparkException("expected a frame of 0 to " + std::to_string(maxFrameBytes) +
                                 " bytes (dstream.receiver.maxBufferedBytes), found length " +
                                 std::to_string(static_cast<int32_t>(length)));
        }
        std::string frame;
        while (frame.size() < length) {
            const size_t done = frame.size();
            frame.resize(std::min<size_t>(length, done + kStepBytes));
            if (!readFully(source, frame.data() + done, frame.size() - done)) {
                if (stop.stop_requested()) return;
                throw SparkException("the connection ended within a frame of " + std::to_string(length) + " bytes");
            }
        }
        onFrame(std::move(frame));
    }
}

SocketLoop::SocketLoop(std::string host, int port, AtEnd atEnd, Connector connector)
    : host_(std::move(host)), port_(port), atEnd_(atEnd), connector_(std::move(connector)) {
    if (port_ < 0 || port_ > 65535) {
        throw IllegalArgumentException("a port must be from 0 to 65535: " + std::to_string(port_));
    }
}

void SocketLoop::start(ReceiverBase& receiver, Session session, int restartDelayMs) {
    thread_ = std::jthread([this, &receiver, session = std::move(session), restartDelayMs](std::stop_token stop) {
        run(receiver, session, restartDelayMs, std::move(stop));
    });
}

void SocketLoop::stop() {
    thread_ = {};
}

void SocketLoop::run(ReceiverBase& receiver, const Session& session, int restartDelayMs, std::stop_token stop) {
    try {
        const std::unique_ptr<ByteSource> source = connector_(host_, port_, stop);
        failedConnects_ = 0;
        if (!stop.stop_requested()) session(*source, stop);
        if (stop.stop_requested()) return;
        receiver.restart("Socket data stream had no more data");
    } catch (const ConnectException& error) {
        if (stop.stop_requested()) return;
        const std::string message = "Error connecting to " + host_ + ":" + std::to_string(port_);
        if (error.worthRetrying()) {
            // From the second failure on the delay varies, so that many clients do not all come back at once.
            const int jitterMs =
                ++failedConnects_ < 2 ? 0 : static_cast<int>(std::random_device()() % (restartDelayMs / 10 + 1));
            receiver.restart(message, std::current_exception(), restartDelayMs + jitterMs);
        } else {
            receiver.stop(message, std::current_exception());
        }
    } catch (...) {
        if (stop.stop_requested()) return;
        if (atEnd_ == AtEnd::kStop) {
            receiver.stop("Error receiving data", std::current_exception());
        } else {
            receiver.restart("Error receiving data", std::current_exception());
        }
    }
}

}  // namespace detail

namespace {

class SocketTextReceiver final : public TextReceiver {
public:
    SocketTextReceiver(std::string host, int port, StorageLevel storageLevel, detail::Connector connector)
        : TextReceiver(storageLevel),
          loop_(std::move(host), port, detail::SocketLoop::AtEnd::kRestart, std::move(connector)) {}

    void onStart() override {
        const std::string onLongLine = conf().get("dstream.socket.onLongLine", "skip");
        if (onLongLine != "skip" && onLongLine != "reconnect") {
            throw IllegalArgumentException("dstream.socket.onLongLine must be skip or reconnect: " + onLongLine);
        }
        reconnectOnLongLine_ = onLongLine == "reconnect";
        loop_.start(
            *this, [this](detail::ByteSource& source, std::stop_token stop) { receive(source, stop); },
            restartDelayMs());
    }
    void onStop() override { loop_.stop(); }

private:
    static constexpr size_t kReadBytes = 256 * 1024;

    std::string className() const override { return "SocketReceiver"; }

    void receive(detail::ByteSource& source, const std::stop_token& stop) {
        dropPartialLine();  // of a connection that broke
        buffer_.resize(kReadBytes);
        while (!stop.stop_requested()) {
            const size_t count = source.read(buffer_);
            if (count == 0) break;
            const int64_t longLines = storeText({buffer_.data(), count});
            if (longLines > 0 && reconnectOnLongLine_) {
                throw SparkException("a line is longer than dstream.socket.maxLineBytes; reconnecting as " +
                                     std::string("dstream.socket.onLongLine=reconnect says"));
            }
        }
        if (!stop.stop_requested()) endText();
    }

    detail::SocketLoop loop_;
    std::vector<char> buffer_;
    bool reconnectOnLongLine_ = false;
};

}  // namespace

std::shared_ptr<Receiver<std::string>> makeSocketTextReceiver(std::string host, int port, StorageLevel storageLevel,
                                                              detail::Connector connector) {
    return std::make_shared<SocketTextReceiver>(std::move(host), port, storageLevel, std::move(connector));
}

}  // namespace dstream
