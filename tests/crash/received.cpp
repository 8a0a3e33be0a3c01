#include "received.hpp"

#include "dstream/testkit.hpp"
#include "rdd/file_system.hpp"

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

namespace dstream::crash {

namespace {

constexpr int kLines = 22;
constexpr int kLinesPerBatch = 1;  // more batches than checkpoints are kept, so that blocks are cleaned up

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
    Source(std::shared_ptr<Turns> turns, std::string positionFile)
        : Receiver<std::string>(StorageLevel::MEMORY_ONLY),
          turns_(std::move(turns)),
          positionFile_(std::move(positionFile)) {}

    void onStart() override {
        thread_ = std::jthread([this](std::stop_token stop) {
            try {
                deliver(stop);
            } catch (const std::exception&) {
                reportError("not stored", std::current_exception());
            }
            turns_->end();
        });
    }
    void onStop() override { thread_ = {}; }

private:
    void deliver(const std::stop_token& stop) {
        int position = 0;
        if (posixFs().exists(positionFile_)) {
            for (const std::byte digit : posixFs().readFile(positionFile_)) {
                position = position * 10 + std::to_integer<int>(digit) - '0';
            }
        }
        for (; position < kLines && turns_->await(stop); turns_->done()) {
            store(std::vector<std::string>{lineOf(position)});
            const std::string next = std::to_string(++position);
            posixFs().writeFileAtomically(positionFile_, std::as_bytes(std::span(next)));
        }
    }

    const std::shared_ptr<Turns> turns_;
    const std::string positionFile_;
    std::jthread thread_;
};

}  // namespace

std::vector<std::string> receivedLines() {
    std::vector<std::string> lines;
    for (int i = 0; i < kLines; ++i) lines.push_back(lineOf(i));
    return lines;
}

void receive(const std::string& directory, const std::function<void(const DStream<Count>&)>& alsoTo,
             const std::stop_token& giveUp) {
    auto turns = std::make_shared<Turns>();
    auto seen = std::make_shared<std::atomic<int64_t>>(0);
    StreamingContext ssc = StreamingContext::getOrCreate(directory + "/checkpoint", [&] {
        SparkConf conf;
        conf.set("spark.local.dir", directory + "/scratch")
            .set("spark.streaming.receiver.writeAheadLog.enable", "true");
        StreamingContext made = testkit::makeContext(Seconds(1), conf);
        made.checkpoint(directory + "/checkpoint");
        const auto countUp = [](const std::string& line, std::optional<int> one, State<int>& count) {
            count.update(count.getOption().value_or(0) + one.value_or(0));
            return Count(line, count.get());
        };
        const auto counts =
            made.receiverStream<std::string>(std::make_shared<Source>(turns, directory + "/position"))
                .map([](const std::string& line) { return Count(line, 1); })
                .mapWithState(StateSpec<std::string, int, int, Count>::function(countUp).numPartitions(2));
        counts.checkpoint(Seconds(3));
        const auto first = counts.filter([](const Count& count) { return count.second == 1; });
        first.map([](const Count& count) { return count.first; })
            .saveToSink("lines", std::make_shared<TextFileSink>(directory + "/sink/out"));
        if (alsoTo) alsoTo(first);
        counts.stateSnapshots().foreachRDD([seen](const auto& states) { *seen = states.count(); });
        return made;
    });
    const std::stop_callback stop(giveUp, [&] {
        ssc.stop();
        turns->end();  // the source may not have been started
    });
    ssc.start();
    testkit::ManualClock& clock = testkit::manualClock(ssc);
    // Batches that an earlier process had given their blocks may come first, so the state says when all has come.
    while (turns->run(kLinesPerBatch) || (*seen < kLines && !giveUp.stop_requested())) clock.advance(Seconds(1));
    ssc.stop();
}

}  // namespace dstream::crash
