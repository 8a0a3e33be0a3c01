#pragma once

#include "rdd/exceptions.hpp"
#include "rdd/iterator.hpp"
#include "rdd/storage_level.hpp"
#include "receivers/receiver.hpp"

#include <cstdint>
#include <functional>
#include <istream>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace dstream {

namespace detail {

/// Bytes that arrive over time.
class ByteSource {
public:
    virtual ~ByteSource() = default;
    /// Waits for bytes and returns how many came; 0 at the end and when the source was told to stop.
    /// @throws SparkException  when the connection broke
    virtual size_t read(std::span<char> into) = 0;
};

/// A connection that could not be made.
class ConnectException : public SparkException {
public:
    ConnectException(const std::string& message, bool worthRetrying)
        : SparkException(message), worthRetrying_(worthRetrying) {}
    /// True when nobody listens (yet), false when the address is wrong.
    bool worthRetrying() const { return worthRetrying_; }

private:
    bool worthRetrying_;
};

/// Makes connections; once `stop` is requested, waits end at once.
using Connector = std::function<std::unique_ptr<ByteSource>(const std::string& host, int port, std::stop_token stop)>;

/// Connects by TCP.
Connector tcpConnector();

/// The thread of a socket receiver: connects, runs a session on the connection, and asks for a restart when it has
/// ended.
class SocketLoop {
public:
    enum class AtEnd { kRestart, kStop };
    using Session = std::function<void(ByteSource&, std::stop_token)>;

    SocketLoop(std::string host, int port, AtEnd atEnd, Connector connector);
    void start(ReceiverBase& receiver, Session session, int restartDelayMs);
    void stop();

private:
    void run(ReceiverBase& receiver, const Session& session, int restartDelayMs, std::stop_token stop);

    const std::string host_;
    const int port_;
    const AtEnd atEnd_;
    const Connector connector_;
    int failedConnects_ = 0;
    std::jthread thread_;
};

/// A stream over the source; what the source throws comes out of the stream's functions.
std::unique_ptr<std::istream> makeInputStream(ByteSource& source);

/// Reads frames, a 4-byte big-endian length and as many bytes, and hands each over.
/// @throws SparkException  at the end of the source, for a negative length and for one above `maxFrameBytes`
void readFrames(ByteSource& source, int64_t maxFrameBytes, std::stop_token stop,
                const std::function<void(std::string)>& onFrame);

/// Receives what a function makes of the bytes of a connection.
template <class T>
class SocketReceiver final : public Receiver<T> {
public:
    SocketReceiver(std::string host, int port, std::function<Iterator<T>(std::istream&)> converter,
                   StorageLevel storageLevel, Connector connector)
        : Receiver<T>(storageLevel),
          loop_(std::move(host), port, SocketLoop::AtEnd::kRestart, std::move(connector)),
          converter_(std::move(converter)) {}

    void onStart() override {
        const auto session = [this](ByteSource& source, std::stop_token stop) {
            const std::unique_ptr<std::istream> stream = makeInputStream(source);
            Iterator<T> records = converter_(*stream);
            while (!stop.stop_requested() && records.hasNext()) this->store(records.next());
        };
        loop_.start(*this, session, this->restartDelayMs());
    }
    void onStop() override { loop_.stop(); }

private:
    SocketLoop loop_;
    std::function<Iterator<T>(std::istream&)> converter_;
};

/// Receives frames of serialised records, each as one block.
template <class T>
class RawNetworkReceiver final : public Receiver<T> {
public:
    RawNetworkReceiver(std::string host, int port, StorageLevel storageLevel, Connector connector)
        : Receiver<T>(storageLevel), loop_(std::move(host), port, SocketLoop::AtEnd::kStop, std::move(connector)) {}

    void onStart() override {
        const auto session = [this](ByteSource& source, std::stop_token stop) {
            readFrames(source, this->generatorSettings().maxBufferedBytes, stop,
                       [this](std::string frame) { this->store(ByteBuffer{std::move(frame)}); });
        };
        loop_.start(*this, session, this->restartDelayMs());
    }
    void onStop() override { loop_.stop(); }

private:
    SocketLoop loop_;
};

}  // namespace detail

/// Makes the receiver of socketTextStream: lines of text from a TCP server, kept as they are. It connects again, after
/// the restart delay, when nobody listens, the connection ends or breaks. Settings: dstream.socket.maxLineBytes (1m),
/// dstream.socket.onLongLine (skip or reconnect).
std::shared_ptr<Receiver<std::string>> makeSocketTextReceiver(
    std::string host, int port, StorageLevel storageLevel = StorageLevel::MEMORY_AND_DISK_SER_2,
    detail::Connector connector = detail::tcpConnector());

/// Makes the receiver of socketStream: `converter` turns the bytes of a connection into records, on the receiver's
/// thread.
template <class T>
std::shared_ptr<Receiver<T>> makeSocketReceiver(std::string host, int port,
                                                std::function<Iterator<T>(std::istream&)> converter,
                                                StorageLevel storageLevel,
                                                detail::Connector connector = detail::tcpConnector()) {
    return std::make_shared<detail::SocketReceiver<T>>(std::move(host), port, std::move(converter), storageLevel,
                                                       std::move(connector));
}

/// Makes the receiver of rawSocketStream: each frame (4-byte big-endian length, payload) becomes one block without
/// being looked at. The end of the connection ends the receiver with an error, so that it is relaunched.
template <class T>
std::shared_ptr<Receiver<T>> makeRawSocketReceiver(std::string host, int port,
                                                   StorageLevel storageLevel = StorageLevel::MEMORY_AND_DISK_SER_2,
                                                   detail::Connector connector = detail::tcpConnector()) {
    return std::make_shared<detail::RawNetworkReceiver<T>>(std::move(host), port, storageLevel, std::move(connector));
}

}  // namespace dstream
