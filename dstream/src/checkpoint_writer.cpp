#include "checkpoint_writer.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "rdd/rdd_base.hpp"

#include <algorithm>
#include <chrono>
#include <unistd.h>

namespace dstream::detail {

namespace {

constexpr int kAttempts = 3;
constexpr const char* kLog = "CheckpointWriter";

void removeLeftOver(const std::string& directory) {
    try {
        posixFs().removeAll(directory);
    } catch (const std::exception& error) {
        logMessage(LogLevel::kWarn, kLog, std::string("a part of a state stays behind: ") + error.what());
    }
}

/// Lets a checkpoint refer to an RDD checkpoint.
void name(StreamingCheckpoint& checkpoint, std::optional<std::size_t> op, Time time, const RddCheckpoint& rdd) {
    if (op) {
        checkpoint.operators[*op].rdds.insert_or_assign(time, rdd);
    } else {
        checkpoint.otherRdds.insert(rdd.directory);
    }
}

}  // namespace

File lockCheckpoints(const std::string& directory) {
    File lock = posixFs().open(directory + "/.lock", Fs::Mode::kReadWrite);
    if (!lock.tryLock()) {
        std::string owner(32, '\0');
        owner.resize(lock.readAt(std::as_writable_bytes(std::span(owner)), 0));
        throw SparkException("another context writes its checkpoints to " + directory +
                             (owner.empty() ? "" : ", that of process " + owner) +
                             "; stop it first, or give this one a directory of its own");
    }
    lock.truncate(0);
    const std::string owner = std::to_string(::getpid());
    lock.writeAt(std::as_bytes(std::span(owner)), 0);
    return lock;
}

CheckpointWriter::CheckpointWriter(StreamingCore& core, std::string directory)
    : core_(core), directory_(std::move(directory)) {
    posixFs().makeDurableDirectories(directory_);
    lock_ = lockCheckpoints(directory_);
    removeTemporaryFiles();
    if (core_.recovered) latest_ = core_.recovered->time;
    readReferences();
    thread_ = std::jthread([this] { run(); });
}

void CheckpointWriter::removeTemporaryFiles() {
    for (const std::string& name : posixFs().list(directory_)) {
        if (name.starts_with(".checkpoint-") && name.ends_with(".tmp")) posixFs().remove(directory_ + "/" + name);
    }
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
            if (name.starts_with("rdd-") && !name.ends_with(".corrupt")) left.insert(run + "/" + name);
        }
    }
    removeUnused(std::move(left));
}

void CheckpointWriter::write(Time batchTime, bool clearLater) {
    latest_ = latest_.max(batchTime);
    Request request;
    request.rddsKnown = rddsWritten_;
    StreamingCheckpoint& checkpoint = request.checkpoint;
    checkpoint.time = latest_;
    checkpoint.zeroTime = core_.graph.zeroTime().value();
    checkpoint.batchDuration = core_.batchDuration;
    checkpoint.pendingTimes = core_.jobScheduler.pendingTimes();
    checkpoint.conf = core_.conf.getAll();
    checkpoint.defaultParallelism = core_.sparkContext.defaultParallelism();
    checkpoint.rddDirectory = core_.sparkContext.getCheckpointDir().value_or("");
    if (clearLater) {
        const auto unfinished = core_.jobScheduler.oldestUnfinished();
        const Time completed = unfinished ? batchTime.min(*unfinished - core_.batchDuration) : batchTime;
        completed_ = completed_.max(completed);
    }
    request.dueRdds = core_.graph.addTo(checkpoint, completed_);
    if (clearLater) request.clearUpTo = batchTime;
    std::optional<Request> replaced;  // not dropped under the lock: the elements of an RDD may go with it
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
        replaced = std::exchange(waiting_, std::move(request));
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
        Request request = *std::exchange(waiting_, std::nullopt);
        writing_ = true;
        lock.unlock();
        writeRdds(request);
        const bool good = writeFile(request.checkpoint);
        if (good) {
            if (request.clearUpTo) cleared_ = request.clearUpTo;
            if (cleared_) needs_[request.checkpoint.time] = {*cleared_, request.checkpoint.pendingTimes};
            std::optional<CheckpointNeeds> oldest;  // unknown for a file of an earlier process
            try {
                const Time time = removeOldFiles(request);
                needs_.erase(needs_.begin(), needs_.lower_bound(time));
                if (const auto found = needs_.find(time); found != needs_.end()) oldest = found->second;
            } catch (const std::exception& error) {
                logMessage(LogLevel::kWarn, kLog, std::string("old checkpoints stay: ") + error.what());
            }
            if (request.clearUpTo) {
                core_.jobGenerator.onCheckpointWritten(needs_[request.checkpoint.time], std::move(oldest));
            }
        }
        lock.lock();
        writing_ = false;
        lastFailed_ = !good;
        written_.notify_all();
    }
}

void CheckpointWriter::writeRdds(Request& request) {
    // What was written while this request waited is named too: the next ones build on it, so it must not be removed.
    std::erase_if(unnamed_, [&](const WrittenRdd& written) { return written.number <= request.rddsKnown; });
    for (const WrittenRdd& written : unnamed_) name(request.checkpoint, written.op, written.time, written.rdd);
    for (DueRddCheckpoint& due : request.dueRdds) {
        const std::string place =
            core_.sparkContext.getCheckpointDir().value_or("") + "/rdd-" + std::to_string(due.rdd->id());
        std::string written = place + kChangesBeside;
        try {
            // Before the whole one: where that is, it is known whether these are.
            if (due.writeChanges && !due.rdd->isCheckpointed()) due.writeChanges(written);
            written = place;
            due.rdd->markForCheckpoint();
            due.rdd->doCheckpoint();
        } catch (...) {
            // The next request has it again; its lineage stays long until then.
            reportFailure(due.time, "the state of batch " + due.time.toString() + ": " +
                                        describeException(std::current_exception()));
            removeLeftOver(written);
        }
        const auto directory = due.rdd->checkpointFile();
        if (!directory || directory->empty()) continue;  // not written, or a local one
        unnamed_.push_back({rddsWritten_ + 1, due.op, due.time,
                            rddCheckpointOf(*due.rdd, *directory, std::move(due.bases), due.writeChanges != nullptr)});
        ++rddsWritten_;
        name(request.checkpoint, due.op, due.time, unnamed_.back().rdd);
    }
    request.dueRdds.clear();
}

void CheckpointWriter::reportFailure(Time time, const std::string& reason) {
    ++core_.checkpointCounts.failed;
    core_.post(&StreamingListener::onCheckpointFailed, StreamingListenerCheckpointFailed{time, reason});
}

bool CheckpointWriter::writeFile(const StreamingCheckpoint& checkpoint) {
    const auto begin = std::chrono::steady_clock::now();
    for (int attempt = 1;; ++attempt) {
        try {
            DSTREAM_FAILPOINT("checkpoint.before_write");
            const std::size_t bytes = writeCheckpoint(directory_, checkpoint);
            DSTREAM_FAILPOINT("checkpoint.after_write");
            ++core_.checkpointCounts.written;
            const auto took =
                std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
            core_.post(&StreamingListener::onCheckpointWritten,
                       StreamingListenerCheckpointWritten{checkpoint.time, static_cast<int64_t>(bytes), took.count()});
            return true;
        } catch (const std::exception& error) {
            const bool last = attempt == kAttempts;
            logMessage(LogLevel::kWarn, kLog,
                       "attempt " + std::to_string(attempt) + " to write the checkpoint of batch " +
                           checkpoint.time.toString() + " failed" +
                           (last ? "; a restart will begin at an older one" : "") + ": " + error.what());
            if (!last) continue;
            reportFailure(checkpoint.time, error.what());
            return false;
        }
    }
}

Time CheckpointWriter::removeOldFiles(const Request& request) {
    const StreamingCheckpoint& written = request.checkpoint;
    std::set<std::string> candidates = std::exchange(references_[written.time], written.rddDirectories());
    candidates.insert(request.replaced.begin(), request.replaced.end());
    std::vector<Time> times = listCheckpoints(directory_);
    const Time oldest = times.size() > kKeptFiles ? times[times.size() - kKeptFiles] : times.front();
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
    return oldest;
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
