// What the crash kit kills to test received data:
//   crash_received --prepare DIR   writes to DIR/ledger what must come out
//   crash_received DIR             receives it into the working directory, going on from a kill
// The source keeps a position, which moves when a line was stored; a kill in between brings the line a second time.
// Keyed state lets each through once.
#include "dstream/file_sink.hpp"
#include "dstream/testkit.hpp"
#include "rdd/file_system.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace dstream::crash {

namespace {

constexpr int kLines = 24;
constexpr int kLinesPerBatch = 3;

std::string lineOf(int number) {
    return "line " + std::to_string(number);
}

/// Hands out turns to the receiver. Thread-safe.
class Turns {
public:
    /// Lets `count` lines come; returns whether there are more behind them.
    bool run(int count) {
        std::unique_lock lock(mutex_);
        left_ = count;
        changed_.notify_all();
        changed_.wait(lock, [&] { return left_ == 0 || ended_; });
        return !ended_;
    }
    /// Waits until a line may come; false: no more.
    bool await(std::stop_token stop) {
        std::unique_lock lock(mutex_);
        return changed_.wait(lock, stop, [&] { return left_ > 0; });
    }
    void done() {
        const std::lock_guard lock(mutex_);
        --left_;
        changed_.notify_all();
    }
    void end() {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;  // guards the fields below
    std::condition_variable_any changed_;
    int left_ = 0;
    bool ended_ = false;
};

class Source final : public Receiver<std::string> {
public:
    explicit Source(std::shared_ptr<Turns> turns)
        : Receiver<std::string>(StorageLevel::MEMORY_ONLY), turns_(std::move(turns)) {}

    void onStart() override {
        thread_ = std::jthread([this](std::stop_token stop) {
            int position = 0;
            std::ifstream("position") >> position;
            for (; position < kLines && turns_->await(stop); turns_->done()) {
                try {
                    store(std::vector<std::string>{lineOf(position)});
                } catch (const SparkException&) {
                    return reportError("not stored", std::current_exception());
                }
                const std::string next = std::to_string(++position);
                posixFs().writeFileAtomically("position", std::as_bytes(std::span(next)));
            }
            turns_->end();
        });
    }
    void onStop() override { thread_ = {}; }

private:
    const std::shared_ptr<Turns> turns_;
    std::jthread thread_;
};

void run() {
    auto turns = std::make_shared<Turns>();
    auto seen = std::make_shared<std::atomic<int64_t>>(0);
    StreamingContext ssc = StreamingContext::getOrCreate("checkpoint", [&] {
        SparkConf conf;
        conf.set("spark.local.dir", "scratch").set("spark.streaming.receiver.writeAheadLog.enable", "true");
        StreamingContext made = testkit::makeContext(Seconds(1), conf);
        made.checkpoint("checkpoint");
        const auto once = [](const std::string& line, std::optional<int>,
                             State<int>& before) -> std::optional<std::string> {
            if (before.exists()) return std::nullopt;
            before.update(1);
            return line;
        };
        const auto lines =
            made.receiverStream<std::string>(std::make_shared<Source>(turns))
                .map([](const std::string& line) { return std::pair(line, 1); })
                .mapWithState(StateSpec<std::string, int, int, std::string>::function(once).numPartitions(2));
        lines.checkpoint(Seconds(3));
        lines.saveToSink("lines", std::make_shared<TextFileSink>("sink/out"));
        lines.stateSnapshots().foreachRDD([seen](const auto& states) { *seen = states.count(); });
        return made;
    });
    ssc.start();
    testkit::ManualClock& clock = testkit::manualClock(ssc);
    // Batches that an earlier process had given their blocks may come first, so the state says when all has come.
    while (turns->run(kLinesPerBatch) || *seen < kLines) clock.advance(Seconds(1));
    ssc.stop();
}

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    using namespace dstream::crash;
    try {
        if (argc == 3 && std::string_view(argv[1]) == "--prepare") {
            std::ofstream ledger(std::string(argv[2]) + "/ledger");
            for (int i = 0; i < kLines; ++i) ledger << lineOf(i) << '\n';
            return ledger.flush() ? 0 : 1;
        }
        if (argc != 2) {
            std::fprintf(stderr, "usage: %s --prepare DIR | DIR\n", argv[0]);
            return 2;
        }
        run();
        return 0;
    } catch (...) {
        std::fprintf(stderr, "%s\n", dstream::describeException(std::current_exception()).c_str());
        return 1;
    }
}
