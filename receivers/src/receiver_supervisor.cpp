#include "receiver_supervisor.hpp"

#include "rdd/detail/left_behind.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/log.hpp"

#include <cstdlib>
#include <cxxabi.h>
#include <typeinfo>
#include <utility>

namespace dstream {
namespace detail {

namespace {

constexpr const char* kComponent = "receiver";

}  // namespace

std::string describe(const std::exception_ptr& error) {
    if (!error) return "";
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& exception) {
        return exception.what();
    } catch (...) {
        return "unknown exception";
    }
}

ReceiverMetrics ReceiverCounters::snapshot() const {
    ReceiverMetrics metrics;
    metrics.records = records;
    metrics.bytes = bytes;
    metrics.blocks = blocks;
    metrics.failedBlocks = failedBlocks;
    metrics.restarts = restarts;
    metrics.errors = errors;
    metrics.longLines = longLines;
    return metrics;
}

/// Stores the blocks of records that arrive one by one.
class ReceiverSupervisor::DefaultGeneratorEvents final : public BlockGeneratorEvents {
public:
    explicit DefaultGeneratorEvents(ReceiverSupervisor& supervisor) : supervisor_(supervisor) {}
    StreamBlockId nextBlockId(int64_t candidate) override { return supervisor_.nextBlockId(candidate); }
    void onPushBlock(const StreamBlockId& id, std::shared_ptr<Block> block) override {
        supervisor_.storeBlock(std::move(block), {}, id);
    }
    void onError(const std::string& message, std::exception_ptr error) override {
        supervisor_.reportError(message, std::move(error));
    }

private:
    ReceiverSupervisor& supervisor_;
};

ReceiverSupervisor::ReceiverSupervisor(std::shared_ptr<ReceiverBase> receiver, int streamId,
                                       std::shared_ptr<const SupervisorEnvironment> environment,
                                       std::shared_ptr<SupervisorEndpoint> endpoint,
                                       std::shared_ptr<ReceiverCounters> counters)
    : receiver_(std::move(receiver)),
      streamId_(streamId),
      name_(receiver_->className() + "-" + std::to_string(streamId)),
      storageLevel_(receiver_->storageLevel()),
      environment_(std::move(environment)),
      endpoint_(std::move(endpoint)),
      counters_(std::move(counters)),
      lastBlockId_(-1) {}

void ReceiverSupervisor::attach() {
    if (receiver_->supervisor_) {
        throw IllegalStateException("the receiver of stream " + std::to_string(streamId_) +
                                    " has been started by another stream or context; make one receiver for each");
    }
    receiver_->supervisor_ = shared_from_this();
    try {
        defaultGenerator_ =
            std::make_unique<BlockGeneratorBase>(environment_->generator, environment_->clock, receiver_->makeBuffer(),
                                                 std::make_shared<DefaultGeneratorEvents>(*this));
    } catch (...) {
        detach();
        throw;
    }
}

void ReceiverSupervisor::detach() {
    receiver_->supervisor_.reset();
    receiver_.reset();
}

void ReceiverSupervisor::launch() {
    std::lock_guard lock(mutex_);
    thread_ = std::jthread([self = shared_from_this()] { self->run(); });
}

void ReceiverSupervisor::end(const std::string& message) {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    requestStop(message, nullptr);
}

void ReceiverSupervisor::waitUntilEnded() {
    std::unique_lock lock(mutex_);
    requested_.wait(lock, [this] { return ended_.stop_requested(); });
}

void ReceiverSupervisor::release() {
    std::jthread thread;
    {
        std::lock_guard lock(mutex_);
        thread = std::move(thread_);
    }
    if (!thread.joinable()) return;
    if (ended_.stop_requested()) {
        thread.join();
    } else {
        logMessage(LogLevel::kError, kComponent, name_ + " does not stop: its onStart or onStop has not returned");
        leaveBehind(std::make_shared<std::jthread>(std::move(thread)),
                    [ended = ended()] { return ended.stop_requested(); });
    }
}

void ReceiverSupervisor::requestStop(const std::string& message, std::exception_ptr error) {
    std::stop_source wake;
    {
        std::lock_guard lock(mutex_);
        if (!stop_) stop_ = Request{message, std::move(error), {}};
        state_ = State::kStopped;
        wake = wake_;
    }
    requested_.notify_all();
    wake.request_stop();
}

void ReceiverSupervisor::requestRestart(const std::string& message, std::exception_ptr error,
                                        std::optional<int> delayMs) {
    {
        std::lock_guard lock(mutex_);
        if (stop_ || restart_) return;
        restart_ = Request{message, std::move(error), delayMs};
    }
    requested_.notify_all();
}

void ReceiverSupervisor::reportError(const std::string& message, std::exception_ptr error) {
    ++counters_->errors;
    endpoint_->reportReceiverError(streamId_, message, std::move(error));
}

void ReceiverSupervisor::storeBlock(BlockPtr block, std::any metadata, std::optional<StreamBlockId> id) {
    if (!id) id = nextBlockId(environment_->clock->getTimeMillis());
    ReceivedBlockInfo info{*id, block->numRecords(), std::move(metadata), nullptr};
    const auto bytes = static_cast<int64_t>(block->sizeBytes());
    const int64_t records = info.numRecords.value_or(0);
    try {
        info.stored = environment_->store->store(*id, std::move(block), storageLevel_);
        if (!endpoint_->addBlock(std::move(info))) {
            throw SparkException("block " + id->toString() + " was refused: the context is stopping or its log failed");
        }
    } catch (...) {
        ++counters_->failedBlocks;
        throw;
    }
    counters_->records += records;
    counters_->bytes += bytes;
    ++counters_->blocks;
}

StreamBlockId ReceiverSupervisor::nextBlockId(int64_t candidate) {
    int64_t last = lastBlockId_;
    int64_t next;
    do {
        next = std::max(candidate, last + 1);
    } while (!lastBlockId_.compare_exchange_weak(last, next));
    return {streamId_, next};
}

void ReceiverSupervisor::attachGenerator(std::shared_ptr<BlockGeneratorBase> generator) {
    if (const int64_t rate = rate_; rate > 0) generator->updateRate(rate);
    std::lock_guard lock(mutex_);
    std::erase_if(generators_, [](const auto& other) { return other->isStopped(); });
    generators_.push_back(std::move(generator));
}

void ReceiverSupervisor::updateRate(int64_t recordsPerSecond) {
    rate_ = recordsPerSecond;
    forEachGenerator([=](BlockGeneratorBase& generator) { generator.updateRate(recordsPerSecond); });
}

int64_t ReceiverSupervisor::rateLimit() const {
    return !defaultGenerator_ || defaultGenerator_->unlimited() ? -1 : defaultGenerator_->getCurrentLimit();
}

template <class Action>
void ReceiverSupervisor::forEachGenerator(Action action) {
    std::vector<std::shared_ptr<BlockGeneratorBase>> generators;
    {
        std::lock_guard lock(mutex_);
        generators = generators_;
    }
    for (const auto& generator : generators) action(*generator);
    action(*defaultGenerator_);
}

void ReceiverSupervisor::run() {
    bool again = true;
    while (again) {
        runGuarded();
        again = waitFor(environment_->restartDelayMs, true);
        if (again) ++counters_->restarts;
    }
    receiver_.reset();
    {
        std::lock_guard lock(mutex_);
        ended_.request_stop();
    }
    requested_.notify_all();
}

void ReceiverSupervisor::runGuarded() {
    try {
        runOnce();
    } catch (...) {  // a thread could not be made: the next run may have more luck
        const std::string message = "Error running receiver " + std::to_string(streamId_);
        requestStop(message, std::current_exception());
        reportError(message, std::current_exception());
        stopReceiver({message, std::current_exception(), {}});
        forEachGenerator([](BlockGeneratorBase& generator) { generator.stop(); });
    }
}

void ReceiverSupervisor::runOnce() {
    {
        std::lock_guard lock(mutex_);
        restart_.reset();
        if (!ending_) {
            stop_.reset();
            state_ = State::kInitialized;
        }
    }
    defaultGenerator_->reset();
    defaultGenerator_->start();
    startReceiver();
    for (;;) {
        Request request;
        bool stopping;
        {
            std::unique_lock lock(mutex_);
            requested_.wait(lock, [this] { return stop_ || restart_; });
            stopping = stop_.has_value();
            request = stopping ? *stop_ : *restart_;
        }
        if (stopping) {
            stopReceiver(request);
            break;
        }
        const int delayMs = request.delayMs.value_or(environment_->restartDelayMs);
        request.message = "Restarting receiver with delay " + std::to_string(delayMs) + " ms: " + request.message;
        ++counters_->restarts;
        {
            std::lock_guard lock(mutex_);
            state_ = State::kStopped;
        }
        stopReceiver(request);
        const bool go = waitFor(delayMs, false);
        {
            std::lock_guard lock(mutex_);
            restart_.reset();
        }
        if (go) startReceiver();
    }
    forEachGenerator([](BlockGeneratorBase& generator) { generator.stop(); });
}

void ReceiverSupervisor::startReceiver() {
    if (!endpoint_->registerReceiver(streamId_, name_)) {
        requestStop(
            "Registered unsuccessfully because the tracker refused to start receiver " + std::to_string(streamId_),
            nullptr);
        return;
    }
    registered_ = true;
    {
        std::lock_guard lock(mutex_);
        if (stop_) return;
        state_ = State::kStarted;
    }
    running_ = true;
    forEachGenerator([](BlockGeneratorBase& generator) { generator.resumeRateLimit(); });
    try {
        receiver_->onStart();
    } catch (...) {
        const std::string message = "Error starting receiver " + std::to_string(streamId_);
        reportError(message, std::current_exception());
        requestStop(message, std::current_exception());
    }
}

void ReceiverSupervisor::stopReceiver(const Request& why) {
    if (!running_) logMessage(LogLevel::kInfo, kComponent, name_ + " is to stop but does not run: " + why.message);
    if (std::exchange(running_, false)) {
        // A thread of the receiver that waits for the rate limit must not hold up onStop, which joins it.
        forEachGenerator([](BlockGeneratorBase& generator) { generator.suspendRateLimit(); });
        try {
            receiver_->onStop();
        } catch (...) {
            logMessage(LogLevel::kError, kComponent, name_ + ": onStop failed: " + describe(std::current_exception()));
        }
    }
    if (std::exchange(registered_, false)) endpoint_->deregisterReceiver(streamId_, why.message, why.error);
}

bool ReceiverSupervisor::waitFor(int64_t delayMs, bool forRelaunch) {
    Clock& clock = *environment_->clock;
    const int64_t until = clock.getTimeMillis() + delayMs;
    for (;;) {
        std::stop_source wake;
        {
            std::lock_guard lock(mutex_);
            if (forRelaunch ? ending_ : stop_.has_value()) return false;
            if (clock.getTimeMillis() >= until) return true;
            wake_ = wake;
        }
        clock.waitTillTime(until, wake.get_token());
    }
}

}  // namespace detail

ReceiverBase::~ReceiverBase() = default;

detail::ReceiverSupervisor& ReceiverBase::supervisor() const {
    if (!supervisor_) {
        throw IllegalStateException(
            "a receiver can store, stop, restart and report only after the context has started it, not in its "
            "constructor");
    }
    return *supervisor_;
}

void ReceiverBase::reportError(const std::string& message, std::exception_ptr error) {
    supervisor().reportError(message, std::move(error));
}

void ReceiverBase::restart(const std::string& message, std::exception_ptr error, std::optional<int> delayMs) {
    supervisor().requestRestart(message, std::move(error), delayMs);
}

void ReceiverBase::stop(const std::string& message, std::exception_ptr error) {
    supervisor().requestStop(message, std::move(error));
}

bool ReceiverBase::isStarted() const {
    return supervisor().isStarted();
}
bool ReceiverBase::isStopped() const {
    return supervisor().isStopped();
}

void ReceiverBase::storeBlock(BlockPtr block, std::any metadata) {
    supervisor().storeBlock(std::move(block), std::move(metadata), std::nullopt);
}

const SparkConf& ReceiverBase::conf() const {
    return supervisor().environment().conf;
}
int ReceiverBase::restartDelayMs() const {
    return supervisor().environment().restartDelayMs;
}
void ReceiverBase::countLongLines(int64_t lines) {
    supervisor().counters().longLines += lines;
}
detail::BlockGeneratorBase& ReceiverBase::defaultGenerator() const {
    return supervisor().defaultGenerator();
}
const detail::BlockGeneratorSettings& ReceiverBase::generatorSettings() const {
    return supervisor().environment().generator;
}
const std::shared_ptr<Clock>& ReceiverBase::clock() const {
    return supervisor().environment().clock;
}
StreamBlockId ReceiverBase::nextBlockId(int64_t candidate) const {
    return supervisor().nextBlockId(candidate);
}
void ReceiverBase::attachGenerator(std::shared_ptr<detail::BlockGeneratorBase> generator) {
    supervisor().attachGenerator(std::move(generator));
}

std::string ReceiverBase::className() const {
    int status = 0;
    const char* mangled = typeid(*this).name();
    const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                                &std::free);
    std::string name = status == 0 ? demangled.get() : mangled;
    if (const size_t arguments = name.find('<'); arguments != std::string::npos) name.resize(arguments);
    if (const size_t scope = name.rfind("::"); scope != std::string::npos) name.erase(0, scope + 2);
    return name;
}

}  // namespace dstream
