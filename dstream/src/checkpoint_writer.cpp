#include "checkpoint_writer.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"

#include <algorithm>

namespace dstream::detail {

namespace {

constexpr int kAttempts = 3;
constexpr const char* kLog = "CheckpointWriter";

}  // namespace

CheckpointWriter::CheckpointWriter(StreamingCore& core, std::string directory)
    : core_(core), directory_(std::move(directory)) {
    posixFs().makeDurableDirectories(directory_);
    lock_ = posixFs().open(directory_ + "/.lock", Fs::Mode::kReadWrite);
    if (!lock_.tryLock()) {
        throw SparkException("another context writes its checkpoints to " + directory_ +
                             "; stop it first, or give this one a directory of its own");
    }
    if (core_.recovered) latest_ = core_.recovered->time;
    readReferences();
    thread_ = std::jthread([this] { run(); });
}

void CheckpointWriter::readReferences() {
    std::set<std::string> runs;
    for (Time time : listCheckpoints(directory_)) {
        try {
            const StreamingCheckpoint checkpoint = readCheckpoint(checkpointPath(directory_, time));
            references_[time] = checkpoint.rddDirectories();
            runs.insert(checkpoint.rddDirectory);
        } catch (const SparkException& error) {
            logMessage(LogLevel::kWarn, kLog, std::string("an older checkpoint cannot be read: ") + error.what());
        }
    }
    // What a run wrote after its last checkpoint is in no file.
    if (!core_.recovered) return;
    runs.erase(core_.sparkContext.getCheckpointDir().value_or(""));
    std::set<std::string> left;
    for (const std::string& run : runs) {
        if (!posixFs().exists(run)) continue;
        for (const std::string& name : posixFs().list(run)) {
            if (name.starts_with("rdd-")) left.insert(run + "/" + name);
        }
    }
    removeUnused(std::move(left));
}

void CheckpointWriter::write(Time batchTime, bool clearLater) {
    latest_ = latest_.max(batchTime);
    Request request;
    StreamingCheckpoint& checkpoint = request.checkpoint;
    checkpoint.time = latest_;
    checkpoint.zeroTime = core_.graph.zeroTime().value();
    checkpoint.batchDuration = core_.batchDuration;
    checkpoint.pendingTimes = core_.jobScheduler.pendingTimes();
    checkpoint.conf = core_.conf.getAll();
    checkpoint.rddDirectory = core_.sparkContext.getCheckpointDir().value_or("");
    core_.graph.addTo(checkpoint);
    if (clearLater) request.clearUpTo = batchTime;
    {
        const std::lock_guard lock(mutex_);
        if (waiting_) {
            if (waiting_->clearUpTo) {
                request.clearUpTo =
                    request.clearUpTo ? request.clearUpTo->max(*waiting_->clearUpTo) : waiting_->clearUpTo;
            }
            request.replaced = std::move(waiting_->replaced);
            request.replaced.merge(waiting_->checkpoint.rddDirectories());
        }
        waiting_ = std::move(request);
    }
    changed_.notify_one();
}

bool CheckpointWriter::flush() {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [this] { return !waiting_ && !writing_; });
    return !lastFailed_;
}

void CheckpointWriter::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
    lock_ = File();
}

void CheckpointWriter::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return waiting_ || stopping_; });
        if (!waiting_) return;
        const Request request = *std::exchange(waiting_, std::nullopt);
        writing_ = true;
        lock.unlock();
        const bool good = writeFile(request.checkpoint);
        if (good) {
            try {
                removeOldFiles(request);
            } catch (const std::exception& error) {
                logMessage(LogLevel::kWarn, kLog, std::string("old checkpoints stay: ") + error.what());
            }
            if (request.clearUpTo)
                core_.jobGenerator.onCheckpointWritten(*request.clearUpTo, request.checkpoint.pendingTimes);
        }
        lock.lock();
        writing_ = false;
        lastFailed_ = !good;
        written_.notify_all();
    }
}

bool CheckpointWriter::writeFile(const StreamingCheckpoint& checkpoint) {
    for (int attempt = 1;; ++attempt) {
        try {
            DSTREAM_FAILPOINT("checkpoint.before_write");
            writeCheckpoint(directory_, checkpoint);
            DSTREAM_FAILPOINT("checkpoint.after_write");
            return true;
        } catch (const std::exception& error) {
            const bool last = attempt == kAttempts;
            logMessage(LogLevel::kWarn, kLog,
                       "attempt " + std::to_string(attempt) + " to write the checkpoint of batch " +
                           checkpoint.time.toString() + " failed" +
                           (last ? "; a restart will begin at an older one" : "") + ": " + error.what());
            if (last) return false;
        }
    }
}

void CheckpointWriter::removeOldFiles(const Request& request) {
    const StreamingCheckpoint& written = request.checkpoint;
    std::set<std::string> candidates = std::exchange(references_[written.time], written.rddDirectories());
    candidates.insert(request.replaced.begin(), request.replaced.end());
    std::vector<Time> times = listCheckpoints(directory_);
    if (times.size() > kKeptFiles) {
        times.resize(times.size() - kKeptFiles);
        for (Time time : times) {
            DSTREAM_FAILPOINT("checkpoint.remove_old");
            posixFs().remove(checkpointPath(directory_, time));
            if (auto found = references_.find(time); found != references_.end()) {
                candidates.merge(found->second);
                references_.erase(found);
            }
        }
    }
    removeUnused(std::move(candidates));
}

void CheckpointWriter::removeUnused(std::set<std::string> candidates) {
    for (const auto& [time, directories] : references_) {
        std::erase_if(candidates, [&](const std::string& candidate) { return directories.contains(candidate); });
    }
    for (const std::string& directory : candidates) {
        DSTREAM_FAILPOINT("checkpoint.remove_rdd");
        posixFs().removeAll(directory);
    }
}

}  // namespace dstream::detail
