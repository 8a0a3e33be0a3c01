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

}  // namespace
}  // namespace dstream::kafka
