#include "input_info_tracker.hpp"

#include "rdd/exceptions.hpp"

namespace dstream::detail {

void InputInfoTracker::reportInfo(Time batchTime, const StreamInputInfo& info) {
    std::lock_guard lock(mutex_);
    if (!infos_[batchTime].emplace(info.inputStreamId, info).second) {
        throw IllegalStateException("input stream " + std::to_string(info.inputStreamId) +
                                    " reported its input for batch " + batchTime.toString() +
                                    " a second time; report once per batch");
    }
}

std::map<int, StreamInputInfo> InputInfoTracker::getInfo(Time batchTime) const {
    std::lock_guard lock(mutex_);
    auto found = infos_.find(batchTime);
    return found == infos_.end() ? std::map<int, StreamInputInfo>{} : found->second;
}

void InputInfoTracker::cleanup(Time threshold) {
    std::lock_guard lock(mutex_);
    infos_.erase(infos_.begin(), infos_.lower_bound(threshold));
}

}  // namespace dstream::detail
