// Sessions of clicks from Kafka into SQLite: a session ends after two seconds without a click, and its row is in the
// table once, however often batches run.
//
//     example_kafka_sqlite_sessions                                          a cluster inside of the process
//     example_kafka_sqlite_sessions [OPTION...] SERVERS GROUP TOPIC DATABASE a real one, until it is stopped; options
//                                                                            as of dstream-run
#include <connectors/kafka/kafka_utils.hpp>
#include <connectors/kafka/testkit.hpp>
#include <connectors/sqlite/sqlite_sink.hpp>
#include <dstream/testkit.hpp>

#include <plugins/registry.hpp>
#include <plugins/run.hpp>

#include <filesystem>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

using namespace dstream;
using kafka::KafkaUtils;

using Click = kafka::ConsumerRecord<std::string, std::string>;  // user and page
using Clicks = kafka::DirectKafkaDStream<std::string, std::string>;
using Session = std::pair<std::string, int64_t>;  // user and number of clicks

auto sessions(const Clicks& clicks) {
    auto track = [](Time, const std::string& user, std::optional<std::string> page,
                    State<int64_t>& seen) -> std::optional<Session> {
        if (seen.isTimingOut()) return Session(user, seen.get());
        seen.update(seen.getOption().value_or(0) + (page ? 1 : 0));
        return std::nullopt;
    };
    return clicks.map([](const Click& click) { return std::pair(click.key(), click.value()); })
        .mapWithState(StateSpec<std::string, std::string, int64_t, std::optional<Session>>::function(track)
                          .numPartitions(2)
                          .timeout(Seconds(2)))
        .flatMap([](const std::optional<Session>& ended) {
            return ended ? std::vector<Session>{*ended} : std::vector<Session>();
        });
}

template <class Sessions>
void save(const Sessions& ended, const std::string& database) {
    auto sink = std::make_shared<sqlite::SqliteSink>(
        sqlite::SqliteSinkOptions{.path = database,
                                  .createTable = "CREATE TABLE IF NOT EXISTS sessions (user TEXT, clicks INTEGER)",
                                  .insert = "INSERT INTO sessions VALUES (?, ?)"});
    ended.map([](const Session& session) {
             return SqlRow{session.first, session.second};
         })
        .saveToSink("sessions", sink);
}

void kafkaSqliteSessions(StreamingContext& ssc, const Options& options) {
    const auto clicks = KafkaUtils::createDirectStream(
        ssc, kafka::LocationStrategies::PreferConsistent,
        kafka::ConsumerStrategies::Subscribe<std::string, std::string>(
            {options.getString("topic")},
            {{"bootstrap.servers", options.getString("servers")}, {"group.id", options.getString("group")}}));
    save(sessions(clicks), options.getString("database"));
}

DSTREAM_REGISTER_JOB("kafka_sqlite_sessions", kafkaSqliteSessions,
                     {"servers", OptionType::kString, "localhost:9092", "the cluster"},
                     {"group", OptionType::kString, "sessions", "the consumer group"},
                     {"topic", OptionType::kString, "clicks", "pages, with the user as the key"},
                     {"database", OptionType::kString, "sessions.db", "SQLite file that has the sessions"})

int byItself() {
    const auto place = std::filesystem::temp_directory_path() / ("sessions-" + std::to_string(getpid()));
    std::filesystem::create_directories(place);
    kafka::testkit::MockCluster cluster;
    cluster.createTopic("clicks", 1);
    {
        const auto conf =
            SparkConf().setAppName("sessions").setMaster("local[2]").set("dstream.state.timeoutScan", "everyBatch");
        auto ssc = testkit::makeContext(Seconds(1), conf);  // batches come when this program says so
        ssc.checkpoint((place / "checkpoints").string());
        kafka::Params params = cluster.params();
        params["group.id"] = "sessions";
        params["auto.offset.reset"] = "earliest";
        auto ended = sessions(KafkaUtils::createDirectStream(
            ssc, kafka::LocationStrategies::PreferConsistent,
            kafka::ConsumerStrategies::Assign<std::string, std::string>({{"clicks", 0}}, params)));
        save(ended, (place / "sessions.db").string());
        ended.foreachRDD([](const auto& rdd, Time time) {
            for (const auto& [user, clicks] :
                 rdd.sortBy([](const Session& session) { return session.first; }).collect())
                std::cout << "at " << time.milliseconds() << ": " << user << ' ' << clicks << '\n';
        });
        ssc.start();
        for (const std::vector<std::string>& users :
             std::vector<std::vector<std::string>>{{"ada", "ben", "ada"}, {"ada"}, {}, {}, {"ben"}, {}, {}, {}}) {
            std::vector<kafka::ProducerRecord> clicks;
            for (const std::string& user : users) clicks.push_back(kafka::ProducerRecord::of(user, "/"));
            kafka::testkit::produce(cluster.params(), "clicks", clicks);
            testkit::manualClock(ssc).advance(Seconds(1));
        }
        ssc.stop();
    }
    std::filesystem::remove_all(place);
    return 0;
}

int main(int argc, char** argv) {
    return argc == 1 ? byItself() : runMain(argc, argv, "kafka_sqlite_sessions");
}
