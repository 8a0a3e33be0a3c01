#pragma once

#include "scheduler/status_store.hpp"

#include <string>
#include <thread>
#include <vector>

namespace dstream {

/// Shows the stages that run for longer than half a second in the last line of a terminal, on stderr, and takes the
/// line away when none does. Sleeps while nothing runs.
class ConsoleProgress {
public:
    explicit ConsoleProgress(const StatusStore& status);

    /// "[Stage 3:=====>      (4 + 2) / 10]" for each stage, `width` characters together.
    static std::string line(const std::vector<StageStatus>& stages, int width);

private:
    void run(const std::stop_token& stop);

    const StatusStore& status_;
    std::jthread thread_;
};

}  // namespace dstream
