// W7c: two sets of 2,000,000 generated pairs joined, then counted.
//   workload_w7c REPETITIONS
#include "join/join.hpp"
#include "measure.hpp"

#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: workload_w7c REPETITIONS\n";
        return 2;
    }
    SparkContext sc(SparkConf().setAppName("W7c").setMaster("local[2]"));
    measure::repeat(1, std::stoi(argv[1]), [&] { return joinedPairs(sc, 2000000).count(); });
    measure::printPeakMemory();
}
