// W4: state of KEYS keys, all of which the first batch has; then 100,000 records a batch.
//   workload_w4 updateStateByKey|mapWithState KEYS BATCHES     those after the 5th are measured
#include "keyed_events.hpp"

#include <iostream>

using namespace dstream;

int main(int argc, char** argv) {
    const std::string way = argc == 4 ? argv[1] : "";
    if (way != "updateStateByKey" && way != "mapWithState") {
        std::cerr << "usage: workload_w4 updateStateByKey|mapWithState KEYS BATCHES\n";
        return 2;
    }
    const ScratchDirectory checkpoints;
    const KeyedEvents::Shape shape{std::stoull(argv[2]), 100'000, true};
    runKeyed(shape, 5, std::stoi(argv[3]), [&](auto& ssc, const auto& events, int64_t& rows) {
        ssc.checkpoint(checkpoints.path());
        const auto count = [&rows](const auto& rdd) { rows = rdd.count(); };
        if (way == "mapWithState") {
            runningTotals(events).foreachRDD(count);
        } else {
            totals(events).foreachRDD(count);
        }
    });
}
