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
        if (onSlot()) --pieces;
        if (pieces <= 0) return;
        int sleeping;
        {
            const std::lock_guard lock(mutex_);
            wakes_ = std::min(wakes_ + pieces, slots_);
            sleeping = std::min(sleeping_, wakes_);
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
            if (!ended_.wait_for(lock, patience, [this] { return numEnded_ == threads_.size(); })) return false;
        }
        threads_.clear();
        numEnded_ = 0;
        return true;
    }

    bool onSlot() const override { return current == this; }

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
            ready_.wait(lock, [this] { return wakes_ > 0 || stopping_; });
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

    static thread_local const ThreadExecutor* current;

    const int slots_;
    const RunNext runNext_;
    std::mutex mutex_;  // guards what follows
    std::condition_variable ready_;
    std::condition_variable ended_;
    std::size_t numEnded_ = 0;
    int wakes_ = 0;  // slots that should look for work
    int sleeping_ = 0;
    bool stopping_ = false;
    std::vector<std::jthread> threads_;
};

thread_local const ThreadExecutor* ThreadExecutor::current = nullptr;

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
