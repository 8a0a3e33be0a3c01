#include "plugins/run.hpp"

#include "dstream/testkit.hpp"
#include "plugins/registry.hpp"
#include "rdd/exceptions.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <iostream>
#include <mutex>
#include <optional>
#include <poll.h>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace dstream {

namespace {

constexpr std::string_view kOptions =
    "  --batch TIME        batch interval (1s)\n"
    "  --master MASTER     local[N] (local[*])\n"
    "  --conf KEY=VALUE    a setting; as often as wanted\n"
    "  --for TIME          ends after this time, when what has been received is processed\n"
    "  --batches N         ends after N batches\n"
    "  --checkpoint DIR    goes on from the checkpoint in DIR if there is one, and writes them there\n"
    "  --plugin PLUGIN     loads a plugin: an absolute path, or a name in a plugin directory; as often as wanted\n"
    "  --list              lists jobs, receivers and sinks with their options\n"
    "\n"
    "ARGUMENT is NAME=VALUE for an option of the job, or a value for its first option that has none yet.\n"
    "Plugin directories are those of dstream.plugin.path, else of DSTREAM_PLUGIN_PATH.\n"
    "SIGTERM or Ctrl-C: processes what has been received, then ends; a second one ends at once.\n"
    "Exit status: 0 ended, 1 failed, 2 wrong arguments, 3 a plugin cannot be used; ended by a signal otherwise.\n";

/// Writes a line in one piece, so that nothing comes between its parts.
void say(const std::string& text) {
    std::cerr << "dstream-run: " + text + "\n";
}

/// Arguments that make no sense.
class UsageError : public IllegalArgumentException {
public:
    using IllegalArgumentException::IllegalArgumentException;
};

struct Arguments {
    bool list = false;
    bool help = false;
    std::string job;
    Duration batch = Seconds(1);
    SparkConf conf;
    std::optional<Duration> runFor;
    std::optional<int64_t> batches;
    std::string checkpoint;
    std::vector<std::string> plugins;
    std::vector<std::string> jobArguments;
};

Duration parsePositive(const std::string& option, const std::string& text) {
    try {
        const Duration duration(parseTimeMs(text));
        if (duration.milliseconds() > 0) return duration;
    } catch (const IllegalArgumentException&) {
    }
    throw UsageError(option + " must be a time such as 500ms or 30s: \"" + text + "\"");
}

int64_t parseCount(const std::string& option, const std::string& text) {
    SparkConf conf;
    conf.set("count", text);
    try {
        if (const int64_t count = conf.getLong("count", 0); count > 0) return count;
    } catch (const IllegalArgumentException&) {
    }
    throw UsageError(option + " must be a whole number above 0: \"" + text + "\"");
}

Arguments parse(int argc, char** argv, const std::string& job) {
    Arguments result;
    result.job = job;
    int i = 1;
    const auto value = [&](const std::string& option) -> std::string {
        if (i + 1 >= argc) throw UsageError(option + " needs a value");
        return argv[++i];
    };
    for (; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--") {
            ++i;
            break;
        } else if (argument == "--list") {
            result.list = true;
        } else if (argument == "--help" || argument == "-h") {
            result.help = true;
        } else if (argument == "--batch") {
            result.batch = parsePositive(argument, value(argument));
        } else if (argument == "--for") {
            result.runFor = parsePositive(argument, value(argument));
        } else if (argument == "--batches") {
            result.batches = parseCount(argument, value(argument));
        } else if (argument == "--master") {
            result.conf.setMaster(value(argument));
        } else if (argument == "--checkpoint") {
            result.checkpoint = value(argument);
        } else if (argument == "--plugin") {
            result.plugins.push_back(value(argument));
        } else if (argument == "--conf") {
            const std::string setting = value(argument);
            const std::size_t end = setting.find('=');
            if (end == 0 || end == std::string::npos) {
                throw UsageError("--conf must be KEY=VALUE: \"" + setting + "\"");
            }
            result.conf.set(setting.substr(0, end), setting.substr(end + 1));
        } else if (argument.starts_with("-") && argument.size() > 1) {
            throw UsageError("there is no option " + argument + "; arguments of the job come after --");
        } else if (!job.empty()) {
            break;  // a program of one job: its arguments begin
        } else if (result.job.empty()) {
            result.job = argument;
        } else {
            throw UsageError("one job is run, " + result.job + "; arguments of the job come after --: " + argument);
        }
    }
    result.jobArguments.assign(argv + i, argv + argc);
    return result;
}

void listKind(PluginKind kind, std::string_view title, std::ostream& out) {
    bool first = true;
    for (const PluginInfo& info : registeredPlugins()) {
        if (info.kind != kind) continue;
        if (std::exchange(first, false)) out << title << ":\n";
        out << "  " << info.name;
        if (!info.elementType.empty()) out << " (" << info.elementType << ")";
        if (!info.origin.empty()) out << "  " << info.origin;
        out << "\n";
        for (const OptionSpec& option : info.options.specs()) {
            out << "    " << option.name << "  " << toString(option.type) << "  "
                << (option.defaultValue ? "\"" + redact(option.name, *option.defaultValue) + "\"" : "required") << "  "
                << option.help << "\n";
        }
    }
}

/// What the handler of a crash tells; it may use nothing else.
std::atomic<int64_t> lastBatchMs = -1;

const char* signalName(int number) {
    switch (number) {
        case SIGSEGV:
            return "SIGSEGV";
        case SIGBUS:
            return "SIGBUS";
        case SIGFPE:
            return "SIGFPE";
        case SIGILL:
            return "SIGILL";
        default:
            return "SIGABRT";
    }
}

/// Says which signal ended the process and which batch was the last one, then lets the signal do its work.
void reportCrash(int number) {
    char text[128];
    std::size_t size = 0;
    const auto add = [&](const char* piece) {
        while (*piece != '\0' && size < sizeof text) text[size++] = *piece++;
    };
    add("dstream-run: crashed by ");
    add(signalName(number));
    add("; last batch completed: ");
    const int64_t last = lastBatchMs.load();
    if (last < 0) {
        add("none");
    } else {
        char digits[24];
        std::size_t at = sizeof digits;
        digits[--at] = '\0';
        int64_t rest = last;
        do {
            digits[--at] = static_cast<char>('0' + rest % 10);
            rest /= 10;
        } while (rest > 0);
        add(digits + at);
        add(" ms");
    }
    add("\n");
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, size);
    ::raise(number);  // the default action: the handler was for once
}

void handleCrashes() {
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
        struct sigaction action {};
        action.sa_handler = reportCrash;
        action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
        ::sigaction(number, &action, nullptr);
    }
}

/// Follows the batches, and can wait for a number of them.
class Batches : public StreamingListener {
public:
    void onBatchCompleted(const StreamingListenerBatchCompleted& event) override {
        lastBatchMs = event.batchInfo.batchTime.milliseconds();
        const std::lock_guard lock(mutex_);
        ++completed_;
        if (onCompleted_ && completed_ == wanted_) std::exchange(onCompleted_, nullptr)();
    }
    void afterBatches(int64_t count, std::function<void()> call) {
        wanted_ = count;
        onCompleted_ = std::move(call);
    }

private:
    std::mutex mutex_;  // guards the fields below
    int64_t completed_ = 0;
    int64_t wanted_ = 0;
    std::function<void()> onCompleted_;
};

/// One reason to stop, which the first that has one sets.
class StopRequest {
public:
    enum class Kind { kGraceful, kAtOnce };
    void set(Kind kind) {
        const std::lock_guard lock(mutex_);
        if (!kind_) kind_ = kind;
        changed_.notify_all();
    }
    /// Waits for a reason, until the deadline.
    Kind wait(const std::optional<Duration>& timeout) {
        std::unique_lock lock(mutex_);
        const auto isSet = [this] { return kind_.has_value(); };
        if (!timeout) {
            changed_.wait(lock, isSet);
        } else if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout->milliseconds()), isSet)) {
            kind_ = Kind::kGraceful;
        }
        return *kind_;
    }

private:
    std::mutex mutex_;  // guards the field below
    std::condition_variable changed_;
    std::optional<Kind> kind_;
};

/// Takes SIGINT and SIGTERM for the process: the first asks for a graceful stop, a second ends the process. Blocks them
/// in the calling thread and so in the threads that it starts.
class Signals {
public:
    explicit Signals(StopRequest& request) : request_(request) {
        ::sigemptyset(&signals_);
        ::sigaddset(&signals_, SIGINT);
        ::sigaddset(&signals_, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
        taken_ = ::signalfd(-1, &signals_, SFD_CLOEXEC);
        ended_ = ::eventfd(0, EFD_CLOEXEC);
        if (taken_ < 0 || ended_ < 0) throw SparkException("no descriptor is left to wait for signals");
        thread_ = std::jthread([this] { run(); });
    }
    ~Signals() {
        const uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(ended_, &one, sizeof one);
        thread_.join();
        ::close(taken_);
        ::close(ended_);
    }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

private:
    void run() {
        bool stopping = false;
        while (true) {
            std::array<pollfd, 2> events{{{taken_, POLLIN, 0}, {ended_, POLLIN, 0}}};
            if (::poll(events.data(), events.size(), -1) < 0) continue;
            if (events[1].revents != 0) return;
            signalfd_siginfo info{};
            if (::read(taken_, &info, sizeof info) != sizeof info) continue;
            if (stopping) {
                // The shell is to see the signal.
                std::signal(static_cast<int>(info.ssi_signo), SIG_DFL);
                ::pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
                ::raise(static_cast<int>(info.ssi_signo));
            }
            stopping = true;
            say("stopping when what has been received is processed; a second signal stops at once");
            request_.set(StopRequest::Kind::kGraceful);
        }
    }

    StopRequest& request_;
    sigset_t signals_{};
    int taken_ = -1;
    int ended_ = -1;
    std::jthread thread_;
};

bool hasManualClock(const StreamingContext& ssc) {
    try {
        testkit::manualClock(ssc);
        return true;
    } catch (const IllegalStateException&) {
        return false;
    }
}

void runJob(const Arguments& arguments, const OptionValues& options) {
    StopRequest request;
    const Signals signals(request);
    SparkConf conf = arguments.conf;
    conf.setIfMissing("spark.master", "local[*]").setIfMissing("spark.app.name", arguments.job);
    const auto create = [&] {
        StreamingContext made(conf, arguments.batch);
        if (!arguments.checkpoint.empty()) made.checkpoint(arguments.checkpoint);
        defineJob(arguments.job, made, options);
        return made;
    };
    StreamingContext ssc =
        arguments.checkpoint.empty() ? create() : StreamingContext::getOrCreate(arguments.checkpoint, create);
    const bool manual = hasManualClock(ssc);
    if (manual && !arguments.batches) throw UsageError("a manual clock moves by --batches only: give that");

    const auto batches = std::make_shared<Batches>();
    if (arguments.batches && !manual) {
        batches->afterBatches(*arguments.batches, [&] { request.set(StopRequest::Kind::kAtOnce); });
    }
    ssc.addStreamingListener(batches);
    ssc.start();
    say(arguments.job + " started");

    if (manual) {
        testkit::manualClock(ssc).advance(arguments.batch * static_cast<int>(*arguments.batches));
        ssc.stop();
        ssc.awaitTermination();
        return;
    }
    std::exception_ptr failure;
    std::jthread ending([&] {
        try {
            ssc.awaitTermination();
        } catch (...) {
            failure = std::current_exception();
        }
        request.set(StopRequest::Kind::kAtOnce);
    });
    const bool gracefully = request.wait(arguments.runFor) == StopRequest::Kind::kGraceful;
    if (ssc.getState() != StreamingContextState::STOPPED) ssc.stop(true, gracefully);
    ending.join();
    if (failure) std::rethrow_exception(failure);
}

RunStatus run(int argc, char** argv, const std::string& job) {
    const Arguments arguments = parse(argc, argv, job);
    if (arguments.help || (!arguments.list && arguments.job.empty())) {
        (arguments.help ? std::cout : std::cerr)
            << "usage: "
            << (job.empty() ? "dstream-run [OPTION...] JOB [-- ARGUMENT...]" : job + " [OPTION...] ARGUMENT...")
            << "\n\n"
            << kOptions;
        return arguments.help ? RunStatus::kEnded : RunStatus::kUsage;
    }
    for (const std::string& plugin : arguments.plugins) loadPlugin(plugin, arguments.conf);
    const std::vector<std::string> unusable = loadPlugins(arguments.conf);
    for (const std::string& reason : unusable) say(reason);
    if (arguments.list) {
        listKind(PluginKind::kJob, "jobs", std::cout);
        listKind(PluginKind::kReceiver, "receivers", std::cout);
        listKind(PluginKind::kSink, "sinks", std::cout);
        return unusable.empty() ? RunStatus::kEnded : RunStatus::kPlugin;
    }
    std::string known;
    for (const PluginInfo& info : registeredPlugins()) {
        if (info.kind != PluginKind::kJob) continue;
        known += (known.empty() ? "; there are " : ", ") + info.name;
        if (info.name != arguments.job) continue;
        OptionValues options;
        try {
            options = info.options.parseArguments(arguments.jobArguments);
            Options(info.options, options);
        } catch (const IllegalArgumentException& error) {
            throw UsageError("job \"" + info.name + "\": " + error.what());
        }
        runJob(arguments, options);
        return RunStatus::kEnded;
    }
    say("there is no job \"" + arguments.job + "\"" + known);
    return unusable.empty() ? RunStatus::kUsage : RunStatus::kPlugin;
}

}  // namespace

int runMain(int argc, char** argv, const std::string& job) {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    handleCrashes();
    RunStatus status = RunStatus::kFailed;
    try {
        status = run(argc, argv, job);
    } catch (const UsageError& error) {
        say(error.what());
        status = RunStatus::kUsage;
    } catch (const PluginException& error) {
        say(error.what());
        status = RunStatus::kPlugin;
    } catch (...) {
        say(describeException(std::current_exception()));
    }
    return static_cast<int>(status);
}

}  // namespace dstream
