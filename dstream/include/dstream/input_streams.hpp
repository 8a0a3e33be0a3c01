#pragma once

#include "dstream/stream.hpp"
#include "dstream/streaming_listener.hpp"
#include "receivers/received_block.hpp"
#include "receivers/receiver.hpp"
#include "receivers/socket_receivers.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

/// The node of an input stream whose RDDs are of static type `R`.
template <class R>
class InputDStreamNodeOf : public DStreamNodeOf<R>, public detail::InputControl {
public:
    int id() const final { return id_; }
    std::string name() const override { return streamName_ + " [" + std::to_string(id_) + "]"; }
    void start() override {}
    void stop() override {}
    detail::InputControl* input() final { return this; }

protected:
    /// @param streamName  words for people, such as "Socket stream"
    InputDStreamNodeOf(const StreamingContext& ssc, std::string streamName, const char* operatorName = "input",
                       CallSite site = {})
        : DStreamNodeOf<R>(ssc.owner(), operatorName, {}, site),
          streamName_(std::move(streamName)),
          id_(detail::newInputId(ssc)) {}

private:
    const std::string streamName_;
    const int id_;
};

/// The node of an input stream; derive from it for a source of one's own, and make it with makeInputStream:
///
///     class Countdown : public InputDStreamNode<int> {
///     public:
///         explicit Countdown(const StreamingContext& ssc) : InputDStreamNode(ssc, "Countdown stream") {}
///     private:
///         std::optional<RDD<int>> compute(Time) override { return
///         context().sparkContext().parallelize(std::vector{left_--}); } int left_ = 10;
///     };
///     InputDStream<int> numbers = makeInputStream<Countdown>(ssc);
template <class T>
class InputDStreamNode : public InputDStreamNodeOf<RDD<T>> {
protected:
    using InputDStreamNodeOf<RDD<T>>::InputDStreamNodeOf;
};

/// A stream that brings data into the program. Registered with its context, in the order of creation.
template <class T>
class InputDStream : public detail::StorageOps<InputDStream<T>, T, DStream<T>> {
    using Ops = detail::StorageOps<InputDStream<T>, T, DStream<T>>;

public:
    explicit InputDStream(std::shared_ptr<DStreamNode<T>> node) : Ops(std::move(node)) {}

    /// Its number in the context, from 0.
    int id() const { return this->node()->input()->id(); }
    /// Words for people: "Queue stream [0]".
    std::string name() const { return this->node()->input()->name(); }
};

/// An input stream fed by a receiver.
template <class T>
class ReceiverInputDStream : public detail::StorageOps<ReceiverInputDStream<T>, T, InputDStream<T>> {
    using Ops = detail::StorageOps<ReceiverInputDStream<T>, T, InputDStream<T>>;

public:
    explicit ReceiverInputDStream(std::shared_ptr<DStreamNode<T>> node) : Ops(std::move(node)) {}
};

/// Makes an input node and registers it with its context.
template <class Node, class... Args>
auto makeInputStream(const StreamingContext& ssc, Args&&... args) {
    auto node = detail::makeStreamNode<DStreamNodeOf<typename Node::Rdd>, Node>(ssc, std::forward<Args>(args)...);
    detail::registerInput(node);
    if constexpr (std::is_same_v<typename Node::Rdd, TextRDD>) {
        return TextDStream(std::move(node));
    } else {
        return InputDStream<typename Node::Element>(std::move(node));
    }
}

/// RDDs that wait for a queueStream. Thread-safe.
template <class T>
class RDDQueue {
public:
    void push(RDD<T> rdd) {
        std::lock_guard lock(mutex_);
        waiting_.push_back(std::move(rdd));
    }
    std::size_t size() const {
        std::lock_guard lock(mutex_);
        return waiting_.size();
    }
    /// Takes the first, or all that wait.
    std::vector<RDD<T>> take(bool all) {
        std::lock_guard lock(mutex_);
        const std::size_t n = all ? waiting_.size() : std::min<std::size_t>(1, waiting_.size());
        std::vector<RDD<T>> taken(std::make_move_iterator(waiting_.begin()),
                                  std::make_move_iterator(waiting_.begin() + static_cast<std::ptrdiff_t>(n)));
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(n));
        return taken;
    }

private:
    mutable std::mutex mutex_;  // guards the field below
    std::deque<RDD<T>> waiting_;
};

namespace detail {

template <class T>
class QueueNode final : public InputDStreamNode<T> {
public:
    QueueNode(const StreamingContext& ssc, std::shared_ptr<RDDQueue<T>> queue, bool oneAtATime, RDD<T> defaultRdd,
              CallSite site)
        : InputDStreamNode<T>(ssc, "Queue stream", "queueStream", site),
          queue_(std::move(queue)),
          oneAtATime_(oneAtATime),
          default_(std::move(defaultRdd)) {
        require(queue_ != nullptr, "queueStream needs a queue, found a null pointer");
    }
    bool isRecoverable() const override { return false; }

private:
    std::optional<RDD<T>> compute(Time) override {
        std::vector<RDD<T>> taken = queue_->take(!oneAtATime_);
        if (taken.size() == 1) return taken.front();
        if (!taken.empty()) return this->context().sparkContext().unionAll(std::move(taken));
        return default_ ? default_ : this->context().sparkContext().template emptyRDD<T>();
    }

    const std::shared_ptr<RDDQueue<T>> queue_;
    const bool oneAtATime_;
    const RDD<T> default_;
};

template <class T>
class ConstantNode final : public InputDStreamNode<T> {
public:
    ConstantNode(const StreamingContext& ssc, RDD<T> rdd, CallSite site)
        : InputDStreamNode<T>(ssc, "Constant stream", "constant", site), rdd_(std::move(rdd)) {
        require(static_cast<bool>(rdd_), "ConstantInputDStream needs an RDD, found an empty handle");
    }

private:
    std::optional<RDD<T>> compute(Time) override { return rdd_; }
    // The RDD is the program's: what it keeps of it, later batches read.
    void forget(Time, RddBase&) override {}

    const RDD<T> rdd_;
};

// ---- what inputs of one's own may need

/// Tells the listeners what an input contributes to a batch. Inside of `compute`.
void reportInput(const StreamingContext& ssc, Time batchTime, StreamInputInfo info);
/// What follows the batches' pace for a stream that asks for the rate itself; null when backpressure is off.
std::shared_ptr<RateController> makeRateController(const StreamingContext& ssc, int streamId);

// ---- received blocks

[[noreturn]] void throwNoCodec(const char* what, const std::string& type);

/// @throws SparkException  when the block is lost
BlockPtr loadReceived(const StoredBlock& stored);

/// The receivers' side of a ReceiverInputDStream that does not depend on the type of its records.
class ReceiverSource {
public:
    ReceiverSource(const StreamingContext& ssc, int streamId);
    /// Before start: takes the receiver into the tracker.
    void attach(const StreamingContext& ssc, std::shared_ptr<ReceiverBase> receiver) const;
    /// The blocks of a batch that are not lost, in the order of arrival; reports their number of records.
    std::vector<std::shared_ptr<const StoredBlock>> blocksOf(const StreamingContext& ssc, Time time) const;
    const std::shared_ptr<RateController>& rateController() const { return rateController_; }

private:
    const int streamId_;
    std::shared_ptr<RateController> rateController_;
};

/// Serves the lines of a text block.
template <class T>
class TextBlockCursor final : public Cursor<T> {
public:
    TextBlockCursor(std::shared_ptr<const TextBlock> block, std::size_t chunkSize)
        : block_(std::move(block)), chunkSize_(chunkSize) {}

private:
    Chunk<T> doNext() override {
        lines_.clear();
        const std::size_t end = std::min(next_ + chunkSize_, block_->numLines());
        for (; next_ < end; ++next_) lines_.emplace_back(block_->line(next_));
        return Chunk<T>::ownedBy(lines_.data(), lines_.size());
    }

    const std::shared_ptr<const TextBlock> block_;
    const std::size_t chunkSize_;
    std::size_t next_ = 0;
    std::vector<T> lines_;
};

/// The RDD of the blocks that a receiver stored for one batch: one partition each.
template <class T>
class ReceivedBlocksNode final : public RddNode<T> {
public:
    ReceivedBlocksNode(const SparkContext& sc, std::vector<std::shared_ptr<const StoredBlock>> blocks,
                       const char* operatorName, CallSite site)
        : RddNode<T>(sc.core(), {}, operatorName, site, std::nullopt), blocks_(std::move(blocks)) {}
    const char* className() const override { return "BlockRDD"; }

private:
    int doNumPartitions() const override { return static_cast<int>(blocks_.size()); }

    CursorPtr<T> doCompute(int partition, TaskContext& context) const override {
        const BlockPtr block = loadReceived(*blocks_[static_cast<std::size_t>(partition)]);
        if (auto* bytes = dynamic_cast<const BytesBlock*>(block.get())) {
            const BlockCodec* codec = blockCodecFor<Owned<T>>();
            if (!codec) throwNoCodec("a receiver stored bytes", typeName(typeid(Owned<T>)));
            ByteReader reader(bytes->bytes());
            return RddNode<T>::cursorOf(codec->read(reader), context);
        }
        if constexpr (std::is_same_v<Owned<T>, std::string>) {
            if (auto text = std::dynamic_pointer_cast<const TextBlock>(block)) {
                return std::make_unique<TextBlockCursor<T>>(std::move(text), context.chunkSize());
            }
        }
        return RddNode<T>::cursorOf(block, context);
    }

    const std::vector<std::shared_ptr<const StoredBlock>> blocks_;
};

/// A stream of what a receiver stores; `R` is RDD<T> or TextRDD.
template <class R>
class ReceiverNode final : public InputDStreamNodeOf<R> {
public:
    ReceiverNode(const StreamingContext& ssc, std::shared_ptr<ReceiverBase> receiver, std::string streamName,
                 const char* operatorName, CallSite site)
        : InputDStreamNodeOf<R>(ssc, std::move(streamName), operatorName, site),
          receiver_(std::move(receiver)),
          source_(ssc, this->id()) {
        require(receiver_ != nullptr, "a receiver stream needs a receiver, found a null pointer");
    }

    void start() override {
        if (!std::exchange(attached_, true)) source_.attach(this->context(), receiver_);
    }
    std::shared_ptr<RateController> rateController() const override { return source_.rateController(); }
    bool prepareReplay() override {
        start();
        return true;
    }

private:
    std::optional<R> compute(Time time) override {
        const StreamingContext ssc = this->context();
        using Read = std::conditional_t<std::is_same_v<R, TextRDD>, std::string_view, typename R::Element>;
        auto node = makeNode<ReceivedBlocksNode<Read>>(ssc.sparkContext(), source_.blocksOf(ssc, time),
                                                       this->operatorName(), this->creationSite());
        if constexpr (std::is_same_v<R, TextRDD>) {
            return TextRDD::of(std::move(node), this->operatorName(), this->creationSite());
        } else {
            return R(std::move(node));
        }
    }

    const std::shared_ptr<ReceiverBase> receiver_;
    const ReceiverSource source_;
    bool attached_ = false;
};

}  // namespace detail

/// The same RDD in every batch; see InputDStream.
///
///     ConstantInputDStream<int> numbers(ssc, sc.parallelize(std::vector{1, 2, 3}));
template <class T>
class ConstantInputDStream : public detail::StorageOps<ConstantInputDStream<T>, T, InputDStream<T>> {
    using Ops = detail::StorageOps<ConstantInputDStream<T>, T, InputDStream<T>>;

public:
    /// @throws IllegalArgumentException  when the RDD handle is empty
    ConstantInputDStream(const StreamingContext& ssc, RDD<T> rdd,
                         std::source_location where = std::source_location::current())
        : Ops(makeInputStream<detail::ConstantNode<T>>(ssc, std::move(rdd), CallSite::from(where)).node()) {}
};

// ---- StreamingContext's functions that make input streams

template <class T>
ReceiverInputDStream<T> StreamingContext::receiverStream(std::shared_ptr<Receiver<T>> receiver,
                                                         std::source_location site) const {
    return ReceiverInputDStream<T>(makeInputStream<detail::ReceiverNode<RDD<T>>>(*this, std::move(receiver),
                                                                                 "Pluggable stream", "receiverStream",
                                                                                 CallSite::from(site))
                                       .node());
}

template <class T, class Converter>
ReceiverInputDStream<T> StreamingContext::socketStream(const std::string& host, int port, Converter converter,
                                                       StorageLevel level, std::source_location site) const {
    return ReceiverInputDStream<T>(makeInputStream<detail::ReceiverNode<RDD<T>>>(
                                       *this, makeSocketReceiver<T>(host, port, std::move(converter), level),
                                       "Socket stream", "socketStream", CallSite::from(site))
                                       .node());
}

template <class T>
ReceiverInputDStream<T> StreamingContext::rawSocketStream(const std::string& host, int port, StorageLevel level,
                                                          std::source_location site) const {
    return ReceiverInputDStream<T>(
        makeInputStream<detail::ReceiverNode<RDD<T>>>(*this, makeRawSocketReceiver<T>(host, port, level), "Raw stream",
                                                      "rawSocketStream", CallSite::from(site))
            .node());
}

template <class T>
InputDStream<T> StreamingContext::queueStream(std::shared_ptr<RDDQueue<T>> queue, bool oneAtATime,
                                              std::source_location site) const {
    return queueStream(std::move(queue), oneAtATime, sparkContext().parallelize(std::vector<T>{}, 1, site), site);
}

template <class T>
InputDStream<T> StreamingContext::queueStream(std::shared_ptr<RDDQueue<T>> queue, bool oneAtATime,
                                              std::optional<std::type_identity_t<RDD<T>>> defaultRDD,
                                              std::source_location site) const {
    return makeInputStream<detail::QueueNode<T>>(*this, std::move(queue), oneAtATime, defaultRDD.value_or(RDD<T>()),
                                                 CallSite::from(site));
}

}  // namespace dstream
