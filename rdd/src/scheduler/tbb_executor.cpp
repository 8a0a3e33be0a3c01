#include "scheduler/executor.hpp"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

namespace dstream {
namespace {

/// Runners are tasks of the arena. One that finds no work parks on its slot for a while before it gives the slot back:
/// TBB's own workers spin when they run out of work, which at batches of a millisecond would cost a good part of a
/// core.
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
    ~TbbExecutor() override {
        while (!stop(std::chrono::hours(1))) {
        }
    }

    void wake(int pieces) override {
        if (onSlot()) --pieces;  // the caller's own slot looks for work when it is done
        int begin = 0;
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
            ++news_;
            for (; pieces > 0; --pieces) {
                if (called_ < parked_) {
                    ++called_;
                    work_.notify_one();
                } else if (runners_ < slots_) {
                    ++runners_;
                    ++begin;
                }
            }
        }
        for (; begin > 0; --begin) arena_.enqueue([this] { run(); });
    }

    bool stop(std::chrono::milliseconds patience) override {
        std::unique_lock lock(mutex_);
        stopping_ = true;
        work_.notify_all();
        return ended_.wait_for(lock, patience, [this] { return runners_ == 0; });
    }

    bool onSlot() const override { return current == this; }

private:
    static constexpr std::chrono::milliseconds kPark{200};

    void run() {
        const TbbExecutor* const before = std::exchange(current, this);
        uint64_t seen = 0;
        for (bool goesOn = true; goesOn;) {
            {
                const std::lock_guard lock(mutex_);
                seen = news_;
            }
            while (runNext_()) {
            }
            std::unique_lock lock(mutex_);
            if (news_ != seen) continue;  // woken between the last look and now
            ++parked_;
            goesOn = work_.wait_for(lock, kPark, [this] { return called_ > 0 || stopping_; }) && !stopping_;
            --parked_;
            if (goesOn) --called_;
            if (!goesOn && --runners_ == 0) ended_.notify_all();
        }
        current = before;
    }

    static thread_local const TbbExecutor* current;

    const int slots_;
    const RunNext runNext_;
    std::mutex mutex_;  // guards what follows
    std::condition_variable work_;
    std::condition_variable ended_;
    uint64_t news_ = 0;  // calls of wake
    int runners_ = 0;    // begun or about to begin, and not ended
    int parked_ = 0;     // of them, wait for work
    int called_ = 0;     // of those, have been called
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
