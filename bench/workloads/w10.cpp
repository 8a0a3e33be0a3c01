// W10: keyed running sum: one output per event, 1,000,000 events a batch over 1,000,000 keys.
//   workload_w10 WARM_UP BATCHES
#include "keyed_events.hpp"

#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: workload_w10 WARM_UP BATCHES\n";
        return 2;
    }
    const int warmUp = std::stoi(argv[1]), batches = warmUp + std::stoi(argv[2]);
    const ScratchDirectory checkpoints;  // state must have one; none is written in so few batches
    runKeyed({1'000'000, 1'000'000, false}, warmUp, batches, [&](auto& ssc, const auto& events, int64_t& outputs) {
        ssc.sparkContext().setCheckpointDir(checkpoints.path());
        auto running = runningTotals(events);
        running.foreachRDD([&outputs](const auto& rdd) { outputs = rdd.count(); });
        running.stateSnapshots().foreachRDD([end = Time(1000 * batches)](const auto& rdd, Time time) {
            if (time != end) return;
            const auto sums = rdd.map([](const Event& entry) { return entry.second; });
            std::cout << "STATES " << static_cast<int64_t>(sums.sum()) << '\n';
        });
    });
}
