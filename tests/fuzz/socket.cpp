#include "fuzz/fuzz.hpp"
#include "rdd/exceptions.hpp"
#include "receivers/socket_receivers.hpp"

#include <cstring>
#include <istream>
#include <string>
#include <vector>

// Bytes of a socket as frames of a raw stream and as the input of a converter, arriving in pieces of any size.

namespace dstream {
namespace {

constexpr int64_t kMaxFrameBytes = 100;

/// Hands out bytes in random pieces.
class Pieces final : public detail::ByteSource {
public:
    Pieces(std::string_view bytes, fuzz::Random& random) : rest_(bytes), random_(random) {}
    size_t read(std::span<char> into) override {
        const size_t size = std::min({into.size(), rest_.size(), 1 + fuzz::below(random_, 9)});
        std::memcpy(into.data(), rest_.data(), size);
        rest_.remove_prefix(size);
        return size;
    }

private:
    std::string_view rest_;
    fuzz::Random& random_;
};

/// The rule in its simplest form: whole frames up to a length that is out of range or the end.
std::vector<std::string> framesSimply(const std::string& bytes) {
    std::vector<std::string> frames;
    for (size_t at = 0; bytes.size() - at >= 4;) {
        int64_t length = 0;
        for (size_t i = 0; i < 4; ++i) length = length * 256 + static_cast<unsigned char>(bytes[at + i]);
        at += 4;
        if (length > kMaxFrameBytes || static_cast<size_t>(length) > bytes.size() - at) break;
        frames.push_back(bytes.substr(at, static_cast<size_t>(length)));
        at += static_cast<size_t>(length);
    }
    return frames;
}

std::string frame(const std::string& bytes) {
    return std::string(3, '\0') + static_cast<char>(bytes.size()) + bytes;
}

int fuzzAll(int argc, char** argv) {
    const std::vector<std::string> seeds = {frame("one") + frame("") + frame("three"), frame(std::string(100, 'x')),
                                            frame("a") + std::string("\xFF\xFF\xFF\xFF", 4), "lines\nof\ntext",
                                            std::string(40, '\0')};
    return fuzz::run(argc, argv, seeds, [](const std::string& input, fuzz::Random& random) -> std::string {
        std::vector<std::string> frames;
        Pieces source(input, random);
        try {
            detail::readFrames(source, kMaxFrameBytes, {},
                               [&](std::string bytes) { frames.push_back(std::move(bytes)); });
            return "the end of the frames was no error";
        } catch (const SparkException&) {
        }
        if (frames != framesSimply(input)) return "the frames differ from those of the simple rule";

        Pieces again(input, random);
        const auto stream = detail::makeInputStream(again);
        std::string text;
        for (std::string line; std::getline(*stream, line);) text += line + (stream->eof() ? "" : "\n");
        return text == input ? "" : "the converter's stream gave other bytes";
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
