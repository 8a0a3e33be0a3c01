#include "context/context.hpp"

#include "rdd/detail/left_behind.hpp"
#include "rdd/detail/parallelism_scope.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/file_system.hpp"
#include "rdd/log.hpp"
#include "rdd/rdd_base.hpp"
#include "scheduler/stage_plan.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>

namespace dstream {
namespace {

std::optional<int> toInt(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::size_t chunkSizeOf(const SparkConf& conf) {
    const int size = conf.getInt("dstream.chunkSize", 1024);
    require(size >= 1, "dstream.chunkSize must be at least 1: " + std::to_string(size));
    return static_cast<std::size_t>(size);
}

std::string localPath(const std::string& path) {
    if (path.starts_with("file://")) return path.substr(7);
    if (path.starts_with("file:")) return path.substr(5);
    return path;
}

std::vector<PoolSettings> poolsOf(const SparkConf& conf) {
    const auto path = conf.getOption("spark.scheduler.allocation.file");
    if (!path) return {};
    std::ifstream file(localPath(*path));
    std::stringstream text;
    text << file.rdbuf();
    require(file.is_open() && !file.bad() && !text.fail(),
            "spark.scheduler.allocation.file should be a file that can be read and is not empty: '" + *path + "'");
    return parseFairPools(text.str(), *path);
}

SchedulerOptions optionsOf(const SparkConf& conf, const Master& master) {
    SchedulerOptions options;
    options.cpusPerTask = conf.getInt("spark.task.cpus", 1);
    require(options.cpusPerTask >= 1, "spark.task.cpus must be at least 1: " + std::to_string(options.cpusPerTask));
    options.slots = master.slots / options.cpusPerTask;
    if (options.slots < 1) {
        throw SparkException("the master has " + std::to_string(master.slots) + " slots and a task takes " +
                             std::to_string(options.cpusPerTask) +
                             " (spark.task.cpus): no task could run; ask for more threads");
    }
    options.maxTaskFailures = master.maxTaskFailures;
    options.maxStageAttempts = conf.getInt("spark.stage.maxConsecutiveAttempts", 4);
    require(options.maxStageAttempts >= 1,
            "spark.stage.maxConsecutiveAttempts must be at least 1: " + std::to_string(options.maxStageAttempts));
    const std::string mode = conf.get("spark.scheduler.mode", "FIFO");
    require(mode == "FIFO" || mode == "FAIR", "spark.scheduler.mode must be FIFO or FAIR: '" + mode + "'");
    options.fair = mode == "FAIR";
    if (options.fair) options.pools = poolsOf(conf);
    SpeculationOptions& speculation = options.speculation;
    speculation.enabled = conf.getBoolean("spark.speculation", false);
    speculation.intervalMs = conf.getTimeAsMs("spark.speculation.interval", "100ms");
    speculation.multiplier = conf.getDouble("spark.speculation.multiplier", speculation.multiplier);
    speculation.quantile = conf.getDouble("spark.speculation.quantile", speculation.quantile);
    speculation.minRuntimeMs = conf.getTimeAsMs("spark.speculation.minTaskRuntime", "100ms");
    require(speculation.intervalMs > 0,
            "spark.speculation.interval must be positive: " + std::to_string(speculation.intervalMs) + " ms");
    if (conf.contains("spark.speculation.task.duration.threshold")) {
        speculation.thresholdMs = conf.getTimeAsMs("spark.speculation.task.duration.threshold");
    }
    speculation.byRate = conf.getBoolean("spark.speculation.efficiency.enabled", true);
    speculation.rateMultiplier =
        conf.getDouble("spark.speculation.efficiency.processRateMultiplier", speculation.rateMultiplier);
    speculation.longRunFactor =
        conf.getDouble("spark.speculation.efficiency.longRunTaskFactor", speculation.longRunFactor);
    require(speculation.rateMultiplier > 0 && speculation.rateMultiplier <= 1,
            "spark.speculation.efficiency.processRateMultiplier must be above 0 and at most 1: " +
                std::to_string(speculation.rateMultiplier));
    require(speculation.longRunFactor >= 1, "spark.speculation.efficiency.longRunTaskFactor must be at least 1: " +
                                                std::to_string(speculation.longRunFactor));
    const char* const given = std::getenv("DSTREAM_EXECUTOR");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    options.executor = conf.get("dstream.executor", given != nullptr && *given != '\0' ? given : "threads");
    if (constexpr std::string_view kSeeded = "seeded:"; options.executor.starts_with(kSeeded)) {
        const auto seed = toInt(std::string_view(options.executor).substr(kSeeded.size()));
        require(seed.has_value(), "the executor should be threads, tbb or seeded:N, found '" + options.executor + "'");
        options.seed = static_cast<uint64_t>(*seed);
        options.executor = "threads";
    }
    return options;
}

SparkConf checked(SparkConf conf) {
    if (!conf.contains("spark.master")) {
        throw SparkException("a master must be set, for example SparkConf().setMaster(\"local[2]\")");
    }
    if (!conf.contains("spark.app.name")) {
        throw SparkException("an application name must be set, for example SparkConf().setAppName(\"WordCount\")");
    }
    return conf;
}

/// Settings of the reference that have no meaning in one process.
void warnAboutSettingsWithoutMeaning(const SparkConf& conf) {
    constexpr std::string_view kPrefixes[] = {"spark.dynamicAllocation.", "spark.streaming.dynamicAllocation.",
                                              "spark.locality.",          "spark.executor.",
                                              "spark.excludeOnFailure.",  "spark.task.maxFailures",
                                              "spark.cleaner.",           "spark.rdd.parallelListingThreshold",
                                              "spark.rdd.compress",       "spark.checkpoint.compress",
                                              "spark.io.compression."};
    std::string keys;
    for (const auto& [key, value] : conf.getAll()) {
        if (std::ranges::any_of(kPrefixes, [&](std::string_view prefix) { return key.starts_with(prefix); })) {
            keys += (keys.empty() ? "" : ", ") + key;
        }
    }
    if (!keys.empty())
        logMessage(LogLevel::kWarn, "context",
                   "these settings have no meaning in one process and are ignored: " + keys);
}

std::string uniqueName() {
    std::random_device random;
    std::string name;
    for (int i = 0; i < 16; ++i) {
        constexpr char kDigits[] = "0123456789abcdef";
        const unsigned byte = random() & 0xff;
        name += kDigits[byte >> 4];
        name += kDigits[byte & 15];
        if (i == 3 || i == 5 || i == 7 || i == 9) name += '-';
    }
    return name;
}

// Process-wide: the active context, and contexts whose last handle went on a thread of their own, which cannot join
// itself.
struct Active {
    std::mutex mutex;  // guards what follows
    std::weak_ptr<Context> context;
    std::vector<std::shared_ptr<Context>> toBeStopped;
};

Active& activeContext() {
    static Active active;
    return active;
}

thread_local std::shared_ptr<const Properties> threadProperties;

}  // namespace

Master parseMaster(const std::string& text) {
    const auto fail = [&](const char* why) {
        throw SparkException("spark.master should be local, local[N], local[*] or local[N,F], found '" + text + "'" +
                             why);
    };
    Master master;
    if (text == "local") return master;
    if (!text.starts_with("local[") || !text.ends_with(']')) fail("");
    const std::string_view inside = std::string_view(text).substr(6, text.size() - 7);
    const std::size_t comma = inside.find(',');
    std::string_view slots = inside.substr(0, comma);
    const auto trim = [](std::string_view part) {
        while (part.starts_with(' ')) part.remove_prefix(1);
        while (part.ends_with(' ')) part.remove_suffix(1);
        return part;
    };
    slots = trim(slots);
    const auto number = slots == "*"
                            ? std::optional(static_cast<int>(std::max(1U, std::thread::hardware_concurrency())))
                            : toInt(slots);
    if (!number) fail("");
    if (*number <= 0) fail("; it needs at least one thread");
    master.slots = *number;
    if (comma != std::string_view::npos) {
        const auto failures = toInt(trim(inside.substr(comma + 1)));
        if (!failures) fail("");
        if (*failures <= 0) fail("; a task needs at least one attempt");
        master.maxTaskFailures = *failures;
    }
    return master;
}

std::shared_ptr<const Properties> localProperties() {
    static const auto none = std::make_shared<const Properties>();
    return threadProperties ? threadProperties : none;
}

void setLocalProperties(std::shared_ptr<const Properties> properties) {
    threadProperties = std::move(properties);
}

// ---- life

/// What handles share: its end is the end of the application.
struct Context::Handle {
    explicit Handle(std::shared_ptr<Context> context_) : context(std::move(context_)) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() {
        try {
            if (context->scheduler_->onEngineThread() || context->bus_.onListenerThread()) {
                Active& active = activeContext();
                const std::lock_guard lock(active.mutex);
                active.toBeStopped.push_back(context);
                return;
            }
            context->stop();
        } catch (...) {
            logMessage(LogLevel::kError, "context",
                       "the context could not be stopped: " + describeException(std::current_exception()));
        }
    }
    const std::shared_ptr<Context> context;
};

std::shared_ptr<SparkContextCore> Context::start(const SparkConf& conf) {
    std::vector<std::shared_ptr<Context>> old;
    Active& active = activeContext();
    {
        const std::lock_guard lock(active.mutex);
        old.swap(active.toBeStopped);
    }
    for (const auto& context : old) context->stop();
    detail::releaseLeftBehind();
    const std::lock_guard lock(active.mutex);
    if (const auto running = active.context.lock(); running && !running->isStopped()) {
        throw SparkException("only one SparkContext can be active in a process; stop the one of application '" +
                             running->conf().get("spark.app.name", "") + "' first");
    }
    const auto context = std::make_shared<Context>(conf);
    active.context = context;
    return context->handle();
}

std::shared_ptr<SparkContextCore> Context::active() {
    std::shared_ptr<Context> context;
    {
        Active& active = activeContext();
        const std::lock_guard lock(active.mutex);
        context = active.context.lock();
    }
    return context && !context->isStopped() ? context->handle() : nullptr;
}

std::shared_ptr<SparkContextCore> Context::handle() {
    std::shared_ptr<Handle> handle;
    {
        const std::lock_guard lock(mutex_);
        handle = handle_.lock();
        if (!handle && !isStopped()) {
            handle = std::make_shared<Handle>(std::static_pointer_cast<Context>(shared_from_this()));
            handle_ = handle;
        }
    }
    if (!handle) return shared_from_this();
    return {handle, this};
}

namespace {
thread_local int scopedParallelism = 0;
}

detail::ParallelismScope::ParallelismScope(int parallelism) : before_(scopedParallelism) {
    if (parallelism > 0) scopedParallelism = parallelism;
}

detail::ParallelismScope::~ParallelismScope() {
    scopedParallelism = before_;
}

int detail::ParallelismScope::current(int otherwise) {
    return scopedParallelism > 0 ? scopedParallelism : otherwise;
}

Context::Context(SparkConf conf)
    : conf_(checked(std::move(conf))),
      master_(parseMaster(conf_.get("spark.master"))),
      chunkSize_(chunkSizeOf(conf_)),
      defaultParallelism_(conf_.getInt("spark.default.parallelism", detail::ParallelismScope::current(master_.slots))),
      stopTimeout_(conf_.getTimeAsMs("dstream.stop.timeout", "10s")),
      clock_(makeClock(conf_.get("spark.streaming.clock", ""))),
      startTime_(clock_->getTimeMillis()),
      applicationId_("local-" + std::to_string(startTime_)),
      blocks_(conf_),
      shuffles_(blocks_, master_.slots),
      bus_("spark", static_cast<std::size_t>(
                        std::max(1, conf_.getInt("spark.scheduler.listenerbus.eventqueue.capacity", 10'000)))),
      scheduler_(std::make_shared<Scheduler>(*this, shuffles_, status_, bus_, optionsOf(conf_, master_))) {
    require(defaultParallelism_ >= 1,
            "spark.default.parallelism must be at least 1: " + std::to_string(defaultParallelism_));
    require(stopTimeout_.count() >= 0,
            "dstream.stop.timeout must not be negative: " + std::to_string(stopTimeout_.count()) + " ms");
    warnAboutSettingsWithoutMeaning(conf_);
    if (conf_.getBoolean("spark.ui.showConsoleProgress", true) && isatty(STDERR_FILENO) == 1)
        progress_.emplace(status_);
}

Context::~Context() {
    if (isStopped()) return;
    try {
        stop();
    } catch (...) {
        logMessage(LogLevel::kError, "context",
                   "the context could not be stopped: " + describeException(std::current_exception()));
    }
}

void Context::stop() {
    if (bus_.onListenerThread())
        throw SparkException(
            "a SparkContext cannot be stopped by its listener: the wait for the listener's end would never end");
    if (scheduler_->onEngineThread())
        throw SparkException("a SparkContext cannot be stopped in a task or in a result handler");
    if (stopped_.exchange(true)) return;
    if (!scheduler_->stop(stopTimeout_)) {
        detail::leaveBehind(shared_from_this(),
                            [scheduler = scheduler_.get()] { return scheduler->stop(std::chrono::milliseconds(0)); });
    }
    bus_.post([time = clock_->getTimeMillis()](SparkListener& listener) { listener.onApplicationEnd({time}); });
    bus_.stop();
    progress_.reset();
    shuffles_.clear();
    blocks_.clear();
}

void Context::assertUsable(const char* what) const {
    if (TaskContext::get() != nullptr) {
        throw SparkException(std::string(what) +
                             " cannot be called in a task: RDDs are made and actions are run by the driver only");
    }
    if (isStopped()) throw IllegalStateException(std::string(what) + " on a stopped SparkContext; make a new one");
}

void Context::assertMayWait(const char* what) const {
    if (scheduler_->onEngineThread()) {
        throw SparkException(
            std::string(what) +
            " cannot be called in a task or in a result handler: the wait for its job would never end");
    }
}

// ---- jobs

void SparkContextCore::runJob(JobRequest request) {
    assertMayWait(request.action);
    const std::shared_ptr<RddBase> rdd = request.rdd;
    assertUsable(request.action);
    static_cast<Context&>(*this).scheduler().run(std::move(request), localProperties());
    if (pendingCheckpoints() == 0) return;
    for (const auto& marked : awaitingCheckpoint(rdd)) {
        try {
            marked->doCheckpoint();
        } catch (...) {
            if (marked->blockCodec() != nullptr && checkpointDirectory()) marked->markForCheckpoint();
            throw;
        }
    }
}

std::vector<std::shared_ptr<void>> detail::runJob(const std::shared_ptr<RddBase>& rdd, std::vector<int> partitions,
                                                  const char* action, CallSite callSite,
                                                  std::function<std::shared_ptr<void>(TaskContext&)> task) {
    std::vector<std::shared_ptr<void>> results(partitions.size());
    JobRequest request;
    request.rdd = rdd;
    request.partitions = std::move(partitions);
    request.task = std::move(task);
    request.onResult = [&results](int index, std::shared_ptr<void> result) {
        results[static_cast<std::size_t>(index)] = std::move(result);
    };
    request.action = action;
    request.callSite = callSite;
    rdd->context()->runJob(std::move(request));
    return results;
}

std::shared_ptr<JobHandle> Context::submitJob(JobRequest request) {
    assertUsable(request.action);
    return scheduler_->submit(std::move(request), localProperties());
}

std::vector<BlockPtr> Context::fetchShuffle(const ShuffleDependency& shuffle, int reducePartition,
                                            TaskContext& context) {
    return shuffles_.fetch(shuffle, reducePartition, context);
}

EngineCounters Context::counters() const {
    EngineCounters counters;
    counters.recomputedPartitions = blocks_.recomputedBlocks() + shuffles_.recomputedOutputs();
    counters.spills = blocks_.spills();
    counters.spilledBytes = blocks_.spilledBytes();
    counters.failedTasks = scheduler_->failedTasks();
    counters.resubmittedStages = scheduler_->resubmittedStages();
    return counters;
}

// ---- what it keeps

std::optional<std::string> Context::checkpointDirectory() const {
    const std::lock_guard lock(mutex_);
    return checkpointDirectory_;
}

void Context::setCheckpointDirectory(const std::string& directory) {
    std::string path = localPath(directory) + "/" + uniqueName();
    posixFs().makeDurableDirectories(path);
    const std::lock_guard lock(mutex_);
    checkpointDirectory_ = std::move(path);
}

void Context::addFile(const std::string& path, bool recursive) {
    const auto status = posixFs().stat(localPath(path));
    if (!status) throw SparkException("addFile: " + path + " does not exist");
    if (status->kind == FileKind::kDirectory && !recursive) {
        throw SparkException("addFile: " + path + " is a directory; pass recursive = true to add it");
    }
    {
        const std::lock_guard lock(mutex_);
        if (std::ranges::find(files_, path) == files_.end()) {
            files_.push_back(path);
            return;
        }
    }
    logMessage(LogLevel::kWarn, "context", "addFile: " + path + " has been added already; the second call is ignored");
}

std::vector<std::string> Context::files() const {
    const std::lock_guard lock(mutex_);
    return files_;
}

void Context::notePersisted(const std::shared_ptr<RddBase>& rdd) {
    const std::lock_guard lock(mutex_);
    persisted_[rdd->id()] = rdd;
}

void Context::forgetPersisted(int rddId) {
    {
        const std::lock_guard lock(mutex_);
        persisted_.erase(rddId);
    }
    blocks_.removeAll(BlockId::Kind::kRdd, rddId);
}

std::map<int, std::shared_ptr<RddBase>> Context::persisted() const {
    std::map<int, std::shared_ptr<RddBase>> rdds;
    const std::lock_guard lock(mutex_);
    for (const auto& [id, weak] : persisted_) {
        if (auto rdd = weak.lock()) rdds[id] = std::move(rdd);
    }
    return rdds;
}

void Context::addListener(std::shared_ptr<SparkListener> listener) {
    const std::lock_guard lock(mutex_);
    bus_.addListener(listener);
    scheduler_->setListening(true);
    bus_.post([listener, event = SparkListenerApplicationStart{conf_.get("spark.app.name"), applicationId_,
                                                               startTime_}](SparkListener& each) {
        if (&each == listener.get()) each.onApplicationStart(event);
    });
}

void Context::removeListener(const std::shared_ptr<SparkListener>& listener) {
    const std::lock_guard lock(mutex_);
    bus_.removeListener(listener);
}

}  // namespace dstream
