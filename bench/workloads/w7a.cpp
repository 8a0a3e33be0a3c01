// W7a: the words of a file, textFile to count.
//   workload_w7a FILE REPETITIONS
#include "measure.hpp"
#include "word_count/word_count.hpp"

#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: workload_w7a FILE REPETITIONS\n";
        return 2;
    }
    SparkContext sc(SparkConf().setAppName("W7a").setMaster("local[2]"));
    measure::repeat(1, std::stoi(argv[2]), [&] { return countWords(sc.textFile(argv[1], 2)).count(); });
    measure::printPeakMemory();
}
