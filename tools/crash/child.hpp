#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace dstream::crash {

struct Start {
    std::vector<std::string> command;
    std::string directory;  // to work in
    std::string output;     // a file for standard output and errors
    std::chrono::milliseconds timeout;
    uint64_t killAt = 0;  // the failpoint that kills it, counted from 1; 0: none
};

struct Ended {
    int status = 0;  // of exit
    int signal = 0;  // that ended it, or 0
    bool timedOut = false;
};

/// Runs a program and waits for its end; one that takes too long is killed.
/// @throws std::system_error  when it cannot be started
Ended runChild(const Start& start);

}  // namespace dstream::crash
