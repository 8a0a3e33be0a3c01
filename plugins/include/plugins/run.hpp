#pragma once

#include <string>

namespace dstream {

/// How a run of jobs ended: the exit status of `dstream-run`. A second signal, or a crash, ends the process by that
/// signal (128 and its number for a shell).
enum class RunStatus {
    kEnded = 0,   // by --for or --batches, by the job, or by a signal after all received data was processed
    kFailed = 1,  // a batch failed, or the start
    kUsage = 2,   // wrong options of the runner or the job
    kPlugin = 3,  // a plugin cannot be used
};

/// The whole of `dstream-run`: parses its arguments, loads plugins, runs a job until it ends or a signal says so. To be
/// called by main(), before the program has other threads. With `job`, the program is that of one job: its own
/// arguments follow those of the runner.
///
///     int main(int argc, char** argv) {
///         return runMain(argc, argv, "word_count");
///     }
int runMain(int argc, char** argv, const std::string& job = "");

}  // namespace dstream
