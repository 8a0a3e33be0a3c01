// W3: a window of 30 s over 1,000,000 keys that slides by 1 s, with an inverse; 500,000 records a batch.
//   workload_w3 BATCHES     those after the 32nd are measured
#include "keyed_events.hpp"

#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: workload_w3 BATCHES\n";
        return 2;
    }
    const ScratchDirectory checkpoints;
    runKeyed({1'000'000, 500'000, false}, 32, std::stoi(argv[1]), [&](auto& ssc, const auto& events, int64_t& keys) {
        ssc.checkpoint(checkpoints.path());
        totalsOfWindow(events).foreachRDD([&keys](const auto& rdd) { keys = rdd.count(); });
    });
}
