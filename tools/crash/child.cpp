#include "child.hpp"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <string_view>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

extern "C" {  // which glibc 2.36 forgets
#include <sys/pidfd.h>
}

namespace dstream::crash {

namespace {

void check(int error, const std::string& what) {
    if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

/// The environment of this process with the failpoints set.
std::vector<std::string> environmentOf(const Start& start) {
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string_view text = *variable;
        const bool failpoint = text.starts_with("DSTREAM_KILL_AT=") || text.starts_with("DSTREAM_FAILPOINTS=");
        if (!failpoint) variables.emplace_back(text);
    }
    if (start.killAt != 0) variables.push_back("DSTREAM_KILL_AT=" + std::to_string(start.killAt));
    variables.emplace_back("DSTREAM_FAILPOINTS=list");
    return variables;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

class FileActions {
public:
    FileActions() { check(posix_spawn_file_actions_init(&actions_), "posix_spawn"); }
    ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
    FileActions(const FileActions&) = delete;
    FileActions& operator=(const FileActions&) = delete;
    posix_spawn_file_actions_t* get() { return &actions_; }

private:
    posix_spawn_file_actions_t actions_;
};

}  // namespace

Ended runChild(const Start& start) {
    std::vector<std::string> command = start.command;
    std::vector<std::string> environment = environmentOf(start);
    FileActions actions;
    check(posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0), "posix_spawn");
    check(posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, start.output.c_str(),
                                           O_WRONLY | O_CREAT | O_TRUNC, 0600),
          "posix_spawn");
    check(posix_spawn_file_actions_adddup2(actions.get(), STDOUT_FILENO, STDERR_FILENO), "posix_spawn");
    check(posix_spawn_file_actions_addchdir_np(actions.get(), start.directory.c_str()), "posix_spawn");
    pid_t child = 0;
    check(posix_spawnp(&child, command[0].c_str(), actions.get(), nullptr, pointers(command).data(),
                       pointers(environment).data()),
          "cannot start " + command[0]);

    Ended ended;
    const int descriptor = pidfd_open(child, 0);
    if (descriptor < 0) check(errno, "pidfd_open");
    pollfd event{descriptor, POLLIN, 0};
    int ready = 0;
    do {
        ready = ::poll(&event, 1, static_cast<int>(start.timeout.count()));
    } while (ready < 0 && errno == EINTR);
    ::close(descriptor);
    if (ready == 0) {
        ended.timedOut = true;
        ::kill(child, SIGKILL);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) check(errno, "waitpid");
    }
    if (WIFEXITED(status)) ended.status = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
    return ended;
}

}  // namespace dstream::crash
