// Cuts the power under the word count: crash_power_cut [--received] [--faults] [--seeds N] [--seed S] [--ignore-syncs].
// Seed i alone is repeated by --seeds 1 --seed (S + i); the first comes from DSTREAM_TEST_SEED when it is not given.
// With --received it is cut under the program that receives. With --faults, changes to files fail instead, one or some
// in a row, with EIO, ENOSPC or EINTR, or are cut short; the power is cut when the program has ended, which the one
// that receives does early.
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "received.hpp"
#include "support/power_cut_file_system.hpp"
#include "support/test_files.hpp"
#include "word_count.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace dstream::crash {

namespace {

using testsupport::PowerCutFs;

const std::string kRoot = "/power-cut";

/// Puts a file system in the place of the machine's while it lives.
class Replacement {
public:
    explicit Replacement(Fs& fs) { replaceFileSystem(&fs); }
    ~Replacement() { replaceFileSystem(nullptr); }
    Replacement(const Replacement&) = delete;
    Replacement& operator=(const Replacement&) = delete;
};

std::vector<std::string> linesOfOutput(Fs& fs, const std::string& output) {
    std::string text;
    for (const std::string& batch : fs.list(output)) {
        const std::string directory = output + "/" + batch;
        if (!fs.exists(directory + "/_SUCCESS")) text += "incomplete " + batch + "\n";
        for (const std::string& name : fs.list(directory)) {
            if (!name.starts_with("part-")) continue;
            for (const std::byte byte : fs.readFile(directory + "/" + name)) text += static_cast<char>(byte);
        }
    }
    std::vector<std::string> lines;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    std::ranges::sort(lines);
    return lines;
}

/// Something to cut the power under: keeps its things below kRoot, its output in sink/out-<ms>.
struct Program {
    std::function<void(const std::stop_token& giveUp)> run;  // to its end, going on from what is there
    std::vector<std::string> expected;                       // lines of the output
};

class PowerCuts {
public:
    PowerCuts(Program program, bool ignoresSyncs) : program_(std::move(program)), ignoresSyncs_(ignoresSyncs) {
        std::ranges::sort(program_.expected);
        PowerCutFs fs(kRoot, 0);
        const Replacement replacement(fs);
        if (const std::string wrong = finish(fs, "without a power cut"); !wrong.empty())
            throw std::runtime_error(wrong);
        changes_ = fs.changes();
    }

    /// The changes of a run without a cut.
    uint64_t changes() const { return changes_; }
    /// The cuts, or runs with a fault, so far.
    uint64_t events() const { return events_; }

    /// Runs the program under one to three cuts and then to its end. Returns what is wrong, or nothing.
    std::string run(uint64_t seed) {
        std::mt19937_64 random(seed);
        PowerCutFs fs(kRoot, random());
        if (ignoresSyncs_) fs.ignoreSyncs();
        const Replacement replacement(fs);
        std::string story;
        for (uint64_t left = 1 + random() % 3; left > 0; --left) {
            const uint64_t at = 1 + random() % (left == 1 ? changes_ : changes_ / 2);
            story += (story.empty() ? "cut at change " : ", ") + std::to_string(at);
            fs.cutAt(at);
            try {
                runUntilFailure(fs);
            } catch (const std::exception& error) {
                if (!fs.isOff()) return story + ": " + error.what();
            }
            events_ += fs.isOff() ? 1 : 0;
            fs.restart();
        }
        return finish(fs, story);
    }

    /// Lets changes fail: the (seed + 1)-th of a run and perhaps some after it. Returns what is wrong, or nothing.
    std::string runWithFaults(uint64_t seed) {
        std::mt19937_64 random(seed);
        PowerCutFs fs(kRoot, random());
        const Replacement replacement(fs);
        const uint64_t first = 1 + seed % changes_;
        const uint64_t count = random() % 2 == 0 ? 1 : 1 + random() % 60;
        const int error = std::array{EIO, ENOSPC, EINTR, 0}[random() % 4];
        fs.cutAt(0);
        fs.failFrom(first, count, error);
        try {
            runUntilFailure(fs);
        } catch (const SparkException&) {  // it cannot start like that
        }
        events_ += fs.changes() >= first ? 1 : 0;
        fs.restart();
        return finish(fs, std::to_string(count) + " changes from " + std::to_string(first) + " failed with " +
                              (error == 0 ? "short writes" : strerrorname_np(error)));
    }

private:
    /// Runs the program, and tells it when its files cannot be written any more.
    void runUntilFailure(PowerCutFs& fs) {
        std::stop_source giveUp;
        const std::jthread watch([&](std::stop_token over) {
            if (fs.awaitFailure(over)) giveUp.request_stop();
        });
        program_.run(giveUp.get_token());
    }

    /// Runs the program to its end and looks at its output.
    std::string finish(PowerCutFs& fs, const std::string& story) {
        try {
            program_.run({});
            const std::vector<std::string> lines = linesOfOutput(fs, kRoot + "/sink");
            if (lines == program_.expected) return "";
            const auto [missing, extra] = std::ranges::mismatch(program_.expected, lines);
            return story + ": the output differs, expected '" + (missing == program_.expected.end() ? "" : *missing) +
                   "', found '" + (extra == lines.end() ? "" : *extra) + "'";
        } catch (const std::exception& error) {
            return story + ": " + error.what();
        }
    }

    Program program_;
    const bool ignoresSyncs_;
    uint64_t changes_ = 0;
    uint64_t events_ = 0;
};

int runSeeds(int argc, char** argv) {
    uint64_t seeds = 500;
    const char* const given = std::getenv("DSTREAM_TEST_SEED");
    uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
    bool ignoresSyncs = false;
    bool faults = false;
    bool received = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        bool* const flag = name == "--faults"         ? &faults
                           : name == "--received"     ? &received
                           : name == "--ignore-syncs" ? &ignoresSyncs
                                                      : nullptr;
        if (flag != nullptr) {
            *flag = true;
            continue;
        }
        if (i + 1 == argc || (name != "--seeds" && name != "--seed")) {
            std::fprintf(stderr, "usage: %s [--received] [--faults] [--seeds N] [--seed S] [--ignore-syncs]\n",
                         argv[0]);
            return 2;
        }
        (name == "--seed" ? seed : seeds) = std::strtoull(argv[++i], nullptr, 10);
    }
    std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(seed));
    setLogLevel(LogLevel::kOff);
    const testsupport::TemporaryDirectory directory;
    writeInput(directory / "input");
    const WordCount wordCount{.input = directory / "input",
                              .checkpoints = kRoot + "/checkpoint",
                              .output = kRoot + "/sink",
                              .scratch = kRoot + "/scratch"};
    Program program{[&](const auto&) { runWordCount(makeWordCount(wordCount)); }, expectedLines()};
    if (received) program = {[](const auto& giveUp) { receive(kRoot, {}, giveUp); }, receivedLines()};
    PowerCuts powerCuts(std::move(program), ignoresSyncs);
    uint64_t broken = 0;
    for (uint64_t i = 0; i < seeds; ++i) {
        const std::string wrong = faults ? powerCuts.runWithFaults(seed + i) : powerCuts.run(seed + i);
        if (wrong.empty()) continue;
        ++broken;
        std::fprintf(stderr, "seed %llu, %s\n", static_cast<unsigned long long>(seed + i), wrong.c_str());
    }
    std::printf("%llu seeds, %llu %s among %llu changes, %llu broken\n", static_cast<unsigned long long>(seeds),
                static_cast<unsigned long long>(powerCuts.events()), faults ? "faults" : "power cuts",
                static_cast<unsigned long long>(powerCuts.changes()), static_cast<unsigned long long>(broken));
    return broken == 0 ? 0 : 1;
}

}  // namespace

}  // namespace dstream::crash

int main(int argc, char** argv) {
    try {
        return dstream::crash::runSeeds(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
