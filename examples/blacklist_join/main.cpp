// Drops what comes from spammers: a stream of "user text" joined with a blacklist that changes while the program runs.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

using namespace dstream;

void blacklistJoin(StreamingContext& ssc, const Options& options) {
    const auto messages = inputLines(ssc, options).map([](const std::string& line) {
        const std::size_t end = line.find(' ');
        return std::pair(line.substr(0, end), line.substr(end + 1));
    });
    // The function of transform runs for each batch: it reads the list as it is then.
    const std::string blacklist = options.getString("blacklist");
    const auto cleaned =
        messages.transform([blacklist](const RDD<std::pair<std::string, std::string>>& rdd, Time time) {
            const auto spamInfoRDD =
                rdd.sparkContext()
                    .textFile(blacklist)
                    .map([](const std::string& line) {
                        const std::size_t end = line.find(' ');
                        return std::pair(line.substr(0, end), std::stoll(line.substr(end + 1)));
                    })
                    .filter([time](const auto& userAndSince) { return userAndSince.second <= time.milliseconds(); });
            return rdd.leftOuterJoin(spamInfoRDD)
                .filter([](const auto& message) { return !message.second.second.has_value(); })
                .mapValues([](const auto& textAndSpam) { return textAndSpam.first; });
        });
    cleaned.print();
}

DSTREAM_REGISTER_JOB("blacklist_join", blacklistJoin,
                     lineOptions({{"blacklist", OptionType::kString, "blacklist.txt",
                                   "lines of a user and since when, in ms; read for each batch"}}))

int main(int argc, char** argv) {
    return runMain(argc, argv, "blacklist_join");
}
