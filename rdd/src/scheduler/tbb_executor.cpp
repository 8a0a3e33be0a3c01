#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "scheduler/executor.hpp"

namespace dstream {
namespace {

class TbbExecutor final : public Executor {
public:
    TbbExecutor(int slots, RunNext runNext)
        : slots_(slots),
          runNext_(std::move(runNext)),
          // More slots than cores are wanted too: local[4] on two cores has four.
          parallelism_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(slots) + 1),
          arena_(slots, 0) {
        arena_.initialize();
    }
    ~TbbExecutor() override { stop(); }

    void wake(int pieces) override {
        if (onSlot()) --pieces;
        for (; pieces > 0; --pieces) {
            {
                const std::lock_guard lock(mutex_);
                // A runner that waits for a slot will see this piece as well.
                if (stopping_ || queued_ >= slots_) return;
                ++queued_;
                ++alive_;
            }
            arena_.enqueue([this] { run(); });
        }
    }

    void stop() override {
        std::unique_lock lock(mutex_);
        stopping_ = true;
        ended_.wait(lock, [this] { return alive_ == 0; });
    }

    bool onSlot() const override { return current == this; }

private:
    void run() {
        {
            const std::lock_guard lock(mutex_);
            --queued_;
        }
        const TbbExecutor* const before = std::exchange(current, this);
        while (runNext_()) {
        }
        current = before;
        const std::lock_guard lock(mutex_);
        if (--alive_ == 0) ended_.notify_all();
    }

    static thread_local const TbbExecutor* current;

    const int slots_;
    const RunNext runNext_;
    std::mutex mutex_;  // guards what follows
    std::condition_variable ended_;
    int queued_ = 0;  // runners without a slot yet
    int alive_ = 0;   // runners that have not ended
    bool stopping_ = false;
    tbb::global_control parallelism_;
    tbb::task_arena arena_;
};

thread_local const TbbExecutor* TbbExecutor::current = nullptr;

}  // namespace

std::unique_ptr<Executor> makeTbbExecutor(int slots, Executor::RunNext runNext) {
    return std::make_unique<TbbExecutor>(slots, std::move(runNext));
}

}  // namespace dstream
