#include "plugins/plugin_files.hpp"
#include "support/child_process.hpp"
#include "support/loopback.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace dstream {
namespace {

using testing::HasSubstr;
using testsupport::builtProgram;
using testsupport::ChildProcess;
using testsupport::PluginDirectory;

/// Runs the plugins of examples/plugins/ as their users do.
class ExamplePlugins : public testing::Test {
protected:
    ChildProcess run(const std::string& plugin, std::vector<std::string> arguments) {
        std::vector<std::string> command = {builtProgram("dstream-run"),
                                            "--plugin",
                                            directory_.add(plugin, DSTREAM_EXAMPLE_PLUGINS),
                                            "--conf",
                                            "spark.streaming.receiverRestartDelay=20",
                                            "--batch",
                                            "50ms",
                                            "--master",
                                            "local[2]"};
        command.insert(command.end(), arguments.begin(), arguments.end());
        return ChildProcess(command);
    }
    static void readTo(ChildProcess& child, const std::string& wanted) {
        for (std::string line = child.readLine(); line != wanted; line = child.readLine()) {
            ASSERT_NE(line, "") << "expected the line " << wanted << ", found\n" << child.output();
        }
    }
    static void drain(ChildProcess& child) {
        ::kill(child.id(), SIGTERM);
        EXPECT_EQ(child.finish(), 0) << child.output();
    }

    const PluginDirectory directory_;
};

TEST_F(ExamplePlugins, TheGeneratorMakesAsManyLinesAsAskedFor) {
    ChildProcess child = run("generator", {"count_generated", "--", "rate=0", "count=2500"});
    readTo(child, "2500 lines");
    EXPECT_EQ(child.finish(), 0) << child.output();
}

TEST_F(ExamplePlugins, TheTailFollowsAFileThatGrowsAndIsReplaced) {
    const std::string file = directory_ / "log";
    std::ofstream(file) << "old\n";
    ChildProcess child = run("tail", {"print_tail", "--", file, "from=start"});
    readTo(child, "old");
    std::ofstream(file, std::ios::app) << "new\nunfinished";
    readTo(child, "new");
    std::ofstream(directory_ / "next") << "replaced\n";
    std::filesystem::rename(directory_ / "next", file);
    readTo(child, "unfinished");
    readTo(child, "replaced");
    std::ofstream(file, std::ios::app) << "more\n";
    readTo(child, "more");
    drain(child);
}

TEST_F(ExamplePlugins, LongPollingAsksForWhatComesNext) {
    const auto [listener, port] = testsupport::listenOnLoopback();
    ChildProcess child =
        run("long_poll", {"print_polled", "--", "host=127.0.0.1", "port=" + std::to_string(port), "path=/first"});
    const auto answer = [&, listener = listener](const std::string& path, const std::string& text) {
        const int client = ::accept(listener, nullptr, nullptr);
        std::string request;
        char byte = 0;
        while (!request.ends_with("\r\n\r\n") && ::recv(client, &byte, 1, 0) == 1) request += byte;
        EXPECT_THAT(request, testing::StartsWith("GET " + path + " HTTP/1.0\r\n"));
        EXPECT_EQ(::send(client, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
        ::close(client);
    };
    answer("/first", "HTTP/1.0 200 OK\r\nX-Next: /second\r\n\r\none\ntwo\n");
    answer("/second", "HTTP/1.0 500 Broken\r\n\r\n");
    answer("/second", "HTTP/1.0 200 OK\r\nX-Next: /third\r\n\r\nthree\n");
    readTo(child, "one");
    readTo(child, "two");
    readTo(child, "three");
    drain(child);  // while it waits for the answer of /third
    ::close(listener);
}

}  // namespace
}  // namespace dstream
