// Follows a file as `tail -F` does: the lines that are appended to it, also when it is replaced by a new one.
#include <dstream/dstream.hpp>
#include <receivers/text_receiver.hpp>

#include <plugins/registry.hpp>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <stop_token>
#include <string>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

using namespace dstream;

namespace {

/// A file descriptor that closes itself.
class Descriptor {
public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int get() const { return number_; }
    /// @throws std::system_error  when `what` failed
    const Descriptor& orThrow(const std::string& what) const {
        if (number_ < 0) throw std::system_error(errno, std::generic_category(), what);
        return *this;
    }

private:
    int number_;
};

class Tail : public TextReceiver {
public:
    static OptionSchema options() {
        return {{"file", OptionType::kString, kRequired, "path of the file; it may appear later"},
                {"from", OptionType::kString, "end", "end, or start: what is in the file already is read too"}};
    }
    explicit Tail(const Options& options)
        : TextReceiver(StorageLevel::MEMORY_AND_DISK_SER),
          file_(std::filesystem::absolute(options.getString("file")).string()),
          fromEnd_(options.getString("from") == "end") {
        if (!fromEnd_ && options.getString("from") != "start") {
            throw IllegalArgumentException("from must be end or start: " + options.getString("from"));
        }
    }

    void onStart() override {
        thread_ = std::jthread([this](std::stop_token stop) {
            try {
                follow(stop);
            } catch (...) {
                if (!stop.stop_requested()) restart("cannot follow " + file_, std::current_exception());
            }
        });
    }
    void onStop() override { thread_ = {}; }

private:
    void follow(std::stop_token stop) {
        // The directory is watched: it tells of changes of the file, and of a new file of its name.
        const Descriptor changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        changes.orThrow("inotify");
        const std::string directory = std::filesystem::path(file_).parent_path().string();
        if (::inotify_add_watch(changes.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE) <
            0) {
            throw std::system_error(errno, std::generic_category(), directory);
        }
        const Descriptor stopped(::eventfd(0, EFD_CLOEXEC));
        stopped.orThrow("eventfd");
        const std::stop_callback wake(stop, [&] { ::eventfd_write(stopped.get(), 1); });
        if (isFirst_) open();
        if (isFirst_ && fromEnd_ && text_.get() >= 0) ::lseek(text_.get(), 0, SEEK_END);
        isFirst_ = false;
        while (!stop.stop_requested()) {
            readAll(stop);
            if (wasReplaced()) {
                readAll(stop);  // what came between the read and the replacement
                endText();
                open();
                continue;
            }
            std::array<pollfd, 2> events{{{changes.get(), POLLIN, 0}, {stopped.get(), POLLIN, 0}}};
            ::poll(events.data(), events.size(), -1);
            std::array<char, 4096> names;  // which file has changed is looked at by wasReplaced and readAll
            while (::read(changes.get(), names.data(), names.size()) > 0) {
            }
        }
    }
    void open() { text_ = Descriptor(::open(file_.c_str(), O_RDONLY | O_CLOEXEC)); }
    bool wasReplaced() const {
        struct stat now {};
        if (::stat(file_.c_str(), &now) != 0) return false;
        struct stat opened {};
        return text_.get() < 0 || ::fstat(text_.get(), &opened) != 0 || opened.st_ino != now.st_ino ||
               opened.st_dev != now.st_dev;
    }
    void readAll(std::stop_token stop) {
        std::array<char, 64 << 10> piece;
        while (text_.get() >= 0 && !stop.stop_requested()) {
            const ssize_t count = ::read(text_.get(), piece.data(), piece.size());
            if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), file_);
            if (count == 0) return;
            if (count > 0) storeText({piece.data(), static_cast<std::size_t>(count)});
        }
    }

    const std::string file_;
    const bool fromEnd_;
    bool isFirst_ = true;
    Descriptor text_;  // kept over a restart, with the place in it
    std::jthread thread_;
};

/// Prints the lines of each batch.
void printTail(StreamingContext& ssc, const Options& options) {
    pluginStream<std::string>(ssc, "tail", {{"file", options.getString("file")}, {"from", options.getString("from")}})
        .foreachRDD([](const RDD<std::string>& rdd, Time) {
            for (const std::string& line : rdd.collect()) std::puts(line.c_str());
            std::fflush(stdout);
        });
}

}  // namespace

DSTREAM_REGISTER_RECEIVER("tail", Tail)
DSTREAM_REGISTER_JOB("print_tail", printTail, Tail::options())
