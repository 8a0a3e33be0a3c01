#pragma once

#include "rdd/rdd.hpp"
#include "rdd/spark_context.hpp"
#include "rdd/task_context.hpp"
#include "rdd/time.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

// Sinks that have each batch once, however often a batch or one of its tasks runs.

namespace dstream {

/// One batch of one output operation, as a sink sees it. A batch that runs again after a restart has the same values.
struct SinkBatch {
    std::string job;        // spark.app.name
    std::string operation;  // the name given to saveToSink
    Time time;              // of the batch
    int numPartitions = 0;
};

/// One attempt at one partition of a batch. What is committed once is (job, operation, time, partition).
struct SinkPart : SinkBatch {
    int partition = 0;
    int64_t attempt = 0;  // differs between all attempts of the process; good for names of temporary things
};

/// The part of a transaction that does not depend on the type of its records. Belongs to one task's thread. Exactly one
/// of commit and abort is called last, abort after a commit that has thrown too.
class SinkTransactionBase {
public:
    SinkTransactionBase() = default;
    SinkTransactionBase(const SinkTransactionBase&) = delete;
    SinkTransactionBase& operator=(const SinkTransactionBase&) = delete;
    virtual ~SinkTransactionBase() = default;

    /// Does what can fail and can be undone, such as syncing a temporary file. Called once, after the last record.
    virtual void prepare() {}
    /// Makes the records visible together with the mark that the part is committed, all or nothing. A part that is
    /// committed already stays as it is. Attempts of one part are never in here at the same time in one process.
    virtual void commit() = 0;
    /// Drops what was written. Must not throw.
    virtual void abort() noexcept {}
};

/// One attempt's records on their way into a sink.
template <class T>
class SinkTransaction : public SinkTransactionBase {
public:
    virtual void write(const T& record) = 0;
};

/// Keeps each record of each batch exactly once, for DStream::saveToSink. Tasks run and fail, batches run again after
/// a restart; the sink is told which part of which batch the records belong to and commits each part once. Methods are
/// called by several tasks at a time. What a batch holds must be the same when it runs again, which it is when the
/// functions of the program depend on their input alone.
///
///     class Printer : public TransactionalSink<std::string> {
///     public:
///         std::unique_ptr<SinkTransaction<std::string>> begin(const SinkPart& part) override {
///             return database_.has(part) ? nullptr : std::make_unique<Insert>(database_, part);
///         }
///     };
template <class T>
class TransactionalSink {
public:
    using Record = T;

    TransactionalSink() = default;
    TransactionalSink(const TransactionalSink&) = delete;
    TransactionalSink& operator=(const TransactionalSink&) = delete;
    virtual ~TransactionalSink() = default;

    /// Called before the tasks of a batch, on a job thread. What it throws fails the batch's output operation.
    virtual void beginBatch(const SinkBatch&) {}
    /// Opens a transaction for one attempt; null when the part is committed already, so that it need not be computed.
    virtual std::unique_ptr<SinkTransaction<T>> begin(const SinkPart& part) = 0;
    /// Called when all parts of a batch are committed, on a job thread; again when the batch runs again.
    virtual void endBatch(const SinkBatch&) {}
};

namespace detail {

/// Lets one attempt at each partition commit: a second one waits for what becomes of the first. Thread-safe.
class CommitCoordinator {
public:
    explicit CommitCoordinator(int numPartitions);
    ~CommitCoordinator();

    /// Prepares the transaction and commits it, or aborts it when another attempt has committed.
    /// @throws TaskCancelled  when the task is cancelled while another attempt commits
    void finish(SinkTransactionBase& transaction, const TaskContext& context);

private:
    enum class Part : char { kOpen, kCommitting, kCommitted };
    bool mayCommit(std::size_t partition, std::stop_token stop);
    void committed(std::size_t partition, bool done);

    std::mutex mutex_;  // guards the fields below
    std::condition_variable_any changed_;
    std::vector<Part> parts_;
};

/// Aborts a transaction that was not finished.
class OpenTransaction {
public:
    explicit OpenTransaction(SinkTransactionBase& transaction) : transaction_(&transaction) {}
    OpenTransaction(const OpenTransaction&) = delete;
    OpenTransaction& operator=(const OpenTransaction&) = delete;
    ~OpenTransaction() {
        if (transaction_ != nullptr) transaction_->abort();
    }
    void finish(CommitCoordinator& coordinator, const TaskContext& context) {
        coordinator.finish(*transaction_, context);
        transaction_ = nullptr;
    }

private:
    SinkTransactionBase* transaction_;
};

template <class R, class Record>
void saveToSink(const R& rdd, Time time, std::string operation, const std::shared_ptr<TransactionalSink<Record>>& sink,
                std::source_location where) {
    static_assert(std::is_same_v<Record, Owned<typename R::Element>>,
                  "the sink must take records of the stream's element type");
    const auto plan = rdd.plan();
    const int count = plan.node->numPartitions();
    const SinkBatch batch{rdd.sparkContext().appName(), std::move(operation), time, count};
    sink->beginBatch(batch);
    runOnAll(plan, "saveToSink", where,
             [plan, sink, batch, coordinator = std::make_shared<CommitCoordinator>(count),
              op = OperatorInfo("saveToSink", CallSite::from(where))](TaskContext& context) {
                 SinkPart part;
                 static_cast<SinkBatch&>(part) = batch;
                 part.partition = context.partitionId();
                 part.attempt = context.taskAttemptId();
                 guarded(&op, [&] {
                     const auto transaction = sink->begin(part);
                     if (!transaction) return;
                     OpenTransaction open(*transaction);
                     plan.drive(context.partitionId(), context, [&](auto&& element) {
                         if constexpr (std::is_same_v<std::remove_cvref_t<decltype(element)>, Record>) {
                             transaction->write(element);
                         } else {
                             transaction->write(convertElement<Record>(std::forward<decltype(element)>(element)));
                         }
                         ++context.taskMetrics().recordsWritten;
                     });
                     open.finish(*coordinator, context);
                 });
                 return Done{};
             });
    sink->endBatch(batch);
}

}  // namespace detail

/// Writes the RDD of a batch through a sink, once for `time` and `operation`, as DStream::saveToSink does. For
/// functions given to foreachRDD.
template <class R, class Sink>
void saveToSink(const R& rdd, Time time, std::string operation, const std::shared_ptr<Sink>& sink,
                std::source_location where = std::source_location::current()) {
    detail::saveToSink<R, typename Sink::Record>(rdd, time, std::move(operation), sink, where);
}

}  // namespace dstream
