#include "client.hpp"
#include "connectors/kafka/kafka_sink.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <set>

namespace dstream::kafka::detail {

namespace {

constexpr const char* kLog = "KafkaSink";
constexpr int kAttempts = 5;               // at the transaction of a batch
constexpr std::size_t kRemembered = 5000;  // batches that a mark names, at most
constexpr std::size_t kMarkBytes = 3500;   // a broker takes 4096
constexpr int kBase = 36;

/// What ends an attempt at a transaction.
struct Failed {
    bool fatal = false;     // the producer is of no more use
    bool mayAbort = false;  // the transaction can be aborted and begun again
    std::string text;
};

/// Throws what a call of the transactional producer reports.
void check(const char* what, rd_kafka_error_t* reported) {
    const ErrorPtr error(reported);
    if (!error) return;
    throw Failed{
        rd_kafka_error_is_fatal(error.get()) != 0, rd_kafka_error_txn_requires_abort(error.get()) != 0,
        std::string(what) + ": " + rd_kafka_error_string(error.get()) + " (" + rd_kafka_error_name(error.get()) + ")"};
}

/// Calls until it succeeds or a repetition does not help.
template <class Call>
void checkRetrying(const char* what, Call call) {
    for (int left = 10;; --left) {
        ErrorPtr error(call());
        if (error && left > 0 && rd_kafka_error_is_retriable(error.get()) != 0) continue;
        check(what, error.release());
        return;
    }
}

/// The batches of an operation that are committed, as the text beside the offset: the newest, then how far each lies
/// before the one after it, "DISTANCExTIMES" for equal ones. What does not fit is left out, oldest first.
std::string marksOf(const std::set<int64_t>& times) {
    std::string text = "1:";
    const auto append = [&](int64_t number) {
        std::array<char, 24> digits{};
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, kBase);
        text.append(digits.data(), end.ptr);
    };
    append(*times.rbegin());
    for (auto time = times.rbegin(); std::next(time) != times.rend() && text.size() < kMarkBytes;) {
        const int64_t distance = *time - *std::next(time);
        int64_t equal = 0;
        for (; std::next(time) != times.rend() && *time - *std::next(time) == distance; ++time) ++equal;
        text += ',';
        append(distance);
        text += '*';
        append(equal);
    }
    return text;
}

std::set<int64_t> parseMarks(std::string_view text) {
    std::set<int64_t> times;
    bool valid = text.starts_with("1:");
    const char* position = text.data() + std::min<std::size_t>(2, text.size());
    const char* const end = text.data() + text.size();
    const auto read = [&](char before) {
        int64_t value = 0;
        if (before != 0 && (position == end || *position++ != before)) valid = false;
        const auto found = std::from_chars(position, end, value, kBase);
        valid = valid && found.ec == std::errc() && value > 0;
        position = found.ptr;
        return value;
    };
    int64_t at = valid ? read(0) : 0;
    times.insert(at);
    while (valid && position < end) {
        const int64_t distance = read(',');
        for (int64_t left = valid ? read('*') : 0; valid && left > 0 && times.size() <= kRemembered; --left) {
            times.insert(at -= distance);
        }
    }
    if (!valid) {
        throw SparkException("the mark of the last batch in Kafka is not one of this library: " + std::string(text));
    }
    return times;
}

/// One output operation: its producer and what it has committed. Used by one thread at a time.
class Operation {
public:
    Operation(const Params& params, std::string topic, const std::string& transactionalId)
        : params_(params),
          topic_(std::move(topic)),
          transactionalId_(transactionalId),
          markGroup_("dstream-sink." + transactionalId) {
        params_["transactional.id"] = transactionalId;
    }

    bool isCommitted(Time time) {
        if (!producer_) open();
        if (times_.contains(time.milliseconds())) return true;
        if (forgotten_ && time.milliseconds() < *times_.begin()) {
            throw SparkException("batch " + time.toString() + " is older than the " + std::to_string(times_.size()) +
                                 " batches that " + transactionalId_ +
                                 " remembers: it cannot be told whether its records are in topic " + topic_ +
                                 " already. Look there, and start in an empty checkpoint directory");
        }
        return false;
    }

    void write(Time time, const std::map<int, std::vector<ProducerRecord>>& parts, const Offsets& consumed,
               const std::string& groupMetadata) {
        for (int attempt = 1;; ++attempt) {
            try {
                if (isCommitted(time)) return;
                transact(time, parts, consumed, groupMetadata);
                times_.insert(time.milliseconds());
                newestOurs_ = std::max(newestOurs_, time.milliseconds());
                while (times_.size() > kRemembered) {
                    times_.erase(times_.begin());
                    forgotten_ = true;
                }
                return;
            } catch (const Failed& failed) {
                logMessage(LogLevel::kWarn, kLog,
                           "attempt " + std::to_string(attempt) + " at the transaction of batch " + time.toString() +
                               " (" + transactionalId_ + ") failed: " + failed.text);
                giveUp(failed, time);
                if (attempt == kAttempts) {
                    throw SparkException("batch " + time.toString() + " could not be written to Kafka topic " + topic_ +
                                         " in " + std::to_string(kAttempts) + " attempts: " + failed.text);
                }
            } catch (...) {
                giveUp({false, true, {}}, time);
                throw;
            }
        }
    }

private:
    void open() {
        ClientPtr producer = makeClient(RD_KAFKA_PRODUCER, makeConf(params_, Role::kProducer));
        // Ends what an earlier producer has left open, and locks it out.
        try {
            checkRetrying("init_transactions", [&] { return rd_kafka_init_transactions(producer.get(), timeout()); });
            DSTREAM_FAILPOINT("kafka.init");
            readMarks();
        } catch (const Failed& failed) {
            throw SparkException("no transactions with Kafka at " + serversOf(params_) + " as " + transactionalId_ +
                                 ": " + failed.text);
        }
        producer_ = std::move(producer);
    }

    void readMarks() {
        Params params = params_;
        params.erase("transactional.id");
        params["group.id"] = markGroup_;
        params["isolation.level"] = "read_committed";
        const ClientPtr reader = makeClient(RD_KAFKA_CONSUMER, makeConf(params, Role::kDriver));
        const PartitionListPtr list = listOf({{{topic_, 0}, RD_KAFKA_OFFSET_INVALID}});
        const auto error = fetchCommitted(reader.get(), list.get(), apiTimeout(params_));
        const rd_kafka_topic_partition_t& mark = list->elems[0];
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            throw SparkException("Kafka at " + serversOf(params_) + " does not say which batches " + transactionalId_ +
                                 " has written: " + textOf(error));
        }
        if (mark.offset < 0) return;
        const std::string_view text(static_cast<const char*>(mark.metadata), mark.metadata_size);
        const std::set<int64_t> found = parseMarks(text);
        times_.insert(found.begin(), found.end());
        forgotten_ = forgotten_ || text.size() >= kMarkBytes || found.size() >= kRemembered;
    }

    void transact(Time time, const std::map<int, std::vector<ProducerRecord>>& parts, const Offsets& consumed,
                  const std::string& groupMetadata) {
        rd_kafka_t* const producer = producer_.get();
        DSTREAM_FAILPOINT("kafka.begin");
        check("begin_transaction", rd_kafka_begin_transaction(producer));
        for (const auto& [partition, records] : parts) {
            for (const ProducerRecord& record : records) enqueue(producer, topic_, record);
        }
        DSTREAM_FAILPOINT("kafka.produced");
        if (!consumed.empty()) {
            rd_kafka_consumer_group_metadata_t* read = nullptr;
            check("group metadata",
                  rd_kafka_consumer_group_metadata_read(&read, groupMetadata.data(), groupMetadata.size()));
            const GroupMetadataPtr group(read);
            const PartitionListPtr list = listOf(consumed);
            checkRetrying("send_offsets_to_transaction", [&] {
                return rd_kafka_send_offsets_to_transaction(producer, list.get(), group.get(), timeout());
            });
        }
        std::set<int64_t> times = times_;
        times.insert(time.milliseconds());
        while (times.size() > kRemembered) times.erase(times.begin());
        const std::string marks = marksOf(times);
        const PartitionListPtr list = listOf({{{topic_, 0}, *times.rbegin()}});
        list->elems[0].metadata = rd_kafka_mem_malloc(nullptr, marks.size());
        std::copy(marks.begin(), marks.end(), static_cast<char*>(list->elems[0].metadata));
        list->elems[0].metadata_size = marks.size();
        const GroupMetadataPtr group(rd_kafka_consumer_group_metadata_new(markGroup_.c_str()));
        checkRetrying("send_offsets_to_transaction", [&] {
            return rd_kafka_send_offsets_to_transaction(producer, list.get(), group.get(), timeout());
        });
        DSTREAM_FAILPOINT("kafka.commit_transaction");
        checkRetrying("commit_transaction", [&] { return rd_kafka_commit_transaction(producer, timeout()); });
        DSTREAM_FAILPOINT("kafka.committed");
    }

    /// After a failed attempt: aborts the transaction, or lets go of a producer that cannot do that.
    void giveUp(const Failed& failed, Time time) {
        if (!producer_) return;
        if (!failed.fatal && failed.mayAbort) {
            try {
                checkRetrying("abort_transaction",
                              [&] { return rd_kafka_abort_transaction(producer_.get(), timeout()); });
                return;
            } catch (const Failed& again) {
                logMessage(LogLevel::kWarn, kLog, again.text);
            }
        }
        producer_.reset();
        // Whoever has locked this producer out may be a second run of the program.
        readMarks();
        if (!times_.empty() && *times_.rbegin() > time.milliseconds() && newestOurs_ < *times_.rbegin()) {
            throw SparkException("another program with the transactional.id " + transactionalId_ +
                                 " has written batch " + Time(*times_.rbegin()).toString() +
                                 " to Kafka; stop one of the two, or give them names of their own");
        }
    }

    int timeout() const { return static_cast<int>(apiTimeout(params_).count()); }

    Params params_;
    const std::string topic_;
    const std::string transactionalId_;
    const std::string markGroup_;
    ClientPtr producer_;
    std::set<int64_t> times_;         // of the newest committed batches
    bool forgotten_ = false;          // there were older ones
    int64_t newestOurs_ = INT64_MIN;  // that was committed here
};

class Writer final : public TransactionWriter {
public:
    Writer(const Params& params, std::string topic, std::shared_ptr<DirectStream> consumed)
        : params_(params), topic_(std::move(topic)), consumed_(std::move(consumed)) {
        require(!topic_.empty(), "a Kafka sink needs a topic");
        Params checked = params_;
        checked.try_emplace("transactional.id", "checked");
        makeClient(RD_KAFKA_PRODUCER, makeConf(checked, Role::kProducer));
    }

    void beginBatch(const SinkBatch& batch) override {
        const auto operation = operationOf(batch);
        bool committed = false;
        {
            const std::lock_guard turn(operation->turn);
            committed = operation->inside.isCommitted(batch.time);
        }
        const std::lock_guard lock(mutex_);
        batches_[{batch.operation, batch.time}] = Batch{committed, {}};
    }

    bool isCommitted(const SinkBatch& batch) override {
        const std::lock_guard lock(mutex_);
        return batches_.at({batch.operation, batch.time}).committed;
    }

    void addPart(const SinkPart& part, std::vector<ProducerRecord> records) override {
        const std::lock_guard lock(mutex_);
        batches_.at({part.operation, part.time}).parts.try_emplace(part.partition, std::move(records));
    }

    void endBatch(const SinkBatch& batch) override {
        Batch ended;
        {
            const std::lock_guard lock(mutex_);
            ended = std::move(batches_.extract({batch.operation, batch.time}).mapped());
        }
        if (ended.committed) return;
        Offsets consumed;
        std::string groupMetadata;
        bool empty =
            std::all_of(ended.parts.begin(), ended.parts.end(), [](const auto& part) { return part.second.empty(); });
        if (consumed_ && !consumed_->groupId().empty()) {
            for (const OffsetRange& range : consumed_->rangesOfBatch(batch.time)) {
                consumed[range.topicPartition()] = range.untilOffset;
                empty = empty && range.count() == 0;
            }
            groupMetadata = consumed_->groupMetadata();
        }
        if (empty) return;  // and is so again, should it run again
        const auto operation = operationOf(batch);
        const std::lock_guard turn(operation->turn);
        operation->inside.write(batch.time, ended.parts, consumed, groupMetadata);
    }

private:
    struct Batch {
        bool committed = false;
        std::map<int, std::vector<ProducerRecord>> parts;
    };
    struct Turn {
        Turn(const Params& params, const std::string& topic, const std::string& id) : inside(params, topic, id) {}
        std::mutex turn;  // held through a transaction: batches of one operation are written one after the other
        Operation inside;
    };

    std::shared_ptr<Turn> operationOf(const SinkBatch& batch) {
        const std::string id = settingOf(params_, "transactional.id", batch.job + "/" + batch.operation);
        const std::lock_guard lock(mutex_);
        auto& operation = operations_[batch.operation];
        if (!operation) operation = std::make_shared<Turn>(params_, topic_, id);
        return operation;
    }

    const Params params_;
    const std::string topic_;
    const std::shared_ptr<DirectStream> consumed_;
    std::mutex mutex_;  // guards the fields below
    std::map<std::string, std::shared_ptr<Turn>> operations_;
    std::map<std::pair<std::string, Time>, Batch> batches_;
};

}  // namespace

std::shared_ptr<TransactionWriter> makeTransactionWriter(const Params& params, const std::string& topic,
                                                         std::shared_ptr<DirectStream> consumed) {
    return std::make_shared<Writer>(params, topic, std::move(consumed));
}

}  // namespace dstream::kafka::detail
