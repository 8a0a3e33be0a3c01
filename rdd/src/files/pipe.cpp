#include "files/byte_source.hpp"
#include "files/line_reader.hpp"
#include "files/text_encoding.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_context.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stop_token>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace dstream::detail {

namespace {

/// A descriptor that closes itself.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int value) : value_(value) {}
    Descriptor(Descriptor&& that) noexcept : value_(std::exchange(that.value_, -1)) {}
    Descriptor& operator=(Descriptor&& that) noexcept {
        std::swap(value_, that.value_);
        return *this;
    }
    ~Descriptor() { close(); }
    void close() {
        if (value_ >= 0) ::close(std::exchange(value_, -1));
    }
    int get() const { return value_; }
    bool isOpen() const { return value_ >= 0; }

private:
    int value_ = -1;
};

struct PipeEnds {
    Descriptor read, write;
};

PipeEnds makePipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw FileSystemException("make", "a pipe", errno);
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/// write() that reports a closed pipe as EPIPE and never as a signal, whatever the program does with SIGPIPE.
ssize_t writeWithoutSignal(int descriptor, std::string_view text) {
    sigset_t pipeSignal, pending, before;
    sigemptyset(&pipeSignal);
    sigaddset(&pipeSignal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipeSignal, &before);
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    const int error = errno;
    if (count < 0 && error == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
        constexpr timespec kNoTime{};
        ::sigtimedwait(&pipeSignal, nullptr, &kNoTime);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = error;
    return count;
}

/// A directory of its own, with links to all that is in the current one.
class WorkDirectory {
public:
    explicit WorkDirectory(const std::string& root) : path_(root + "/dstream-pipe-XXXXXX") {
        if (::mkdtemp(path_.data()) == nullptr) throw FileSystemException("make directory", path_, errno);
        const Owner current(::getcwd(nullptr, 0));
        if (!current) throw FileSystemException("find", "the current directory", errno);
        for (const std::string& name : posixFs().list(current.get())) {
            const std::string target = std::string(current.get()) + "/" + name;
            if (::symlink(target.c_str(), (path_ + "/" + name).c_str()) != 0) {
                throw FileSystemException("link to", target, errno);
            }
        }
    }
    ~WorkDirectory() {
        try {
            posixFs().removeAll(path_);
        } catch (const std::exception& error) {
            logMessage(LogLevel::kWarn, "files", error.what());
        }
    }
    WorkDirectory(const WorkDirectory&) = delete;
    WorkDirectory& operator=(const WorkDirectory&) = delete;
    const std::string& path() const { return path_; }

private:
    struct Free {
        void operator()(char* memory) const { std::free(memory); }
    };
    using Owner = std::unique_ptr<char, Free>;
    std::string path_;
};

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    return text;
}

std::vector<char*> pointersTo(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

std::vector<std::string> environmentWith(const std::map<std::string, std::string>& added) {
    std::vector<std::string> all;
    for (const auto& [name, value] : added) all.push_back(name + "=" + value);
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        if (!added.contains(std::string(text.substr(0, text.find('='))))) all.emplace_back(text);
    }
    return all;
}

/// A descriptor that becomes readable when the task is interrupted.
class Interruption {
public:
    explicit Interruption(const TaskContext& context)
        : event_(::eventfd(0, EFD_CLOEXEC)), wake_(context.interruption(), Wake{event_.get()}) {
        if (!event_.isOpen()) throw FileSystemException("make", "an event descriptor", errno);
    }
    pollfd waited() const { return {event_.get(), POLLIN, 0}; }

private:
    struct Wake {
        int event;
        void operator()() const {
            constexpr uint64_t kOne = 1;
            if (::write(event, &kOne, sizeof kOne) < 0) {
                // It is readable already.
            }
        }
    };
    const Descriptor event_;
    const std::stop_callback<Wake> wake_;
};

/// A child process: what it writes is read here, and while that is waited for it is fed.
class ProcessSource final : public ByteSource {
public:
    ProcessSource(const PipeCommand& command, TextFeed feed, TaskContext& context)
        : commandText_(joined(command.words)),
          bufferBytes_(static_cast<size_t>(command.bufferBytes)),
          feed_(std::move(feed)),
          encoder_("UTF-8", command.encoding, "the input of " + commandText_),
          context_(context),
          interruption_(context) {
        if (command.separateDirectory) directory_.emplace(context.core().conf().get("spark.local.dir", "/tmp"));
        start(command);
    }
    ~ProcessSource() override {
        input_.close();
        output_.close();
        if (child_ > 0) {
            ::kill(child_, SIGKILL);
            reap();
        }
    }
    ProcessSource(const ProcessSource&) = delete;
    ProcessSource& operator=(const ProcessSource&) = delete;

private:
    void start(const PipeCommand& command) {
        PipeEnds input = makePipe();
        PipeEnds output = makePipe();
        std::vector<std::string> words = command.words;
        std::vector<std::string> environment = environmentWith(command.environment);

        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
        if (directory_) posix_spawn_file_actions_addchdir_np(&actions, directory_->path().c_str());
        posix_spawn_file_actions_adddup2(&actions, input.read.get(), STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, output.write.get(), STDOUT_FILENO);
        posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
        sigset_t signals;
        sigemptyset(&signals);
        posix_spawnattr_setsigmask(&attributes, &signals);
        sigaddset(&signals, SIGPIPE);
        posix_spawnattr_setsigdefault(&attributes, &signals);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        const int error = ::posix_spawnp(&child_, words.front().c_str(), &actions, &attributes,
                                         pointersTo(words).data(), pointersTo(environment).data());
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        if (error != 0) {
            child_ = 0;
            throw SparkException("Cannot run program \"" + command.words.front() + "\": " + std::strerror(error));
        }
        input_ = std::move(input.write);
        output_ = std::move(output.read);
        ::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
    }

    size_t doRead(std::span<std::byte> place) override {
        while (input_.isOpen() || output_.isOpen()) {
            pollfd waiting[] = {{output_.get(), POLLIN, 0}, {input_.get(), POLLOUT, 0}, interruption_.waited()};
            waitFor(waiting);
            if (waiting[0].revents != 0) {
                const ssize_t count = ::read(output_.get(), place.data(), place.size());
                if (count > 0) return static_cast<size_t>(count);
                if (count == 0) output_.close();
                if (count < 0 && errno != EINTR) throw FileSystemException("read the output of", commandText_, errno);
            }
            if (waiting[1].revents != 0) writeInput();
        }
        if (child_ > 0) checkExit();
        return 0;
    }

    /// Waits until something can be done.
    void waitFor(std::span<pollfd> waiting) {
        while (::poll(waiting.data(), waiting.size(), -1) < 0) {
            if (errno != EINTR) throw FileSystemException("wait for", commandText_, errno);
        }
        context_.checkCancelled();
    }

    void writeInput() {
        while (sent_ == text_.size()) {
            text_.clear();
            sent_ = 0;
            if (fed_) {
                input_.close();
                return;
            }
            fillText();
        }
        const ssize_t count = writeWithoutSignal(input_.get(), std::string_view(text_).substr(sent_));
        if (count >= 0) {
            sent_ += static_cast<size_t>(count);
        } else if (errno == EPIPE) {
            input_.close();  // it wants no more; its exit status tells whether that is an error
        } else if (errno != EAGAIN && errno != EINTR) {
            throw FileSystemException("write to", commandText_, errno);
        }
    }

    /// Gathers at least a buffer of text, less at the end only.
    void fillText() {
        std::string plain;
        std::string& text = encoder_.converts() ? plain : text_;
        while (!fed_ && text.size() < bufferBytes_) fed_ = !feed_(text);
        if (encoder_.converts()) encoder_.convert(plain, text_);
    }

    void checkExit() {
        const Descriptor ended(static_cast<int>(::syscall(SYS_pidfd_open, child_, 0)));
        if (ended.isOpen()) {
            pollfd waiting[] = {{ended.get(), POLLIN, 0}, interruption_.waited()};
            waitFor(waiting);
        }
        const int status = reap();
        const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (code != 0) {
            throw IllegalStateException("Subprocess exited with status " + std::to_string(code) +
                                        ". Command ran: " + commandText_);
        }
    }

    int reap() {
        int status = 0;
        while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
        }
        child_ = 0;
        return status;
    }

    const std::string commandText_;
    const size_t bufferBytes_;
    TextFeed feed_;
    TextConverter encoder_;
    TaskContext& context_;
    const Interruption interruption_;
    std::optional<WorkDirectory> directory_;
    pid_t child_ = 0;
    Descriptor input_;
    Descriptor output_;
    std::string text_;
    size_t sent_ = 0;
    bool fed_ = false;  // there is no more text
};

}  // namespace

std::vector<std::string> splitCommand(const std::string& command) {
    constexpr const char* kBlanks = " \t\n\r\f";
    std::vector<std::string> words;
    for (size_t begin = command.find_first_not_of(kBlanks); begin != command.npos;) {
        const size_t end = std::min(command.find_first_of(kBlanks, begin), command.size());
        words.push_back(command.substr(begin, end - begin));
        begin = command.find_first_not_of(kBlanks, end);
    }
    return words;
}

void checkPipe(const PipeCommand& command) {
    require(!command.words.empty(), "pipe needs a command, the given one is empty");
    require(command.bufferBytes >= 1, "pipe needs a buffer of at least 1 byte: " + std::to_string(command.bufferBytes));
    const TextConverter known("UTF-8", command.encoding, "");
}

CursorPtr<std::string_view> pipeThrough(const PipeCommand& command, TextFeed feed, TaskContext& context) {
    const std::string origin = "the output of " + joined(command.words);
    LineReader::Options options;
    options.skipByteOrderMark = false;
    std::unique_ptr<ByteSource> source = std::make_unique<ProcessSource>(command, std::move(feed), context);
    if (!TextConverter(command.encoding, "UTF-8", origin).converts()) {
        return std::make_unique<LineCursor>(context, std::move(source), origin, 0, LineReader::kToTheEnd, options);
    }
    return std::make_unique<LineCursor>(context, decodeText(std::move(source), command.encoding, origin), origin, 0,
                                        LineReader::kToTheEnd, options);
}

}  // namespace dstream::detail
