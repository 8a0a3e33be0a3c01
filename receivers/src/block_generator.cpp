#include "receivers/block_generator.hpp"

#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/recurring_timer.hpp"
#include "receivers/rate_controller.hpp"

#include <algorithm>

namespace dstream::detail {

BlockGeneratorSettings BlockGeneratorSettings::from(const SparkConf& conf) {
    const auto positive = [](const char* key, int64_t value) {
        if (value <= 0) {
            throw IllegalArgumentException(std::string(key) + " must be positive: " + std::to_string(value));
        }
        return value;
    };
    BlockGeneratorSettings settings;
    settings.blockIntervalMs =
        positive("spark.streaming.blockInterval", conf.getTimeAsMs("spark.streaming.blockInterval", "200ms"));
    settings.blockQueueSize =
        positive("spark.streaming.blockQueueSize", conf.getLong("spark.streaming.blockQueueSize", 10));
    settings.maxBufferedBytes =
        positive("dstream.receiver.maxBufferedBytes",
                 conf.getSizeAsBytes("dstream.receiver.maxBufferedBytes", settings.maxBufferedBytes));
    settings.maxRate = conf.getLong("spark.streaming.receiver.maxRate", RateLimiter::kUnlimited);
    settings.initialRate = conf.getLong("spark.streaming.backpressure.initialRate", settings.maxRate);
    // Nothing is known of the speed of processing before the first batches: without a bound they would be the largest.
    if (settings.initialRate == RateLimiter::kUnlimited && RateController::isBackPressureEnabled(conf)) {
        settings.initialRate =
            positive("dstream.receiver.firstRate", conf.getLong("dstream.receiver.firstRate", settings.firstRate));
    }
    return settings;
}

BlockGeneratorBase::BlockGeneratorBase(const BlockGeneratorSettings& settings, std::shared_ptr<Clock> clock,
                                       std::unique_ptr<BlockBuffer> buffer,
                                       std::shared_ptr<BlockGeneratorEvents> events)
    : settings_(settings),
      clock_(std::move(clock)),
      events_(std::move(events)),
      limiter_(clock_, settings.initialRate, settings.maxRate),
      buffer_(std::move(buffer)) {}

BlockGeneratorBase::~BlockGeneratorBase() {
    if (state_ == State::kActive) stop();
}

void BlockGeneratorBase::start() {
    {
        std::lock_guard lock(mutex_);
        if (state_ != State::kInitialized) {
            throw SparkException("a block generator can be started once only; make a new one");
        }
        state_ = State::kActive;
    }
    timer_ = std::make_unique<RecurringTimer>(
        *clock_, settings_.blockIntervalMs, [this](int64_t time) { onTick(time); }, "block generator");
    timer_->start();
    pusher_ = std::jthread([this] { pushBlocks(); });
}

void BlockGeneratorBase::stop() {
    {
        std::lock_guard lock(mutex_);
        if (state_ != State::kActive) return;
        state_ = State::kStoppedAddingData;
    }
    suspendRateLimit();
    room_.notify_all();
    queueHasSpace_.notify_all();
    timer_->stop(true);
    {
        std::lock_guard lock(mutex_);
        cut(clock_->getTimeMillis() - settings_.blockIntervalMs);
        state_ = State::kStoppedGeneratingBlocks;
    }
    queued_.notify_all();
    pusher_.join();
    state_ = State::kStoppedAll;
}

void BlockGeneratorBase::reset() {
    std::lock_guard lock(mutex_);
    if (state_ != State::kStoppedAll) return;
    state_ = State::kInitialized;
}

void BlockGeneratorBase::suspendRateLimit() {
    std::stop_source suspended;
    {
        std::lock_guard lock(mutex_);
        suspended = limitSuspended_;
    }
    suspended.request_stop();
}

void BlockGeneratorBase::resumeRateLimit() {
    std::lock_guard lock(mutex_);
    if (limitSuspended_.stop_requested()) limitSuspended_ = std::stop_source();
}

int64_t BlockGeneratorBase::admit(int64_t wanted) {
    if (!isActive()) refuse();
    if (limiter_.unlimited()) return wanted;
    std::stop_token suspended;
    {
        std::lock_guard lock(mutex_);
        suspended = limitSuspended_.get_token();
    }
    return limiter_.acquire(wanted, std::move(suspended));
}

void BlockGeneratorBase::refuse() const {
    throw SparkException(state_ == State::kInitialized
                             ? "records can be stored only after the receiver has been started"
                             : "records cannot be stored any more: the receiver has been stopped");
}

void BlockGeneratorBase::waitForRoom(std::unique_lock<std::mutex>& lock) {
    room_.wait(lock, [this] {
        return state_ != State::kActive ||
               queuedBytes_ + static_cast<int64_t>(buffer_->sizeBytes()) < settings_.maxBufferedBytes;
    });
    if (state_ != State::kActive) refuse();
}

void BlockGeneratorBase::cutIfLarge() {
    if (static_cast<int64_t>(buffer_->sizeBytes()) < settings_.maxBufferedBytes / 4) return;
    if (static_cast<int64_t>(queue_.size()) < settings_.blockQueueSize) {
        cut(clock_->getTimeMillis() - settings_.blockIntervalMs);
    }
}

void BlockGeneratorBase::cut(int64_t candidateId) {
    std::shared_ptr<Block> block = buffer_->take();
    if (!block) return;
    const auto sizeBytes = static_cast<int64_t>(block->sizeBytes());
    const StreamBlockId id = events_->nextBlockId(candidateId);
    queue_.push_back({id, std::move(block), sizeBytes});
    queuedBytes_ += sizeBytes;
    queued_.notify_one();
    events_->onGenerateBlock(id);
}

void BlockGeneratorBase::onTick(int64_t time) {
    std::unique_lock lock(mutex_);
    queueHasSpace_.wait(lock, [this] {
        return state_ != State::kActive || static_cast<int64_t>(queue_.size()) < settings_.blockQueueSize;
    });
    if (state_ == State::kActive) cut(time - settings_.blockIntervalMs);
}

void BlockGeneratorBase::pushBlocks() {
    std::unique_lock lock(mutex_);
    for (;;) {
        queued_.wait(lock, [this] { return !queue_.empty() || state_ == State::kStoppedGeneratingBlocks; });
        if (queue_.empty()) return;
        FinishedBlock next = std::move(queue_.front());
        queue_.pop_front();
        queueHasSpace_.notify_one();
        lock.unlock();
        try {
            events_->onPushBlock(next.id, std::move(next.block));
        } catch (...) {
            events_->onError("block " + next.id.toString() + " could not be stored; its records are lost",
                             std::current_exception());
        }
        lock.lock();
        queuedBytes_ -= next.sizeBytes;
        room_.notify_all();
    }
}

}  // namespace dstream::detail
