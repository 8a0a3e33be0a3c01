// W6: the records of a Kafka topic, each value looked at: a direct stream, driven, or one RDD of everything.
//   workload_w6 SERVERS TOPIC RECORDS driven|rdd REPETITIONS
#include "measure.hpp"
#include <connectors/kafka/kafka_utils.hpp>
#include <dstream/testkit.hpp>

#include <iostream>

using namespace dstream;
using kafka::KafkaUtils;

using View = std::string_view;

/// Records and bytes of their values.
struct Seen {
    int64_t records = 0;
    int64_t bytes = 0;
};

template <class R>
Seen look(const R& rdd) {
    return rdd.aggregate(
        Seen(),
        [](Seen seen, const kafka::ConsumerRecord<View, View>& record) {
            ++seen.records;
            seen.bytes += static_cast<int64_t>(record.value().size());
            return seen;
        },
        [](const Seen& a, const Seen& b) {
            return Seen{a.records + b.records, a.bytes + b.bytes};
        });
}

int main(int argc, char** argv) {
    if (argc != 6) {
        std::cerr << "usage: workload_w6 SERVERS TOPIC RECORDS driven|rdd REPETITIONS\n";
        return 2;
    }
    const std::string topic = argv[2];
    const int64_t records = std::stoll(argv[3]);
    const bool driven = std::string(argv[4]) == "driven";
    kafka::Params params{{"bootstrap.servers", argv[1]}, {"auto.offset.reset", "earliest"}};
    const auto partitions = KafkaUtils::partitionsOf(params, {topic});

    measure::repeat(0, std::stoi(argv[5]), [&]() -> int64_t {
        Seen all;
        if (!driven) {
            SparkContext sc(SparkConf().setAppName("W6").setMaster("local[2]"));
            all = look(KafkaUtils::createRDD<View, View>(sc, params, KafkaUtils::availableRanges(params, partitions),
                                                         kafka::LocationStrategies::PreferConsistent));
            sc.stop();
        } else {
            auto ssc = testkit::makeContext(Seconds(1), SparkConf().set("dstream.kafka.maxBatchRecords", "1000000"));
            const auto stream =
                KafkaUtils::createDirectStream(ssc, kafka::LocationStrategies::PreferConsistent,
                                               kafka::ConsumerStrategies::Assign<View, View>(partitions, params));
            stream.foreachRDD([&all](const auto& rdd) {
                const Seen seen = look(rdd);
                all.records += seen.records;
                all.bytes += seen.bytes;
            });
            ssc.start();
            while (all.records < records) testkit::manualClock(ssc).advance(Seconds(1));
            ssc.stop();
        }
        return all.records;
    });
    measure::printPeakMemory();
}
