#include "connectors/kafka/direct_stream.hpp"

#include "client.hpp"
#include "rdd/bytes.hpp"
#include "rdd/clock.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_context.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace dstream::kafka::detail {

namespace {

constexpr const char* kLog = "DirectKafkaInputDStream";

Offsets endsOf(const std::vector<OffsetRange>& ranges) {
    Offsets ends;
    for (const OffsetRange& range : ranges) ends[range.topicPartition()] = range.untilOffset;
    return ends;
}

Params executorParams(const std::shared_ptr<ConsumerStrategyBase>& strategy) {
    require(strategy != nullptr, "a direct stream needs a ConsumerStrategy, found a null pointer");
    return strategy->executorKafkaParams();
}

}  // namespace

int64_t DirectStream::steadyMillis() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

StreamInputInfo DirectStream::Plan::inputInfo(int streamId) const {
    int64_t records = 0;
    std::vector<const OffsetRange*> busy;
    for (const OffsetRange& range : ranges) {
        records += range.count();
        if (range.count() > 0) busy.push_back(&range);
    }
    std::stable_sort(busy.begin(), busy.end(), [](auto* a, auto* b) { return a->count() > b->count(); });
    std::string text;
    for (const OffsetRange* range : busy) {
        text += (text.empty() ? "" : "\n") + ("topic: " + range->topic) +
                "\tpartition: " + std::to_string(range->partition) + "\toffsets: " + std::to_string(range->fromOffset) +
                " to " + std::to_string(range->untilOffset) + "\tcount: " + std::to_string(range->count());
    }
    return StreamInputInfo(streamId, records, {{"offsets", ranges}, {"Description", text}, {"metrics", metrics}});
}

DirectStream::DirectStream(const StreamingContext& ssc, std::string name,
                           std::shared_ptr<ConsumerStrategyBase> strategy, std::shared_ptr<PerPartitionConfig> limits,
                           std::function<int64_t()> now)
    : name_(std::move(name)),
      strategy_(std::move(strategy)),
      limits_(limits ? std::move(limits) : std::make_shared<DefaultPerPartitionConfig>(ssc.sparkContext().getConf())),
      now_(std::move(now)),
      params_(executorParams(strategy_)),
      groupId_(settingOf(params_, "group.id")),
      commitsItself_(!groupId_.empty() && settingOf(params_, "enable.auto.commit", "true") == "true"),
      batchSeconds_(static_cast<double>(ssc.batchDuration().milliseconds()) / 1000),
      initialRate_(ssc.sparkContext().getConf().getLong("spark.streaming.backpressure.initialRate", 0)),
      maxBatchRecords_(ssc.sparkContext().getConf().getLong("dstream.kafka.maxBatchRecords", 10'000'000)),
      maxRetries_(ssc.sparkContext().getConf().getLong("spark.streaming.kafka.maxRetries", 1)),
      source_(makeRecordSource(params_, ssc.sparkContext().getConf(), ssc.sparkContext().defaultParallelism())) {
    require(maxRetries_ >= 0, "spark.streaming.kafka.maxRetries must not be negative: " + std::to_string(maxRetries_));
    if (groupId_.empty()) {
        logMessage(LogLevel::kError, kLog,
                   name_ + " has no \"group.id\": its offsets cannot be committed, only kept in checkpoints");
    }
}

DirectStream::~DirectStream() {
    if (consumer_) consumer_->close();  // its callbacks come here
}

void DirectStream::start() {
    Offsets known;
    {
        const std::lock_guard lock(mutex_);
        known = current_;
    }
    std::shared_ptr<Consumer> consumer = strategy_->onStart(known);
    const std::set<TopicPartition> assigned = consumer->assignment();
    Offsets positions = consumer->positions(assigned, false);
    for (const auto& [of, offset] : known) positions[of] = offset;
    const std::lock_guard lock(mutex_);
    consumer_ = std::move(consumer);
    current_ = std::move(positions);
    for (const auto& [of, offset] : current_) passed_.emplace(of, offset);
    answeredAt_ = now_();
}

void DirectStream::stop() {
    sendCommits();
    std::shared_ptr<Consumer> consumer;
    {
        const std::lock_guard lock(mutex_);
        consumer = consumer_;
    }
    if (!consumer) return;
    consumer->flushCommits();
    // Batches that are still running may commit their offsets in a transaction.
    std::string membership = groupId_.empty() ? std::string() : consumer->groupMetadata();
    consumer->close();
    const std::lock_guard lock(mutex_);
    lastMembership_ = std::move(membership);
    consumer_.reset();
}

std::string DirectStream::refresh(const std::shared_ptr<Consumer>& consumer) {
    using std::chrono::milliseconds;
    const auto patience = milliseconds(std::clamp<int64_t>(static_cast<int64_t>(batchSeconds_ * 1000), 1000, 10'000));
    std::set<TopicPartition> assigned;
    try {
        assigned = consumer->assignment();
        std::set<TopicPartition> discovered;
        {
            const std::lock_guard lock(mutex_);
            for (const auto& [of, offset] : current_) {
                if (!assigned.contains(of)) {
                    return name_ + " has lost partition " + of.toString() + " to another member of group " + groupId_ +
                           "; two programs with one group.id share the partitions, give each its own";
                }
            }
            for (const TopicPartition& of : assigned) {
                if (!current_.contains(of)) discovered.insert(of);
            }
        }
        if (!discovered.empty()) {
            const Offsets begins = consumer->positions(discovered, true);
            const std::lock_guard lock(mutex_);
            for (const auto& [of, offset] : begins) {
                logMessage(LogLevel::kInfo, kLog,
                           name_ + " reads " + of.toString() + ", which is new, from offset " + std::to_string(offset));
                current_[of] = offset;
                passed_[of] = offset;
            }
        }
        Offsets ends = consumer->endOffsets(assigned, patience);
        for (int64_t left = maxRetries_; left > 0 && ends.size() < assigned.size(); --left) {
            std::set<TopicPartition> missing;
            for (const TopicPartition& of : assigned) {
                if (!ends.contains(of)) missing.insert(of);
            }
            ends.merge(consumer->endOffsets(missing, patience));
        }
        const int64_t now = now_();
        bool nowSilent = ends.size() < assigned.size();
        int64_t age = 0;
        {
            const std::lock_guard lock(mutex_);
            for (const auto& [of, end] : ends) latest_[of] = end;
            if (!nowSilent) answeredAt_ = now;
            std::swap(silent_, nowSilent);
            age = now - answeredAt_;
            if (silent_ == nowSilent) return {};
            nowSilent = silent_;
        }
        logMessage(LogLevel::kWarn, kLog,
                   nowSilent ? name_ + " has had no answer from Kafka at " + serversOf(params_) + " for " +
                                   std::to_string(age) + " ms; its batches are empty until there is one"
                             : name_ + " is answered by Kafka again");
    } catch (const std::exception& error) {
        return name_ + ": " + error.what();
    }
    return {};
}

std::map<TopicPartition, int64_t> DirectStream::limits(int64_t estimatedRate) const {
    std::map<TopicPartition, int64_t> lags;
    int64_t totalLag = 0;
    for (const auto& [of, at] : current_) {
        const auto end = latest_.find(of);
        const int64_t lag = end == latest_.end() ? 0 : std::max<int64_t>(0, end->second - at);
        lags[of] = lag;
        totalLag += lag;
    }
    const int64_t rate = estimatedRate > 0 ? estimatedRate : estimatedRate == 0 ? initialRate_ : 0;
    std::map<TopicPartition, double> rates;
    double sum = 0;
    for (const auto& [of, lag] : lags) {
        const int64_t most = limits_->maxRatePerPartition(of);
        double value = static_cast<double>(most);
        if (rate > 0) {
            if (totalLag == 0) return lags;
            value = static_cast<double>(lag) / static_cast<double>(totalLag) * static_cast<double>(rate);
            if (most > 0) value = std::min(value, static_cast<double>(most));
        }
        rates[of] = value;
        sum += value;
    }
    std::map<TopicPartition, int64_t> counts = lags;
    if (sum > 0) {
        for (auto& [of, count] : counts) {
            const auto limit =
                std::max(static_cast<int64_t>(std::floor(batchSeconds_ * rates[of])), limits_->minRatePerPartition(of));
            count = std::min(count, limit);
        }
    }
    int64_t total = 0;
    for (const auto& [of, count] : counts) total += count;
    if (maxBatchRecords_ > 0 && total > maxBatchRecords_) {
        for (auto& [of, count] : counts) {
            count = std::max<int64_t>(count > 0,
                                      static_cast<int64_t>(static_cast<double>(count) / static_cast<double>(total) *
                                                           static_cast<double>(maxBatchRecords_)));
        }
    }
    return counts;
}

DirectStream::Plan DirectStream::plan(Time time, int64_t estimatedRate) {
    std::shared_ptr<Consumer> consumer;
    {
        const std::lock_guard lock(mutex_);
        if (const auto known = batches_.find(time); known != batches_.end()) {
            known->second.ours = true;
            return {known->second.ranges, {}, measure()};
        }
        consumer = consumer_;
    }
    if (!consumer) {
        throw IllegalStateException(name_ + " does not know what batch " + time.toString() +
                                    " read; only batches of the checkpoint can be made again before start");
    }
    Plan plan;
    plan.failure = refresh(consumer);
    const std::lock_guard lock(mutex_);
    const auto counts = plan.failure.empty() ? limits(estimatedRate) : std::map<TopicPartition, int64_t>();
    for (auto& [of, at] : current_) {
        const auto count = counts.find(of);
        const int64_t until = at + (count == counts.end() ? 0 : count->second);
        plan.ranges.push_back(OffsetRange::create(of, at, until));
        at = until;
    }
    Batch& batch = batches_[time];
    batch.ranges = plan.ranges;
    batch.ours = true;
    plan.metrics = measure();
    return plan;
}

void DirectStream::batchEnded(Time time, bool succeeded) {
    {
        const std::lock_guard lock(mutex_);
        const auto batch = batches_.find(time);
        if (batch == batches_.end()) return;
        if (succeeded) {
            batch->second.done = true;
            if (commitsItself_) {
                for (const auto& [of, until] : endsOf(batch->second.ranges)) toCommit_[of].insert(until);
            }
        }
        passCompleted(time);
    }
    if (DSTREAM_FAILPOINT_ERRNO("kafka.commit") == 0) sendCommits();  // else with the next batch
}

void DirectStream::passCompleted(Time ended) {
    for (auto& [time, batch] : batches_) {
        // A batch of the checkpoint that was not run again before a later one had completed already.
        if (!batch.done && (batch.ours || time >= ended)) break;
        if (batch.passed) continue;
        batch.passed = true;
        for (const auto& [of, until] : endsOf(batch.ranges)) passed_[of] = std::max(passed_[of], until);
    }
}

void DirectStream::commitAsync(const std::vector<OffsetRange>& ranges, OffsetCommitCallback callback) {
    const std::lock_guard lock(mutex_);
    for (const auto& [of, until] : endsOf(ranges)) toCommit_[of].insert(until);
    if (callback) callback_ = std::move(callback);
}

void DirectStream::sendCommits() {
    Offsets now;
    OffsetCommitCallback callback;
    std::shared_ptr<Consumer> consumer;
    {
        const std::lock_guard lock(mutex_);
        if (!consumer_ || groupId_.empty()) return;
        consumer = consumer_;
        callback = callback_;
        for (auto& [of, queued] : toCommit_) {
            const auto done = passed_.find(of);
            const auto ready = done == passed_.end() ? queued.end() : queued.upper_bound(done->second);
            if (ready == queued.begin()) continue;
            const int64_t upTo = *std::prev(ready);
            queued.erase(queued.begin(), ready);
            int64_t& before = committed_.try_emplace(of, -1).first->second;
            if (before >= upTo) continue;
            before = upTo;
            now[of] = upTo;
        }
    }
    if (now.empty()) return;
    consumer->commitAsync(now, [this, callback](const Offsets& offsets, const std::optional<std::string>& error) {
        if (error) {
            {
                const std::lock_guard lock(mutex_);
                ++failedCommits_;
                for (const auto& [of, offset] : offsets) {
                    committed_.erase(of);
                    toCommit_[of].insert(offset);
                }
            }
            logMessage(LogLevel::kWarn, kLog,
                       name_ + " could not commit its offsets, and tries again with the next batch: " + *error);
        }
        if (callback) callback(offsets, error);
    });
}

void DirectStream::forgetBefore(Time time) {
    const std::lock_guard lock(mutex_);
    while (!batches_.empty() && batches_.begin()->first < time && batches_.begin()->second.passed) {
        batches_.erase(batches_.begin());
    }
}

std::string DirectStream::save() const {
    const std::lock_guard lock(mutex_);
    ByteWriter out;
    const auto write = [&](const TopicPartition& of) {
        out.text(of.topic);
        out.u32(static_cast<uint32_t>(of.partition));
    };
    out.u64(current_.size());
    for (const auto& [of, offset] : current_) {
        write(of);
        out.i64(offset);
    }
    out.u64(batches_.size());
    for (const auto& [time, batch] : batches_) {
        out.i64(time.milliseconds());
        out.u8(batch.done);
        out.u64(batch.ranges.size());
        for (const OffsetRange& range : batch.ranges) {
            write(range.topicPartition());
            out.i64(range.fromOffset);
            out.i64(range.untilOffset);
        }
    }
    return out.takeString();
}

void DirectStream::restore(const std::string& saved) {
    ByteReader in(saved);
    const auto read = [&] {
        std::string topic(in.text());
        return TopicPartition{std::move(topic), static_cast<int>(in.u32())};
    };
    const std::lock_guard lock(mutex_);
    current_.clear();
    batches_.clear();
    passed_.clear();
    for (std::size_t left = in.count(16); left > 0; --left) {
        const TopicPartition of = read();
        current_[of] = in.i64();
    }
    for (std::size_t left = in.count(17); left > 0; --left) {
        Batch& batch = batches_[Time(in.i64())];
        batch.done = in.u8() != 0;
        for (std::size_t ranges = in.count(24); ranges > 0; --ranges) {
            const TopicPartition of = read();
            const int64_t from = in.i64();
            batch.ranges.push_back(OffsetRange::create(of, from, in.i64()));
            // The oldest batch begins where everything before is done.
            passed_.try_emplace(of, from);
        }
    }
    passCompleted(Time(INT64_MIN));
}

std::vector<OffsetRange> DirectStream::rangesOfBatch(Time time) const {
    const std::lock_guard lock(mutex_);
    const auto found = batches_.find(time);
    if (found == batches_.end()) {
        throw IllegalStateException(name_ + " does not know what batch " + time.toString() + " read");
    }
    return found->second.ranges;
}

std::string DirectStream::groupMetadata() const {
    std::shared_ptr<Consumer> consumer;
    {
        const std::lock_guard lock(mutex_);
        consumer = consumer_;
        if (!consumer) return lastMembership_;
    }
    return consumer->groupMetadata();
}

KafkaMetrics DirectStream::metrics() const {
    const std::lock_guard lock(mutex_);
    return measure();
}

KafkaMetrics DirectStream::measure() const {
    KafkaMetrics metrics;
    const ReadCounters& counters = source_->counters();
    metrics.missingOffsets = counters.missingOffsets;
    metrics.undecodableRecords = counters.undecodableRecords;
    metrics.repositions = counters.repositions;
    metrics.consumerInstances = counters.consumerInstances;
    for (const auto& [of, at] : current_) {
        PartitionMetrics& one = metrics.partitions[of];
        one.nextOffset = at;
        if (const auto end = latest_.find(of); end != latest_.end()) {
            one.latestOffset = end->second;
            one.lag = std::max<int64_t>(0, end->second - at);
        }
        if (const auto done = committed_.find(of); done != committed_.end()) one.committedOffset = done->second;
        metrics.totalLag += one.lag;
    }
    metrics.fetchAgeMs = answeredAt_ == 0 ? 0 : now_() - answeredAt_;
    metrics.failedCommits = failedCommits_;
    return metrics;
}

}  // namespace dstream::kafka::detail
