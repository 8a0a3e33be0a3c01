#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

/// Lines of ten words from a vocabulary of 100,000 whose frequencies follow Zipf's law; the same at every run.
inline std::vector<std::string> zipfLines(int lines) {
    std::vector<std::string> vocabulary;
    std::mt19937_64 random(42);
    for (int rank = 0; rank < 100000; ++rank) {
        std::string word;
        for (int r = rank; r > 0 || word.empty(); r /= 13) word.push_back(static_cast<char>('a' + r % 13));
        word.append(random() % 8, static_cast<char>('n' + random() % 13));
        vocabulary.push_back(std::move(word));
    }
    std::vector<std::string> text;
    for (int i = 0; i < lines; ++i) {
        std::string line;
        for (int word = 0; word < 10; ++word) {
            if (word > 0) line.push_back(' ');
            const double uniform = static_cast<double>(random() >> 11) * 0x1p-53;
            line += vocabulary[static_cast<std::size_t>(std::exp(uniform * std::log(100000.0))) - 1];
        }
        text.push_back(std::move(line));
    }
    return text;
}

inline constexpr int kLines = 50000;
inline constexpr int64_t kWords = int64_t{kLines} * 10;

inline const std::vector<std::string>& sampleLines() {
    static const std::vector<std::string> lines = zipfLines(kLines);
    return lines;
}
