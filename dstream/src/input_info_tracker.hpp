#pragma once

#include "dstream/streaming_listener.hpp"
#include "rdd/time.hpp"

#include <map>
#include <mutex>

namespace dstream::detail {

/// Keeps what the input streams reported for each batch until the batch is old. Thread-safe.
class InputInfoTracker {
public:
    /// @throws IllegalStateException  when the stream has reported for this batch already
    void reportInfo(Time batchTime, const StreamInputInfo& info);
    std::map<int, StreamInputInfo> getInfo(Time batchTime) const;
    /// Forgets batches before `threshold`.
    void cleanup(Time threshold);

private:
    mutable std::mutex mutex_;  // guards the field below
    std::map<Time, std::map<int, StreamInputInfo>> infos_;
};

}  // namespace dstream::detail
