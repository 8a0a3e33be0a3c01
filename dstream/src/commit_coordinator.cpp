#include "dstream/transactional_sink.hpp"
#include "rdd/failpoint.hpp"

namespace dstream::detail {

CommitCoordinator::CommitCoordinator(int numPartitions) : parts_(static_cast<std::size_t>(numPartitions)) {}
CommitCoordinator::~CommitCoordinator() = default;

void CommitCoordinator::finish(SinkTransactionBase& transaction, const TaskContext& context) {
    DSTREAM_FAILPOINT("sink.before_prepare");
    transaction.prepare();
    const auto partition = static_cast<std::size_t>(context.partitionId());
    if (!mayCommit(partition, context.interruption())) {
        transaction.abort();
        return;
    }
    try {
        DSTREAM_FAILPOINT("sink.before_commit");
        transaction.commit();
        DSTREAM_FAILPOINT("sink.after_commit");
    } catch (...) {
        committed(partition, false);
        throw;
    }
    committed(partition, true);
}

bool CommitCoordinator::mayCommit(std::size_t partition, std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return parts_[partition] != Part::kCommitting; })) throw TaskCancelled{};
    if (parts_[partition] == Part::kCommitted) return false;
    if (stop.stop_requested()) throw TaskCancelled{};
    parts_[partition] = Part::kCommitting;
    return true;
}

void CommitCoordinator::committed(std::size_t partition, bool done) {
    const std::lock_guard lock(mutex_);
    parts_[partition] = done ? Part::kCommitted : Part::kOpen;
    changed_.notify_all();
}

}  // namespace dstream::detail
