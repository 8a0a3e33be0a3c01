// A generator: counted lines at a steady rate, for programs that are to be tried out without data.
#include <dstream/dstream.hpp>

#include <plugins/registry.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

using namespace dstream;

namespace {

class Generator : public Receiver<std::string> {
public:
    static OptionSchema options() {
        return {{"prefix", OptionType::kString, "line ", "what stands before the number"},
                {"rate", OptionType::kInt, "1000", "lines per second; 0: as fast as they are taken"},
                {"count", OptionType::kInt, "-1", "lines in all; -1: without end"}};
    }
    explicit Generator(const Options& options)
        : Receiver(StorageLevel::MEMORY_ONLY),
          prefix_(options.getString("prefix")),
          rate_(options.getInt("rate")),
          count_(options.getInt("count")) {}

    void onStart() override {
        thread_ = std::jthread([this](std::stop_token stop) {
            try {
                generate(stop);
            } catch (...) {
                if (!stop.stop_requested()) restart("the generator failed", std::current_exception());
            }
        });
    }
    void onStop() override { thread_ = {}; }

private:
    void generate(std::stop_token stop) {
        using Clock = std::chrono::steady_clock;
        std::mutex mutex;
        std::condition_variable_any stopped;
        const Clock::time_point begin = Clock::now();
        for (int64_t sent = 0; !stop.stop_requested() && next_ != count_; ++sent) {
            if (rate_ > 0 && sent % std::max<int64_t>(1, rate_ / 100) == 0) {
                std::unique_lock lock(mutex);
                stopped.wait_until(lock, stop, begin + std::chrono::nanoseconds(sent * 1'000'000'000 / rate_),
                                   [] { return false; });
            }
            store(prefix_ + std::to_string(next_++));  // waits when the rate limit is reached
        }
    }

    const std::string prefix_;
    const int64_t rate_;
    const int64_t count_;
    int64_t next_ = 0;  // goes on after a restart
    std::jthread thread_;
};

/// Counts what the generator makes, batch by batch and in all.
void countGenerated(StreamingContext& ssc, const Options& options) {
    const auto lines = pluginStream<std::string>(
        ssc, "generator", {{"rate", options.getString("rate")}, {"count", std::to_string(options.getInt("count"))}});
    lines.foreachRDD(
        [all = int64_t{0}, wanted = options.getInt("count"), ssc](const RDD<std::string>& rdd, Time) mutable {
            all += rdd.count();
            std::printf("%lld lines\n", static_cast<long long>(all));
            std::fflush(stdout);
            if (all == wanted) ssc.stop(true, true);
        });
}

}  // namespace

DSTREAM_REGISTER_RECEIVER("generator", Generator)
DSTREAM_REGISTER_JOB("count_generated", countGenerated, {"rate", OptionType::kString, "1000", "lines per second"},
                     {"count", OptionType::kInt, "-1", "lines in all, then it ends; -1: without end"})
