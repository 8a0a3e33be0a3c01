#include "dstream/input_streams.hpp"

#include "rdd/log.hpp"
#include "receivers/rate_controller.hpp"
#include "streaming_core.hpp"

namespace dstream {

namespace detail {

void reportInput(const StreamingContext& ssc, Time batchTime, StreamInputInfo info) {
    ssc.owner()->core()->inputInfoTracker.reportInfo(batchTime, info);
}

std::shared_ptr<RateController> makeRateController(const StreamingContext& ssc, int streamId) {
    const auto& core = ssc.owner()->core();
    if (!RateController::isBackPressureEnabled(core->conf)) return nullptr;
    return std::make_shared<RateController>(streamId, RateEstimator::create(core->conf, core->batchDuration));
}

void throwNoCodec(const char* what, const std::string& type) {
    throw NotSerializableException(std::string(what) + ", but there is no Codec for " + type + "; declare one");
}

BlockPtr loadReceived(const StoredBlock& stored) {
    BlockPtr block = stored.load();
    if (!block) throw SparkException("a received block is lost: it is neither in memory nor in a write-ahead log");
    return block;
}

ReceiverSource::ReceiverSource(const StreamingContext& ssc, int streamId) : streamId_(streamId) {
    const auto& core = ssc.owner()->core();
    if (!RateController::isBackPressureEnabled(core->conf)) return;
    rateController_ = std::make_shared<RateController>(streamId, RateEstimator::create(core->conf, core->batchDuration),
                                                       [weak = std::weak_ptr(core), streamId](int64_t rate) {
                                                           if (auto strong = weak.lock())
                                                               strong->receiverTracker.sendRateUpdate(streamId, rate);
                                                       });
}

void ReceiverSource::attach(const StreamingContext& ssc, std::shared_ptr<ReceiverBase> receiver) const {
    ssc.owner()->core()->receiverTracker.addReceiver(streamId_, std::move(receiver));
}

std::vector<std::shared_ptr<const StoredBlock>> ReceiverSource::blocksOf(const StreamingContext& ssc, Time time) const {
    StreamingCore& core = *ssc.owner()->core();
    std::vector<std::shared_ptr<const StoredBlock>> blocks;
    int64_t records = 0;
    std::size_t lost = 0;
    for (const ReceivedBlockInfo& info : core.receiverTracker.blocksOfBatch(time, streamId_)) {
        records += info.numRecords.value_or(0);
        if (info.stored) {
            blocks.push_back(info.stored);
        } else {
            ++lost;
        }
    }
    if (lost > 0) {
        logMessage(LogLevel::kWarn, "ReceiverInputDStream",
                   std::to_string(lost) + " blocks of input stream " + std::to_string(streamId_) + " for batch " +
                       time.toString() +
                       " could not be recovered from memory; their data is lost without a write-ahead log");
    }
    core.inputInfoTracker.reportInfo(time, StreamInputInfo(streamId_, records));
    core.post(&StreamingListener::onReceiverMetrics,
              StreamingListenerReceiverMetrics{time, streamId_, core.receiverTracker.metrics(streamId_)}, Wake::kLater);
    return blocks;
}

}  // namespace detail

TextDStream StreamingContext::socketTextStream(const std::string& host, int port, StorageLevel level,
                                               std::source_location site) const {
    return makeInputStream<detail::ReceiverNode<TextRDD>>(*this, makeSocketTextReceiver(host, port, level),
                                                          "Socket stream", "socketTextStream", CallSite::from(site));
}

}  // namespace dstream
