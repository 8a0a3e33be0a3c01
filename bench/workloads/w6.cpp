// W6: the records of a Kafka topic, each value looked at: a direct stream, driven, or one RDD of everything.
//   workload_w6 SERVERS TOPIC RECORDS driven|rdd REPETITIONS
// Or from source to sink: records of `limit_kafka ... pace`, in 10 ms batches under the real clock.
//   workload_w6 SERVERS TOPIC RECORDS latency RECORDS_A_SECOND
#include "measure.hpp"
#include <connectors/kafka/kafka_utils.hpp>
#include <dstream/testkit.hpp>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <vector>

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

/// The times from a record's making, which its value says in us, to its arrival at the sink.
int latency(const kafka::Params& params, const std::string& topic, std::size_t records, std::size_t rate) {
    StreamingContext ssc(SparkConf().setAppName("W6").setMaster("local[2]"), Milliseconds(10));
    const auto stream = KafkaUtils::createDirectStream(
        ssc, kafka::LocationStrategies::PreferConsistent,
        kafka::ConsumerStrategies::Assign<View, View>(KafkaUtils::partitionsOf(params, {topic}), params));
    std::mutex mutex;
    std::vector<double> all;  // in ms; guarded by mutex
    stream
        .map([](const kafka::ConsumerRecord<View, View>& record) {
            return std::strtod(std::string(record.value().substr(0, 20)).c_str(), nullptr);
        })
        .foreachRDD([&](const auto& rdd) {
            const std::vector<double> made = rdd.collect();
            const double now = measure::wallSeconds() * 1e6;
            const std::lock_guard lock(mutex);
            for (const double us : made) all.push_back((now - us) / 1000);
        });
    const auto seen = [&] {
        const std::lock_guard lock(mutex);
        return all.size();
    };
    const double wall = measure::wallSeconds(), cpu = measure::cpuSeconds();
    const double longest = 30 + static_cast<double>(records) / static_cast<double>(rate);
    ssc.start();
    while (seen() < records && measure::wallSeconds() < wall + longest) ssc.awaitTerminationOrTimeout(50);
    const double cpuTaken = measure::cpuSeconds() - cpu, wallTaken = measure::wallSeconds() - wall;
    ssc.stop();
    std::printf("SEEN %zu\nCPU %.6f %.6f\n", all.size(), cpuTaken, wallTaken);
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), rate)));  // the start
    std::sort(all.begin(), all.end());
    std::printf("LATENCY_MS");
    for (const double part : {0.5, 0.99, 0.999, 1.0}) {
        const auto at = static_cast<std::size_t>(part * static_cast<double>(std::max<std::size_t>(1, all.size()) - 1));
        std::printf(" %.3f", all.empty() ? -1.0 : all[at]);
    }
    std::printf("\n");
    measure::printPeakMemory();
    return 0;
}

int main(int argc, char** argv) {
    if (argc != 6) {
        std::cerr << "usage: workload_w6 SERVERS TOPIC RECORDS driven|rdd REPETITIONS\n"
                     "       workload_w6 SERVERS TOPIC RECORDS latency RECORDS_A_SECOND\n";
        return 2;
    }
    const std::string topic = argv[2];
    const int64_t records = std::stoll(argv[3]);
    const bool driven = std::string(argv[4]) == "driven";
    kafka::Params params{{"bootstrap.servers", argv[1]}, {"auto.offset.reset", "earliest"}};
    if (std::string(argv[4]) == "latency") {
        return latency(params, topic, static_cast<std::size_t>(records), std::stoul(argv[5]));
    }
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
