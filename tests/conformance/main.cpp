// Runs conformance cases: dstream_conformance PATH… [--chunk N] [--typed-only|--dynamic-only]

#include "case_runner.hpp"
#include "rdd/log.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace {

using conformance::Variant;
using conformance::Verdict;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: dstream_conformance PATH... [--chunk N] [--typed-only|--dynamic-only] [--only ID] [--again]\n"
    "  PATH            a file of cases, or a folder whose *.json files are\n"
    "  --chunk N       run at this chunk size only (default: 1, 7 and 1024)\n"
    "  --typed-only    run only the typed, fused form of the cases that have one\n"
    "  --dynamic-only  run only the form over one variant type\n"
    "  --only ID       run only this case, with log lines\n"
    "  --again         run a case that fails once more, and name it when it passes then\n";

struct Options {
    std::vector<std::string> paths;
    std::vector<int> chunkSizes{1, 7, 1024};
    bool dynamic = true;
    bool typed = true;
    std::string only;
    bool again = false;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        const auto value = [&]() -> std::string {
            if (++i == argc) throw std::runtime_error(argument + " needs a value");
            return argv[i];
        };
        if (argument == "--chunk") {
            options.chunkSizes = {std::stoi(value())};
        } else if (argument == "--typed-only") {
            options.dynamic = false;
        } else if (argument == "--dynamic-only") {
            options.typed = false;
        } else if (argument == "--only") {
            options.only = value();
        } else if (argument == "--again") {
            options.again = true;
        } else if (argument.starts_with("--")) {
            throw std::runtime_error("unknown option " + argument);
        } else {
            options.paths.push_back(argument);
        }
    }
    if (options.paths.empty()) throw std::runtime_error("no PATH given");
    if (!options.dynamic && !options.typed)
        throw std::runtime_error("--typed-only and --dynamic-only exclude each other");
    return options;
}

std::vector<fs::path> caseFiles(const std::vector<std::string>& paths) {
    std::vector<fs::path> files;
    for (const std::string& path : paths) {
        if (!fs::is_directory(path)) {
            files.emplace_back(path);
            continue;
        }
        const size_t before = files.size();
        for (const auto& entry : fs::recursive_directory_iterator(path)) {
            if (entry.path().extension() == ".json") files.push_back(entry.path());
        }
        std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
    }
    return files;
}

Verdict runOnce(const json& testCase, const Variant& variant) {
    try {
        const std::string kind = testCase.at("kind");
        if (kind == "rdd") return runRddCase(testCase, variant);
        if (kind == "dstream") return runStreamCase(testCase, variant);
        if (kind == "lifecycle") return runLifecycleCase(testCase, variant);
        return "unknown kind of case: " + kind;
    } catch (const std::exception& error) {
        return std::string("the case could not be run: ") + error.what();
    }
}

/// Runs a case in every way asked for, up to the first that fails. Returns false when none applies to it.
bool runCase(const json& testCase, const Options& options, Verdict& verdict) {
    bool ran = false;
    for (const bool typed : {false, true}) {
        if (!(typed ? options.typed && conformance::hasTypedPart(testCase) : options.dynamic)) continue;
        for (const int chunkSize : options.chunkSizes) {
            const Variant variant{chunkSize, typed};
            ran = true;
            verdict = runOnce(testCase, variant);
            if (!verdict) continue;
            *verdict += " [" + variant.name() + "]";
            return true;
        }
    }
    return ran;
}

int run(const Options& options) {
    int passed = 0;
    int failed = 0;
    const auto report = [&](const std::string& id, const std::string& text) {
        ++failed;
        std::cout << id << ": " << text << std::endl;
    };
    for (const fs::path& path : caseFiles(options.paths)) {
        std::ifstream file(path);
        const json cases = json::parse(file, nullptr, false);
        if (!file || !cases.is_array()) {
            report(path.string(), "expected a readable JSON array of cases");
            continue;
        }
        for (const json& testCase : cases) {
            const std::string id = testCase.value("id", path.filename().string() + ", a case without id");
            if (!options.only.empty() && id != options.only) continue;
            Verdict verdict;
            if (!runCase(testCase, options, verdict)) continue;
            if (verdict && options.again) {
                std::cout << "run again: " << id << ": " << *verdict << std::endl;
                runCase(testCase, options, verdict);
                if (!verdict) std::cout << "passed only when run again: " << id << std::endl;
            }
            verdict ? report(id, *verdict) : void(++passed);
        }
    }
    std::cout << passed << " passed, " << failed << " failed" << std::endl;
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    try {
        options = parse(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n" << kUsage;
        return 2;
    }
    // What goes wrong is part of the cases; the verdict says it.
    if (options.only.empty()) dstream::setLogLevel(dstream::LogLevel::kOff);
    return run(options);
}
