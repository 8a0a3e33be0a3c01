// Runs under load until it is killed: crash_load DIR. Every batch of 100 ms brings the number of the batch for each of
// many keys; keyed state, which must have seen the batch before, tells at once when one was lost or counted twice, and
// the program ends with status 1. A line "SECONDS RSS_KB DESCRIPTORS" goes to standard output each second.
#include "dstream/dstream.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace dstream::crash {

namespace {

using Pair = std::pair<int64_t, int64_t>;

constexpr int64_t kKeys = 20'000;
constexpr int64_t kWindow = 10;  // batches
const Duration kBatch = Milliseconds(100);
const Duration kCheckpoint = Seconds(1);  // memory is level after a few

/// The number of the batch for each key.
class NumberedBatches final : public InputDStreamNode<Pair> {
public:
    NumberedBatches(const StreamingContext& ssc, CallSite site)
        : InputDStreamNode<Pair>(ssc, "Numbered batches", "numberedBatches", site) {}

private:
    std::optional<RDD<Pair>> compute(Time time) override {
        const auto number = static_cast<int64_t>((time - zeroTime()) / slideDuration());
        return context().sparkContext().range(0, kKeys, 1, 2).map([number](int64_t key) { return Pair(key, number); });
    }
};

void expectNumber(const char* where, int64_t found, int64_t expected) {
    if (found == expected) return;
    throw std::runtime_error(std::string(where) + " has " + std::to_string(found) + ", expected " +
                             std::to_string(expected));
}

void report(std::chrono::steady_clock::time_point start) {
    long pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    const auto descriptors =
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start).count();
    std::printf("%lld %ld %td\n", static_cast<long long>(seconds), pages * (::sysconf(_SC_PAGESIZE) / 1024),
                descriptors);
    std::fflush(stdout);
}

StreamingContext makeLoad(const std::string& directory) {
    StreamingContext ssc(SparkConf().setAppName("load").setMaster("local[2]"), kBatch);
    ssc.checkpoint(directory + "/checkpoint");
    const auto numbers = makeInputStream<NumberedBatches>(ssc, CallSite::from(std::source_location::current()));
    const auto follow = [](int64_t, std::optional<int64_t> number, State<int64_t>& last) {
        expectNumber("mapWithState", number.value(), last.getOption().value_or(0) + 1);
        last.update(*number);
        return *number;
    };
    const auto followed = numbers.mapWithState(StateSpec<int64_t, int64_t, int64_t, int64_t>::function(follow));
    const auto totals =
        numbers.filter([](const Pair& pair) { return pair.first < kKeys / 10; })
            .updateStateByKey<int64_t>([](const std::vector<int64_t>& values, std::optional<int64_t> last) {
                expectNumber("updateStateByKey", values.at(0), last.value_or(0) + 1);
                return std::optional(values.at(0));
            });
    const auto recent =
        numbers.filter([](const Pair& pair) { return pair.first < kKeys / 10; })
            .reduceByKeyAndWindow(std::plus<int64_t>(), std::minus<int64_t>(), kBatch * kWindow, kBatch);
    followed.checkpoint(kCheckpoint);
    totals.checkpoint(kCheckpoint);
    recent.checkpoint(kCheckpoint);
    const auto start = std::chrono::steady_clock::now();
    followed.foreachRDD([start](const RDD<int64_t>& rdd, Time time) {
        expectNumber("the output of mapWithState", rdd.count(), kKeys);
        if (time.milliseconds() % 1000 == 0) report(start);
    });
    recent.join(totals).foreachRDD([](const RDD<std::pair<int64_t, Pair>>& rdd, Time) {
        const auto rows = rdd.collect();
        expectNumber("the join of window and totals", static_cast<int64_t>(rows.size()), kKeys / 10);
        for (const auto& [key, row] : rows) {
            const auto& [sum, number] = row;
            const int64_t before = std::max<int64_t>(number - kWindow, 0);
            expectNumber("a window", sum, (number * (number + 1) - before * (before + 1)) / 2);
        }
    });
    return ssc;
}

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s DIR\n", argv[0]);
        return 2;
    }
    try {
        const std::string directory = argv[1];
        dstream::StreamingContext ssc = dstream::StreamingContext::getOrCreate(
            directory + "/checkpoint", [&] { return dstream::crash::makeLoad(directory); });
        ssc.start();
        ssc.awaitTermination();
        return 0;
    } catch (...) {
        std::fprintf(stderr, "%s\n", dstream::describeException(std::current_exception()).c_str());
        return 1;
    }
}
