// W2: counts the words of text from a socket in batches of one second.
//   workload_w2 HOST PORT SECONDS    prints the lines per second that batches processed in the last two thirds of the
//                                    time, the scheduling delay at the end, and the lines received and in batches
#include "measure.hpp"
#include "word_count/word_count.hpp"
#include <dstream/dstream.hpp>

#include <condition_variable>
#include <iostream>
#include <mutex>

using namespace dstream;

namespace {

/// Adds up what batches have processed.
class Progress : public StreamingListener {
public:
    void onReceiverMetrics(const StreamingListenerReceiverMetrics& event) override {
        const std::lock_guard lock(mutex_);
        received_ = event.metrics.records;
    }
    void onBatchCompleted(const StreamingListenerBatchCompleted& event) override {
        const std::lock_guard lock(mutex_);
        processed_ += event.batchInfo.numRecords();
        delayMs_ = event.batchInfo.schedulingDelay().value_or(0);
        completed_ = measure::wallSeconds();
        changed_.notify_all();
    }
    struct Mark {
        double time = 0;
        int64_t lines = 0;
        double cpu = 0;
    };
    /// The end of the first batch that is completed after `time`.
    Mark awaitBatchAfter(double time) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return completed_ > time; });
        return {completed_, processed_, measure::cpuSeconds()};
    }
    int64_t delayMs() const {
        const std::lock_guard lock(mutex_);
        return delayMs_;
    }
    void print() const {
        const std::lock_guard lock(mutex_);
        std::printf("RECEIVED %lld\nIN_BATCHES %lld\n", static_cast<long long>(received_),
                    static_cast<long long>(processed_));
    }

private:
    mutable std::mutex mutex_;  // guards the fields below
    std::condition_variable changed_;
    int64_t received_ = 0;
    int64_t processed_ = 0;
    int64_t delayMs_ = 0;
    double completed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: workload_w2 HOST PORT SECONDS\n";
        return 2;
    }
    const double seconds = std::stod(argv[3]);
    StreamingContext ssc(SparkConf().setAppName("W2").setMaster("local[2]"), Seconds(1));
    auto progress = std::make_shared<Progress>();
    ssc.addStreamingListener(progress);
    countWords(ssc.socketTextStream(argv[1], std::stoi(argv[2]))).foreachRDD([](const auto& counts) {
        counts.count();
    });
    const double start = measure::wallSeconds();
    ssc.start();
    const Progress::Mark begin = progress->awaitBatchAfter(start + seconds / 3);
    const Progress::Mark end = progress->awaitBatchAfter(start + seconds);
    const auto lines = static_cast<double>(end.lines - begin.lines);
    std::printf("LINES_A_SECOND %.0f %.6f %.0f\nDELAY_MS %lld\n", lines / (end.time - begin.time), end.cpu - begin.cpu,
                lines, static_cast<long long>(progress->delayMs()));
    measure::printPeakMemory();
    ssc.stop(true, true);
    ssc.awaitTermination();
    progress->print();
}
