#pragma once

#include "connectors/kafka/kafka_utils.hpp"
#include "connectors/kafka/producer_record.hpp"
#include "dstream/transactional_sink.hpp"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dstream::kafka {

namespace detail {

/// Writes batches as transactions, one each. Thread-safe.
class TransactionWriter {
public:
    virtual ~TransactionWriter() = default;
    /// Takes the records of one partition until the batch ends; the first attempt that comes counts.
    virtual void addPart(const SinkPart& part, std::vector<ProducerRecord> records) = 0;
    virtual bool isCommitted(const SinkBatch& batch) = 0;
    virtual void beginBatch(const SinkBatch& batch) = 0;
    virtual void endBatch(const SinkBatch& batch) = 0;
};
/// @param consumed  the stream whose offsets are part of the transaction; may be null
std::shared_ptr<TransactionWriter> makeTransactionWriter(const Params& params, const std::string& topic,
                                                         std::shared_ptr<DirectStream> consumed);

}  // namespace detail

/// Writes each batch to Kafka exactly once, for DStream::saveToSink: its records, a mark of the batch and, for a stream
/// that comes from Kafka, the offsets it was made of, in one transaction. A batch that runs again after a restart finds
/// the mark and writes nothing. Readers must be "read_committed". The records of a batch are kept in memory until its
/// transaction is through; one that must be aborted is written again, by a new producer if it has to be.
///
///     auto sink = std::make_shared<kafka::KafkaSink<Total>>(params, "totals", [](const Total& total) {
///         return kafka::ProducerRecord::of(total.user, std::to_string(total.clicks));
///     }, clicks);
///     totals.saveToSink("totals", sink);
///
/// "transactional.id" is "JOB/OPERATION" unless the settings have one; two running programs must not share it.
template <class T>
class KafkaSink final : public TransactionalSink<T> {
public:
    using ToRecord = std::function<ProducerRecord(const T&)>;

    /// @param topic  where records without a topic of their own go; its partition 0 carries the mark
    /// @throws IllegalArgumentException  for settings that cannot be
    KafkaSink(const Params& params, const std::string& topic, ToRecord toRecord)
        : toRecord_(std::move(toRecord)), writer_(detail::makeTransactionWriter(params, topic, nullptr)) {}
    /// @param consumed  the stream that the batches are made of: its offsets are committed with them
    template <class K, class V>
    KafkaSink(const Params& params, const std::string& topic, ToRecord toRecord,
              const DirectKafkaDStream<K, V>& consumed)
        : toRecord_(std::move(toRecord)), writer_(detail::makeTransactionWriter(params, topic, consumed.stream())) {}

    void beginBatch(const SinkBatch& batch) override { writer_->beginBatch(batch); }
    std::unique_ptr<SinkTransaction<T>> begin(const SinkPart& part) override {
        if (writer_->isCommitted(part)) return nullptr;
        return std::make_unique<Part>(part, toRecord_, writer_);
    }
    void endBatch(const SinkBatch& batch) override { writer_->endBatch(batch); }

private:
    class Part final : public SinkTransaction<T> {
    public:
        Part(SinkPart part, ToRecord toRecord, std::shared_ptr<detail::TransactionWriter> writer)
            : part_(std::move(part)), toRecord_(std::move(toRecord)), writer_(std::move(writer)) {}
        void write(const T& record) override { records_.push_back(toRecord_(record)); }
        void commit() override { writer_->addPart(part_, std::move(records_)); }

    private:
        const SinkPart part_;
        const ToRecord toRecord_;
        const std::shared_ptr<detail::TransactionWriter> writer_;
        std::vector<ProducerRecord> records_;
    };

    const ToRecord toRecord_;
    const std::shared_ptr<detail::TransactionWriter> writer_;
};

/// Writes each batch of a stream to a topic exactly once, see KafkaSink; the offsets of `consumed`, the stream that the
/// batches are made of, are part of the transaction.
/// @param operation  names the output; keep it when the program changes
template <class Stream, class F, class K, class V>
void saveToKafka(const Stream& stream, const std::string& operation, const Params& params, const std::string& topic,
                 F toRecord, const DirectKafkaDStream<K, V>& consumed) {
    using T = Owned<typename Stream::Element>;
    stream.saveToSink(operation, std::make_shared<KafkaSink<T>>(params, topic, std::move(toRecord), consumed));
}
/// As above for a stream that does not come from Kafka.
template <class Stream, class F>
void saveToKafka(const Stream& stream, const std::string& operation, const Params& params, const std::string& topic,
                 F toRecord) {
    using T = Owned<typename Stream::Element>;
    stream.saveToSink(operation, std::make_shared<KafkaSink<T>>(params, topic, std::move(toRecord)));
}

}  // namespace dstream::kafka
