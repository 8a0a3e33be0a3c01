// Streams text files, again and again, to the first client that connects, and counts the words it sends.
//
//     example_network_word_count_sender [SECONDS] [DIRECTORY]
//
// Prints "port N" when it listens, and "words N" when the client has read everything.
#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <netinet/in.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& what) {
    std::cerr << "sender: " << what << "\n";
    std::exit(1);
}

std::vector<std::string> readFiles(const std::string& directory) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        if (entry.is_regular_file() && !entry.is_symlink()) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<std::string> texts;
    for (const auto& path : paths) {
        std::ifstream file(path, std::ios::binary);
        std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        if (!text.empty()) texts.push_back(std::move(text));
    }
    if (texts.empty()) fail("no text in " + directory);
    return texts;
}

/// Counts like `wc -w`: a word is what stands between white space, wherever the text is cut.
class WordCounter {
public:
    void add(std::string_view text) {
        for (char c : text) {
            const bool space = c == ' ' || (c >= '\t' && c <= '\r');
            if (!space && !inWord_) ++words_;
            inWord_ = !space;
        }
    }
    int64_t words() const { return words_; }

private:
    int64_t words_ = 0;
    bool inWord_ = false;
};

bool sendAll(int socket, std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    const auto seconds = std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
    const std::vector<std::string> texts = readFiles(argc > 2 ? argv[2] : "/usr/share/common-licenses");

    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    if (listener < 0 || ::bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(listener, 1) != 0 || ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        fail("cannot listen on the loopback interface");
    }
    std::cout << "port " << ntohs(address.sin_port) << std::endl;

    const int client = ::accept(listener, nullptr, nullptr);
    ::close(listener);
    if (client < 0) fail("nobody connected");

    WordCounter counter;
    const auto end = std::chrono::steady_clock::now() + seconds;
    for (std::size_t i = 0; std::chrono::steady_clock::now() < end; i = (i + 1) % texts.size()) {
        if (!sendAll(client, texts[i])) fail("the client has gone");
        counter.add(texts[i]);
    }
    // The client closes its side when it has read the end.
    ::shutdown(client, SHUT_WR);
    char rest = 0;
    while (::recv(client, &rest, 1, 0) > 0) {
    }
    ::close(client);
    std::cout << "words " << counter.words() << std::endl;
}
