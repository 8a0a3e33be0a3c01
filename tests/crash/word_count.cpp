#include "word_count.hpp"

#include "dstream/testkit.hpp"
#include "rdd/clock.hpp"

#include <deque>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <sys/stat.h>
#include <utility>

namespace dstream::crash {

namespace {

using Count = std::pair<std::string, int>;

constexpr int kWordsPerBatch = 9;
constexpr int kDistinctWords = 7;
constexpr int kWindow = 4;

std::vector<std::string> wordsOf(int batch) {
    std::vector<std::string> words;
    for (int i = 0; i < kWordsPerBatch; ++i)
        words.push_back("w" + std::to_string((batch * 5 + i * i) % kDistinctWords));
    return words;
}

std::string line(const char* kind, int64_t millis, const std::string& word, int count) {
    return std::string(kind) + " " + std::to_string(millis) + " " + word + " " + std::to_string(count);
}

/// Names the batch and the kind of count in each line.
template <class Stream>
DStream<std::string> labelled(const Stream& counts, const char* kind) {
    return counts.transform([kind](const auto& rdd, Time time) {
        return rdd.map(
            [kind, time](const Count& count) { return line(kind, time.milliseconds(), count.first, count.second); });
    });
}

/// A sink as it should not be: of the first half of the batches, one that runs again is there twice; those of the
/// second half are held back to the end and lost by a kill.
class CarelessAppender {
public:
    explicit CarelessAppender(const std::string& output) : path_(output + "/all/part-0") {
        std::filesystem::create_directories(output + "/all");
    }
    void operator()(const RDD<std::string>& rdd, Time time) {
        for (std::string& line : rdd.collect()) heldBack_.push_back(std::move(line));
        if (time <= Time(kBatches * 500) || time == Time(kBatches * 1000)) append();
    }

private:
    void append() {
        std::ofstream file(path_, std::ios::app);
        for (const std::string& line : std::exchange(heldBack_, {})) file << line << '\n';
    }

    std::string path_;
    std::vector<std::string> heldBack_;
};

}  // namespace

void writeInput(const std::string& directory) {
    std::filesystem::create_directories(directory);
    for (int batch = 1; batch <= kBatches; ++batch) {
        const std::string path = directory + "/batch-" + std::to_string(batch);
        std::ofstream file(path);
        for (const std::string& word : wordsOf(batch)) file << word << '\n';
        file.close();
        const timespec modified{batch - 1, 500'000'000};
        const timespec times[2] = {modified, modified};
        if (!file || ::utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) {
            throw std::runtime_error("cannot write " + path);
        }
    }
}

std::vector<std::string> expectedLines() {
    std::vector<std::string> lines;
    std::map<std::string, int> totals;
    std::map<std::string, int> running;
    std::deque<std::vector<std::string>> window;
    for (int batch = 1; batch <= kBatches; ++batch) {
        const int64_t millis = int64_t{batch} * 1000;
        const std::vector<std::string> words = wordsOf(batch);
        for (const std::string& word : words) {
            ++totals[word];
            lines.push_back(line("map", millis, word, ++running[word]));
        }
        for (const auto& [word, count] : totals) lines.push_back(line("update", millis, word, count));
        window.push_back(words);
        if (window.size() > kWindow) window.pop_front();
        std::map<std::string, int> recent;
        for (const auto& batchWords : window) {
            for (const std::string& word : batchWords) ++recent[word];
        }
        for (const auto& [word, count] : recent) lines.push_back(line("window", millis, word, count));
    }
    return lines;
}

StreamingContext makeWordCount(const WordCount& program) {
    return StreamingContext::getOrCreate(program.checkpoints, [&program] {
        SparkConf conf;
        conf.set("spark.local.dir", program.scratch);
        if (program.scarce) conf.set("dstream.memory.limit", "100");
        StreamingContext ssc = testkit::makeContext(Seconds(1), conf);
        ssc.checkpoint(program.checkpoints);
        const auto words =
            ssc.textFileStream(program.input).map([](std::string_view word) { return Count(std::string(word), 1); });
        const auto totals = words.updateStateByKey<int>(
            [](const std::vector<int>& ones, std::optional<int> total) {
                return std::optional(total.value_or(0) + static_cast<int>(ones.size()));
            },
            2);
        totals.checkpoint(Seconds(3));
        const auto countUp = [](const std::string& word, std::optional<int> one, State<int>& count) {
            count.update(count.getOption().value_or(0) + one.value_or(0));
            return Count(word, count.get());
        };
        const auto running =
            words.mapWithState(StateSpec<std::string, int, int, Count>::function(countUp).numPartitions(2));
        running.checkpoint(Seconds(4));
        const auto recent =
            words.reduceByKeyAndWindow(std::plus<int>(), std::minus<int>(), Seconds(kWindow), Seconds(1), 2,
                                       [](const Count& count) { return count.second > 0; });
        recent.checkpoint(Seconds(3));
        const auto lines = ssc.unionAll<std::string>(
                                  {labelled(totals, "update"), labelled(running, "map"), labelled(recent, "window")})
                               .transform([](const RDD<std::string>& rdd) { return rdd.coalesce(2); });
        if (program.scarce) {
            lines.persist(StorageLevel::DISK_ONLY);
            lines.foreachRDD([](const RDD<std::string>& rdd) { rdd.count(); });
        }
        if (program.careless) {
            lines.foreachRDD(CarelessAppender(program.output));
        } else {
            lines.saveAsTextFiles(program.output + "/out");
        }
        return ssc;
    });
}

void runWordCount(StreamingContext ssc) {
    ssc.start();
    testkit::ManualClock& clock = testkit::manualClock(ssc);
    clock.advance(Time(kBatches * 1000) - clock.now());
    ssc.stop();
}

}  // namespace dstream::crash
