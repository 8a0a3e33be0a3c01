#include "dstream/testkit.hpp"

#include "rdd/clock.hpp"
#include "rdd/exceptions.hpp"
#include "streaming_core.hpp"

namespace dstream::testkit {

Time ManualClock::now() const {
    return Time(core_.clock->getTimeMillis());
}

void ManualClock::advance(Duration duration) {
    auto& clock = static_cast<dstream::ManualClock&>(*core_.clock);
    if (core_.onOwnThread()) {
        throw IllegalStateException("advance waits for batches and cannot be called by a function of a batch");
    }
    std::lock_guard turn(turn_);
    const Time target = now() + duration;
    const std::optional<Time> zeroTime = core_.graph.zeroTime();
    if (zeroTime && core_.state() == StreamingContextState::ACTIVE) {
        const Duration batch = core_.batchDuration;
        Time last = now().floor(batch, *zeroTime);
        bool settled = core_.jobGenerator.awaitSettled(last);  // what a recovered context runs again
        while (settled && last + batch <= target) {
            last = last + batch;
            clock.setTime(last.milliseconds());
            settled = core_.jobGenerator.awaitSettled(last);
        }
    }
    clock.setTime(target.milliseconds());
}

bool ManualClock::awaitTimer() {
    const Time next = now().floor(core_.batchDuration, core_.graph.zeroTime().value_or(Time(0))) + core_.batchDuration;
    return static_cast<dstream::ManualClock&>(*core_.clock).waitUntilWaiting(next.milliseconds());
}

ManualClock& manualClock(const StreamingContext& ssc) {
    auto& core = *ssc.owner()->core();
    if (!dynamic_cast<dstream::ManualClock*>(core.clock.get())) {
        throw IllegalStateException(
            "this context does not have a manual clock; set spark.streaming.clock to \"manual\"");
    }
    return core.testClock;
}

StreamingContext makeContext(Duration batchDuration, SparkConf conf) {
    conf.setIfMissing("spark.master", "local[2]")
        .setIfMissing("spark.app.name", "test")
        .setIfMissing("spark.streaming.clock", "manual");
    return StreamingContext(conf, batchDuration);
}

}  // namespace dstream::testkit
