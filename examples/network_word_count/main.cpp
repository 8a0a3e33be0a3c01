// Counts words that arrive over a TCP socket: word counts and the ten most frequent words of each batch, and the
// running rate.
//
//     example_network_word_count --demo                 its own sender streams licence texts for ten seconds, then
//                                                       totals are compared
//     example_network_word_count [OPTION...] HOST PORT  text from a server, such as `nc -lk PORT`; options as of
//                                                       dstream-run; Ctrl-C ends it
#include <dstream/dstream.hpp>

#include <plugins/registry.hpp>
#include <plugins/run.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

using namespace dstream;

namespace {

bool isSpace(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/// Calls `emit` with a view of each word of a line.
struct SplitWords {
    void operator()(std::string_view line, auto&& emit) const {
        const char* end = line.data() + line.size();
        for (const char* at = line.data(); at != end;) {
            at = std::find_if_not(at, end, isSpace);
            const char* word = at;
            at = std::find_if(at, end, isSpace);
            if (at != word) emit(std::string_view(word, static_cast<std::size_t>(at - word)));
        }
    }
};

std::string withCommas(int64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
    return digits;
}

/// What the batches have added up to so far.
class Report {
public:
    void add(Time time, int64_t words, const std::vector<std::pair<std::string, int64_t>>& top) {
        const auto now = std::chrono::steady_clock::now();
        if (words_ == 0 && words > 0) begin_ = now - std::chrono::milliseconds(200);
        words_ += words;
        if (words > 0) end_ = now;
        std::ostringstream line;
        line << "batch " << time.milliseconds() << ": " << std::setw(12) << withCommas(words) << " words, "
             << std::setw(12) << withCommas(wordsPerSecond()) << " words/s so far |";
        for (const auto& [word, count] : top) line << " " << word << " " << count;
        std::cout << line.str() << std::endl;
    }
    int64_t words() const { return words_; }
    int64_t wordsPerSecond() const {
        const double seconds = std::chrono::duration<double>(end_ - begin_).count();
        return seconds > 0 ? static_cast<int64_t>(static_cast<double>(words_) / seconds) : 0;
    }

private:
    int64_t words_ = 0;
    std::chrono::steady_clock::time_point begin_{};
    std::chrono::steady_clock::time_point end_{};
};

/// How late the batches began.
class Delays : public StreamingListener {
public:
    void onBatchCompleted(const StreamingListenerBatchCompleted& event) override {
        const int64_t delay = event.batchInfo.schedulingDelay().value_or(0);
        std::lock_guard lock(mutex_);
        ++batches_;
        sum_ += delay;
        worst_ = std::max(worst_, delay);
    }
    std::string toString() const {
        std::lock_guard lock(mutex_);
        std::ostringstream text;
        text << batches_ << " batches, scheduling delay " << std::fixed << std::setprecision(1)
             << (batches_ > 0 ? static_cast<double>(sum_) / static_cast<double>(batches_) : 0.0) << " ms on average, "
             << worst_ << " ms at worst";
        return text.str();
    }

private:
    mutable std::mutex mutex_;  // guards the fields below
    int64_t batches_ = 0;
    int64_t sum_ = 0;
    int64_t worst_ = 0;
};

/// The sender's process: its standard output is read here.
class Sender {
public:
    Sender() {
        const auto program =
            std::filesystem::read_symlink("/proc/self/exe").parent_path() / "example_network_word_count_sender";
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
        process_ = ::fork();
        if (process_ < 0) throw std::runtime_error("cannot start the sender");
        if (process_ == 0) {
            ::dup2(ends[1], STDOUT_FILENO);
            ::execl(program.c_str(), program.c_str(), static_cast<char*>(nullptr));
            std::perror(program.c_str());
            ::_exit(127);
        }
        ::close(ends[1]);
        output_ = ::fdopen(ends[0], "r");
    }
    ~Sender() {
        std::fclose(output_);
        ::waitpid(process_, nullptr, 0);
    }
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    /// The number behind `name` in the sender's next line; blocks until it comes.
    int64_t read(const std::string& name) {
        char key[16];
        long long value = 0;
        if (std::fscanf(output_, "%15s %lld", key, &value) != 2 || name != key) {
            throw std::runtime_error("the sender ended without telling its " + name);
        }
        return value;
    }

private:
    pid_t process_ = -1;
    std::FILE* output_ = nullptr;
};

/// Counts the words of each batch and adds them to a report.
void countWords(StreamingContext& ssc, const std::string& host, int port, std::shared_ptr<Report> report) {
    auto counts = ssc.socketTextStream(host, port)
                      .flatMap<std::string_view>(SplitWords{})
                      .map([](std::string_view word) { return std::pair(word, int64_t{1}); })
                      .reduceByKey(std::plus<>{});
    counts.foreachRDD([report = std::move(report)](const RDD<std::pair<std::string, int64_t>>& words, Time time) {
        const int64_t total = words.values().fold(int64_t{0}, std::plus<>{});
        auto byCount = [](const auto& a, const auto& b) {
            return a.second != b.second ? a.second < b.second : a.first > b.first;
        };
        report->add(time, total, words.top(10, byCount));
    });
}

void networkWordCount(StreamingContext& ssc, const Options& options) {
    countWords(ssc, options.getString("host"), static_cast<int>(options.getInt("port")), std::make_shared<Report>());
}

/// Counts what the sender sends until its text has been read.
int demo() {
    Sender sender;
    const int port = static_cast<int>(sender.read("port"));
    StreamingContext ssc(SparkConf().setAppName("NetworkWordCount").setMaster("local[2]"), Milliseconds(200));
    const auto report = std::make_shared<Report>();
    const auto delays = std::make_shared<Delays>();
    ssc.addStreamingListener(delays);
    countWords(ssc, "127.0.0.1", port, report);
    ssc.start();
    const int64_t sent = sender.read("words");
    ssc.stop(true, true);
    ssc.awaitTermination();
    std::cout << "\n"
              << withCommas(report->words()) << " words, " << withCommas(report->wordsPerSecond()) << " words/s, "
              << delays->toString() << "\n"
              << "the sender counted " << withCommas(sent)
              << " words: " << (sent == report->words() ? "the totals are equal" : "THE TOTALS DIFFER") << std::endl;
    return sent == report->words() ? 0 : 1;
}

}  // namespace

DSTREAM_REGISTER_JOB("network_word_count", networkWordCount,
                     {"host", OptionType::kString, "localhost", "server that sends text, such as nc -lk 9999"},
                     {"port", OptionType::kInt, "9999", "its port"})

int main(int argc, char** argv) {
    if (argc != 2 || std::string_view(argv[1]) != "--demo") return runMain(argc, argv, "network_word_count");
    try {
        return demo();
    } catch (const std::exception&) {
        std::cerr << argv[0] << ": " << describeException(std::current_exception()) << "\n";
        return 1;
    }
}
