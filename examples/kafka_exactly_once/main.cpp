// Numbers the events of each user, from a Kafka topic into another one, exactly once: killed at any moment and started
// again, the output has each event once, with the number it would have had.
//
//     example_kafka_exactly_once SERVERS IN OUT CHECKPOINTS [RECORDS]
//
// The topics must exist. With RECORDS the program ends once it has taken so many. Readers of OUT must be
// read_committed.
#include <connectors/kafka/kafka_sink.hpp>
#include <connectors/kafka/kafka_utils.hpp>
#include <dstream/dstream.hpp>

#include <plugins/plugin.hpp>

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

using namespace dstream;
using kafka::KafkaUtils;

using Event = kafka::ConsumerRecord<std::string, std::string>;  // user and event
using Source = kafka::DirectKafkaDStream<std::string, std::string>;

struct Numbered {
    std::string user;
    std::string event;
    int64_t number = 0;

    template <class Archive>
    void serialize(Archive& ar, unsigned) {
        ar& user& event& number;
    }
};

Source numberEvents(StreamingContext& ssc, const std::string& servers, const std::string& in, const std::string& out) {
    const kafka::Params params{{"bootstrap.servers", servers}};
    kafka::Params reading = params;
    reading["group.id"] = "numbering";
    reading["auto.offset.reset"] = "earliest";
    reading["isolation.level"] = "read_committed";
    Source source = KafkaUtils::createDirectStream(
        ssc, kafka::LocationStrategies::PreferConsistent,
        kafka::ConsumerStrategies::Assign<std::string, std::string>(KafkaUtils::partitionsOf(params, {in}), reading));

    auto number = [](Time, const std::string& user, std::optional<std::string> event,
                     State<int64_t>& seen) -> std::optional<Numbered> {
        seen.update(seen.getOption().value_or(0) + 1);
        return Numbered{user, event.value_or(""), seen.get()};
    };
    auto numbered =
        source.map([](const Event& event) { return std::pair(event.key(), event.value()); })
            .mapWithState(StateSpec<std::string, std::string, int64_t, Numbered>::function(number).numPartitions(2));
    auto toRecord = [](const Numbered& event) {
        return kafka::ProducerRecord::of(event.user, event.event + " " + std::to_string(event.number));
    };
    kafka::saveToKafka(numbered, "numbered", params, out, toRecord, source);
    return source;
}

void kafkaExactlyOnce(StreamingContext& ssc, const Options& options) {
    numberEvents(ssc, options.getString("servers"), options.getString("in"), options.getString("out"));
}

DSTREAM_REGISTER_JOB("kafka_exactly_once", kafkaExactlyOnce,
                     {"servers", OptionType::kString, "localhost:9092", "the cluster"},
                     {"in", OptionType::kString, "events", "topic to read"},
                     {"out", OptionType::kString, "numbered", "topic to write"})

/// Waits for the batch with which so many records have been taken.
class Enough final : public StreamingListener {
public:
    Enough(const Source& source, int64_t records) : source_(source), records_(records) {}
    void onBatchCompleted(const StreamingListenerBatchCompleted&) override {
        int64_t taken = 0;
        for (const auto& [partition, at] : source_.metrics().partitions) taken += at.nextOffset;
        if (taken < records_) return;
        const std::lock_guard lock(mutex_);
        reached_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return reached_; });
    }

private:
    const Source source_;
    const int64_t records_;
    std::mutex mutex_;  // guards the field below
    std::condition_variable changed_;
    bool reached_ = false;
};

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() < 4) {
        std::cerr << "usage: kafka_exactly_once SERVERS IN OUT CHECKPOINTS [RECORDS]\n";
        return 2;
    }
    std::optional<Source> source;
    auto ssc = StreamingContext::getOrCreate(arguments[3], [&] {
        StreamingContext made(SparkConf()
                                  .setAppName("numbering")
                                  .setMaster("local[2]")
                                  .set("dstream.kafka.maxBatchRecords", "5000")
                                  .set("spark.streaming.gracefulStopTimeout", "5min"),
                              Milliseconds(100));
        made.checkpoint(arguments[3]);
        source = numberEvents(made, arguments[0], arguments[1], arguments[2]);
        return made;
    });
    std::shared_ptr<Enough> enough;
    if (arguments.size() > 4) {
        enough = std::make_shared<Enough>(*source, std::stoll(arguments[4]));
        ssc.addStreamingListener(enough);
    }
    ssc.start();
    if (!enough) {
        ssc.awaitTermination();
        return 0;
    }
    enough->wait();
    ssc.stop(true, true);
    ssc.awaitTermination();  // tells of a batch that has failed
    std::cout << "done\n";
    return 0;
}
