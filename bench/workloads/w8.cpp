// W8: a program with state is killed after its 15th batch and started again on its checkpoints.
//   workload_w8 DIRECTORY KEYS          runs 15 batches, prints how many keys there are after each, and kills itself
//   workload_w8 DIRECTORY KEYS START    goes on; START is the steady clock's seconds when the process was started.
//                                       Prints how long it took until the context was ready and until its first batch
//                                       was completed
// From a million keys on the first batch has them all.
#include "keyed_events.hpp"

#include <condition_variable>
#include <csignal>
#include <iostream>
#include <mutex>

using namespace dstream;

namespace {

/// Remembers when the first batch was completed.
class FirstBatch : public StreamingListener {
public:
    void onBatchCompleted(const StreamingListenerBatchCompleted&) override {
        std::lock_guard lock(mutex_);
        if (!completed_) completed_ = measure::wallSeconds();
        changed_.notify_all();
    }
    double await() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return completed_.has_value(); });
        return *completed_;
    }

private:
    std::mutex mutex_;  // guards completed_
    std::condition_variable changed_;
    std::optional<double> completed_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 && argc != 4) {
        std::cerr << "usage: workload_w8 DIRECTORY KEYS [START]\n";
        return 2;
    }
    const std::string directory = argv[1];
    const uint64_t keys = std::stoull(argv[2]);
    auto first = std::make_shared<FirstBatch>();
    StreamingContext ssc = StreamingContext::getOrCreate(directory, [&] {
        StreamingContext made = testkit::makeContext(Seconds(1));
        made.checkpoint(directory);
        const auto events = makeInputStream<KeyedEvents>(made, KeyedEvents::Shape{keys, 10'000, keys >= 1'000'000});
        totals(events).foreachRDD([](const auto& rdd, Time time) {
            std::cout << "ROWS " << time.milliseconds() / 1000 << ' ' << rdd.count() << std::endl;
        });
        made.addStreamingListener(first);
        return made;
    });
    const double ready = measure::wallSeconds();
    ssc.start();
    if (argc == 3) {
        testkit::manualClock(ssc).advance(Seconds(15));
        std::raise(SIGKILL);
    }
    const double start = std::stod(argv[3]), completed = first->await();
    std::printf("READY %.6f\nFIRST_BATCH %.6f %.6f\n", ready - start, completed - start, measure::cpuSeconds());
    measure::printPeakMemory();
    ssc.stop();
}
