#pragma once

#include <dstream/dstream.hpp>
#include <dstream/testkit.hpp>

#include <plugins/registry.hpp>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

/// The options of an example that reads lines, and what it takes besides.
inline dstream::OptionSchema lineOptions(std::vector<dstream::OptionSpec> more = {}) {
    using dstream::OptionType;
    std::vector<dstream::OptionSpec> specs = {
        {"host", OptionType::kString, "localhost", "server that sends lines, such as nc -lk 9999"},
        {"port", OptionType::kInt, "9999", "its port"},
        {"input", OptionType::kString, "", "file to read instead; an empty line ends a batch"}};
    specs.insert(specs.end(), more.begin(), more.end());
    return dstream::OptionSchema(std::move(specs));
}

/// The lines that an example works on: of a server, or of a file, batch by batch.
inline dstream::DStream<std::string> inputLines(dstream::StreamingContext& ssc, const dstream::Options& options) {
    const std::string input = options.getString("input");
    if (input.empty()) return ssc.socketTextStream(options.getString("host"), static_cast<int>(options.getInt("port")));
    std::ifstream file(input);
    if (!file) throw std::runtime_error("cannot read " + input);
    std::vector<std::vector<std::string>> batches(1);
    for (std::string line; std::getline(file, line);) {
        if (line.empty()) {
            batches.emplace_back();
        } else {
            batches.back().push_back(line);
        }
    }
    return dstream::testkit::batches<std::string>(ssc, batches);
}

/// The words of a line.
inline std::vector<std::string> wordsOf(const std::string& line) {
    std::istringstream text(line);
    std::vector<std::string> words;
    for (std::string word; text >> word;) words.push_back(word);
    return words;
}
