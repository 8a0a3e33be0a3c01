// Receives records by HTTP long polling: asks a server again and again for what comes after the last answer. The server
// answers when it has something; each line of the body is a record, and the header X-Next names the path to ask for
// next.
#include <dstream/dstream.hpp>

#include <plugins/registry.hpp>

#include <array>
#include <memory>
#include <netdb.h>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace dstream;

namespace {

/// A connection that another thread can shut down.
class Connection {
public:
    Connection(const std::string& host, const std::string& port) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* found = nullptr;
        const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
        if (error != 0) throw std::runtime_error(host + ": " + ::gai_strerror(error));
        const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
        for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
            socket_ = ::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
            if (socket_ >= 0 && ::connect(socket_, each->ai_addr, each->ai_addrlen) == 0) return;
            if (socket_ >= 0) ::close(socket_);
        }
        throw std::runtime_error("cannot connect to " + host + ":" + port);
    }
    ~Connection() { ::close(socket_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void shutDown() const { ::shutdown(socket_, SHUT_RDWR); }
    void send(const std::string& text) const {
        for (std::size_t sent = 0; sent < text.size();) {
            const ssize_t count = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) throw std::runtime_error("the connection broke");
            sent += static_cast<std::size_t>(count);
        }
    }
    std::string readToEnd(std::size_t limit) const {
        std::string text;
        std::array<char, 4096> piece;
        for (ssize_t count; (count = ::recv(socket_, piece.data(), piece.size(), 0)) != 0;) {
            if (count < 0) throw std::runtime_error("the connection broke");
            text.append(piece.data(), static_cast<std::size_t>(count));
            if (text.size() > limit) throw std::runtime_error("the answer is too long");
        }
        return text;
    }

private:
    int socket_ = -1;
};

class LongPoll : public Receiver<std::string> {
public:
    static OptionSchema options() {
        return {{"host", OptionType::kString, "localhost", "the server"},
                {"port", OptionType::kInt, "80", "its port"},
                {"path", OptionType::kString, "/", "what is asked for first"},
                {"limit", OptionType::kSize, "16m", "longest answer that is taken"}};
    }
    explicit LongPoll(const Options& options)
        : Receiver(StorageLevel::MEMORY_ONLY),
          host_(options.getString("host")),
          port_(std::to_string(options.getInt("port"))),
          limit_(static_cast<std::size_t>(options.getSize("limit"))),
          path_(options.getString("path")) {}

    /// What was not stored is asked for again.
    bool canReplay() const override { return true; }
    void onStart() override {
        thread_ = std::jthread([this](std::stop_token stop) {
            try {
                while (!stop.stop_requested()) poll(stop);
            } catch (...) {
                if (!stop.stop_requested()) restart("cannot ask " + host_ + ":" + port_, std::current_exception());
            }
        });
    }
    void onStop() override { thread_ = {}; }

private:
    void poll(std::stop_token stop) {
        const Connection connection(host_, port_);
        const std::stop_callback stopped(stop, [&] { connection.shutDown(); });
        connection.send("GET " + path_ + " HTTP/1.0\r\nHost: " + host_ + "\r\nConnection: close\r\n\r\n");
        const std::string answer = connection.readToEnd(limit_);
        if (stop.stop_requested()) return;
        const std::size_t head = answer.find("\r\n\r\n");
        const bool isOk = answer.starts_with("HTTP/1.") && answer.substr(8, 5) == " 200 ";
        if (head == std::string::npos || !isOk) {
            throw std::runtime_error("expected an answer with status 200: " + answer.substr(0, answer.find('\r')));
        }
        std::vector<std::string> records;
        std::istringstream body(answer.substr(head + 4));
        for (std::string line; std::getline(body, line);) records.push_back(line);
        if (!records.empty()) store(std::move(records));  // stored for good when it returns: only then comes the next
        const std::string name = "\r\nX-Next: ";
        if (const std::size_t next = answer.find(name); next < head) {
            const std::size_t begin = next + name.size();
            path_ = answer.substr(begin, answer.find("\r\n", begin) - begin);
        }
    }

    const std::string host_;
    const std::string port_;
    const std::size_t limit_;
    std::string path_;
    std::jthread thread_;
};

/// Prints the records of each batch.
void printPolled(StreamingContext& ssc, const Options& options) {
    pluginStream<std::string>(ssc, "long_poll",
                              {{"host", options.getString("host")},
                               {"port", std::to_string(options.getInt("port"))},
                               {"path", options.getString("path")}})
        .foreachRDD([](const RDD<std::string>& rdd, Time) {
            for (const std::string& record : rdd.collect()) std::puts(record.c_str());
            std::fflush(stdout);
        });
}

}  // namespace

DSTREAM_REGISTER_RECEIVER("long_poll", LongPoll)
DSTREAM_REGISTER_JOB("print_polled", printPolled, LongPoll::options())
