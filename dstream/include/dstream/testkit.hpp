#pragma once

#include "dstream/dstream.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

/// What a program's own tests need: batches that come when the test says so, without sleeping.
///
///     auto ssc = testkit::makeContext(Seconds(1));
///     auto words = testkit::batches<std::string>(ssc, {{"a", "b"}, {}, {"a"}});
///     auto counts = testkit::collect(words.countByValue());
///     ssc.start();
///     testkit::manualClock(ssc).advance(Seconds(3));
///     EXPECT_EQ(counts.batch(Time(1000)).size(), 2);
///     ssc.stop();
namespace dstream::testkit {

/// The manual clock of a context.
class ManualClock {
public:
    explicit ManualClock(dstream::detail::StreamingCore& core) : core_(core) {}
    ManualClock(const ManualClock&) = delete;
    ManualClock& operator=(const ManualClock&) = delete;

    Time now() const;
    /// Moves the clock, batch by batch, and returns when all batches up to there have completed: with jobs or without,
    /// successful or failed. While nothing is started it just moves the clock; when the context stops meanwhile it
    /// returns. Not to be called by the context's own threads; calls of several threads take turns.
    void advance(Duration duration);
    /// Blocks until the timer of the started context waits for its next tick: a graceful stop from then on completes
    /// the batch of that tick and the one after it. False when it does not within 10 seconds.
    bool awaitTimer();

private:
    std::mutex turn_;
    dstream::detail::StreamingCore& core_;
};

/// The clock of a context whose `spark.streaming.clock` is the manual one; as long as the context.
/// @throws IllegalStateException  when the context has another clock
ManualClock& manualClock(const StreamingContext& ssc);

/// A context with a manual clock that starts at 0, on `local[2]` unless `conf` says otherwise.
StreamingContext makeContext(Duration batchDuration = Seconds(1), SparkConf conf = SparkConf());

/// The partitions of one batch; absent: the input has no RDD for it.
template <class T>
using Batch = std::optional<std::vector<std::vector<T>>>;

namespace detail {

template <class T>
class BatchesNode final : public InputDStreamNode<T> {
public:
    BatchesNode(const StreamingContext& ssc, std::vector<Batch<T>> batches, CallSite site)
        : InputDStreamNode<T>(ssc, "Batches stream", "batches", site), batches_(std::move(batches)) {}

private:
    std::optional<RDD<T>> compute(Time time) override {
        const double position = (time - this->zeroTime()) / this->slideDuration();
        const auto index = static_cast<std::size_t>(position) - 1;
        const SparkContext sc = this->context().sparkContext();
        if (index >= batches_.size()) return sc.emptyRDD<T>();
        if (!batches_[index]) return std::nullopt;
        return sc.fromPartitions(*batches_[index]);
    }

    const std::vector<Batch<T>> batches_;
};

}  // namespace detail

/// An input of the given batches, partition by partition; later batches are empty.
template <class T>
InputDStream<T> partitionedBatches(const StreamingContext& ssc, std::vector<Batch<T>> batches,
                                   std::source_location where = std::source_location::current()) {
    return makeInputStream<detail::BatchesNode<T>>(ssc, std::move(batches), CallSite::from(where));
}

/// An input of the given batches, each of one partition; later batches are empty.
template <class T>
InputDStream<T> batches(const StreamingContext& ssc, std::vector<std::vector<T>> batches,
                        std::source_location where = std::source_location::current()) {
    std::vector<Batch<T>> partitioned;
    for (auto& batch : batches) partitioned.push_back(std::vector<std::vector<T>>{std::move(batch)});
    return partitionedBatches<T>(ssc, std::move(partitioned), where);
}

/// Gathers what a stream's batches hold. A handle; copies share what was gathered. Thread-safe.
template <class T>
class Collected {
public:
    /// The elements of a batch, in partition order; empty when it had none or did not run.
    std::vector<T> batch(Time time) const {
        std::lock_guard lock(state_->mutex);
        auto found = state_->batches.find(time);
        return found == state_->batches.end() ? std::vector<T>{} : found->second;
    }
    /// All batches that have run.
    std::map<Time, std::vector<T>> all() const {
        std::lock_guard lock(state_->mutex);
        return state_->batches;
    }
    void add(Time time, std::vector<T> elements) const {
        std::lock_guard lock(state_->mutex);
        state_->batches[time] = std::move(elements);
    }

private:
    struct State {
        mutable std::mutex mutex;  // guards the field below
        std::map<Time, std::vector<T>> batches;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// Registers an output operation that gathers every batch.
template <class Stream>
auto collect(const Stream& stream) {
    Collected<Owned<typename Stream::Element>> collected;
    stream.foreachRDD([collected](const auto& rdd, Time time) { collected.add(time, rdd.collect()); });
    return collected;
}

}  // namespace dstream::testkit
