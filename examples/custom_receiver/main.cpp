// Counts the words that a receiver of the program's own reads from a socket: CustomReceiver.
#include "../example_input.hpp"
#include "../loopback_sender.hpp"

#include <plugins/run.hpp>

#include <array>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <netdb.h>
#include <stop_token>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

using namespace dstream;

class CustomReceiver : public Receiver<std::string> {
public:
    CustomReceiver(std::string host, int port)
        : Receiver(StorageLevel::MEMORY_AND_DISK_2), host_(std::move(host)), port_(port) {}

    void onStart() override {
        // The thread that receives the data over the connection
        thread_ = std::jthread([this](std::stop_token stop) { receive(stop); });
    }
    void onStop() override { thread_ = {}; }

private:
    /// Makes a connection and receives data until it ends or the receiver is stopped.
    void receive(std::stop_token stop) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* address = nullptr;
        if (::getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &address) != 0) {
            restart("Unknown host " + host_);
            return;
        }
        const int socket = ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const bool connected = ::connect(socket, address->ai_addr, address->ai_addrlen) == 0;
        ::freeaddrinfo(address);
        try {
            const std::stop_callback stopped(stop, [socket] { ::shutdown(socket, SHUT_RDWR); });
            std::array<char, 4096> piece;
            std::string text;
            for (ssize_t count = 0; connected && (count = ::recv(socket, piece.data(), piece.size(), 0)) > 0;) {
                text.append(piece.data(), static_cast<std::size_t>(count));
                for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
                    store(text.substr(0, end));
                }
            }
            if (!stop.stop_requested()) restart(connected ? "Trying to connect again" : "Error connecting");
        } catch (...) {
            if (!stop.stop_requested()) restart("Error receiving data", std::current_exception());
        }
        ::close(socket);
    }

    const std::string host_;
    const int port_;
    std::jthread thread_;
};

void customReceiver(StreamingContext& ssc, const Options& options) {
    std::shared_ptr<LoopbackSender> sender;
    std::size_t wanted = 0;  // words of the input file; the program ends when they have been counted
    if (const std::string input = options.getString("input"); !input.empty()) {
        std::ifstream file(input);
        const std::string text(std::istreambuf_iterator<char>(file), {});
        wanted = wordsOf(text).size();
        sender = std::make_shared<LoopbackSender>(text);
    }

    const auto lines = ssc.receiverStream<std::string>(
        std::make_shared<CustomReceiver>(sender ? "127.0.0.1" : options.getString("host"),
                                         sender ? sender->port() : static_cast<int>(options.getInt("port"))));
    const auto words = lines.flatMap(wordsOf);
    const auto wordCounts = words.map([](const std::string& x) { return std::pair(x, 1); }).reduceByKey(std::plus<>{});
    if (!sender) {
        wordCounts.print();
        return;
    }
    wordCounts.foreachRDD([ssc, sender, wanted, counted = std::size_t{0}, totals = std::map<std::string, int>()](
                              const RDD<std::pair<std::string, int>>& rdd, Time) mutable {
        const auto before = counted;
        for (const auto& [word, count] : rdd.collect()) {
            totals[word] += count;
            counted += static_cast<std::size_t>(count);
        }
        if (counted == before || counted != wanted) return;
        for (const auto& [word, count] : totals) std::cout << "(" << word << "," << count << ")" << std::endl;
        ssc.stop(true, true);
    });
}

DSTREAM_REGISTER_JOB("custom_receiver", customReceiver, lineOptions())

int main(int argc, char** argv) {
    return runMain(argc, argv, "custom_receiver");
}
