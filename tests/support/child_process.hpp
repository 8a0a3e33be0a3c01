#pragma once

#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace dstream::testsupport {

/// Returns the path of a program of this build.
std::string builtProgram(const std::string& name);

/// A program run as a process of its own, with pipes at its input and its output (errors included). Its end ends the
/// process too.
class ChildProcess {
public:
    explicit ChildProcess(std::vector<std::string> command,
                          const std::vector<std::pair<std::string, std::string>>& environment = {});
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;
    ~ChildProcess();

    /// Returns its next line of output without the end; empty at the end of the output.
    std::string readLine();
    /// Closes its input, reads its output to the end and waits for it; returns the exit status, or 128 and the signal.
    int finish();
    /// What was read so far.
    const std::string& output() const { return output_; }
    pid_t id() const { return id_; }

private:
    bool readMore();

    pid_t id_ = 0;
    int input_ = -1;
    int outputEnd_ = -1;
    std::string output_;
    std::size_t taken_ = 0;  // of the output, by readLine
};

}  // namespace dstream::testsupport
