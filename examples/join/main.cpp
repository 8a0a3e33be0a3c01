#include "join.hpp"

#include <iostream>

using namespace dstream;

/// Joins two sets of random pairs; prints how many rows that gives and those of the smallest key.
int main(int argc, char** argv) {
    const int64_t count = argc > 1 ? std::stoll(argv[1]) : 1000;
    SparkContext sc(SparkConf().setAppName("Join").setMaster("local[2]"));
    auto joined = joinedPairs(sc, count).cache();
    std::cout << joined.count() << " rows\n";
    for (const auto& [key, values] : joined.takeOrdered(3)) {
        std::cout << key << ": " << values.first << ", " << values.second << '\n';
    }
}
