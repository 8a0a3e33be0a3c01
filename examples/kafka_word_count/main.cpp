// Counts the words of what is written to a Kafka topic, batch by batch.
//
//     example_kafka_word_count                                    a cluster inside of the process, three lines, then
//                                                                 it ends
//     example_kafka_word_count [OPTION...] SERVERS GROUP TOPICS   a real cluster, until it is stopped; options as of
//                                                                 dstream-run
#include <connectors/kafka/kafka_utils.hpp>
#include <connectors/kafka/testkit.hpp>
#include <dstream/testkit.hpp>

#include <plugins/registry.hpp>
#include <plugins/run.hpp>

#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace dstream;
using kafka::ConsumerStrategies;
using kafka::KafkaUtils;
using kafka::LocationStrategies;

using View = std::string_view;

/// The counts of each batch, in the order of the words.
auto wordCounts(const kafka::DirectKafkaDStream<View, View>& lines) {
    return lines.flatMap([](const kafka::ConsumerRecord<View, View>& record) { return splitWords(record.value()); })
        .map([](View word) { return std::pair(word, int64_t{1}); })
        .reduceByKey(std::plus<>{});
}

void kafkaWordCount(StreamingContext& ssc, const Options& options) {
    std::istringstream names(options.getString("topics"));
    std::vector<std::string> topics;
    for (std::string topic; std::getline(names, topic, ',');) topics.push_back(topic);
    const auto lines = KafkaUtils::createDirectStream(
        ssc, LocationStrategies::PreferConsistent,
        ConsumerStrategies::Subscribe<View, View>(
            topics, {{"bootstrap.servers", options.getString("servers")}, {"group.id", options.getString("group")}}));
    wordCounts(lines).print();
}

DSTREAM_REGISTER_JOB("kafka_word_count", kafkaWordCount,
                     {"servers", OptionType::kString, "localhost:9092", "the cluster"},
                     {"group", OptionType::kString, "word-count", "the consumer group"},
                     {"topics", OptionType::kString, "lines", "topics, with commas between them"})

int byItself() {
    kafka::testkit::MockCluster cluster;
    cluster.createTopic("lines", 2);
    auto write = [&](const std::string& line) {
        kafka::testkit::produce(cluster.params(), "lines", {kafka::ProducerRecord::of(line, line)});
    };

    auto ssc = testkit::makeContext(Seconds(1));  // batches come when this program says so
    kafka::Params params = cluster.params();
    params["group.id"] = "word-count";
    auto lines =
        KafkaUtils::createDirectStream(ssc, LocationStrategies::PreferConsistent,
                                       ConsumerStrategies::Assign<View, View>({{"lines", 0}, {"lines", 1}}, params));
    wordCounts(lines).foreachRDD([](const auto& counts, Time time) {
        std::cout << "batch " << time.milliseconds() << '\n';
        for (const auto& [word, count] : counts.sortByKey().collect()) std::cout << word << ' ' << count << '\n';
    });
    ssc.start();
    write("to be or not to be");
    write("that is the question");
    testkit::manualClock(ssc).advance(Seconds(1));
    write("to die to sleep");
    testkit::manualClock(ssc).advance(Seconds(1));
    ssc.stop();
    for (const auto& [partition, at] : lines.metrics().partitions) {
        if (at.lag != 0) return 1;
    }
    return 0;
}

int main(int argc, char** argv) {
    return argc == 1 ? byItself() : runMain(argc, argv, "kafka_word_count");
}
