#include "dstream/streaming_listener.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <algorithm>
#include <vector>

namespace dstream {

StreamInputInfo::StreamInputInfo(int streamId, int64_t records, std::map<std::string, std::any> more)
    : inputStreamId(streamId), numRecords(records), metadata(std::move(more)) {
    if (records < 0) {
        throw IllegalArgumentException("numRecords of input stream " + std::to_string(streamId) +
                                       " must not be negative: " + std::to_string(records));
    }
}

std::optional<std::string> StreamInputInfo::metadataDescription() const {
    auto found = metadata.find("Description");
    if (found == metadata.end()) return std::nullopt;
    if (auto* text = std::any_cast<std::string>(&found->second)) return *text;
    if (auto* text = std::any_cast<const char*>(&found->second)) return std::string(*text);
    return std::nullopt;
}

std::optional<int64_t> OutputOperationInfo::duration() const {
    if (!startTime || !endTime) return std::nullopt;
    return *endTime - *startTime;
}

std::optional<int64_t> BatchInfo::schedulingDelay() const {
    if (!processingStartTime) return std::nullopt;
    return *processingStartTime - submissionTime;
}

std::optional<int64_t> BatchInfo::processingDelay() const {
    if (!processingStartTime || !processingEndTime) return std::nullopt;
    return *processingEndTime - *processingStartTime;
}

std::optional<int64_t> BatchInfo::totalDelay() const {
    if (!processingDelay()) return std::nullopt;
    return *schedulingDelay() + *processingDelay();
}

int64_t BatchInfo::numRecords() const {
    int64_t sum = 0;
    for (const auto& [id, info] : streamIdToInputInfo) sum += info.numRecords;
    return sum;
}

StatsReportListener::StatsReportListener(int numBatchInfos)
    : numBatchInfos_(static_cast<std::size_t>(std::max(numBatchInfos, 1))) {}

namespace {

std::string distribution(const std::string& title, std::vector<int64_t> delays) {
    if (delays.empty()) return title + ": no batches";
    std::sort(delays.begin(), delays.end());
    std::string probabilities = "0%";
    std::string values = std::to_string(delays.front()) + " ms";
    for (int percent : {5, 10, 25, 50, 75, 90, 95, 100}) {
        std::size_t index = std::min(delays.size() - 1, delays.size() * static_cast<std::size_t>(percent) / 100);
        probabilities += "\t" + std::to_string(percent) + "%";
        values += "\t" + std::to_string(delays[index]) + " ms";
    }
    return title + " (count: " + std::to_string(delays.size()) + ")\n\t" + probabilities + "\n\t" + values;
}

}  // namespace

void StatsReportListener::onBatchCompleted(const StreamingListenerBatchCompleted& batchCompleted) {
    std::string report;
    {
        std::lock_guard lock(mutex_);
        batchInfos_.push_back(batchCompleted.batchInfo);
        if (batchInfos_.size() > numBatchInfos_) batchInfos_.pop_front();
        std::vector<int64_t> total;
        std::vector<int64_t> processing;
        for (const BatchInfo& info : batchInfos_) {
            if (auto delay = info.totalDelay()) total.push_back(*delay);
            if (auto delay = info.processingDelay()) processing.push_back(*delay);
        }
        report = distribution("Total delay", std::move(total)) + "\n" +
                 distribution("Processing time", std::move(processing));
        lastReport_ = report;
    }
    logMessage(LogLevel::kInfo, "StatsReportListener", report);
}

std::string StatsReportListener::lastReport() const {
    std::lock_guard lock(mutex_);
    return lastReport_;
}

}  // namespace dstream
