// dstream-crash: kills a program at its failpoints, lets it go on, and looks for lost and duplicate ids at its sink.
#include "child.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

namespace dstream::crash {

namespace {

namespace fs = std::filesystem;
using Ids = std::map<std::string, int64_t>;  // how often each is there

constexpr const char* kUsage = R"(usage: dstream-crash --ledger FILE --sink COMMAND [OPTION...] -- PROGRAM [ARGUMENT...]

Runs PROGRAM once to its end and counts the failpoints that it executes: these are its kill points. Then, each time in
an empty working directory, kills it (SIGKILL) at each of them and starts it again, until it ends. Then the same with
random kills, several in one history. After each history the ids at the sink must be those of the ledger.
PROGRAM must end by itself, go on from what it finds in its working directory, and read the same input each time.

  --ledger FILE    the ids that must be at the sink at the end, one a line, each as often as it stands there
  --sink COMMAND   prints the ids at the sink, one a line; run by sh in the working directory of the program
  --kills N        random kills (300)
  --histories N    histories that these are spread over (30)
  --points N       kill points that are tried, evenly spread (all)
  --seed S         of the random kills (DSTREAM_TEST_SEED, or a new one)
  --jobs N         programs that run at a time (one per core)
  --timeout S      seconds after which a run has failed (60)
  --work DIR       where the working directories are made (a new one in TMPDIR or /tmp, removed when all is well)
  --names FILE     the failpoints that were executed are written there

The last line is "K kill points, N random kills, L lost, D duplicates". Ids that are not in the ledger count as
duplicates. The exit status is 0 when nothing was lost or doubled and no run failed, 2 for wrong arguments.
)";

struct Options {
    std::string ledger;
    std::string sink;
    std::string work;
    std::string names;
    uint64_t kills = 300;
    uint64_t histories = 30;
    uint64_t points = UINT64_MAX;
    uint64_t seed = 0;
    uint64_t jobs = std::max(1U, std::thread::hardware_concurrency());
    uint64_t timeoutSeconds = 60;
    std::vector<std::string> program;
};

/// What a wrong command line gets.
class UsageException : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

uint64_t parseNumber(std::string_view name, std::string_view text) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw UsageException(std::string(name) + " needs a number: '" + std::string(text) + "'");
    }
    return number;
}

Options parse(int argc, char** argv) {
    Options options;
    const char* const seed = std::getenv("DSTREAM_TEST_SEED");
    options.seed = seed != nullptr ? parseNumber("DSTREAM_TEST_SEED", seed) : std::random_device()();
    const std::map<std::string_view, std::string*> texts{{"--ledger", &options.ledger},
                                                         {"--sink", &options.sink},
                                                         {"--work", &options.work},
                                                         {"--names", &options.names}};
    const std::map<std::string_view, uint64_t*> numbers{
        {"--kills", &options.kills}, {"--histories", &options.histories}, {"--points", &options.points},
        {"--seed", &options.seed},   {"--jobs", &options.jobs},           {"--timeout", &options.timeoutSeconds}};
    int at = 1;
    for (; at < argc && std::string_view(argv[at]) != "--"; at += 2) {
        const std::string_view name = argv[at];
        const auto text = texts.find(name);
        const auto number = numbers.find(name);
        if (text == texts.end() && number == numbers.end()) throw UsageException("unknown option " + std::string(name));
        if (at + 1 == argc) throw UsageException(std::string(name) + " needs a value");
        if (text != texts.end()) *text->second = argv[at + 1];
        if (number != numbers.end()) *number->second = parseNumber(name, argv[at + 1]);
    }
    for (++at; at < argc; ++at) options.program.emplace_back(argv[at]);
    if (options.program.empty()) throw UsageException("no program given: it stands behind --");
    if (options.ledger.empty() || options.sink.empty()) throw UsageException("--ledger and --sink are needed");
    if (options.jobs == 0 || options.histories == 0) throw UsageException("--jobs and --histories must be positive");
    // The program runs elsewhere.
    if (options.program[0].find('/') != std::string::npos) options.program[0] = fs::absolute(options.program[0]);
    return options;
}

Ids countLines(std::istream& in) {
    Ids ids;
    for (std::string line; std::getline(in, line);) ++ids[line];
    return ids;
}

/// Runs histories, each in a directory of its own, and adds up what they show. Thread-safe.
class CrashKit {
public:
    explicit CrashKit(Options options) : options_(std::move(options)) {
        std::ifstream ledger(options_.ledger);
        ledger_ = countLines(ledger);
        if (!ledger.eof() || ledger_.empty()) {
            throw UsageException("the ledger " + options_.ledger + " must be a file of at least one id");
        }
        if (options_.work.empty()) {
            std::string name = fs::temp_directory_path() / "dstream-crash-XXXXXX";
            if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
            options_.work = name;
            ownsWork_ = true;
        }
        fs::create_directories(options_.work);
        options_.work = fs::canonical(options_.work);
    }
    ~CrashKit() {
        std::error_code error;  // what is left does no harm
        if (ownsWork_ && failures_ == 0) fs::remove_all(options_.work, error);
    }
    CrashKit(const CrashKit&) = delete;
    CrashKit& operator=(const CrashKit&) = delete;

    /// Returns whether all is well.
    bool run() {
        std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(options_.seed));
        uint64_t executions = 0;
        {
            History history(*this, "first");
            executions = history.finish();
            if (failures_ != 0) {
                std::fprintf(stderr, "the run without kills is not right, so none is killed\n");
                return false;
            }
        }
        if (executions == 0) {
            std::fprintf(stderr, "the program has executed no failpoint: does it use files through dstream?\n");
            return false;
        }
        const uint64_t tried = std::min(options_.points, executions);
        std::fprintf(stderr, "%llu kill points at %zu failpoints\n", static_cast<unsigned long long>(executions),
                     names_.size());
        inParallel(tried, [&](uint64_t i) { killAtPoint(1 + i * executions / tried); });
        const uint64_t histories = std::min(options_.histories, options_.kills);
        inParallel(histories, [&](uint64_t i) {
            const uint64_t kills = options_.kills / histories + (i < options_.kills % histories ? 1 : 0);
            killAtRandom(i, kills, executions);
        });
        if (!options_.names.empty()) {
            std::ofstream file(options_.names);
            for (const std::string& name : names_) file << name << '\n';
            if (!file.flush()) throw std::runtime_error("cannot write " + options_.names);
        }
        if (unreached_ != 0) {
            std::fprintf(stderr, "%llu kill points lay behind the end of their run each time\n",
                         static_cast<unsigned long long>(unreached_));
        }
        if (failures_ != 0) {
            std::fprintf(stderr, "%llu histories went wrong; their files are in %s; repeat with --seed %llu\n",
                         static_cast<unsigned long long>(failures_), options_.work.c_str(),
                         static_cast<unsigned long long>(options_.seed));
        }
        std::printf("%llu kill points, %llu random kills, %llu lost, %llu duplicates\n",
                    static_cast<unsigned long long>(tried), static_cast<unsigned long long>(randomKills_),
                    static_cast<unsigned long long>(lost_), static_cast<unsigned long long>(duplicates_));
        return failures_ == 0;
    }

private:
    /// One working directory and the runs in it.
    class History {
    public:
        History(CrashKit& kit, std::string name)
            : kit_(kit), name_(std::move(name)), directory_(kit.options_.work + "/" + name_) {
            fs::remove_all(directory_);
            fs::create_directories(directory_);
        }

        /// Runs the program and kills it at its n-th failpoint. False when it has ended by itself before.
        bool kill(uint64_t n) {
            story_ += (story_.empty() ? "" : ", ") + std::to_string(n);
            return start(n).signal == SIGKILL;
        }
        /// Runs the program to its end, compares the sink with the ledger and removes the directory when all is well.
        /// @return the failpoints executed
        uint64_t finish() {
            const uint64_t executions = start(0).failpoints;
            check();
            if (good_) {
                fs::remove_all(directory_);
                fs::remove(log());
            }
            return executions;
        }
        /// The program has ended by itself already.
        void finishEnded() {
            check();
            if (good_) fs::remove_all(directory_);
            if (good_) fs::remove(log());
        }

    private:
        struct Run {
            int signal = 0;
            uint64_t failpoints = 0;
        };
        std::string log() const { return directory_ + ".log"; }

        Run start(uint64_t killAt) {
            const Ended ended = runChild({.command = kit_.options_.program,
                                          .directory = directory_,
                                          .output = log(),
                                          .timeout = std::chrono::seconds(kit_.options_.timeoutSeconds),
                                          .killAt = killAt});
            if (ended.timedOut) {
                wrong("did not end within " + std::to_string(kit_.options_.timeoutSeconds) + " s");
            } else if (ended.signal != 0 && !(ended.signal == SIGKILL && killAt != 0)) {
                wrong("was ended by signal " + std::to_string(ended.signal));
            } else if (ended.status != 0) {
                wrong("ended with status " + std::to_string(ended.status));
            }
            Run run{ended.signal, 0};
            if (ended.signal != 0) return run;
            std::ifstream lines(log());
            const std::lock_guard lock(kit_.mutex_);
            for (std::string word, name; lines >> word;) {
                uint64_t hits = 0;
                if (word != "failpoint" || !(lines >> name >> hits)) continue;
                kit_.names_.insert(name);
                run.failpoints += hits;
            }
            return run;
        }

        void check() {
            const std::string found = directory_ + ".ids";
            const Ended ended = runChild({.command = {"/bin/sh", "-c", kit_.options_.sink},
                                          .directory = directory_,
                                          .output = found,
                                          .timeout = std::chrono::seconds(kit_.options_.timeoutSeconds)});
            if (ended.status != 0 || ended.signal != 0 || ended.timedOut) wrong("has a sink whose command failed");
            std::ifstream lines(found);
            Ids difference = countLines(lines);
            lines.close();
            for (const auto& [id, count] : kit_.ledger_) difference[id] -= count;
            uint64_t lost = 0;
            uint64_t duplicates = 0;
            std::string example;
            for (const auto& [id, surplus] : difference) {
                (surplus < 0 ? lost : duplicates) += static_cast<uint64_t>(std::abs(surplus));
                if (surplus != 0 && example.empty()) example = (surplus < 0 ? "lost: " : "too often: ") + id;
            }
            if (lost + duplicates != 0) {
                wrong("has " + std::to_string(lost) + " lost and " + std::to_string(duplicates) +
                      " duplicate ids; the first " + example);
                const std::lock_guard lock(kit_.mutex_);
                kit_.lost_ += lost;
                kit_.duplicates_ += duplicates;
            }
            if (good_) fs::remove(found);
        }

        void wrong(const std::string& what) {
            const std::lock_guard lock(kit_.mutex_);
            if (good_) ++kit_.failures_;
            good_ = false;
            std::fprintf(stderr, "history %s, killed at %s: the program %s; see %s.log\n", name_.c_str(),
                         story_.empty() ? "no failpoint" : story_.c_str(), what.c_str(), directory_.c_str());
        }

        CrashKit& kit_;
        const std::string name_;
        const std::string directory_;
        std::string story_;  // the failpoints it was killed at
        bool good_ = true;
    };

    void killAtPoint(uint64_t n) {
        // Threads make the number of failpoints differ a little from run to run.
        constexpr int kAttempts = 5;
        for (int attempt = 0; attempt < kAttempts; ++attempt) {
            History history(*this, "point-" + std::to_string(n));
            if (history.kill(n)) {
                history.finish();
                return;
            }
            history.finishEnded();
        }
        const std::lock_guard lock(mutex_);
        ++unreached_;
    }

    void killAtRandom(uint64_t index, uint64_t kills, uint64_t executions) {
        std::mt19937_64 random(options_.seed + index);
        const auto below = [&](uint64_t bound) { return random() % std::max<uint64_t>(bound, 1); };
        constexpr uint64_t kRecovery = 30;  // about as many failpoints lie in the first moments after a start
        uint64_t done = 0;
        for (int part = 0; done < kills; ++part) {
            History history(*this, "random-" + std::to_string(index) + "-" + std::to_string(part));
            bool killed = true;
            while (killed && done < kills) {
                killed =
                    history.kill(1 + (below(2) == 0 ? below(std::min(executions, kRecovery)) : below(executions / 4)));
                if (killed) ++done;
            }
            if (killed) {
                history.finish();
            } else {
                history.finishEnded();
            }
        }
        const std::lock_guard lock(mutex_);
        randomKills_ += done;
    }

    void inParallel(uint64_t count, const std::function<void(uint64_t)>& task) {
        std::atomic<uint64_t> next{0};
        std::exception_ptr error;
        {
            std::vector<std::jthread> threads;
            for (uint64_t i = 0; i < std::min(options_.jobs, count); ++i) {
                threads.emplace_back([&] {
                    try {
                        for (uint64_t n = next++; n < count; n = next++) task(n);
                    } catch (...) {
                        next = count;
                        const std::lock_guard lock(mutex_);
                        error = std::current_exception();
                    }
                });
            }
        }
        if (error) std::rethrow_exception(error);
    }

    Options options_;
    Ids ledger_;
    bool ownsWork_ = false;
    std::mutex mutex_;  // guards the fields below
    std::set<std::string> names_;
    uint64_t randomKills_ = 0;
    uint64_t unreached_ = 0;
    uint64_t failures_ = 0;
    uint64_t lost_ = 0;
    uint64_t duplicates_ = 0;
};

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    using namespace dstream::crash;
    try {
        if (argc == 2 && (std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h")) {
            std::fputs(kUsage, stdout);
            return 0;
        }
        return CrashKit(parse(argc, argv)).run() ? 0 : 1;
    } catch (const UsageException& error) {
        std::fprintf(stderr, "dstream-crash: %s\n\n%s", error.what(), kUsage);
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dstream-crash: %s\n", error.what());
        return 1;
    }
}
