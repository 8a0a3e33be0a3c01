#include "keyed_totals.hpp"
#include <dstream/testkit.hpp>

#include <plugins/plugin.hpp>

#include <filesystem>
#include <iostream>

using namespace dstream;

namespace {

void print(const char* what, const std::vector<Event>& events) {
    std::cout << what;
    for (const auto& [key, total] : events) std::cout << ' ' << key << ':' << total;
    std::cout << '\n';
}

/// The totals after each batch, of the window and of all batches. Needs a checkpoint directory.
void keyedTotals(StreamingContext& ssc) {
    const auto events = testkit::batches<Event>(ssc, {{{1, 10}, {2, 20}, {1, 1}}, {}, {{2, 2}}});
    totalsOfWindow(events).foreachRDD([](const auto& rdd) { print("window ", rdd.sortByKey().collect()); });
    totals(events).foreachRDD([](const auto& rdd) { print("all    ", rdd.sortByKey().collect()); });
    runningTotals(events).foreachRDD([](const auto& rdd) { print("running", rdd.collect()); });
}

}  // namespace

DSTREAM_REGISTER_JOB("keyed_totals", [](StreamingContext& ssc, const Options&) { keyedTotals(ssc); })

/// Three batches under a clock that this program moves.
int main() {
    const auto checkpoints = std::filesystem::temp_directory_path() / "dstream_keyed_totals";
    std::filesystem::remove_all(checkpoints);
    {
        StreamingContext ssc = testkit::makeContext(Seconds(1), SparkConf().setMaster("local[1]"));
        ssc.checkpoint(checkpoints);
        keyedTotals(ssc);
        ssc.start();
        testkit::manualClock(ssc).advance(Seconds(3));
        ssc.stop();
    }
    std::filesystem::remove_all(checkpoints);
}
