#include "limit.hpp"

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

// W6 without the framework: librdkafka consumers that share the partitions, a thread each.
//   limit_kafka SERVERS TOPIC fill RECORDS PARTITIONS                 records of 100 bytes, round robin
//   limit_kafka SERVERS TOPIC pace RECORDS PARTITIONS RECORDS_A_SECOND  values begin with the time in us
//   limit_kafka SERVERS TOPIC CONSUMERS RECORDS PARTITIONS REPETITIONS

using Settings = std::map<std::string, std::string>;

static rd_kafka_t* makeClient(rd_kafka_type_t type, const Settings& settings) {
    char reason[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    for (const auto& [key, value] : settings) {
        if (rd_kafka_conf_set(conf, key.c_str(), value.c_str(), reason, sizeof reason) != RD_KAFKA_CONF_OK) {
            std::fprintf(stderr, "%s\n", reason);
            std::exit(1);
        }
    }
    rd_kafka_t* client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (client == nullptr) {
        std::fprintf(stderr, "%s\n", reason);
        std::exit(1);
    }
    return client;
}

static void fill(const std::string& servers, const std::string& topic, long records, int partitions) {
    rd_kafka_t* producer = makeClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", servers},
                                                          {"linger.ms", "20"},
                                                          {"batch.size", "1000000"},
                                                          {"queue.buffering.max.messages", "500000"}});
    rd_kafka_topic_t* to = rd_kafka_topic_new(producer, topic.c_str(), nullptr);
    char record[100];
    for (long i = 0; i < records; ++i) {
        const u64 key = draw(42, 2 * static_cast<u64>(i)), text = draw(42, 2 * static_cast<u64>(i) + 1);
        const int length = std::snprintf(record, sizeof record, "k%06d,", static_cast<int>(key % 1000000));
        for (int j = length; j < 100; ++j) {
            record[j] = static_cast<char>('a' + ((text >> (j % 56)) + static_cast<u64>(j)) % 26);
        }
        while (rd_kafka_produce(to, static_cast<int>(i % partitions), RD_KAFKA_MSG_F_COPY, record, 100, nullptr, 0,
                                nullptr) == -1) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) std::exit(1);
            rd_kafka_poll(producer, 10);
        }
    }
    if (rd_kafka_flush(producer, 300'000) != RD_KAFKA_RESP_ERR_NO_ERROR) std::exit(1);
    rd_kafka_topic_destroy(to);
    rd_kafka_destroy(producer);
}

/// Writes at a steady rate; prints READY once the topic is there.
static void pace(const std::string& servers, const std::string& topic, long records, int partitions, long rate) {
    using Clock = std::chrono::steady_clock;
    rd_kafka_t* producer = makeClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", servers}, {"linger.ms", "5"}});
    rd_kafka_topic_t* to = rd_kafka_topic_new(producer, topic.c_str(), nullptr);
    char record[100];
    auto begin = Clock::now();
    for (long i = 0; i < records; ++i) {
        // The first ones make the topic.
        if (i == partitions) {
            if (rd_kafka_flush(producer, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR) std::exit(1);
            std::printf("READY\n");
            std::fflush(stdout);
            begin = Clock::now();
        }
        const auto due = begin + std::chrono::nanoseconds(1'000'000'000 / rate * i);
        if (i % (rate / 1000 + 1) == 0) std::this_thread::sleep_until(due);
        const double us = std::chrono::duration<double, std::micro>(Clock::now().time_since_epoch()).count();
        const int length = std::snprintf(record, sizeof record, "%.0f ", us);
        std::memset(record + length, 'x', sizeof record - static_cast<std::size_t>(length));
        while (rd_kafka_produce(to, static_cast<int>(i % partitions), RD_KAFKA_MSG_F_COPY, record, sizeof record,
                                nullptr, 0, nullptr) == -1) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) std::exit(1);
            rd_kafka_poll(producer, 1);
        }
        rd_kafka_poll(producer, 0);
    }
    if (rd_kafka_flush(producer, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR) std::exit(1);
    rd_kafka_topic_destroy(to);
    rd_kafka_destroy(producer);
}

int main(int argc, char** argv) {
    if (argc < 6) return 2;
    const std::string servers = argv[1], topic = argv[2], mode = argv[3];
    const long records = std::atol(argv[4]);
    const int partitions = std::atoi(argv[5]);
    if (mode == "fill") {
        fill(servers, topic, records, partitions);
        return 0;
    }
    if (mode == "pace") {
        pace(servers, topic, records, partitions, std::atol(argv[6]));
        return 0;
    }
    const int consumers = std::atoi(argv[3]), repetitions = std::atoi(argv[6]);
    for (int repetition = 0; repetition < repetitions; ++repetition) {
        const auto now = [] {
            return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
        };
        const double begin = now(), cpu = cpuSeconds();
        std::atomic<long> seen{0}, bytes{0};
        std::vector<std::thread> threads;
        for (int c = 0; c < consumers; ++c) {
            threads.emplace_back([&, c] {
                rd_kafka_t* client = makeClient(RD_KAFKA_CONSUMER, {{"bootstrap.servers", servers},
                                                                    {"group.id", "limit"},
                                                                    {"enable.auto.commit", "false"},
                                                                    {"check.crcs", "false"},
                                                                    {"queued.min.messages", "1000000"},
                                                                    {"queued.max.messages.kbytes", "262144"},
                                                                    {"fetch.message.max.bytes", "8388608"}});
                rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
                long wanted = 0, taken = 0, size = 0;
                for (int p = c; p < partitions; p += consumers) {
                    int64_t low = 0, high = 0;
                    // A broker that has just started does not know its leaders yet.
                    for (int left = 20; rd_kafka_query_watermark_offsets(client, topic.c_str(), p, &low, &high, 5'000);
                         rd_kafka_poll(client, 100)) {
                        if (--left == 0) std::exit(1);
                    }
                    wanted += high - low;
                    rd_kafka_topic_partition_list_add(list, topic.c_str(), p)->offset = low;
                }
                rd_kafka_assign(client, list);
                rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(client);
                std::vector<rd_kafka_message_t*> messages(10'000);
                while (taken < wanted) {
                    const ssize_t n = rd_kafka_consume_batch_queue(queue, 5, messages.data(), messages.size());
                    for (ssize_t i = 0; i < n; ++i) {
                        if (messages[static_cast<std::size_t>(i)]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                            ++taken;
                            size += static_cast<long>(messages[static_cast<std::size_t>(i)]->len);
                        }
                        rd_kafka_message_destroy(messages[static_cast<std::size_t>(i)]);
                    }
                }
                seen += taken;
                bytes += size;
                rd_kafka_queue_destroy(queue);
                rd_kafka_topic_partition_list_destroy(list);
                rd_kafka_consumer_close(client);
                rd_kafka_destroy(client);
            });
        }
        for (std::thread& thread : threads) thread.join();
        std::printf("SAMPLE %.9f %.6f %ld\n", now() - begin, cpuSeconds() - cpu, seen.load());
        if (bytes != 100 * records) return 1;
    }
}
