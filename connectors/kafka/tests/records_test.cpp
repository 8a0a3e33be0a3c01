#include "client.hpp"
#include "connectors/kafka/kafka_utils.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dstream::kafka {
namespace {

using testing::HasSubstr;
using testing::Not;
using testsupport::errorOf;

TEST(KafkaRecord, OwnsWhatAViewLooksInto) {
    using View = ConsumerRecord<std::string_view, std::string_view>;
    static_assert(std::is_same_v<Owned<View>, ConsumerRecord<std::string, std::string>>);
    std::string buffer = "keyvalueheader";
    View view("topic", 3, 42, 1000, TimestampType::CREATE_TIME);
    view.setKey(std::string_view(buffer).substr(0, 3));
    view.setValue(std::string_view(buffer).substr(3, 5));
    view.setHeaders({{"name", std::string_view(buffer).substr(8)}, {"empty", std::nullopt}});
    const auto owned = toOwned(view);
    buffer.assign(buffer.size(), 'x');
    EXPECT_EQ(owned.topic(), "topic");
    EXPECT_EQ(owned.partition(), 3);
    EXPECT_EQ(owned.offset(), 42);
    EXPECT_EQ(owned.timestamp(), 1000);
    EXPECT_EQ(owned.timestampType(), TimestampType::CREATE_TIME);
    EXPECT_EQ(owned.key(), "key");
    EXPECT_EQ(owned.value(), "value");
    ASSERT_EQ(owned.headers().size(), 2U);
    EXPECT_EQ(owned.headers()[0].value, "header");
    EXPECT_EQ(owned.headers()[1].value, std::nullopt);
}

TEST(KafkaRecord, HasACodecSoThatItCanBePersistedAndCheckpointed) {
    using Record = ConsumerRecord<std::string, int64_t>;
    Record record("t", 1, 2, 3, TimestampType::LOG_APPEND_TIME);
    record.setValue(7);
    record.setHeaders({{"h", "v"}});
    ByteWriter out;
    Codec<Record>::write(out, std::span<const Record>(&record, 1));
    ByteReader in(out.view());
    std::vector<Record> read;
    Codec<Record>::read(in, read);
    ASSERT_EQ(read.size(), 1U);
    EXPECT_EQ(read[0], record);
    EXPECT_FALSE(read[0].hasKey());
    EXPECT_TRUE(read[0].hasValue());
}

TEST(KafkaDecoder, ReadsNumbersAsTheReferenceWritesThem) {
    EXPECT_EQ(Decoder<int64_t>::decode(std::string_view("\0\0\0\0\0\0\1\2", 8)), 258);
    EXPECT_EQ(Decoder<int32_t>::decode("\xff\xff\xff\xfe"), -2);
    EXPECT_EQ(Decoder<double>::decode(std::string_view("\x3f\xf8\0\0\0\0\0\0", 8)), 1.5);
    EXPECT_THAT(errorOf([] { Decoder<int64_t>::decode("123"); }), HasSubstr("expected 8 bytes of a number, found 3"));
}

TEST(KafkaOffsetRange, CountsAndCompares) {
    const OffsetRange range = OffsetRange::create("t", 1, 10, 25);
    EXPECT_EQ(range.count(), 15);
    EXPECT_EQ(range, OffsetRange::create(TopicPartition{"t", 1}, 10, 25));
    EXPECT_EQ(range.toString(), "OffsetRange(topic: 't', partition: 1, range: [10 -> 25])");
}

TEST(KafkaSettings, SecretsAreRedactedWhereverTheyArePrinted) {
    const Params params{{"bootstrap.servers", "localhost"},
                        {"sasl.password", "hunter2"},
                        {"ssl.key.pem", "PRIVATE"},
                        {"sasl.oauthbearer.config", "client_secret=abc"}};
    EXPECT_THAT(describe(params), Not(HasSubstr("hunter2")));
    EXPECT_THAT(describe(params), Not(HasSubstr("PRIVATE")));
    EXPECT_THAT(describe(params), Not(HasSubstr("abc")));
    EXPECT_THAT(describe(params), HasSubstr("bootstrap.servers=localhost\n"));
    // Nor in the error of a setting that the client refuses.
    const Params wrong{{"bootstrap.servers", "localhost"}, {"sasl.passwort.password", "hunter2"}};
    const std::string error = errorOf([&] { KafkaUtils::partitionsOf(wrong, {"t"}); });
    EXPECT_THAT(error, HasSubstr("sasl.passwort.password"));
    EXPECT_THAT(error, Not(HasSubstr("hunter2")));
}

TEST(KafkaSettings, SettingsOfJavaClientsAreTranslatedOrRefusedWithAdvice) {
    const auto error = [](const std::string& key, const std::string& value) {
        return errorOf([&] {
            KafkaUtils::partitionsOf(
                {{"bootstrap.servers", "127.0.0.1:1"}, {"default.api.timeout.ms", "1"}, {key, value}}, {"t"});
        });
    };
    for (const auto& [key, value] : Params{{"key.deserializer", "x"},
                                           {"max.poll.records", "500"},
                                           {"fetch.max.wait.ms", "100"},
                                           {"request.timeout.ms", "30000"},
                                           {"receive.buffer.bytes", "1000"},
                                           {"auto.offset.reset", "none"}}) {
        EXPECT_THAT(error(key, value), HasSubstr("does not say which partitions")) << key;
    }
    EXPECT_THAT(error("sasl.jaas.config", "secret words"), HasSubstr("sasl.username"));
    EXPECT_THAT(error("ssl.truststore.location", "x.jks"), HasSubstr("ssl.ca.location"));
    EXPECT_THAT(error("no.such.setting", "x"), HasSubstr("no.such.setting is not accepted"));
    EXPECT_THAT(errorOf([] { KafkaUtils::partitionsOf({}, {"t"}); }), HasSubstr("bootstrap.servers"));
}

TEST(KafkaPrefetch, PartitionsShareTheMemoryAndSettingsOfTheUserWin) {
    const auto of = [](const Params& params, std::size_t memory, std::size_t partitions) {
        return detail::withPrefetch(params, memory, partitions, 4);
    };
    const std::size_t memory = 64 << 20;
    const Params four = of({}, memory, 4);
    EXPECT_EQ(four.at("fetch.message.max.bytes"), std::to_string(4 << 20));
    EXPECT_EQ(four.at("queued.max.messages.kbytes"), std::to_string(8 << 10));
    EXPECT_EQ(four.at("queued.min.messages"), std::to_string((16 << 20) / 800));
    // All that a partition may have: what keeps a queue from being full, and an answer of the broker; 300 bytes a
    // message are the client's.
    for (const std::size_t partitions : {4, 16, 64}) {
        for (const std::size_t size : {100, 1'000, 10'000}) {
            const Params some = of({}, memory, partitions);
            const std::size_t answer = std::stoull(some.at("fetch.message.max.bytes"));
            const std::size_t queued = std::min(size * std::stoull(some.at("queued.min.messages")),
                                                1024 * std::stoull(some.at("queued.max.messages.kbytes")));
            EXPECT_LE((queued + answer) * (size + 300) / size * partitions, 2 * memory) << partitions << ' ' << size;
        }
    }
    const Params given{{"queued.min.messages", "7"}, {"max.partition.fetch.bytes", "9"}};
    EXPECT_EQ(of(given, memory, 4).at("queued.min.messages"), "7");
    EXPECT_FALSE(of(given, memory, 4).contains("fetch.message.max.bytes"));
    EXPECT_EQ(of({}, 0, 0).at("queued.min.messages"), "1000");
}

TEST(KafkaPrefetch, APartitionIsNotKeptWaitingByOthersOfItsClient) {
    const auto wait = [](const Params& params, std::size_t partitions) {
        return detail::settingOf(detail::withPrefetch(params, 1 << 20, partitions, 4), "fetch.wait.max.ms",
                                 "librdkafka's");
    };
    EXPECT_EQ(wait({}, 4), "librdkafka's");  // a client each
    EXPECT_EQ(wait({}, 5), "20");
    EXPECT_EQ(wait({{"fetch.wait.max.ms", "300"}}, 5), "300");
    EXPECT_EQ(wait({{"fetch.max.wait.ms", "300"}}, 5), "librdkafka's");  // the Java client's name is translated later
}

TEST(KafkaPrefetch, AQueueThatMayHaveBeenFullIsToldOfOnceItHasRoom) {
    detail::QueueWatch byCount(100, 1'000'000);
    EXPECT_FALSE(byCount.hasRoomAgain(40, 59, 1));
    EXPECT_FALSE(byCount.hasRoomAgain(20, 80, 1));  // it was full, and is nearly so
    EXPECT_TRUE(byCount.hasRoomAgain(10, 70, 1));
    EXPECT_FALSE(byCount.hasRoomAgain(10, 60, 1));  // told already
    EXPECT_TRUE(byCount.hasRoomAgain(100, 0, 1));   // filled and emptied between two looks
    detail::QueueWatch byBytes(1'000'000, 1'000);
    EXPECT_FALSE(byBytes.hasRoomAgain(10, 60, 10));
    EXPECT_FALSE(byBytes.hasRoomAgain(10, 70, 10));
    EXPECT_TRUE(byBytes.hasRoomAgain(30, 40, 10));
    EXPECT_FALSE(byBytes.hasRoomAgain(0, 0, 0));
}

}  // namespace
}  // namespace dstream::kafka
