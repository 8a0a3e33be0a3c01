// A sender ten times and more too fast for the program, on the real clock:
//   crash_overload SECONDS [--no-backpressure]
// How many times is measured: the lines per second that the sender has for a reader that only takes them, over those
// that the program counts in a second of work. Below ten the run proves nothing and fails. Each line is a number, one
// above the line before, so that a lost or doubled one shows in the batch it is missed in. The memory of the last third
// of the time must be that of the second third. Without back-pressure only the bytes that wait are bounded.
#include "dstream/dstream.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <netinet/in.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace dstream::crash {

namespace {

/// Sends numbered lines to one connection after the other, as fast as they are read.
class Sender {
public:
    Sender() {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 1) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
            throw SparkException("cannot listen on the loopback interface");
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread([this] {
            for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(client)) sendTo(client);
        });
    }
    ~Sender() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }
    int port() const { return port_; }

    /// Lines per second to a reader that only takes them.
    double rate() const {
        const int reader = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<uint16_t>(port_));
        if (::connect(reader, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            throw SparkException("cannot connect to the sender");
        }
        std::vector<char> buffer(1 << 16);
        int64_t lines = 0;
        const auto begin = std::chrono::steady_clock::now();
        std::chrono::duration<double> seconds{};
        for (; seconds.count() < 2; seconds = std::chrono::steady_clock::now() - begin) {
            const ssize_t size = ::recv(reader, buffer.data(), buffer.size(), 0);
            if (size <= 0) throw SparkException("the sender has gone");
            lines += std::count(buffer.begin(), buffer.begin() + size, '\n');
        }
        ::close(reader);
        return static_cast<double>(lines) / seconds.count();
    }

private:
    static void sendTo(int client) {
        std::string text;
        for (int64_t next = 0;;) {
            text.clear();
            for (int i = 0; i < 10'000; ++i) text += std::to_string(next++) + "\n";
            for (std::string_view rest = text; !rest.empty();) {
                const ssize_t count = ::send(client, rest.data(), rest.size(), MSG_NOSIGNAL);
                if (count <= 0) return;
                rest.remove_prefix(static_cast<std::size_t>(count));
            }
        }
    }

    int listener_ = -1;
    int port_ = 0;
    std::jthread thread_;
};

int64_t residentKb() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
    }
    return 0;
}

/// The numbers of a partition: from `first` on, without a gap.
struct Run {
    int64_t first = 0;
    int64_t count = 0;
};

/// About 10 microseconds of work.
uint64_t workOn(std::string_view line) {
    uint64_t value = line.size();
    for (int i = 0; i < 5000; ++i) value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9ULL;
    return value;
}

Run checkRun(Iterator<std::string> lines) {
    Run run;
    uint64_t work = 0;
    while (lines.hasNext()) {
        const std::string line = lines.next();
        int64_t number = -1;
        std::from_chars(line.data(), line.data() + line.size(), number);
        if (run.count == 0) run.first = number;
        if (number != run.first + run.count) {
            throw SparkException("expected line " + std::to_string(run.first + run.count) + ", found " + line);
        }
        ++run.count;
        work += workOn(line);
    }
    if (work == 1) std::puts("");  // so that it is done
    return run;
}

int run(int64_t seconds, bool backPressure) {
    Sender sender;
    const double offered = sender.rate();
    SparkConf conf = SparkConf().setAppName("overload").setMaster("local[2]");
    conf.set("dstream.receiver.maxStoredBytes", "2m").set("dstream.receiver.maxBufferedBytes", "4m");
    if (backPressure) conf.set("spark.streaming.backpressure.enabled", "true");
    StreamingContext ssc(conf, Seconds(1));
    std::mutex mutex;
    int64_t next = 0;
    int64_t elapsed = 0;
    std::chrono::duration<double> working{};
    std::vector<int64_t> middle, last;
    const auto begin = std::chrono::steady_clock::now();
    ssc.socketTextStream("127.0.0.1", sender.port()).foreachRDD([&](const auto& rdd) {
        const auto start = std::chrono::steady_clock::now();
        const std::vector<Run> runs = rdd.mapPartitions([](auto&& lines) {
                                             return std::vector<Run>{checkRun(std::forward<decltype(lines)>(lines))};
                                         })
                                          .collect();
        const std::lock_guard lock(mutex);
        for (const Run& part : runs) {
            if (part.count == 0) continue;
            if (part.first != next) {
                throw SparkException("expected line " + std::to_string(next) + ", found " + std::to_string(part.first));
            }
            next += part.count;
        }
        const auto now = std::chrono::steady_clock::now();
        if (!runs.empty()) working += now - start;
        elapsed = std::chrono::duration_cast<std::chrono::seconds>(now - begin).count();
        if (elapsed >= seconds / 3) (elapsed < seconds * 2 / 3 ? middle : last).push_back(residentKb());
    });
    ssc.start();
    ssc.awaitTerminationOrTimeout(seconds * 1000);  // throws what a batch has failed with
    ssc.stop(true, false);
    const std::lock_guard lock(mutex);
    if (last.empty()) last.push_back(residentKb());
    if (middle.empty()) middle.push_back(residentKb());
    const int64_t before = *std::max_element(middle.begin(), middle.end());
    const int64_t after = *std::max_element(last.begin(), last.end());
    std::printf("%lld lines in %lld s, none lost, none doubled; at most %lld kB, then %lld kB\n",
                static_cast<long long>(next), static_cast<long long>(elapsed), static_cast<long long>(before),
                static_cast<long long>(after));
    const double counted = static_cast<double>(next) / working.count();
    std::printf("the sender offers %.0f lines/s, the program counts %.0f/s: %.1f times too many\n", offered, counted,
                offered / counted);
    constexpr int64_t kNoiseKb = 16 * 1024;
    return next > 0 && offered >= 10 * counted && after <= before + std::max(before / 4, kNoiseKb) ? 0 : 1;
}

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    try {
        if (argc < 2) {
            std::fprintf(stderr, "usage: %s SECONDS [--no-backpressure]\n", argv[0]);
            return 2;
        }
        return dstream::crash::run(std::atoll(argv[1]), argc == 2);
    } catch (...) {
        std::fprintf(stderr, "%s\n", dstream::describeException(std::current_exception()).c_str());
        return 1;
    }
}
