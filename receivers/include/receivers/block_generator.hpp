#pragma once

#include "rdd/block.hpp"
#include "rdd/iterator.hpp"
#include "rdd/spark_conf.hpp"
#include "receivers/rate_limiter.hpp"
#include "receivers/received_block.hpp"

#include <any>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace dstream {

class Clock;
class RecurringTimer;

namespace detail {

/// Gathers records until they are cut into a block. Used under the generator's lock.
class BlockBuffer {
public:
    virtual ~BlockBuffer() = default;
    /// The records so far as a block; null when there are none.
    virtual std::shared_ptr<Block> take() = 0;
    virtual size_t sizeBytes() const = 0;
};

/// A buffer that takes records one by one.
template <class T>
class RecordBuffer : public BlockBuffer {
public:
    virtual void add(T record) = 0;
};

template <class T>
using BlockElements = std::remove_cvref_t<decltype(std::declval<const VectorBlock<T>&>().elements())>;

template <class T>
class VectorBuffer final : public RecordBuffer<T> {
public:
    void add(T record) override {
        sizeBytes_ += elementBytes(record);
        elements_.push_back(std::move(record));
    }
    std::shared_ptr<Block> take() override {
        if (elements_.empty()) return nullptr;
        auto block = std::make_shared<VectorBlock<T>>(std::move(elements_), sizeBytes_);
        elements_ = {};
        sizeBytes_ = 0;
        return block;
    }
    size_t sizeBytes() const override { return sizeBytes_; }
    const BlockElements<T>& elements() const { return elements_; }

private:
    BlockElements<T> elements_;
    size_t sizeBytes_ = 0;
};

/// What a generator needs from its surroundings.
struct BlockGeneratorSettings {
    /// Reads spark.streaming.blockInterval, blockQueueSize, receiver.maxRate, backpressure.initialRate,
    /// dstream.receiver.firstRate and dstream.receiver.maxBufferedBytes.
    /// @throws IllegalArgumentException  for a value that is not positive where it must be
    static BlockGeneratorSettings from(const SparkConf& conf);

    int64_t blockIntervalMs = 200;
    int64_t blockQueueSize = 10;
    int64_t maxRate = RateLimiter::kUnlimited;
    int64_t initialRate = RateLimiter::kUnlimited;
    int64_t firstRate = 50'000;  // stands for it under back-pressure
    int64_t maxBufferedBytes = int64_t{64} << 20;
};

/// Hears what a generator does. onGenerateBlock is called under the generator's lock and must be short.
class BlockGeneratorEvents {
public:
    virtual ~BlockGeneratorEvents() = default;
    /// Names the next block; `candidate` is a time in ms.
    virtual StreamBlockId nextBlockId(int64_t candidate) = 0;
    virtual void onGenerateBlock(const StreamBlockId&) {}
    /// Stores a block, on the generator's push thread.
    virtual void onPushBlock(const StreamBlockId& id, std::shared_ptr<Block> block) = 0;
    virtual void onError(const std::string& message, std::exception_ptr error) = 0;
};

/// Cuts single records into blocks: one block for each block interval with records in it, or earlier when a quarter of
/// the byte bound has gathered. Finished blocks wait in a queue for the push thread. Adding waits for the rate limit
/// and, when the bytes not yet stored reach their bound, for the push thread.
class BlockGeneratorBase {
public:
    BlockGeneratorBase(const BlockGeneratorSettings& settings, std::shared_ptr<Clock> clock,
                       std::unique_ptr<BlockBuffer> buffer, std::shared_ptr<BlockGeneratorEvents> events);
    virtual ~BlockGeneratorBase();
    BlockGeneratorBase(const BlockGeneratorBase&) = delete;
    BlockGeneratorBase& operator=(const BlockGeneratorBase&) = delete;

    /// @throws SparkException  when started before
    void start();
    /// Refuses further records, cuts what is there and returns when all blocks have been pushed. Loses no accepted
    /// record.
    void stop();
    /// Makes a stopped generator ready for start().
    void reset();

    bool isActive() const { return state_ == State::kActive; }
    bool isStopped() const { return state_ == State::kStoppedAll; }
    void updateRate(int64_t recordsPerSecond) { limiter_.updateRate(recordsPerSecond); }
    int64_t getCurrentLimit() const { return limiter_.currentRate(); }
    bool unlimited() const { return limiter_.unlimited(); }

    /// Switches the rate limit off, waiting threads included, and on again: a receiver that is to stop is not held up
    /// by it.
    void suspendRateLimit();
    void resumeRateLimit();

    /// Waits until the rate limit lets records in and returns how many, at most `wanted`.
    /// @throws SparkException  when the generator is not active
    int64_t admit(int64_t wanted);
    /// Calls `change(buffer)` under the lock, as soon as the bytes not yet stored are below their bound.
    /// @throws SparkException  when the generator is not active
    template <class Change>
    void append(Change&& change) {
        std::unique_lock lock(mutex_);
        waitForRoom(lock);
        change(*buffer_);
        cutIfLarge();
    }

private:
    enum class State { kInitialized, kActive, kStoppedAddingData, kStoppedGeneratingBlocks, kStoppedAll };
    struct FinishedBlock {
        StreamBlockId id;
        std::shared_ptr<Block> block;
        int64_t sizeBytes;
    };

    [[noreturn]] void refuse() const;
    void waitForRoom(std::unique_lock<std::mutex>& lock);
    void cutIfLarge();
    void cut(int64_t candidateId);
    void onTick(int64_t time);
    void pushBlocks();

    const BlockGeneratorSettings settings_;
    const std::shared_ptr<Clock> clock_;
    const std::shared_ptr<BlockGeneratorEvents> events_;
    RateLimiter limiter_;
    std::mutex mutex_;  // guards the fields below; state_ is written under it
    std::condition_variable room_;
    std::condition_variable queued_;
    std::condition_variable queueHasSpace_;
    std::stop_source limitSuspended_;
    std::unique_ptr<BlockBuffer> buffer_;
    std::deque<FinishedBlock> queue_;
    int64_t queuedBytes_ = 0;  // in the queue or being pushed
    std::atomic<State> state_ = State::kInitialized;

    std::unique_ptr<RecurringTimer> timer_;
    std::jthread pusher_;
};

}  // namespace detail

/// Follows a generator of one's own, for receivers that acknowledge their source once a block is stored.
/// onAddData and onGenerateBlock never run at the same time.
template <class T>
class BlockGeneratorListener {
public:
    virtual ~BlockGeneratorListener() = default;
    /// Records were added with a callback; called under the generator's lock.
    virtual void onAddData(std::span<const T> /*data*/, const std::any& /*metadata*/) {}
    /// A block was cut; what onAddData has seen so far is in it or in one before. Called under the generator's lock.
    virtual void onGenerateBlock(const StreamBlockId& /*id*/) {}
    /// The block is to be stored, usually with Receiver::store(data), which returns when that has happened.
    virtual void onPushBlock(const StreamBlockId& id, std::vector<T> data) = 0;
    virtual void onError(const std::string& message, std::exception_ptr error) = 0;
};

/// Cuts records into blocks and hands these to a listener. Made by Receiver::createBlockGenerator; the receiver starts
/// it, and it is stopped with the receiver. All functions may be called from any thread.
template <class T>
class BlockGenerator final : public detail::BlockGeneratorBase {
public:
    BlockGenerator(const detail::BlockGeneratorSettings& settings, std::shared_ptr<Clock> clock,
                   std::shared_ptr<BlockGeneratorListener<T>> listener,
                   std::function<StreamBlockId(int64_t)> nextBlockId)
        : BlockGeneratorBase(settings, std::move(clock), std::make_unique<detail::VectorBuffer<T>>(),
                             std::make_shared<Adapter>(listener, std::move(nextBlockId))),
          listener_(std::move(listener)) {}

    /// Adds a record; waits for the rate limit and for room.
    /// @throws SparkException  when the generator is not active
    void addData(T record) {
        admit(1);
        append([&](detail::BlockBuffer& buffer) { cast(buffer).add(std::move(record)); });
    }
    /// Adds a record and calls onAddData with it and the metadata.
    void addDataWithCallback(T record, const std::any& metadata) {
        admit(1);
        append([&](detail::BlockBuffer& buffer) {
            cast(buffer).add(std::move(record));
            listener_->onAddData(added(buffer, 1), metadata);
        });
    }
    /// Adds records that belong together: all are in one block; onAddData is called once.
    void addMultipleDataWithCallback(Iterator<T> records, const std::any& metadata) {
        detail::BlockElements<T> gathered;
        while (records.hasNext()) {
            admit(1);
            gathered.push_back(records.next());
        }
        append([&](detail::BlockBuffer& buffer) {
            for (auto& record : gathered) cast(buffer).add(std::move(record));
            listener_->onAddData(added(buffer, gathered.size()), metadata);
        });
    }

private:
    struct Adapter final : detail::BlockGeneratorEvents {
        Adapter(std::shared_ptr<BlockGeneratorListener<T>> target, std::function<StreamBlockId(int64_t)> source)
            : listener(std::move(target)), ids(std::move(source)) {}
        StreamBlockId nextBlockId(int64_t candidate) override { return ids(candidate); }
        void onGenerateBlock(const StreamBlockId& id) override { listener->onGenerateBlock(id); }
        void onPushBlock(const StreamBlockId& id, std::shared_ptr<Block> block) override {
            const auto& elements = static_cast<const VectorBlock<T>&>(*block).elements();
            listener->onPushBlock(id, std::vector<T>(elements.begin(), elements.end()));
        }
        void onError(const std::string& message, std::exception_ptr error) override {
            listener->onError(message, std::move(error));
        }
        std::shared_ptr<BlockGeneratorListener<T>> listener;
        std::function<StreamBlockId(int64_t)> ids;
    };

    static detail::VectorBuffer<T>& cast(detail::BlockBuffer& buffer) {
        return static_cast<detail::VectorBuffer<T>&>(buffer);
    }
    static std::span<const T> added(detail::BlockBuffer& buffer, size_t count) {
        const auto& elements = cast(buffer).elements();
        return std::span<const T>(elements.data(), elements.size()).last(count);
    }

    std::shared_ptr<BlockGeneratorListener<T>> listener_;
};

}  // namespace dstream
