// Looks into a checkpoint directory, and tells before a start how a program fits it. Changes nothing.
#include "operator_fit.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/spark_conf.hpp"
#include "streaming_checkpoint.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <spawn.h>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace dstream;
using namespace dstream::detail;

constexpr int kFits = 0;
constexpr int kRefused = 1;
constexpr int kFailed = 2;

constexpr const char* kUsage =
    "usage: dstream-checkpoint inspect DIR\n"
    "       dstream-checkpoint diff DIR PROGRAM [ARGUMENT...]\n"
    "\n"
    "inspect  lists the checkpoints of a directory, and the operators and settings of the newest readable one.\n"
    "         Exit status: 0 there is a readable checkpoint, 1 there is none, 2 an error.\n"
    "diff     starts PROGRAM as a preflight, in which it runs nothing, and tells what of the newest readable "
    "checkpoint\n"
    "         it would load, what would be dropped and what has no match.\n"
    "         Exit status: 0 a start goes on from the checkpoint, 1 it would be refused, 2 an error.\n";

uint64_t bytesBelow(const std::string& directory) {
    uint64_t bytes = 0;
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error)) {
        if (entry->is_regular_file(error)) bytes += entry->file_size(error);
    }
    return bytes;
}

std::string sizeText(uint64_t bytes) {
    return std::to_string(bytes) + " bytes";
}

std::string stateText(const OperatorDescription& op) {
    return "state of " + op.codecName + " version " + std::to_string(op.codecVersion);
}

/// Lists the files, and returns the newest one that can be read.
std::optional<StreamingCheckpoint> listFiles(const std::string& directory, std::ostream& out) {
    std::optional<StreamingCheckpoint> newest;
    std::vector<Time> times = listCheckpoints(directory);
    for (; !times.empty(); times.pop_back()) {
        const std::string path = checkpointPath(directory, times.back());
        out << path.substr(path.find_last_of('/') + 1) << ": ";
        try {
            StreamingCheckpoint checkpoint = readCheckpoint(path);
            out << sizeText(std::filesystem::file_size(path)) << ", " << checkpoint.operators.size() << " operators, "
                << checkpoint.pendingTimes.size() << " pending batches";
            for (Time time : checkpoint.pendingTimes) out << " " << time.milliseconds();
            out << "\n";
            if (!newest) newest = std::move(checkpoint);
        } catch (const SparkException& error) {
            out << "damaged: " << error.what() << "\n";
        }
    }
    for (const std::string& name : posixFs().list(directory)) {
        if (name.ends_with(".corrupt")) out << name << ": set aside by a start, damaged\n";
    }
    return newest;
}

int inspect(const std::string& directory) {
    const auto newest = listFiles(directory, std::cout);
    if (!newest) {
        std::cout << "no readable checkpoint in " << directory << "\n";
        return kRefused;
    }
    std::cout << "\nbatch " << newest->time.milliseconds() << " ms, one every " << newest->batchDuration.milliseconds()
              << " ms since " << newest->zeroTime.milliseconds() << " ms, default parallelism "
              << newest->defaultParallelism << "\n\noperators:\n";
    for (const OperatorCheckpoint& op : newest->operators) {
        std::cout << "  " << op.id << (op.hasUid ? " (uid)" : "");
        if (!op.site.empty()) std::cout << ", " << op.site;
        if (op.input) std::cout << ", input";
        if (op.state) std::cout << ", " << stateText(op);
        if (!op.data.empty()) std::cout << ", data of " << sizeText(op.data.size());
        std::cout << "\n";
        for (const auto& [time, rdd] : op.rdds) {
            std::cout << "    after batch " << time.milliseconds() << " ms: " << rdd.numPartitions << " partitions, "
                      << sizeText(bytesBelow(rdd.directory)) << ", " << rdd.directory
                      << (std::filesystem::exists(rdd.directory) ? "" : ", MISSING") << "\n";
        }
    }
    std::cout << "\nsettings:\n";
    for (const auto& [key, value] : newest->conf) std::cout << "  " << key << "=" << redact(key, value) << "\n";
    return kFits;
}

struct Program {
    int64_t batchDurationMs = 0;
    bool allowDropped = false;
    bool allowNew = false;
    std::vector<OperatorDescription> operators;
};

Program readPreflight(const std::string& file) {
    std::ifstream in(file);
    const nlohmann::json json = nlohmann::json::parse(in);
    Program program;
    program.batchDurationMs = json.at("batchDurationMs");
    program.allowDropped = json.at("allowDroppedState");
    program.allowNew = json.at("allowNewState");
    for (const auto& from : json.at("operators")) {
        OperatorDescription& op = program.operators.emplace_back();
        op.id = from.at("id");
        op.derivedId = from.at("derivedId");
        op.kind = from.at("kind");
        op.site = from.at("site");
        op.hasUid = from.at("hasUid");
        op.input = from.at("input");
        op.state = from.at("state");
        op.codecName = from.at("codec");
        op.codecVersion = from.at("codecVersion");
    }
    return program;
}

/// Runs the program with DSTREAM_PREFLIGHT set, and reads what it wrote.
Program preflight(char** command) {
    std::string directory = (std::filesystem::temp_directory_path() / "dstream-preflight-XXXXXX").string();
    if (::mkdtemp(directory.data()) == nullptr) throw std::runtime_error("cannot make a directory for the preflight");
    const std::string file = directory + "/program.json";
    ::setenv("DSTREAM_PREFLIGHT", file.c_str(), 1);
    pid_t child = 0;
    int status = 0;
    const int error = ::posix_spawnp(&child, command[0], nullptr, nullptr, command, environ);
    if (error != 0) {
        throw std::runtime_error(std::string("cannot run ") + command[0] + ": " +
                                 std::generic_category().message(error));
    }
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !std::filesystem::exists(file)) {
        throw std::runtime_error(std::string(command[0]) +
                                 " did not come to the start of a StreamingContext; its status was " +
                                 std::to_string(status));
    }
    Program program = readPreflight(file);
    std::filesystem::remove_all(directory);
    return program;
}

int diff(const std::string& directory, char** command) {
    const Program program = preflight(command);
    std::ostringstream files;
    const auto checkpoint = listFiles(directory, files);
    if (!checkpoint) {
        std::cout << files.str() << "no readable checkpoint in " << directory << ": a start begins anew"
                  << (files.str().empty() ? "" : " only with createOnError") << "\n";
        return files.str().empty() ? kFits : kRefused;
    }
    std::cout << "checkpoint of batch " << checkpoint->time.milliseconds() << " ms\n";
    bool refused = false;
    if (checkpoint->batchDuration.milliseconds() != program.batchDurationMs) {
        std::cout << "refused  the checkpoint has batches of " << checkpoint->batchDuration.toString()
                  << ", the program of " << program.batchDurationMs << " ms\n";
        refused = true;
    }
    for (const OperatorFit& fit : fitOperators(checkpoint->operators, program.operators)) {
        const bool stops = isRefused(fit, program.allowDropped, program.allowNew);
        refused = refused || stops;
        std::string what;
        switch (fit.verdict) {
            case OperatorFit::Verdict::kLoads:
                if (!fit.saved->restored()) continue;
                what = "loads    " + fit.reason;
                if (!fit.saved->rdds.empty()) {
                    const auto& [time, rdd] = *fit.saved->rdds.rbegin();
                    what += ", " + stateText(*fit.saved) + " after batch " + std::to_string(time.milliseconds()) +
                            " ms, " + std::to_string(rdd.numPartitions) + " partitions, " +
                            sizeText(bytesBelow(rdd.directory));
                }
                break;
            case OperatorFit::Verdict::kNew:
                what = std::string(stops ? "refused" : "empty  ") + "  no match in the checkpoint: " + fit.reason;
                break;
            case OperatorFit::Verdict::kDropped:
                what = std::string(stops ? "refused" : "dropped") + "  no match in the program: " + fit.reason;
                break;
            case OperatorFit::Verdict::kChanged:
                what = std::string(stops ? "refused" : "dropped") + "  changed: " + fit.reason;
                break;
            case OperatorFit::Verdict::kAmbiguous:
                what = "refused  ambiguous: " + fit.reason;
                break;
        }
        std::cout << what << "\n";
    }
    if (refused) {
        std::cout
            << "A start would be refused. uid(\"…\") with the id of the checkpoint keeps the state of an operator "
               "that was moved; dstream.checkpoint.allowDroppedState and dstream.checkpoint.allowNewState accept "
               "what is lost.\n";
    }
    return refused ? kRefused : kFits;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::string command = argc > 1 ? argv[1] : "";
        if ((command == "inspect" && argc == 3) || (command == "diff" && argc >= 4)) {
            if (!std::filesystem::is_directory(argv[2])) {
                std::cerr << "dstream-checkpoint: no such directory: " << argv[2] << "\n";
                return kFailed;
            }
            const std::string directory = std::filesystem::canonical(argv[2]).string();
            return command == "inspect" ? inspect(directory) : diff(directory, argv + 3);
        }
        if (command == "--help" || command == "help") {
            std::cout << kUsage;
            return 0;
        }
        std::cerr << kUsage;
    } catch (const std::exception& error) {
        std::cerr << "dstream-checkpoint: " << error.what() << "\n";
    }
    return kFailed;
}
