// Follows the sessions of users, lines of "user page", and reports each one that has been idle for three seconds: a
// state that times out.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <iostream>
#include <optional>
#include <string>
#include <utility>

using namespace dstream;

/// What is known of a user's session.
struct Session {
    int clicks = 0;
    std::string lastPage;

    template <class Archive>
    void serialize(Archive& archive, unsigned) {
        archive& clicks& lastPage;
    }
};

void sessions(StreamingContext& ssc, const Options& options) {
    const auto clicks = inputLines(ssc, options).map([](const std::string& line) {
        const std::size_t end = line.find(' ');
        return std::pair(line.substr(0, end), line.substr(end + 1));
    });
    const auto track = [](Time time, const std::string& user, std::optional<std::string> page,
                          State<Session>& state) -> std::optional<std::string> {
        if (state.isTimingOut()) {
            return std::to_string(time.milliseconds()) + " ms: " + user + " left after " +
                   std::to_string(state.get().clicks) + " clicks at " + state.get().lastPage;
        }
        Session session = state.getOption().value_or(Session{});
        ++session.clicks;
        session.lastPage = page.value_or("");
        state.update(session);
        return std::nullopt;
    };
    const auto ended =
        clicks.mapWithState(StateSpec<std::string, std::string, Session, std::string>::function(track).timeout(
            options.getDuration("idle")));
    ended.foreachRDD([](const RDD<std::string>& rdd, Time) {
        for (const std::string& session : rdd.collect()) std::cout << session << std::endl;
    });
}

DSTREAM_REGISTER_JOB("sessions", sessions,
                     lineOptions({{"idle", OptionType::kDuration, "3s", "how long until a session has ended"}}))

int main(int argc, char** argv) {
    return runMain(argc, argv, "sessions");
}
