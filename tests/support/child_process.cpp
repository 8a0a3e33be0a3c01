#include "support/child_process.hpp"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace dstream::testsupport {

namespace {

void closeEnd(int& descriptor) {
    if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
}

}  // namespace

std::string builtProgram(const std::string& name) {
    return std::string(DSTREAM_PROGRAMS) + "/" + name;
}

ChildProcess::ChildProcess(std::vector<std::string> command,
                           const std::vector<std::pair<std::string, std::string>>& environment) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe");
    }
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
    for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
    const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> result;
        for (std::string& text : texts) result.push_back(text.data());
        result.push_back(nullptr);
        return result;
    };
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDERR_FILENO);
    const int error = ::posix_spawn(&id_, command.at(0).c_str(), &actions, nullptr, pointers(command).data(),
                                    pointers(variables).data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    input_ = in[1];
    outputEnd_ = out[0];
    if (error != 0) throw std::system_error(error, std::generic_category(), command.at(0));
}

ChildProcess::~ChildProcess() {
    if (id_ > 0) {
        ::kill(id_, SIGKILL);
        finish();
    }
    closeEnd(input_);
    closeEnd(outputEnd_);
}

bool ChildProcess::readMore() {
    char piece[4096];
    ssize_t count = 0;
    do {
        count = ::read(outputEnd_, piece, sizeof piece);
    } while (count < 0 && errno == EINTR);
    if (count > 0) output_.append(piece, static_cast<std::size_t>(count));
    return count > 0;
}

std::string ChildProcess::readLine() {
    std::size_t end = 0;
    while ((end = output_.find('\n', taken_)) == std::string::npos) {
        if (!readMore()) return {};
    }
    const std::string line = output_.substr(taken_, end - taken_);
    taken_ = end + 1;
    return line;
}

int ChildProcess::finish() {
    closeEnd(input_);
    while (readMore()) {
    }
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    id_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace dstream::testsupport
