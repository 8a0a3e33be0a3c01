#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

/// A server on a free loopback port that sends some bytes to its first client and keeps the connection open.
class LoopbackSender {
public:
    explicit LoopbackSender(std::string bytes) {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, 1) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
            throw std::runtime_error("cannot listen on the loopback interface");
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread([this, bytes = std::move(bytes)] {
            const int client = ::accept(listener_, nullptr, nullptr);
            if (client < 0) return;
            for (std::size_t sent = 0; sent < bytes.size();) {
                const ssize_t count = ::send(client, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
                if (count <= 0) break;
                sent += static_cast<std::size_t>(count);
            }
            char rest = 0;
            while (::recv(client, &rest, 1, 0) > 0) {  // until the client goes
            }
            ::close(client);
        });
    }
    ~LoopbackSender() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }
    LoopbackSender(const LoopbackSender&) = delete;
    LoopbackSender& operator=(const LoopbackSender&) = delete;

    int port() const { return port_; }

private:
    int listener_ = -1;
    int port_ = 0;
    std::jthread thread_;
};
