// Durable appends per second: writers that wait for their record in one log, and one sync for each record.

#include "rdd/bytes.hpp"
#include "rdd/clock.hpp"
#include "receivers/file_write_ahead_log.hpp"

#include <benchmark/benchmark.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <unistd.h>

namespace dstream {
namespace {

constexpr size_t kRecordBytes = 100;

/// A directory on the disk of the working directory; the one for temporary files may have none.
std::string freshDirectory() {
    std::string path = std::filesystem::current_path() / ("wal-bench." + std::to_string(::getpid()));
    std::filesystem::remove_all(path);
    return path;
}

std::unique_ptr<FileWriteAheadLog> sharedLog;

void groupCommit(benchmark::State& state) {
    const ByteBuffer record{std::string(kRecordBytes, 'x')};
    for (auto _ : state) sharedLog->write(record, 1);
    state.SetItemsProcessed(state.iterations());
}

// What the same disk does without the log: a file that is as long as it will be, written and synced record by record.
struct OneSyncEach {
    std::mutex mutex;
    File file;
    uint64_t offset = 0;
};
std::unique_ptr<OneSyncEach> oneSyncEach;

void syncPerRecord(benchmark::State& state) {
    const std::string record(kRecordBytes, 'x');
    for (auto _ : state) {
        std::lock_guard lock(oneSyncEach->mutex);
        oneSyncEach->file.writeAt(asBytes(record), oneSyncEach->offset);
        oneSyncEach->offset += record.size();
        oneSyncEach->file.syncData();
    }
    state.SetItemsProcessed(state.iterations());
}

void openLog(const benchmark::State&) {
    sharedLog = std::make_unique<FileWriteAheadLog>(freshDirectory(), FileWriteAheadLogOptions(),
                                                    std::make_shared<SystemClock>());
}
void closeLog(const benchmark::State&) {
    sharedLog.reset();
    std::filesystem::remove_all(freshDirectory());
}
BENCHMARK(groupCommit)->Name("walAppendOf1Writer")->Setup(openLog)->Teardown(closeLog)->Threads(1)->UseRealTime();
BENCHMARK(groupCommit)->Name("walAppendOf64Writers")->Setup(openLog)->Teardown(closeLog)->Threads(64)->UseRealTime();

void openFile(const benchmark::State&) {
    const std::string path = freshDirectory();
    posixFs().makeDirectories(path);
    oneSyncEach = std::make_unique<OneSyncEach>();
    oneSyncEach->file = posixFs().open(path + "/file", Fs::Mode::kTruncate);
    oneSyncEach->file.writeAt(std::vector<std::byte>(64 << 20), 0);
    oneSyncEach->file.sync();
}
void closeFile(const benchmark::State&) {
    oneSyncEach.reset();
    std::filesystem::remove_all(freshDirectory());
}
BENCHMARK(syncPerRecord)
    ->Name("walAppendOf1WriterByHand")
    ->Setup(openFile)
    ->Teardown(closeFile)
    ->Threads(1)
    ->UseRealTime();
BENCHMARK(syncPerRecord)
    ->Name("walAppendOf64WritersByHand")
    ->Setup(openFile)
    ->Teardown(closeFile)
    ->Threads(64)
    ->UseRealTime();

}  // namespace
}  // namespace dstream
