// Counts the words of text files: word_count PATH [TOP]
#include "word_count.hpp"

#include <iostream>
#include <string>
#include <tuple>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: word_count PATH [TOP]\n";
        return 2;
    }
    SparkContext sc(SparkConf().setAppName("word_count").setMaster("local[2]"));
    auto counts = countWords(sc.textFile(argv[1]));
    auto most = counts.top(argc > 2 ? std::stoi(argv[2]) : 10, [](const auto& a, const auto& b) {
        return std::tuple(a.second, b.first) < std::tuple(b.second, a.first);  // by count, then by word
    });
    for (const auto& [word, count] : most) std::cout << word << " " << count << "\n";
}
