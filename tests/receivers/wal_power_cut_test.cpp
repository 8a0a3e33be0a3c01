#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"
#include "receivers/file_write_ahead_log.hpp"
#include "support/power_cut_file_system.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace dstream {
namespace {

using testsupport::PowerCutFs;

/// One log under several power cuts.
class Story {
public:
    explicit Story(uint64_t seed) : random_(seed), fs_("/power-cut", random_()) { options_.segmentBytes = 300; }

    void ignoreSyncs() { fs_.ignoreSyncs(); }

    /// Writes until the power goes off; an exception when the log is refused.
    void runUntilCut() {
        fs_.cutAt(1 + random_() % 60);
        try {
            FileWriteAheadLog log("/power-cut/wal/0", options_, clock_, fs_);
            while (!fs_.isOff()) {
                const int record = ++last_;
                log.write({textOf(record)}, record);
                acknowledged_.insert(record);
                if (random_() % 8 == 0) {
                    cleanedUpTo_ = std::max(cleanedUpTo_, record - static_cast<int>(random_() % 6));
                    log.clean(cleanedUpTo_, false);
                }
            }
        } catch (const SparkException&) {
            if (!fs_.isOff()) throw;
        }
        fs_.restart();
    }

    /// Opens the log again. Returns what is wrong, or nothing.
    std::string check() {
        FileWriteAheadLog log("/power-cut/wal/0", options_, clock_, fs_);
        int previous = 0;
        std::set<int> found;
        for (auto records = log.readAll(); records.hasNext();) {
            const std::string text = records.next().bytes;
            const int record = std::stoi(text);
            if (text != textOf(record)) return "another text: " + text;
            if (record <= previous) return "record " + std::to_string(record) + " twice or out of order";
            previous = record;
            found.insert(record);
        }
        for (const int record : acknowledged_) {
            if (record >= cleanedUpTo_ && !found.contains(record)) return "lost " + std::to_string(record);
        }
        return "";
    }

private:
    static std::string textOf(int record) {
        return std::to_string(record) + " " + std::string(static_cast<size_t>(record * 13 % 90), 'x');
    }

    std::mt19937_64 random_;
    PowerCutFs fs_;
    FileWriteAheadLogOptions options_;
    std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>(0);
    std::set<int> acknowledged_;
    int last_ = 0;
    int cleanedUpTo_ = 0;
};

std::string tell(uint64_t seed, bool ignoresSyncs) {
    Story story(seed);
    if (ignoresSyncs) story.ignoreSyncs();
    for (int cut = 1; cut <= 4; ++cut) {
        std::string wrong;
        try {
            story.runUntilCut();
            wrong = story.check();
        } catch (const SparkException& error) {
            wrong = error.what();
        }
        if (!wrong.empty()) return "seed " + std::to_string(seed) + ", cut " + std::to_string(cut) + ": " + wrong;
    }
    return "";
}

class WalPowerCutTest : public testing::Test {
protected:
    void SetUp() override { setLogLevel(LogLevel::kOff); }
    void TearDown() override { setLogLevel(LogLevel::kWarn); }
};

TEST_F(WalPowerCutTest, Row9_APowerCutLosesNoAcknowledgedRecord) {
    for (uint64_t seed = 1; seed <= 500; ++seed) ASSERT_EQ(tell(seed, false), "");
}

TEST_F(WalPowerCutTest, PowerCutsFindWhatIsNotSynced) {
    int broken = 0;
    for (uint64_t seed = 1; seed <= 50; ++seed) broken += !tell(seed, true).empty();
    EXPECT_GT(broken, 0);
}

}  // namespace
}  // namespace dstream
