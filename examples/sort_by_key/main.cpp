#include "sort_by_key.hpp"

#include <iostream>

using namespace dstream;

/// Sorts random numbers and prints the smallest, and how many lie in each of the two sorted partitions.
int main(int argc, char** argv) {
    const int64_t count = argc > 1 ? std::stoll(argv[1]) : 1000;
    SparkContext sc(SparkConf().setAppName("SortByKey").setMaster("local[2]"));
    auto sorted = sortedPairs(sc, count).cache();
    for (const auto& [number, one] : sorted.take(5)) std::cout << number << '\n';
    for (const auto& part : sorted.glom().collect()) std::cout << part.size() << " in a partition\n";
}
