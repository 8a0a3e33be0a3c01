#pragma once

#include "rdd/block.hpp"
#include "rdd/detail/block_codec.hpp"
#include "rdd/iterator.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/storage_level.hpp"
#include "receivers/block_generator.hpp"
#include "receivers/received_block.hpp"

#include <any>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

namespace detail {
class ReceiverSupervisor;
}  // namespace detail

/// What does not depend on the type of records: life cycle, errors, finished blocks. Derive from Receiver<T>.
class ReceiverBase {
public:
    virtual ~ReceiverBase();
    ReceiverBase(const ReceiverBase&) = delete;
    ReceiverBase& operator=(const ReceiverBase&) = delete;

    /// Starts receiving, usually by starting a thread; must not block. Called again after each restart and relaunch.
    /// An exception ends the receiver with that error; it is relaunched after the restart delay.
    virtual void onStart() = 0;
    /// Frees all that onStart made and joins its threads. Called before each restart and at the end; exceptions are
    /// logged.
    virtual void onStop() = 0;
    /// The host at which the receiver would like to run; without effect in one process.
    virtual std::optional<std::string> preferredLocation() const { return std::nullopt; }
    /// True when the source can deliver again what was not acknowledged; then no log is kept unless it is asked for.
    virtual bool canReplay() const { return false; }

    /// Publishes an error to the listeners; the receiver goes on.
    void reportError(const std::string& message, std::exception_ptr error = nullptr);
    /// Stops the receiver and starts it again after `delayMs` (default: spark.streaming.receiverRestartDelay). Returns
    /// at once; another thread does it. A request while another one is waiting is ignored.
    void restart(const std::string& message, std::exception_ptr error = nullptr,
                 std::optional<int> delayMs = std::nullopt);
    /// Ends this run of the receiver. It is relaunched after the restart delay unless the context is stopping. Returns
    /// at once.
    void stop(const std::string& message, std::exception_ptr error = nullptr);
    /// False during the pause of a restart.
    bool isStarted() const;
    /// True from a stop on, and during the pause of a restart.
    bool isStopped() const;
    /// The id of the input stream; -1 before the receiver belongs to one.
    int streamId() const { return streamId_; }
    StorageLevel storageLevel() const { return storageLevel_; }

protected:
    explicit ReceiverBase(StorageLevel storageLevel) : storageLevel_(storageLevel) {}

    /// Stores a finished block; returns when that has happened. Not rate limited.
    /// @throws SparkException  when it cannot be stored or is refused
    void storeBlock(BlockPtr block, std::any metadata = {});
    /// The settings of the application.
    const SparkConf& conf() const;
    /// Milliseconds between a restart request and the start.
    int restartDelayMs() const;
    /// Counts lines that were dropped for their length.
    void countLongLines(int64_t lines);

    detail::BlockGeneratorBase& defaultGenerator() const;
    const detail::BlockGeneratorSettings& generatorSettings() const;
    const std::shared_ptr<Clock>& clock() const;
    StreamBlockId nextBlockId(int64_t candidate) const;
    /// Has the generator stopped when the receiver ends.
    void attachGenerator(std::shared_ptr<detail::BlockGeneratorBase> generator);

private:
    friend class detail::ReceiverSupervisor;
    friend class ReceiverTracker;

    /// Makes the buffer for records stored one by one.
    virtual std::unique_ptr<detail::BlockBuffer> makeBuffer() const = 0;
    /// How blocks of its records become bytes; null when they cannot.
    virtual const BlockCodec* blockCodec() const = 0;
    /// The class name that listeners see.
    virtual std::string className() const;
    detail::ReceiverSupervisor& supervisor() const;

    const StorageLevel storageLevel_;
    int streamId_ = -1;
    std::shared_ptr<detail::ReceiverSupervisor> supervisor_;  // set once, before the receiver's first start
};

/// Brings records of type `T` into the program. A derived class starts its threads in onStart(), hands records over
/// with store() and ends its threads in onStop().
///
///     class Ticker : public Receiver<int64_t> {
///     public:
///         Ticker() : Receiver(StorageLevel::MEMORY_ONLY) {}
///         void onStart() override {
///             thread_ = std::jthread([this](std::stop_token stop) { while (!stop.stop_requested())
///             store(nextTick(stop)); });
///         }
///         void onStop() override { thread_ = {}; }
///     private:
///         std::jthread thread_;
///     };
///
/// All functions may be called from any thread once onStart() has been called; before, they throw
/// IllegalStateException.
template <class T>
class Receiver : public ReceiverBase {
public:
    /// @param storageLevel  of the blocks that are stored
    explicit Receiver(StorageLevel storageLevel) : ReceiverBase(storageLevel) {}

    /// Adds a record to the current block. Waits for the rate limit and, when too many bytes are not yet stored, for
    /// the store. The record is lost if the process dies before its block is stored.
    /// @throws SparkException  when the receiver has been stopped
    void store(T record) {
        detail::BlockGeneratorBase& generator = defaultGenerator();
        generator.admit(1);
        generator.append(
            [&](detail::BlockBuffer& buffer) { static_cast<detail::RecordBuffer<T>&>(buffer).add(std::move(record)); });
    }
    /// Stores records as one block and returns when that has happened: then a reliable source may be told. Not rate
    /// limited.
    /// @throws SparkException  when the block cannot be stored or is refused
    void store(std::vector<T> records, std::any metadata = {}) {
        if constexpr (std::is_same_v<std::vector<T>, detail::BlockElements<T>>) {
            storeBlock(std::make_shared<const VectorBlock<T>>(std::move(records)), std::move(metadata));
        } else {
            detail::BlockElements<T> elements;
            for (auto&& record : records) elements.push_back(record);
            storeBlock(std::make_shared<const VectorBlock<T>>(std::move(elements)), std::move(metadata));
        }
    }
    /// The same for all that is left of an iterator.
    void store(Iterator<T> records, std::any metadata = {}) {
        detail::BlockElements<T> elements;
        while (records.hasNext()) elements.push_back(records.next());
        storeBlock(std::make_shared<const VectorBlock<T>>(std::move(elements)), std::move(metadata));
    }
    /// The same for records that somebody has serialised with Codec<T>; their number is not known.
    void store(ByteBuffer bytes, std::any metadata = {}) {
        storeBlock(std::make_shared<const BytesBlock>(std::move(bytes.bytes)), std::move(metadata));
    }

    /// Makes a generator of one's own, for receivers that acknowledge by block. Start it in onStart(); it is stopped
    /// with the receiver.
    std::shared_ptr<BlockGenerator<T>> createBlockGenerator(std::shared_ptr<BlockGeneratorListener<T>> listener) {
        auto generator =
            std::make_shared<BlockGenerator<T>>(generatorSettings(), clock(), std::move(listener),
                                                [this](int64_t candidate) { return nextBlockId(candidate); });
        attachGenerator(generator);
        return generator;
    }

private:
    std::unique_ptr<detail::BlockBuffer> makeBuffer() const override {
        return std::make_unique<detail::VectorBuffer<T>>();
    }
    const BlockCodec* blockCodec() const override { return detail::blockCodecFor<T>(); }
};

}  // namespace dstream
