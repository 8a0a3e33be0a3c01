#include "plugins/plugin_files.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <vector>

namespace dstream {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using testsupport::builtProgram;
using testsupport::ChildProcess;
using testsupport::PluginDirectory;

class RunnerTest : public testing::Test {
protected:
    RunnerTest() { directory_.add("good"); }

    ChildProcess start(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), builtProgram("dstream-run"));
        return ChildProcess(std::move(arguments), {{"DSTREAM_PLUGIN_PATH", directory_.path()}});
    }
    /// Exit status and output of a run.
    std::pair<int, std::string> run(std::vector<std::string> arguments) {
        ChildProcess child = start(std::move(arguments));
        const int status = child.finish();
        return {status, child.output()};
    }
    /// Reads on to a line with this text.
    static void readTo(ChildProcess& child, const std::string& text) {
        for (std::string line = child.readLine(); line.find(text) == std::string::npos; line = child.readLine()) {
            ASSERT_NE(line, "") << "expected a line with " << text << ", found\n" << child.output();
        }
    }

    const PluginDirectory directory_;
};

const std::vector<std::string> kManual = {"--conf", "spark.streaming.clock=manual"};

std::vector<std::string> manual(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kManual.begin(), kManual.end());
    return arguments;
}

TEST_F(RunnerTest, ListsJobsReceiversAndTheirOptions) {
    const auto [status, output] = run({"--list"});
    EXPECT_EQ(status, 0);
    EXPECT_THAT(output, StartsWith("jobs:\n  count  /"));
    EXPECT_THAT(output, HasSubstr("good.so\n    word  string  \"w\"  what is counted\n"));
    EXPECT_THAT(output, HasSubstr("\nreceivers:\n  bytes (bytes)  /"));
    EXPECT_THAT(output, HasSubstr("\nsinks:\n  printer (text)  /"));
    EXPECT_THAT(output, HasSubstr("\n    text  string  required  what is stored\n    times  int  \"1\"  how often\n"));
}

TEST_F(RunnerTest, RunsAJobForANumberOfBatchesOfAManualClock) {
    const auto [status, output] =
        run(manual({"count", "--batch", "500ms", "--master", "local[2]", "--batches", "3", "--", "word=x"}));
    EXPECT_EQ(status, 0) << output;
    EXPECT_EQ(output, "dstream-run: count started\n500: 1\n1000: 1\n1500: 1\n");
}

TEST_F(RunnerTest, WritesToASinkOfAPlugin) {
    EXPECT_EQ(run(manual({"print", "--batches", "1"})),
              std::pair(0, std::string("dstream-run: print started\n- one\n- two\n")));
}

TEST_F(RunnerTest, EndsByItselfAfterATimeOrANumberOfBatches) {
    EXPECT_EQ(run({"count", "--batch", "50ms", "--for", "200ms"}).first, 0);
    EXPECT_EQ(run({"count", "--batch", "50ms", "--batches", "2"}).first, 0);
}

TEST_F(RunnerTest, Row35_ABadPluginIsNamedAndTheStatusIsThree) {
    const auto [status, output] = run({"--plugin", directory_.add("other_abi"), "count"});
    EXPECT_EQ(status, 3);
    EXPECT_THAT(output, StartsWith("dstream-run: plugin " + directory_.path() + "/other_abi.so: it was built with "));
    const auto [listStatus, list] = run({"--list"});
    EXPECT_EQ(listStatus, 3);
    EXPECT_THAT(list, HasSubstr("other_abi.so: it was built with "));
    EXPECT_THAT(list, HasSubstr("jobs:\n  count  /"));
}

TEST_F(RunnerTest, Row35_APluginWhoseGlobalObjectsThrowEndsTheProgram) {
    const std::string path = directory_.add("throws_while_loaded");
    const auto [status, output] = run({"--list"});
    EXPECT_THAT(output, HasSubstr("no licence"));
    if (testsupport::kSanitized) return;  // the sanitizer's own dlopen lets no exception through
    EXPECT_EQ(status, 3);
    EXPECT_EQ(output, "dstream-run: plugin " + path + ": it threw while it was loaded: no licence\n");
}

TEST_F(RunnerTest, RefusesWrongArgumentsWithStatusTwo) {
    const auto error = [&](std::vector<std::string> arguments) {
        const auto [status, output] = run(std::move(arguments));
        EXPECT_EQ(status, 2) << output;
        return output;
    };
    EXPECT_THAT(error({}), StartsWith("usage: dstream-run "));
    EXPECT_THAT(
        error({"nothing"}),
        StartsWith("dstream-run: there is no job \"nothing\"; there are count, crash, escape, fail, print, texts"));
    EXPECT_THAT(error({"--fro", "3s"}), StartsWith("dstream-run: there is no option --fro"));
    EXPECT_THAT(error({"count", "--batch", "often"}), StartsWith("dstream-run: --batch must be a time such as "));
    EXPECT_THAT(error({"count", "--conf", "nothing"}), StartsWith("dstream-run: --conf must be KEY=VALUE"));
    EXPECT_THAT(error({"count", "--batches", "0"}), StartsWith("dstream-run: --batches must be a whole number"));
    EXPECT_THAT(error({"count", "--", "a=b"}), StartsWith("dstream-run: job \"count\": option \"a\" is not known"));
    EXPECT_THAT(error(manual({"count"})), HasSubstr("dstream-run: a manual clock moves by --batches only"));
}

TEST_F(RunnerTest, TellsABatchThatFailsAndEndsWithStatusOne) {
    const auto [status, output] = run(manual({"fail", "--batches", "1"}));
    EXPECT_EQ(status, 1);
    EXPECT_THAT(output, HasSubstr("no such room"));
    EXPECT_EQ(run({"fail", "--batch", "50ms"}).first, 1);
}

TEST_F(RunnerTest, Row36_ACrashIsReportedWithItsSignalAndTheLastBatch) {
    const auto [status, output] = run(manual({"crash", "--batches", "3"}));
    EXPECT_EQ(status, 128 + SIGSEGV);
    EXPECT_THAT(output, HasSubstr("dstream-run: crashed by SIGSEGV; last batch completed: 1000 ms\n"));
}

TEST_F(RunnerTest, Row17_AnExceptionThatLeavesAReceiversThreadEndsTheProcessWithAReport) {
    const auto [status, output] = run({"escape", "--batch", "1h"});
    EXPECT_EQ(status, 128 + SIGABRT);
    EXPECT_THAT(output, HasSubstr("nobody catches this"));
    EXPECT_THAT(output, HasSubstr("dstream-run: crashed by SIGABRT; last batch completed: none\n"));
}

TEST_F(RunnerTest, Row43_TheFirstSignalDrainsWhatHasBeenReceived) {
    for (const int signal : {SIGTERM, SIGINT}) {
        ChildProcess child = start({"texts", "--batch", "500ms"});
        readTo(child, "stored");
        ::kill(child.id(), signal);
        readTo(child, "stopping when what has been received is processed");
        EXPECT_EQ(child.finish(), 0) << child.output();
        EXPECT_THAT(child.output(), HasSubstr("received 3\n"));
    }
}

TEST_F(RunnerTest, Row43_ASecondSignalStopsAtOnce) {
    for (const int signal : {SIGTERM, SIGINT}) {
        ChildProcess child = start({"texts", "--batch", "1h"});
        readTo(child, "texts started");
        ::kill(child.id(), signal);
        readTo(child, "stopping when what has been received is processed");
        ::kill(child.id(), signal);
        EXPECT_EQ(child.finish(), 128 + signal) << child.output();
    }
}

TEST_F(RunnerTest, Row11_IgnoresABrokenPipeAndAFileSizeLimit) {
    ChildProcess child = start({"count", "--batch", "20ms"});
    readTo(child, "count started");
    for (int i = 0; i < 2; ++i) {
        ::kill(child.id(), SIGPIPE);
        ::kill(child.id(), SIGXFSZ);
        readTo(child, ": ");
    }
    ::kill(child.id(), SIGTERM);
    EXPECT_EQ(child.finish(), 0) << child.output();
}

}  // namespace
}  // namespace dstream
