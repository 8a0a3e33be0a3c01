// The limit of W2: one thread reads text from a socket by Asio, another one splits it and counts the words.
//   limit_socket_word_count HOST PORT SECONDS    prints the lines per second of the last two thirds of the time
#include "limit.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

namespace {

/// Open addressing with stored hashes; the keys lie in one arena.
class Table {
public:
    void add(const char* word, uint32_t size) {
        u64 hash = 0x9E3779B97F4A7C15ull ^ size;
        const char* at = word;
        for (uint32_t rest = size; rest > 0;) {
            const uint32_t step = rest < 8 ? rest : 8;
            u64 value = 0;
            std::memcpy(&value, at, step);
            hash = (hash ^ value) * 0xff51afd7ed558ccdull;
            hash ^= hash >> 32;
            at += step;
            rest -= step;
        }
        if (hash == 0) hash = 1;
        for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
            Slot& slot = slots_[i];
            if (slot.hash == 0) {
                slot = {hash, static_cast<uint32_t>(arena_.size()), size, 1};
                arena_.append(word, size);
                if (++used_ * 2 > slots_.size()) grow();
                return;
            }
            if (slot.hash == hash && slot.size == size && std::memcmp(arena_.data() + slot.offset, word, size) == 0) {
                ++slot.count;
                return;
            }
        }
    }
    size_t size() const { return used_; }

private:
    struct Slot {
        u64 hash;
        uint32_t offset, size;
        u64 count;
    };
    void grow() {
        std::vector<Slot> old(slots_.size() * 2);
        old.swap(slots_);
        for (const Slot& slot : old) {
            if (slot.hash == 0) continue;
            size_t i = slot.hash & (slots_.size() - 1);
            while (slots_[i].hash != 0) i = (i + 1) & (slots_.size() - 1);
            slots_[i] = slot;
        }
    }

    std::vector<Slot> slots_ = std::vector<Slot>(1 << 18);
    std::string arena_;
    size_t used_ = 0;
};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: limit_socket_word_count HOST PORT SECONDS\n");
        return 2;
    }
    using boost::asio::ip::tcp;
    constexpr size_t kBufferBytes = 1 << 20;
    boost::asio::io_context io;
    tcp::socket socket(io);
    boost::asio::connect(socket, tcp::resolver(io).resolve(argv[1], argv[2]));
    std::mutex mutex;  // guards the next three
    std::vector<std::vector<char>> full, empty(8, std::vector<char>(kBufferBytes));
    bool done = false;
    std::condition_variable changed;
    std::atomic<u64> lines = 0;
    Table table;
    std::thread counter([&] {
        std::string text;
        for (;;) {
            std::vector<char> buffer;
            {
                std::unique_lock lock(mutex);
                changed.wait(lock, [&] { return done || !full.empty(); });
                if (full.empty()) return;
                buffer = std::move(full.front());
                full.erase(full.begin());
            }
            text.append(buffer.data(), buffer.size());
            const size_t end = text.rfind('\n') + 1;
            const auto find = [](const char* from, const char* to, char wanted) {
                const void* found = std::memchr(from, wanted, static_cast<size_t>(to - from));
                return found != nullptr ? static_cast<const char*>(found) : to;
            };
            u64 count = 0;
            for (const char *at = text.data(), *last = at + end; at < last; ++count) {
                const char* const lineEnd = find(at, last, '\n');
                while (at < lineEnd) {
                    const char* const wordEnd = find(at, lineEnd, ' ');
                    if (wordEnd > at) table.add(at, static_cast<uint32_t>(wordEnd - at));
                    at = wordEnd + 1;
                }
                at = lineEnd + 1;
            }
            lines += count;
            text.erase(0, end);
            buffer.resize(kBufferBytes);
            {
                const std::lock_guard lock(mutex);
                empty.push_back(std::move(buffer));
            }
            changed.notify_all();
        }
    });
    const double seconds = std::atof(argv[3]), start = now();
    double begin = 0, beginCpu = 0;
    u64 beginLines = 0;
    for (double at = start; at < start + seconds; at = now()) {
        if (begin == 0 && at >= start + seconds / 3) {
            begin = at;
            beginCpu = cpuSeconds();
            beginLines = lines;
        }
        std::vector<char> buffer;
        {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return !empty.empty(); });
            buffer = std::move(empty.back());
            empty.pop_back();
        }
        boost::system::error_code error;
        const size_t size = socket.read_some(boost::asio::buffer(buffer), error);
        if (error) break;
        buffer.resize(size);
        {
            const std::lock_guard lock(mutex);
            full.push_back(std::move(buffer));
        }
        changed.notify_all();
    }
    const auto counted = static_cast<double>(lines - beginLines);
    const double rate = counted / (now() - begin), cpu = cpuSeconds() - beginCpu;
    {
        const std::lock_guard lock(mutex);
        done = true;
    }
    changed.notify_all();
    counter.join();
    std::printf("LINES_A_SECOND %.0f %.6f %.0f\nDISTINCT %zu\n", rate, cpu, counted, table.size());
}
