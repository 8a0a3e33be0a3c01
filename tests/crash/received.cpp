// What the crash kit kills to test received data:
//   crash_received --prepare DIR   writes to DIR/ledger what must come out
//   crash_received DIR             receives it into the working directory, going on from a kill
//   crash_received --rows          prints the rows of the database in the working directory
// The source keeps a position, which moves when a line was stored; a kill in between brings the line a second time.
// State counts each line, and its first arrival goes into a text file and into a SQLite database.
#include "connectors/sqlite/sqlite_sink.hpp"
#include "dstream/testkit.hpp"
#include "rdd/clock.hpp"
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
#include <sqlite3.h>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace dstream::crash {

namespace {

constexpr int kLines = 22;
constexpr int kLinesPerBatch = 1;  // more batches than checkpoints are kept, so that blocks are cleaned up
constexpr const char* kDatabase = "rows.db";

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
        using Count = std::pair<std::string, int>;
        const auto countUp = [](const std::string& line, std::optional<int> one, State<int>& count) {
            count.update(count.getOption().value_or(0) + one.value_or(0));
            return Count(line, count.get());
        };
        const auto counts =
            made.receiverStream<std::string>(std::make_shared<Source>(turns))
                .map([](const std::string& line) { return Count(line, 1); })
                .mapWithState(StateSpec<std::string, int, int, Count>::function(countUp).numPartitions(2));
        counts.checkpoint(Seconds(3));
        const auto first = counts.filter([](const Count& count) { return count.second == 1; });
        first.map([](const Count& count) { return count.first; })
            .saveToSink("lines", std::make_shared<TextFileSink>("sink/out"));
        first.map([](const Count& count) {
                 return SqlRow{count.first, int64_t{count.second}};
             })
            .saveToSink("rows", std::make_shared<sqlite::SqliteSink>(sqlite::SqliteSinkOptions{
                                    .path = kDatabase,
                                    .createTable = "CREATE TABLE IF NOT EXISTS rows (line TEXT, n INTEGER)",
                                    .insert = "INSERT INTO rows VALUES (?, ?)"}));
        counts.stateSnapshots().foreachRDD([seen](const auto& states) { *seen = states.count(); });
        return made;
    });
    ssc.start();
    testkit::ManualClock& clock = testkit::manualClock(ssc);
    // Batches that an earlier process had given their blocks may come first, so the state says when all has come.
    while (turns->run(kLinesPerBatch) || *seen < kLines) clock.advance(Seconds(1));
    ssc.stop();
}

void printRows() {
    sqlite3* database = nullptr;
    const auto print = [](void*, int, char** values, char**) {
        std::printf("row of %s, seen %s times\n", values[0], values[1]);
        return 0;
    };
    const bool good = sqlite3_open(kDatabase, &database) == SQLITE_OK &&
                      sqlite3_exec(database, "SELECT line, n FROM rows", print, nullptr, nullptr) == SQLITE_OK;
    const std::string problem = good ? "" : sqlite3_errmsg(database);
    sqlite3_close(database);
    if (!good) throw std::runtime_error(problem);
}

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    using namespace dstream::crash;
    try {
        if (argc == 3 && std::string_view(argv[1]) == "--prepare") {
            std::ofstream ledger(std::string(argv[2]) + "/ledger");
            for (int i = 0; i < kLines; ++i) ledger << lineOf(i) << "\nrow of " << lineOf(i) << ", seen 1 times\n";
            return ledger.flush() ? 0 : 1;
        }
        if (argc != 2) {
            std::fprintf(stderr, "usage: %s --prepare DIR | DIR | --rows\n", argv[0]);
            return 2;
        }
        if (std::string_view(argv[1]) == "--rows") {
            printRows();
        } else {
            run();
        }
        return 0;
    } catch (...) {
        std::fprintf(stderr, "%s\n", dstream::describeException(std::current_exception()).c_str());
        return 1;
    }
}
