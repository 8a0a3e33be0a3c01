// Counts the lines with "the" in blocks that arrive serialised over several connections: RawNetworkGrep.
#include "../example_input.hpp"
#include "../loopback_sender.hpp"
#include <rdd/bytes.hpp>
#include <rdd/codec.hpp>

#include <plugins/run.hpp>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

using namespace dstream;

/// The lines of a file as one block behind its length, as rawSocketStream reads it.
std::string makeFrame(const std::string& path, int64_t& lines) {
    std::ifstream file(path);
    std::vector<std::string> block;
    for (std::string line; std::getline(file, line);) block.push_back(line);
    lines = static_cast<int64_t>(block.size());
    ByteWriter writer;
    Codec<std::string>::write(writer, block);
    const std::span<const std::byte> bytes = writer.view();
    std::string frame;
    for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(bytes.size() >> shift);
    return frame.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void rawNetworkGrep(StreamingContext& ssc, const Options& options) {
    const int64_t numStreams = options.getInt("numStreams");
    std::vector<std::shared_ptr<LoopbackSender>> senders;
    int64_t wanted = 0;
    std::vector<DStream<std::string>> rawStreams;
    for (int64_t i = 0; i < numStreams; ++i) {
        std::string host = options.getString("host");
        int port = static_cast<int>(options.getInt("port"));
        if (const std::string input = options.getString("input"); !input.empty()) {
            int64_t lines = 0;
            senders.push_back(std::make_shared<LoopbackSender>(makeFrame(input, lines)));
            wanted += lines;
            host = "127.0.0.1";
            port = senders.back()->port();
        }
        rawStreams.push_back(ssc.rawSocketStream<std::string>(host, port, StorageLevel::MEMORY_ONLY_SER_2));
    }
    const auto unioned = ssc.unionAll(rawStreams);
    const auto hasThe = [](const std::string& line) { return line.find("the") != std::string::npos; };
    if (senders.empty()) {
        unioned.filter(hasThe).count().foreachRDD([](const RDD<int64_t>& r, Time) {
            for (const int64_t x : r.collect()) std::cout << "Grep count: " << x << std::endl;
        });
        return;
    }
    unioned.foreachRDD([=, found = int64_t{0}, seen = int64_t{0}](const RDD<std::string>& rdd, Time) mutable {
        const int64_t before = seen;
        seen += rdd.count();
        found += rdd.filter(hasThe).count();
        if (seen == before || seen != wanted) return;
        std::cout << "Grep count: " << found << std::endl;
        (void)senders;  // kept until here
        ssc.stop(true, true);
    });
}

DSTREAM_REGISTER_JOB("raw_network_grep", rawNetworkGrep,
                     lineOptions({{"numStreams", OptionType::kInt, "2", "connections"}}))

int main(int argc, char** argv) {
    return runMain(argc, argv, "raw_network_grep");
}
