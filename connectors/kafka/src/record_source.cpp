#include "client.hpp"
#include "connectors/kafka/direct_stream.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "rdd/task_context.hpp"

#include <algorithm>
#include <chrono>
#include <list>
#include <thread>

namespace dstream::kafka::detail {

namespace {

constexpr const char* kLog = "KafkaRDD";
constexpr std::size_t kFetch = 4096;  // messages taken from the client at once
using Clock = std::chrono::steady_clock;

/// A client and the partitions it reads; a client reads a partition once only. Guarded by the source.
struct Instance {
    ClientPtr client;
    std::set<TopicPartition> reads;
    std::size_t fullBytes = 0;     // a partition whose queue has so many is not fetched
    std::size_t fullMessages = 0;  // the same in messages
};

std::string_view viewOf(const void* bytes, std::size_t size) {
    // An empty key or value is not a missing one.
    return bytes == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(bytes), size);
}

/// Takes one partition's messages from a client, which fetches ahead. Used by one task at a time.
class PartitionReader {
public:
    PartitionReader(std::shared_ptr<Instance> instance, TopicPartition of)
        : instance_(std::move(instance)),
          of_(std::move(of)),
          topic_(rd_kafka_topic_new(instance_->client.get(), of_.topic.c_str(), nullptr)),
          queue_(rd_kafka_queue_new(instance_->client.get())),
          watch_(instance_->fullMessages, instance_->fullBytes),
          fetched_(kFetch) {}
    ~PartitionReader() { halt(); }
    PartitionReader(const PartitionReader&) = delete;
    PartitionReader& operator=(const PartitionReader&) = delete;

    const std::shared_ptr<Instance>& instance() const { return instance_; }
    const TopicPartition& of() const { return of_; }
    rd_kafka_queue_t* queue() const { return queue_.get(); }
    /// The offset where the next range may begin without moving; absent: it stands nowhere.
    std::optional<int64_t> standsAt() const { return standsAt_; }
    void leaveAt(std::optional<int64_t> offset) { standsAt_ = offset; }

    /// Stands at an offset from now on.
    void moveTo(int64_t offset) {
        halt();
        if (!topic_ || rd_kafka_consume_start_queue(topic_.get(), of_.partition, offset, queue_.get()) != 0) {
            throw SparkException("cannot begin to read " + of_.toString() + " at offset " + std::to_string(offset) +
                                 ": " + textOf(rd_kafka_last_error()));
        }
        started_ = true;
        passed_ = offset;
        standsAt_ = offset;
    }
    /// Stops fetching and drops what was fetched.
    void halt() {
        for (; next_ < end_; ++next_) rd_kafka_message_destroy(fetched_[next_]);
        if (started_) rd_kafka_consume_stop(topic_.get(), of_.partition);
        started_ = false;
        standsAt_.reset();
    }

    /// The next message without taking it: null when none comes before the deadline or a wake-up.
    rd_kafka_message_t* peek(Clock::time_point deadline) {
        if (next_ < end_) return fetched_[next_];
        next_ = end_ = 0;
        const ssize_t found = rd_kafka_consume_batch_queue(queue_.get(), 0, fetched_.data(), fetched_.size());
        end_ = static_cast<std::size_t>(std::max<ssize_t>(0, found));
        keepFetching();
        if (end_ > 0) return fetched_[0];
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) return nullptr;
        rd_kafka_message_t* one =
            rd_kafka_consume_queue(queue_.get(), static_cast<int>(std::min<int64_t>(left, 3'600'000)));
        if (one == nullptr) return nullptr;
        fetched_[0] = one;
        end_ = 1;
        return one;
    }
    bool hasFetched() const { return next_ < end_; }
    rd_kafka_message_t* take() { return fetched_[next_++]; }

    /// Every offset before it has been taken, or has no record.
    int64_t passed() const { return passed_; }
    void pass(int64_t offset) { passed_ = std::max(passed_, offset); }

private:
    void keepFetching() {
        for (std::size_t i = 0; i < end_; i += kFetch / 8) {
            messageBytes_ = (messageBytes_ + fetched_[i]->len + fetched_[i]->key_len) / 2;
        }
        if (!watch_.hasRoomAgain(end_, rd_kafka_queue_length(queue_.get()), messageBytes_)) return;
        const PartitionListPtr list = listOf({{of_, RD_KAFKA_OFFSET_END}});
        rd_kafka_offsets_for_times(instance_->client.get(), list.get(), 0);  // wakes it; waits for no answer
    }

    const std::shared_ptr<Instance> instance_;
    const TopicPartition of_;
    const TopicPtr topic_;
    const QueuePtr queue_;
    QueueWatch watch_;
    std::vector<rd_kafka_message_t*> fetched_;
    std::size_t next_ = 0, end_ = 0;
    int64_t passed_ = 0;
    std::optional<int64_t> standsAt_;
    std::size_t messageBytes_ = 0;  // of recent ones
    bool started_ = false;
};

class Source;

class Reader final : public RangeReader {
public:
    Reader(std::shared_ptr<Source> source, std::unique_ptr<PartitionReader> reader, OffsetRange range, bool goesOn,
           TaskContext& context);
    ~Reader() override;
    std::span<const RawRecord> next(std::size_t max) override;

private:
    void release();
    [[noreturn]] void fail(const rd_kafka_message_t& message);

    const std::shared_ptr<Source> source_;
    std::unique_ptr<PartitionReader> reader_;
    const OffsetRange range_;
    const bool goesOn_;
    TaskContext& context_;
    std::stop_callback<std::function<void()>> wake_;
    std::vector<rd_kafka_message_t*> given_;
    std::vector<RawRecord> records_;
    int64_t delivered_ = 0;
    bool done_ = false;
};

class EmptyReader final : public RangeReader {
public:
    std::span<const RawRecord> next(std::size_t) override { return {}; }
};

enum class OnUndecodable { kFail, kSkip, kDeadLetter };

class Source final : public RecordSource, public std::enable_shared_from_this<Source> {
public:
    Source(const Params& params, const SparkConf& conf, int threads)
        : pollTime_(conf.contains("spark.streaming.kafka.consumer.poll.ms")
                        ? conf.getTimeAsMs("spark.streaming.kafka.consumer.poll.ms")
                        : conf.getTimeAsMs("spark.network.timeout", "120s")),
          params_(params),
          instances_(2 * static_cast<std::size_t>(std::max(1, threads))),
          capacity_(!conf.getBoolean("spark.streaming.kafka.consumer.cache.enabled", true)
                        ? 0
                        : static_cast<std::size_t>(
                              std::max(0, conf.getInt("spark.streaming.kafka.consumer.cache.maxCapacity", 64)))),
          prefetchBytes_(conf.getSizeAsBytes("dstream.kafka.maxPrefetchBytes", "64m")),
          deadLetterTopic_(conf.get("dstream.kafka.deadLetterTopic", "")) {
        const std::string choice = conf.get("dstream.kafka.onUndecodable", "fail");
        if (choice == "skip") {
            onUndecodable_ = OnUndecodable::kSkip;
        } else if (choice == "deadLetter") {
            onUndecodable_ = OnUndecodable::kDeadLetter;
            require(!deadLetterTopic_.empty(),
                    "dstream.kafka.onUndecodable is deadLetter: set dstream.kafka.deadLetterTopic, too");
        } else {
            require(choice == "fail",
                    "dstream.kafka.onUndecodable must be fail, skip or deadLetter: \"" + choice + "\"");
        }
        // Where offsets without a record are to be expected, only reading tells.
        countsByOffsets_ = onUndecodable_ == OnUndecodable::kFail &&
                           settingOf(params_, "isolation.level") != "read_committed" &&
                           !conf.getBoolean("spark.streaming.kafka.allowNonConsecutiveOffsets", false);
        for (const char* key : {"spark.streaming.kafka.consumer.cache.initialCapacity",
                                "spark.streaming.kafka.consumer.cache.loadFactor"}) {
            if (conf.contains(key)) logMessage(LogLevel::kInfo, kLog, std::string(key) + " has no effect");
        }
        makeConf(params_, Role::kReader);  // wrong settings are told at once, not by the first task
    }

    void expectPartitions(std::size_t count) override {
        const std::lock_guard lock(mutex_);
        partitions_ = std::max(partitions_, count);
    }

    /// A client has one request for records under way at a time, and the broker answers one for partitions that are
    /// read to their ends only after fetch.wait.max.ms: a partition that joins late would wait for that.
    void prepare(std::span<const OffsetRange> ranges) override {
        const std::lock_guard lock(mutex_);
        for (const OffsetRange& range : ranges.first(std::min(ranges.size(), instances_ + 1))) {
            const TopicPartition of = range.topicPartition();
            const bool known = std::any_of(clients_.begin(), clients_.end(),
                                           [&](const auto& client) { return client->reads.contains(of); });
            if (known || range.count() <= 0 || idle_.size() >= capacity_) continue;
            auto reader = std::make_unique<PartitionReader>(instanceFor(of), of);
            counters_.repositions.fetch_add(1);
            reader->moveTo(range.fromOffset);
            idle_.push_back(std::move(reader));
        }
    }

    std::unique_ptr<RangeReader> open(const OffsetRange& range, bool goesOn, TaskContext& context) override {
        require(range.fromOffset <= range.untilOffset,
                "an offset range must not end before it begins: " + range.toString());
        if (range.count() == 0) return std::make_unique<EmptyReader>();
        auto reader = acquire(range, context.attemptNumber() > 0);
        if (reader->standsAt() != range.fromOffset) {
            counters_.repositions.fetch_add(1);
            reader->moveTo(range.fromOffset);
        }
        return std::make_unique<Reader>(shared_from_this(), std::move(reader), range, goesOn, context);
    }

    void undecodable(const TopicPartition& of, const RawRecord& record, std::exception_ptr error) override {
        const std::string what = "record " + std::to_string(record.offset) + " of " + of.toString() +
                                 " does not decode: " + describeException(error);
        if (onUndecodable_ == OnUndecodable::kFail) {
            throw SparkException(what + "; dstream.kafka.onUndecodable=skip or deadLetter goes on without it");
        }
        if (counters_.undecodableRecords.fetch_add(1) == 0) {
            logMessage(LogLevel::kWarn, kLog, what + "; it and others like it are left out and counted");
        }
        if (onUndecodable_ == OnUndecodable::kDeadLetter) sendDeadLetter(of, record, describeException(error));
    }
    const ReadCounters& counters() const override { return counters_; }
    bool countsByOffsets() const override { return countsByOffsets_; }

    /// Waits until the dead letters are safe.
    void flushDeadLetters() {
        std::unique_lock lock(mutex_);
        rd_kafka_t* producer = deadLetters_.get();
        lock.unlock();
        if (producer == nullptr) return;
        const auto error = rd_kafka_flush(producer, static_cast<int>(apiTimeout(params_).count()));
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR || lostLetters_.exchange(0) > 0) {
            throw SparkException("undecodable records could not be written to the dead-letter topic " +
                                 deadLetterTopic_ + "; is it there, and may this program write to it?");
        }
    }

    void countMissing(int64_t offsets) { counters_.missingOffsets.fetch_add(offsets); }

    /// Keeps a reader for the next range, or ends it.
    void giveBack(std::unique_ptr<PartitionReader> reader, bool goesOn) {
        if (!goesOn) reader->halt();
        std::vector<std::unique_ptr<PartitionReader>> ended;
        std::unique_lock lock(mutex_);
        idle_.push_back(std::move(reader));
        while (idle_.size() > capacity_) {
            ended.push_back(std::move(idle_.front()));
            idle_.pop_front();
        }
        lock.unlock();
        for (auto& one : ended) end(std::move(one));
    }
    void end(std::unique_ptr<PartitionReader> reader) {
        const auto instance = reader->instance();
        const TopicPartition of = reader->of();
        reader.reset();
        const std::lock_guard lock(mutex_);
        instance->reads.erase(of);
    }

    int64_t pollTime() const { return pollTime_; }
    const Params& params() const { return params_; }

private:
    /// A reader that stands where the range begins, else any of the partition, else a new one.
    std::unique_ptr<PartitionReader> acquire(const OffsetRange& range, bool fresh) {
        const TopicPartition of = range.topicPartition();
        std::vector<std::unique_ptr<PartitionReader>> ended;
        std::unique_ptr<PartitionReader> chosen;
        {
            const std::lock_guard lock(mutex_);
            auto best = idle_.end();
            for (auto at = idle_.begin(); at != idle_.end();) {
                if ((*at)->of() != of) {
                    ++at;
                } else if (fresh) {
                    ended.push_back(std::move(*at));
                    at = idle_.erase(at);
                } else {
                    // One that stands elsewhere may be where another task goes on; one that stands nowhere is free.
                    const auto rank = [&](const PartitionReader& reader) {
                        return reader.standsAt() == range.fromOffset ? 0 : reader.standsAt() ? 2 : 1;
                    };
                    if (best == idle_.end() || rank(**at) < rank(**best)) best = at;
                    ++at;
                }
            }
            if (best != idle_.end()) {
                chosen = std::move(*best);
                idle_.erase(best);
            }
        }
        for (auto& one : ended) end(std::move(one));
        if (chosen) return chosen;
        std::unique_lock lock(mutex_);
        std::shared_ptr<Instance> instance = instanceFor(of);
        lock.unlock();
        return std::make_unique<PartitionReader>(std::move(instance), of);
    }

    /// The client that reads a partition from now on. Called with the lock.
    std::shared_ptr<Instance> instanceFor(const TopicPartition& of) {
        std::shared_ptr<Instance> instance;
        for (const auto& candidate : clients_) {
            if (candidate->reads.contains(of)) continue;
            if (!instance || candidate->reads.size() < instance->reads.size()) instance = candidate;
        }
        if (!instance || (!instance->reads.empty() && clients_.size() < instances_)) {
            instance = clients_.emplace_back(makeInstance());
            counters_.consumerInstances.store(static_cast<int>(clients_.size()));
        }
        instance->reads.insert(of);
        return instance;
    }

    /// Called with the lock.
    std::shared_ptr<Instance> makeInstance() {
        const Params params = withPrefetch(params_, static_cast<std::size_t>(prefetchBytes_), partitions_, instances_);
        auto instance = std::make_shared<Instance>();
        instance->fullBytes = 1024 * std::stoull(params.at("queued.max.messages.kbytes"));
        instance->fullMessages = std::stoull(params.at("queued.min.messages"));
        instance->client = makeClient(RD_KAFKA_CONSUMER, makeConf(params, Role::kReader));
        return instance;
    }

    void sendDeadLetter(const TopicPartition& of, const RawRecord& record, const std::string& why) {
        rd_kafka_t* producer = nullptr;
        {
            const std::lock_guard lock(mutex_);
            if (!deadLetters_) {
                Params params = params_;
                for (const char* key : {"group.id", "group.instance.id", "auto.offset.reset"}) params.erase(key);
                params["enable.idempotence"] = "true";
                ConfPtr conf = makeConf(params, Role::kProducer);
                rd_kafka_conf_set_opaque(conf.get(), this);
                rd_kafka_conf_set_dr_msg_cb(conf.get(), [](rd_kafka_t*, const rd_kafka_message_t* sent, void* self) {
                    if (sent->err != RD_KAFKA_RESP_ERR_NO_ERROR) ++static_cast<Source*>(self)->lostLetters_;
                });
                deadLetters_ = makeClient(RD_KAFKA_PRODUCER, std::move(conf));
            }
            producer = deadLetters_.get();
        }
        const std::string offset = std::to_string(record.offset);
        const std::string partition = std::to_string(of.partition);
        rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
        do {
            if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) rd_kafka_poll(producer, 1000);
            error = rd_kafka_producev(
                producer, RD_KAFKA_V_TOPIC(deadLetterTopic_.c_str()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                RD_KAFKA_V_KEY(record.key.data(), record.key.size()),
                RD_KAFKA_V_VALUE(const_cast<char*>(record.value.data()), record.value.size()),
                RD_KAFKA_V_HEADER("deadletter.topic", of.topic.data(), static_cast<ssize_t>(of.topic.size())),
                RD_KAFKA_V_HEADER("deadletter.partition", partition.data(), static_cast<ssize_t>(partition.size())),
                RD_KAFKA_V_HEADER("deadletter.offset", offset.data(), static_cast<ssize_t>(offset.size())),
                RD_KAFKA_V_HEADER("deadletter.error", why.data(), static_cast<ssize_t>(why.size())), RD_KAFKA_V_END);
        } while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) ++lostLetters_;
    }

    const int64_t pollTime_;
    const Params params_;
    const std::size_t instances_;  // twice the threads: one decodes while another waits for the broker's answer
    const std::size_t capacity_;
    const int64_t prefetchBytes_;
    const std::string deadLetterTopic_;
    OnUndecodable onUndecodable_ = OnUndecodable::kFail;
    bool countsByOffsets_ = false;
    ReadCounters counters_;
    std::atomic<int64_t> lostLetters_{0};

    std::mutex mutex_;  // guards the fields below and the instances' sets; the clients outlive the readers
    std::vector<std::shared_ptr<Instance>> clients_;
    std::size_t partitions_ = 1;                        // that share the memory
    std::list<std::unique_ptr<PartitionReader>> idle_;  // longest idle first
    ClientPtr deadLetters_;
};

Reader::Reader(std::shared_ptr<Source> source, std::unique_ptr<PartitionReader> reader, OffsetRange range, bool goesOn,
               TaskContext& context)
    : source_(std::move(source)),
      reader_(std::move(reader)),
      range_(std::move(range)),
      goesOn_(goesOn),
      context_(context),
      wake_(context.interruption(), [queue = reader_->queue()] { rd_kafka_queue_yield(queue); }) {}

Reader::~Reader() {
    release();
    reader_->leaveAt(done_ ? std::optional(range_.untilOffset) : std::nullopt);
    if (done_) {
        source_->giveBack(std::move(reader_), goesOn_);
    } else {
        source_->end(std::move(reader_));
    }
}

void Reader::release() {
    for (rd_kafka_message_t* message : given_) rd_kafka_message_destroy(message);
    given_.clear();
}

std::span<const RawRecord> Reader::next(std::size_t max) {
    release();
    records_.clear();
    if (done_) return {};
    const auto deadline = Clock::now() + std::chrono::milliseconds(source_->pollTime());
    while (records_.size() < max && reader_->passed() < range_.untilOffset) {
        if (!records_.empty() && !reader_->hasFetched()) break;
        rd_kafka_message_t* const message = reader_->peek(deadline);
        if (message == nullptr) {
            context_.checkCancelled();
            if (Clock::now() < deadline) continue;
            throw IllegalArgumentException(
                "Kafka gave no record of " + range_.toString() + " from offset " + std::to_string(reader_->passed()) +
                " on within " + std::to_string(source_->pollTime()) +
                " ms (spark.streaming.kafka.consumer.poll.ms); is the broker up, and was the topic made anew?");
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                reader_->pass(message->offset);
            } else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                       message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE || isTopicGone(message->err) ||
                       message->err == RD_KAFKA_RESP_ERR__BAD_MSG || message->err == RD_KAFKA_RESP_ERR__FATAL ||
                       message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
                       message->err == RD_KAFKA_RESP_ERR__BAD_COMPRESSION) {
                fail(*message);
            } else {
                logMessage(LogLevel::kInfo, kLog, "reading " + range_.toString() + ": " + textOf(message->err));
            }
            rd_kafka_message_destroy(reader_->take());
            continue;
        }
        if (message->offset >= range_.untilOffset) {
            reader_->pass(range_.untilOffset);  // it begins the next range
            break;
        }
        reader_->take();
        given_.push_back(message);
        reader_->pass(message->offset + 1);
        if (message->offset < range_.fromOffset) continue;
        RawRecord& record = records_.emplace_back();
        record.key = viewOf(message->key, message->key_len);
        record.value = viewOf(message->payload, message->len);
        record.offset = message->offset;
        rd_kafka_timestamp_type_t type{};
        record.timestamp = rd_kafka_message_timestamp(message, &type);
        record.timestampType = static_cast<int8_t>(type == RD_KAFKA_TIMESTAMP_CREATE_TIME       ? 0
                                                   : type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? 1
                                                                                                : -1);
        record.message = message;
    }
    delivered_ += static_cast<int64_t>(records_.size());
    if (records_.empty()) {
        done_ = true;
        if (const int64_t missing = range_.count() - delivered_; missing > 0) source_->countMissing(missing);
        source_->flushDeadLetters();
    }
    return records_;
}

void Reader::fail(const rd_kafka_message_t& message) {
    std::string text = "cannot read " + range_.toString() + ": " + textOf(message.err);
    int64_t low = 0;
    int64_t high = 0;
    if (message.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || message.err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        text = "offset out of range: wanted " + range_.toString();
        if (rd_kafka_query_watermark_offsets(reader_->instance()->client.get(), range_.topic.c_str(), range_.partition,
                                             &low, &high, 10'000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            text += ", available are offsets " + std::to_string(low) + " to " + std::to_string(high);
            const int64_t lost = std::clamp<int64_t>(low - range_.fromOffset, 0, range_.count());
            text += "; " + std::to_string(lost) + " records of it are lost";
        }
        text += ". Keep records longer (retention of the topic), or give starting offsets that are still there";
    }
    throw SparkException(text);
}

}  // namespace

HeaderViews headersOf(const void* message) {
    HeaderViews all;
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(static_cast<const rd_kafka_message_t*>(message), &headers) !=
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        return all;
    }
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
        all.emplace_back(name, value == nullptr ? std::nullopt : std::optional(viewOf(value, size)));
    }
    return all;
}

std::shared_ptr<RecordSource> makeRecordSource(const Params& params, const SparkConf& conf, int threads) {
    return std::make_shared<Source>(params, conf, threads);
}

const std::vector<OffsetRange>& rangesOf(const RddBase& rdd) {
    const auto* holder = dynamic_cast<const RangesHolder*>(&rdd);
    require(holder != nullptr, "only an RDD straight from Kafka has offset ranges, not " + rdd.scopeText() +
                                   "; take them in the first operation on the stream");
    return holder->offsetRanges();
}

void checkRdd(const std::vector<OffsetRange>& ranges, const LocationStrategy& location) {
    require(location.kind != LocationStrategy::Kind::kPreferBrokers,
            "createRDD takes PreferConsistent or PreferFixed: without a stream there is nobody who asks the brokers");
    for (const OffsetRange& range : ranges) {
        require(range.fromOffset <= range.untilOffset,
                "an offset range must not end before it begins: " + range.toString());
    }
}

std::vector<int> splitsOf(const std::vector<OffsetRange>& ranges, int parallelism, const SparkConf& conf) {
    const int64_t busy =
        std::count_if(ranges.begin(), ranges.end(), [](const OffsetRange& range) { return range.count() > 0; });
    std::vector<int> splits(ranges.size(), 1);
    if (busy == 0 || busy >= parallelism) return splits;
    const int64_t least = std::max<int64_t>(1, conf.getLong("dstream.kafka.minSplitRecords", 100'000));
    const int64_t wanted = (parallelism + busy - 1) / busy;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        splits[i] = static_cast<int>(std::clamp<int64_t>(ranges[i].count() / least, 1, wanted));
    }
    return splits;
}

OffsetRange splitOf(const OffsetRange& range, int split, int splits) {
    const auto cut = [&](int64_t i) { return range.fromOffset + range.count() * i / splits; };
    return {range.topic, range.partition, cut(split), cut(split + 1)};
}

}  // namespace dstream::kafka::detail
