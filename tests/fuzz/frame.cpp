#include "rdd/frame.hpp"

#include "fuzz/fuzz.hpp"
#include "rdd/bytes.hpp"

#include <set>

namespace dstream {
namespace {

constexpr FrameExpectation kExpected{7, 3, 1 << 20};

std::string frameOf(const std::string& body, FrameCompression compression) {
    return std::string(asText(encodeFrame(kExpected.kind, kExpected.newestSchema, asBytes(body), compression)));
}

/// Makes both checksums right again, so that what lies behind them is reached.
void repair(std::string& frame) {
    if (frame.size() < Frame::kHeaderBytes) return;
    const auto store = [&](size_t offset, uint32_t value) { std::memcpy(frame.data() + offset, &value, sizeof value); };
    store(32, crc32c(asBytes(frame).subspan(Frame::kHeaderBytes)));
    store(36, crc32c(asBytes(frame).first(36)));
}

bool accepted(const std::string& input) {
    try {
        (void)decodeFrame(asBytes(input), kExpected, "input");
        return true;
    } catch (const FrameException&) {
        return false;
    }
}

int fuzzAll(int argc, char** argv) {
    std::string words;
    for (int i = 0; i < 400; ++i) words += "word" + std::to_string(i * i % 37) + " ";
    std::vector<std::string> seeds;
    for (const auto compression : {FrameCompression::kNone, FrameCompression::kLz4}) {
        for (const size_t size : {size_t{0}, size_t{5}, size_t{100}, words.size()}) {
            seeds.push_back(frameOf(words.substr(0, size), compression));
        }
    }
    const std::set<std::string> valid(seeds.begin(), seeds.end());
    return fuzz::run(argc, argv, seeds, [&](const std::string& input, fuzz::Random&) -> std::string {
        if (accepted(input) && !valid.contains(input)) return "a damaged frame was accepted";
        std::string repaired = input;
        repair(repaired);
        (void)accepted(repaired);
        return {};
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
