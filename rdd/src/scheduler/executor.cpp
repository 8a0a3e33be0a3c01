#include "scheduler/executor.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dstream {
namespace {

class ThreadExecutor final : public Executor {
public:
    ThreadExecutor(int slots, RunNext runNext) : slots_(slots), runNext_(std::move(runNext)) {
        try {
            threads_.reserve(static_cast<std::size_t>(slots));
            for (int i = 0; i < slots; ++i) threads_.emplace_back([this] { run(); });
        } catch (const std::exception& error) {
            const std::size_t started = threads_.size();
            endAll();
            throw SparkException("the master asks for " + std::to_string(slots) + " threads, the system gave " +
                                 std::to_string(started) + " (" + error.what() +
                                 "); ask for fewer or raise its limits");
        }
    }
    ~ThreadExecutor() override { endAll(); }

    void wake(int pieces) override {
        // A slot that makes work ready takes one piece of it next.
        if (onSlot() && !isGuest) --pieces;
        if (pieces <= 0) return;
        int sleeping;
        {
            const std::lock_guard lock(mutex_);
            wakes_ = std::min(wakes_ + pieces, slots_);
            sleeping = std::min(sleeping_ - guests_, wakes_);
        }
        if (sleeping >= slots_) {
            ready_.notify_all();
        } else {
            for (int i = 0; i < sleeping; ++i) ready_.notify_one();
        }
    }

    bool stop(std::chrono::milliseconds patience) override {
        {
            std::unique_lock lock(mutex_);
            stopping_ = true;
            ready_.notify_all();
            if (!ended_.wait_for(lock, patience, [this] { return numEnded_ == threads_.size() && guests_ == 0; }))
                return false;
        }
        threads_.clear();
        numEnded_ = 0;
        return true;
    }

    bool onSlot() const override { return current == this; }

    bool borrow() override {
        const std::lock_guard lock(mutex_);
        if (stopping_ || current || sleeping_ - wakes_ - guests_ <= 0) return false;
        ++guests_;
        current = this;
        isGuest = true;
        return true;
    }

    void wakeLater(int pieces) override {
        {
            const std::lock_guard lock(mutex_);
            const auto now = std::chrono::steady_clock::now();
            oftenLater_ = now - lastLater_ < kLater;
            lastLater_ = now;
            if (isWatched_) {
                if (later_ == 0) laterSince_ = now;
                later_ = pieces;
                return;
            }
        }
        wake(pieces);
    }

    void giveBack() override {
        const std::lock_guard lock(mutex_);
        current = nullptr;
        isGuest = false;
        if (--guests_ == 0) later_ = 0;
        if (wakes_ > 0) ready_.notify_one();
        if (stopping_) ended_.notify_all();
    }

private:
    void endAll() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        ready_.notify_all();
        threads_.clear();
    }

    void run() {
        current = this;
        std::unique_lock lock(mutex_);
        while (true) {
            ++sleeping_;
            while (!isWanted()) {
                if (oftenLater_ && !isWatched_) {
                    watch(lock);
                } else {
                    ready_.wait(lock);
                }
            }
            --sleeping_;
            if (stopping_) break;
            --wakes_;
            lock.unlock();
            while (runNext_()) {
            }
            lock.lock();
        }
        ++numEnded_;
        ended_.notify_all();
    }

    /// True when a sleeping slot is to look for work.
    bool isWanted() const { return (wakes_ > 0 && sleeping_ > guests_) || stopping_; }

    /// Sleeps as the slot that sees to pieces a guest has not run in time, for as long as such come often.
    void watch(std::unique_lock<std::mutex>& lock) {
        isWatched_ = true;
        ready_.wait_for(lock, kLater, [this] { return isWanted(); });
        isWatched_ = false;
        const auto now = std::chrono::steady_clock::now();
        if (now - lastLater_ >= kLater) oftenLater_ = false;
        // When this slot goes to work, nobody might watch any more.
        if (later_ == 0 || (now - laterSince_ < kLater / 2 && !isWanted())) return;
        wakes_ = std::min(wakes_ + std::exchange(later_, 0), slots_);
        ready_.notify_all();
    }

    static constexpr std::chrono::milliseconds kLater{10};
    static thread_local const ThreadExecutor* current;
    static thread_local bool isGuest;

    const int slots_;
    const RunNext runNext_;
    std::mutex mutex_;  // guards what follows
    std::condition_variable ready_;
    std::condition_variable ended_;
    std::size_t numEnded_ = 0;
    int wakes_ = 0;  // slots that should look for work
    int sleeping_ = 0;
    int guests_ = 0;  // in the place of sleeping slots
    int later_ = 0;   // pieces that a guest runs alone so far
    bool oftenLater_ = false;
    bool isWatched_ = false;
    std::chrono::steady_clock::time_point lastLater_;
    std::chrono::steady_clock::time_point laterSince_;
    bool stopping_ = false;
    std::vector<std::jthread> threads_;
};

thread_local const ThreadExecutor* ThreadExecutor::current = nullptr;
thread_local bool ThreadExecutor::isGuest = false;

}  // namespace

std::unique_ptr<Executor> makeThreadExecutor(int slots, Executor::RunNext runNext) {
    return std::make_unique<ThreadExecutor>(slots, std::move(runNext));
}

std::unique_ptr<Executor> makeExecutor(std::string_view kind, int slots, Executor::RunNext runNext) {
    if (kind == "threads") return makeThreadExecutor(slots, std::move(runNext));
    if (kind == "tbb") return makeTbbExecutor(slots, std::move(runNext));
    throw IllegalArgumentException("the executor should be threads, tbb or seeded:N, found '" + std::string(kind) +
                                   "'");
}

}  // namespace dstream
