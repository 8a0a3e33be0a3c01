#include "context/console_progress.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dstream {
namespace {

constexpr std::chrono::milliseconds kFirst(500);
constexpr std::chrono::milliseconds kBetween(200);
constexpr std::size_t kMostStages = 3;

int terminalWidth() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

ConsoleProgress::ConsoleProgress(const StatusStore& status)
    : status_(status), thread_([this](const std::stop_token& stop) { run(stop); }) {}

std::string ConsoleProgress::line(const std::vector<StageStatus>& stages, int width) {
    std::string text;
    const int each = stages.empty() ? 0 : width / static_cast<int>(stages.size());
    for (const StageStatus& stage : stages) {
        const std::string header = "[Stage " + std::to_string(stage.stageId) + ":";
        const std::string tail = "(" + std::to_string(stage.completed) + " + " + std::to_string(stage.active) + ") / " +
                                 std::to_string(stage.tasks) + "]";
        const int space = each - static_cast<int>(header.size() + tail.size());
        std::string bar;
        if (space > 0) {
            const int done = stage.tasks > 0 ? space * std::min(stage.completed, stage.tasks) / stage.tasks : 0;
            bar.assign(static_cast<std::size_t>(space), ' ');
            std::fill_n(bar.begin(), done, '=');
            if (done < space) bar[static_cast<std::size_t>(done)] = '>';
        }
        text += header + bar + tail;
    }
    return text;
}

void ConsoleProgress::run(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any never;
    bool shown = false;
    while (true) {
        if (!shown) status_.waitForStage(stop);
        {
            std::unique_lock lock(mutex);
            never.wait_for(lock, stop, kBetween, [] { return false; });
        }
        std::vector<StageStatus> stages;
        if (!stop.stop_requested()) {
            for (StageStatus& stage : status_.activeStages()) {
                if (std::chrono::steady_clock::now() - stage.since >= kFirst) stages.push_back(std::move(stage));
            }
            if (stages.size() > kMostStages) stages.resize(kMostStages);
        }
        const int width = terminalWidth() - 1;
        if (!stages.empty()) {
            std::fprintf(stderr, "\r%s", line(stages, width).c_str());
            shown = true;
        } else if (shown) {
            std::fprintf(stderr, "\r%*s\r", width, "");
            shown = false;
        }
        if (stop.stop_requested()) return;
    }
}

}  // namespace dstream
