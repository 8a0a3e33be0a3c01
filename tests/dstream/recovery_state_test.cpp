#include "recovery_fixture.hpp"

namespace dstream {

namespace {

using ::testing::Each;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

/// Checkpoints of state, which are written as a whole now and then and as what has changed in between.
class RecoveryStateTest : public RecoveryTest {
protected:
    static constexpr int kKeys = 5000;

    /// All keys in the first batch, then three a batch, of which one is removed every other time.
    static InputDStream<Count> fewOfMany(const StreamingContext& ssc) {
        std::vector<Counts> batches(40);
        for (int key = 0; key < kKeys; ++key) batches[0].emplace_back("key" + std::to_string(key), key);
        for (int i = 1; i < 40; ++i) {
            batches[i] = {{"key" + std::to_string(i), 1}, {"new" + std::to_string(i % 3), 7}, {"key77", -1}};
        }
        return testkit::batches<Count>(ssc, std::move(batches));
    }
    /// Sums by key; -1 removes a key that is there.
    static std::optional<int> addOrRemove(const std::vector<int>& values, std::optional<int> sum) {
        for (int value : values) {
            if (value == -1 && sum) return std::nullopt;
            sum = sum.value_or(0) + value;
        }
        return sum;
    }
    static auto updated(int partitions = 2) {
        return [=](const StreamingContext& ssc) {
            return fewOfMany(ssc).updateStateByKey<int>(addOrRemove, partitions).checkpoint(Seconds(1));
        };
    }
    static auto mapped(int partitions = 2) {
        return [=](const StreamingContext& ssc) {
            const auto count = [](Time, const std::string& key, std::optional<int> value, State<int>& sum) {
                if (!sum.isTimingOut()) sum.update(sum.getOption().value_or(0) + value.value_or(0));
                return std::optional(Count(key, sum.get()));
            };
            auto stream = fewOfMany(ssc).mapWithState(
                StateSpec<std::string, int, int, Count>::function(count).numPartitions(partitions).timeout(Seconds(8)));
            stream.checkpoint(Seconds(1));
            return stream.stateSnapshots();
        };
    }

    detail::RddCheckpoint newestState() const {
        const auto checkpoint = detail::readNewestCheckpoint(checkpoints(), false);
        for (const auto& op : checkpoint->operators) {
            if (op.state) return op.rdds.rbegin()->second;
        }
        return {};
    }
    static std::uintmax_t bytesOf(const std::string& directory) {
        std::uintmax_t bytes = 0;
        for (const auto& entry : std::filesystem::directory_iterator(directory)) bytes += entry.file_size();
        return bytes;
    }
    static Counts sorted(Counts counts) {
        std::sort(counts.begin(), counts.end());
        return counts;
    }
    /// A run that was stopped and went on must give what one without a stop gives.
    template <class First, class Second>
    void compareWithOneRun(int64_t before, int64_t after, First first, Second second) {
        const Time end(1000 * (before + after));
        runStepwise(before, 1, first);
        EXPECT_THAT(newestState().bases, Not(IsEmpty()));
        const Counts recovered = sorted(runOn(after, second)[end]);
        std::filesystem::remove_all(checkpoints());
        EXPECT_THAT(recovered, Not(IsEmpty()));
        EXPECT_EQ(recovered, sorted(runOn(before + after, first)[end]));
        std::filesystem::remove_all(checkpoints());
    }
};

TEST_F(RecoveryStateTest, ACheckpointWritesWhatHasChangedSinceTheOneBefore) {
    runStepwise(5, 1, updated());
    const detail::RddCheckpoint state = newestState();
    ASSERT_THAT(state.bases, SizeIs(4));
    const auto whole = bytesOf(state.bases.front());
    EXPECT_LT(bytesOf(state.directory) * 20, whole);
    for (std::size_t i = 1; i < state.bases.size(); ++i) EXPECT_LT(bytesOf(state.bases[i]) * 20, whole) << i;
}

TEST_F(RecoveryStateTest, AWholeStateIsWrittenNowAndThenAndOldOnesAreRemoved) {
    std::set<std::size_t> lengths;
    for (int batch = 1; batch <= 30; ++batch) {
        runStepwise(1, 1, updated());
        lengths.insert(newestState().bases.size());
    }
    EXPECT_EQ(*lengths.begin(), 0U);
    std::filesystem::remove_all(checkpoints());
    runStepwise(35, 1, updated());
    // A whole one and nine that add to it, the same before it, and the changes between the two.
    EXPECT_LE(newestState().bases.size(), 21U);
    // Ten files, each with two states, and what the oldest of these add to.
    EXPECT_LE(rddCheckpoints(), 35U);
}

TEST_F(RecoveryStateTest, AStateIsPutTogetherFromAllThatItAddsTo) {
    compareWithOneRun(6, 2, updated(), updated());
    compareWithOneRun(6, 5, mapped(), mapped());
}

TEST_F(RecoveryStateTest, AStateThatAddsToOthersIsPlacedAnewWhenTheNumberOfPartitionsChanges) {
    compareWithOneRun(4, 2, updated(2), updated(5));
    compareWithOneRun(4, 2, mapped(3), mapped(2));
}

TEST_F(RecoveryStateTest, ADamagedBaseIsDamageOfAllThatAddsToIt) {
    setLogLevel(LogLevel::kOff);
    runStepwise(12, 1, updated());
    const detail::RddCheckpoint state = newestState();
    ASSERT_THAT(state.bases, Not(IsEmpty()));
    const std::string part = state.bases.back() + "/part-00001";
    std::filesystem::resize_file(part, std::filesystem::file_size(part) - 1);
    const Counts recovered = sorted(runOn(2, updated())[Time(13000)]);
    setLogLevel(LogLevel::kWarn);
    std::filesystem::remove_all(checkpoints());
    EXPECT_EQ(recovered, sorted(runOn(13, updated())[Time(13000)]));
}

TEST_F(RecoveryStateTest, ADamagedWholeStateIsPutTogetherFromTheOneBefore) {
    runStepwise(13, 1, updated());
    const detail::RddCheckpoint state = newestState();
    const auto beside = std::find_if(state.bases.begin(), state.bases.end(),
                                     [](const std::string& base) { return base.ends_with(detail::kChangesBeside); });
    ASSERT_NE(beside, state.bases.end());
    ASSERT_THAT(*std::next(beside), Eq(beside->substr(0, beside->size() - 6)));
    for (const char* part : {"/part-00000", "/part-00001"}) {
        const std::string file = *std::next(beside) + part;
        std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
    }
    setLogLevel(LogLevel::kOff);
    std::vector<detail::DamagedCheckpoint> setAside;
    ASSERT_TRUE(detail::readNewestCheckpoint(checkpoints(), false, &setAside));
    EXPECT_THAT(setAside, IsEmpty()) << "what adds to it is not lost";
    const Counts recovered = sorted(runOn(2, updated())[Time(15000)]);
    setLogLevel(LogLevel::kWarn);
    std::filesystem::remove_all(checkpoints());
    EXPECT_EQ(recovered, sorted(runOn(15, updated())[Time(15000)]));
}

}  // namespace

}  // namespace dstream
