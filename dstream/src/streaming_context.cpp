#include "dstream/streaming_context.hpp"

#include "dstream/streaming_listener.hpp"
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
    auto checkpoint = detail::readNewestCheckpoint(checkpointPath, createOnError);
    StreamingContext ssc = create();
    if (checkpoint) ssc.core().recover(*std::move(checkpoint), checkpointPath);
    return ssc;
}

StreamingContext StreamingContext::getActiveOrCreate(const std::string& checkpointPath,
                                                     const std::function<StreamingContext()>& create,
                                                     bool createOnError) {
    if (auto active = getActive()) return *active;
    return getOrCreate(checkpointPath, create, createOnError);
}

}  // namespace dstream
