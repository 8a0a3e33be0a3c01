#pragma once

#include <dstream/dstream.hpp>

#include <cstdint>
#include <functional>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Counting words. Each function takes lines of text, an RDD of a file as well as a DStream of a socket.

/// Words are views into the lines until reduceByKey keeps them.
template <class Lines>
auto countWords(const Lines& lines) {
    return lines.flatMap([](std::string_view line) { return dstream::splitWords(line); })
        .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
        .reduceByKey(std::plus<>{});
}

/// The same with a string of its own for each word, as code that was written for strings wants them.
template <class Lines>
auto countWordStrings(const Lines& lines) {
    const auto own = [](std::string_view word) { return std::string(word); };
    return lines
        .flatMap([own](const std::string& line) { return dstream::splitWords(line) | std::views::transform(own); })
        .map([](const std::string& word) { return std::pair(word, int64_t{1}); })
        .reduceByKey(std::plus<>{});
}

/// The same with a vector of strings for each line.
template <class Lines>
auto countWordVectors(const Lines& lines) {
    return lines
        .flatMap([](const std::string& line) {
            std::vector<std::string> words;
            for (const std::string_view word : dstream::splitWords(line)) words.emplace_back(word);
            return words;
        })
        .map([](const std::string& word) { return std::pair(word, int64_t{1}); })
        .reduceByKey(std::plus<>{});
}

/// A word and how long it is: a key of one's own. What makes it one is ==, and serialize, which names its members.
struct Term {
    std::string text;
    int32_t length = 0;

    bool operator==(const Term&) const = default;
    template <class Archive>
    void serialize(Archive& archive, unsigned) {
        archive& text& length;
    }
};

template <class Lines>
auto countTerms(const Lines& lines) {
    return lines.flatMap([](std::string_view line) { return dstream::splitWords(line); })
        .map([](std::string_view word) {
            return std::pair(Term{std::string(word), static_cast<int32_t>(word.size())}, int64_t{1});
        })
        .reduceByKey(std::plus<>{});
}

/// Two more steps in the chain: which words count, and how much.
template <class Lines, class Wanted, class Weight>
auto countSome(const Lines& lines, Wanted wanted, Weight weight) {
    return lines.flatMap([](std::string_view line) { return dstream::splitWords(line); })
        .filter(wanted)
        .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
        .mapValues(weight)
        .reduceByKey(std::plus<>{});
}
