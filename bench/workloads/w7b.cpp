// W7b: 10,000,000 generated pairs sorted by key, then counted.
//   workload_w7b REPETITIONS
#include "measure.hpp"
#include "sort_by_key/sort_by_key.hpp"

#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: workload_w7b REPETITIONS\n";
        return 2;
    }
    SparkContext sc(SparkConf().setAppName("W7b").setMaster("local[2]"));
    measure::repeat(1, std::stoi(argv[1]), [&] { return sortedPairs(sc, 10000000).count(); });
    measure::printPeakMemory();
}
