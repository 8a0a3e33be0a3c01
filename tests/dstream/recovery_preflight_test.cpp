#include "recovery_fixture.hpp"
#include "support/child_process.hpp"

namespace dstream {

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testsupport::builtProgram;
using testsupport::ChildProcess;

/// Looks at a program and its checkpoints before a start.
class RecoveryPreflightTest : public RecoveryTest {
protected:
    /// Runs tests/programs/counting_program on the checkpoint directory.
    std::string count(int batches, const std::string& variant = "plain") const {
        ChildProcess program({builtProgram("counting_program"), checkpoints(), std::to_string(batches), variant});
        EXPECT_EQ(program.finish(), 0) << program.output();
        return program.output();
    }
    struct Answer {
        int status;
        std::string text;
    };
    static Answer ask(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), builtProgram("dstream-checkpoint"));
        ChildProcess tool(std::move(arguments));
        const int status = tool.finish();
        return {status, tool.output()};
    }
    Answer diff(const std::string& variant) const {
        return ask({"diff", checkpoints(), builtProgram("counting_program"), checkpoints(), "1", variant});
    }
};

TEST_F(RecoveryPreflightTest, AProgramWritesItsOperatorsAndEndsBeforeAnyFileIsTouched) {
    const std::string file = directory_ / "program.json";
    ChildProcess program({builtProgram("counting_program"), checkpoints(), "5"}, {{"DSTREAM_PREFLIGHT", file}});
    EXPECT_EQ(program.finish(), 0) << program.output();
    EXPECT_EQ(program.output(), "") << "no batch may run";
    EXPECT_FALSE(std::filesystem::exists(checkpoints()));
    const auto bytes = posixFs().readFile(file);
    const std::string json(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    EXPECT_THAT(json, AllOf(HasSubstr("\"batchDurationMs\":1000"), HasSubstr("{\"id\":\"batches()\""),
                            HasSubstr("\"site\":\"updateStateByKey at counting_program.cpp:"),
                            HasSubstr("\"codec\":\"state<string,int32,"), HasSubstr("\"codecVersion\":0")));
}

TEST_F(RecoveryPreflightTest, APreflightLeavesADamagedCheckpointAlone) {
    count(2);
    const std::string newest = newestFile();
    std::filesystem::resize_file(newest, 10);
    ChildProcess program({builtProgram("counting_program"), checkpoints(), "5"},
                         {{"DSTREAM_PREFLIGHT", directory_ / "program.json"}});
    EXPECT_EQ(program.finish(), 0) << program.output();
    EXPECT_EQ(std::filesystem::file_size(newest), 10U);
}

TEST_F(RecoveryPreflightTest, InspectListsBatchesOperatorsSizesAndSchema) {
    count(3);  // leaves a file that is older than the last one of the next run, however slow the writer is
    count(2);
    const Time older = detail::listCheckpoints(checkpoints()).front();
    ASSERT_LT(older, Time(5000));
    const std::string damaged = "checkpoint-" + std::to_string(older.milliseconds());
    std::filesystem::resize_file(checkpoints() + "/" + damaged, 50);
    const Answer answer = ask({"inspect", checkpoints()});
    EXPECT_EQ(answer.status, 0);
    EXPECT_THAT(answer.text, AllOf(HasSubstr("checkpoint-5000: "), HasSubstr(damaged + ": damaged: "),
                                   HasSubstr("batch 5000 ms, one every 1000 ms since 0 ms, default parallelism 2"),
                                   HasSubstr("state of state<string,int32,pair<string,int32>> version 0"),
                                   HasSubstr(" ms: 2 partitions, "), HasSubstr("spark.master=")));
    EXPECT_TRUE(std::filesystem::exists(checkpoints() + "/" + damaged)) << "it changes nothing";
}

TEST_F(RecoveryPreflightTest, InspectSaysThatThereIsNoReadableCheckpoint) {
    std::filesystem::create_directories(checkpoints());
    EXPECT_EQ(ask({"inspect", checkpoints()}).status, 1);
    EXPECT_EQ(ask({"inspect", checkpoints() + "/none"}).status, 2);
    EXPECT_EQ(ask({"explain", checkpoints()}).status, 2);
}

TEST_F(RecoveryPreflightTest, DiffTellsBeforeAStartWhatItWouldTell) {
    EXPECT_EQ(diff("plain").status, 2) << "there is no directory";
    count(4, "two");
    Answer answer = diff("two");
    EXPECT_EQ(answer.status, 0) << answer.text;
    EXPECT_THAT(answer.text, AllOf(HasSubstr("checkpoint of batch 4000 ms\nloads    batches()"),
                                   HasSubstr("after batch 4000 ms, 2 partitions"), Not(HasSubstr("refused"))));
    answer = diff("renamed");
    EXPECT_EQ(answer.status, 1);
    EXPECT_THAT(answer.text,
                AllOf(HasSubstr("loads    counts, updateStateByKey at counting_program.cpp:"),
                      HasSubstr("refused  no match in the program: updateStateByKey(updateStateByKey(batches()))")));
    ChildProcess refused({builtProgram("counting_program"), checkpoints(), "1", "renamed"});
    EXPECT_EQ(refused.finish(), 1) << "the start itself says the same";
    EXPECT_THAT(refused.output(), HasSubstr("missing: updateStateByKey(updateStateByKey(batches()))"));
}

TEST_F(RecoveryPreflightTest, DiffReportsAProgramThatDoesNotComeToAStart) {
    count(1);
    const Answer answer = ask({"diff", checkpoints(), "/bin/false"});
    EXPECT_EQ(answer.status, 2);
    EXPECT_THAT(answer.text, HasSubstr("/bin/false did not come to the start of a StreamingContext"));
}

TEST_F(RecoveryPreflightTest, Row14_AProgramGoesOnFromADirectoryOfAReleasedFormat) {
    // Written by counting_program after five batches; moved here since.
    std::filesystem::copy(testsupport::testData("checkpoint_directory_2"), checkpoints(),
                          std::filesystem::copy_options::recursive);
    EXPECT_EQ(count(1), "a 6\nb 12\n");
}

TEST_F(RecoveryPreflightTest, Row16_ASecondProcessOnADirectoryIsRefusedWithThePidOfTheFirst) {
    ChildProcess first({builtProgram("counting_program"), checkpoints(), "2", "hold"});
    ASSERT_EQ(first.readLine(), "running") << first.output();
    ChildProcess second({builtProgram("counting_program"), checkpoints(), "2"});
    EXPECT_EQ(second.finish(), 1);
    EXPECT_THAT(second.output(), AllOf(HasSubstr("another context writes its checkpoints to "),
                                       HasSubstr("process " + std::to_string(first.id()))));
    EXPECT_EQ(first.finish(), 0) << "the first is not disturbed: " << first.output();
    EXPECT_EQ(count(1), "a 3\nb 6\n") << "and its lock is gone";
}

TEST_F(RecoveryPreflightTest, Row16_TheLockOfAKilledProcessIsFree) {
    {
        ChildProcess first({builtProgram("counting_program"), checkpoints(), "2", "hold"});
        ASSERT_EQ(first.readLine(), "running") << first.output();
    }  // killed
    EXPECT_NE(count(1), "");
}

}  // namespace

}  // namespace dstream
