#include "dstream/streaming_context.hpp"

#include "dstream/streaming_listener.hpp"
#include "preflight.hpp"
#include "rdd/detail/parallelism_scope.hpp"
#include "rdd/exceptions.hpp"
#include "streaming_core.hpp"

namespace dstream {

namespace {

std::shared_ptr<detail::StreamingOwner> makeOwner(SparkContext sparkContext, Duration batchDuration) {
    auto core = std::make_shared<detail::StreamingCore>(std::move(sparkContext), batchDuration);
    auto owner = std::make_shared<detail::StreamingOwner>(core);
    core->setOwner(owner);
    return owner;
}

using Define = std::function<void(const StreamingContext&)>;

std::shared_ptr<detail::StreamingOwner> recoverOwner(const std::string& path, std::optional<SparkContext> sparkContext,
                                                     const Define& define) {
    if (!detail::preflightFile().empty()) {
        throw UnsupportedOperationException(
            "a preflight touches no file, and this constructor takes its settings from one; use getOrCreate");
    }
    std::vector<detail::DamagedCheckpoint> damaged;
    auto checkpoint = detail::readNewestCheckpoint(path, false, &damaged);
    if (!checkpoint) {
        throw IllegalArgumentException("there is no checkpoint in " + path +
                                       ": a StreamingContext needs one, or a SparkContext or SparkConf");
    }
    if (!define) {
        throw UnsupportedOperationException(
            "the checkpoint in " + path +
            " holds no functions: pass the function that builds the streams as the last "
            "argument, or use StreamingContext::getOrCreate");
    }
    const detail::ParallelismScope parallelism(checkpoint->defaultParallelism);
    if (!sparkContext) sparkContext.emplace(SparkConf().setAll(checkpoint->conf));
    StreamingContext ssc(*std::move(sparkContext), checkpoint->batchDuration);
    define(ssc);
    ssc.owner()->core()->recover(*std::move(checkpoint), path, std::move(damaged));
    return ssc.owner();
}

SparkConf makeConf(const std::string& master, const std::string& appName, const std::string& sparkHome,
                   const std::map<std::string, std::string>& environment) {
    SparkConf conf;
    conf.setMaster(master).setAppName(appName);
    if (!sparkHome.empty()) conf.set("spark.home", sparkHome);
    for (const auto& [key, value] : environment) conf.set("spark.executorEnv." + key, value);
    return conf;
}

}  // namespace

StreamingContext::StreamingContext(SparkContext sparkContext, Duration batchDuration)
    : owner_(makeOwner(std::move(sparkContext), batchDuration)) {}

StreamingContext::StreamingContext(const SparkConf& conf, Duration batchDuration)
    : StreamingContext(SparkContext(conf), batchDuration) {}

StreamingContext::StreamingContext(const std::string& master, const std::string& appName, Duration batchDuration,
                                   const std::string& sparkHome, const std::vector<std::string>&,
                                   const std::map<std::string, std::string>& environment)
    : StreamingContext(makeConf(master, appName, sparkHome, environment), batchDuration) {}

StreamingContext::StreamingContext(const std::string& checkpointPath, const Define& define)
    : StreamingContext(recoverOwner(checkpointPath, std::nullopt, define)) {}

StreamingContext::StreamingContext(const std::string& checkpointPath, SparkContext sparkContext, const Define& define)
    : StreamingContext(recoverOwner(checkpointPath, std::move(sparkContext), define)) {}

detail::StreamingCore& StreamingContext::core() const {
    return *owner_->core();
}

SparkContext StreamingContext::sparkContext() const {
    return core().sparkContext;
}

Duration StreamingContext::batchDuration() const {
    return core().batchDuration;
}

StreamingContextState StreamingContext::getState() const {
    return core().state();
}

void StreamingContext::remember(Duration duration) {
    core().graph.remember(duration);
}

void StreamingContext::checkpoint(const std::string& directory) {
    core().setCheckpointDir(directory);
}

void StreamingContext::checkpoint(std::nullptr_t) {
    core().setCheckpointDir(std::nullopt);
}

void StreamingContext::start() {
    core().start();
}

void StreamingContext::awaitTermination() const {
    core().waiter.waitForStopOrError(-1);
}

bool StreamingContext::awaitTerminationOrTimeout(int64_t timeoutMs) const {
    return core().waiter.waitForStopOrError(timeoutMs);
}

void StreamingContext::stop() {
    stop(core().stopsSparkContext, false);
}

void StreamingContext::stop(bool stopSparkContext, bool stopGracefully) {
    core().stop(stopSparkContext, stopGracefully);
}

void StreamingContext::replay(Time batchTime) {
    core().replay(batchTime);
}

CheckpointCounters StreamingContext::checkpointCounters() const {
    const auto& counters = core().checkpointCounts;
    return {counters.written, counters.failed, counters.damaged};
}

void StreamingContext::addStreamingListener(std::shared_ptr<StreamingListener> listener) {
    core().listenerBus.addListener(std::move(listener));
}

void StreamingContext::removeStreamingListener(const std::shared_ptr<StreamingListener>& listener) {
    core().listenerBus.removeListener(listener);
}

std::optional<StreamingContext> StreamingContext::getActive() {
    auto owner = detail::StreamingCore::active();
    if (!owner) return std::nullopt;
    return StreamingContext(std::move(owner));
}

StreamingContext StreamingContext::getActiveOrCreate(const std::function<StreamingContext()>& create) {
    if (auto active = getActive()) return *active;
    return create();
}

StreamingContext StreamingContext::getOrCreate(const std::string& checkpointPath,
                                               const std::function<StreamingContext()>& create, bool createOnError) {
    if (!detail::preflightFile().empty()) return create();
    std::vector<detail::DamagedCheckpoint> damaged;
    auto checkpoint = detail::readNewestCheckpoint(checkpointPath, createOnError, &damaged);
    const detail::ParallelismScope parallelism(checkpoint ? checkpoint->defaultParallelism : 0);
    StreamingContext ssc = create();
    if (checkpoint) {
        ssc.core().recover(*std::move(checkpoint), checkpointPath, std::move(damaged));
    } else {
        ssc.core().noteDamaged(std::move(damaged));
    }
    return ssc;
}

StreamingContext StreamingContext::getActiveOrCreate(const std::string& checkpointPath,
                                                     const std::function<StreamingContext()>& create,
                                                     bool createOnError) {
    if (auto active = getActive()) return *active;
    return getOrCreate(checkpointPath, create, createOnError);
}

}  // namespace dstream
