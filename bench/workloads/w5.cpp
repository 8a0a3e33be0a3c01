// W5: a job so small that only the engine is measured.
//   workload_w5 driven WARM_UP BATCHES     batch by batch under the manual clock
//   workload_w5 real INTERVAL_MS SECONDS   under the real clock; prints the scheduling delay over the run's quarters
#include "measure.hpp"
#include "tiny_batches/tiny_batches.hpp"
#include <dstream/testkit.hpp>

#include <iostream>
#include <mutex>

using namespace dstream;

namespace {

class Delays : public StreamingListener {
public:
    void onBatchCompleted(const StreamingListenerBatchCompleted& batch) override {
        std::lock_guard lock(mutex_);
        delays_.push_back(static_cast<double>(batch.batchInfo.schedulingDelay().value_or(0)));
    }
    std::vector<double> take() {
        std::lock_guard lock(mutex_);
        return std::move(delays_);
    }

private:
    std::mutex mutex_;  // guards delays_
    std::vector<double> delays_;
};

void sumInto(const StreamingContext& ssc, int64_t& rows) {
    tinySums(ssc).foreachRDD([&rows](const auto& rdd) { rows = static_cast<int64_t>(rdd.collect().size()); });
}

void driven(int warmUp, int batches) {
    StreamingContext ssc = testkit::makeContext(Seconds(1));
    int64_t rows = 0;
    sumInto(ssc, rows);
    ssc.start();
    measure::repeat(warmUp, batches, [&] {
        rows = 0;
        testkit::manualClock(ssc).advance(Seconds(1));
        return rows;
    });
    ssc.stop();
}

void real(int intervalMs, int seconds) {
    StreamingContext ssc(SparkConf().setAppName("W5").setMaster("local[2]"), Milliseconds(intervalMs));
    int64_t rows = 0;
    sumInto(ssc, rows);
    auto delays = std::make_shared<Delays>();
    ssc.addStreamingListener(delays);
    const double wall = measure::wallSeconds(), cpu = measure::cpuSeconds();
    ssc.start();
    ssc.awaitTerminationOrTimeout(int64_t{1000} * seconds);
    const double wallTaken = measure::wallSeconds() - wall, cpuTaken = measure::cpuSeconds() - cpu;
    ssc.stop();
    const std::vector<double> all = delays->take();
    std::printf("BATCHES %zu %d\n", all.size(), static_cast<int>(wallTaken * 1000) / intervalMs);
    std::printf("CPU %.6f %.6f\n", cpuTaken, wallTaken);
    for (std::size_t quarter = 0; quarter < 4; ++quarter) {
        const std::size_t begin = all.size() * quarter / 4, end = all.size() * (quarter + 1) / 4;
        double sum = 0, worst = 0;
        for (std::size_t i = begin; i < end; ++i) {
            sum += all[i];
            worst = std::max(worst, all[i]);
        }
        std::printf("DELAY_MS %.4f %.4f\n", end > begin ? sum / static_cast<double>(end - begin) : 0.0, worst);
    }
    std::printf("ROWS %lld\n", static_cast<long long>(rows));
}

}  // namespace

int main(int argc, char** argv) {
    const std::string mode = argc == 4 ? argv[1] : "";
    if (mode == "driven") {
        driven(std::stoi(argv[2]), std::stoi(argv[3]));
    } else if (mode == "real") {
        real(std::stoi(argv[2]), std::stoi(argv[3]));
    } else {
        std::cerr << "usage: workload_w5 driven WARM_UP BATCHES | real INTERVAL_MS SECONDS\n";
        return 2;
    }
    measure::printPeakMemory();
}
