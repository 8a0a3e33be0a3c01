#pragma once

#include "rdd/accumulator.hpp"
#include "rdd/block_manager.hpp"
#include "rdd/broadcast.hpp"
#include "rdd/detail/context_core.hpp"
#include "rdd/future_action.hpp"
#include "rdd/log.hpp"
#include "rdd/rdd.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/spark_listener.hpp"

#include <any>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace dstream {

/// Numbers of tasks of a running stage.
struct SparkStageInfo {
    int stageId = 0;
    int currentAttemptId = 0;
    std::string name;
    int numTasks = 0;
    int numActiveTasks = 0;
    int numCompletedTasks = 0;
    int numFailedTasks = 0;
};
struct SparkJobInfo {
    int jobId = 0;
    std::vector<int> stageIds;
    enum class Status { kRunning, kSucceeded, kFailed } status = Status::kRunning;
};

/// Tells what runs at the moment. Thread-safe.
class SparkStatusTracker {
public:
    explicit SparkStatusTracker(std::weak_ptr<SparkContextCore> core) : core_(std::move(core)) {}
    std::vector<int> getActiveJobIds() const;
    std::vector<int> getActiveStageIds() const;
    /// Jobs of a group, running or ended lately; with "" those without a group.
    std::vector<int> getJobIdsForGroup(const std::string& group) const;
    std::optional<SparkJobInfo> getJobInfo(int jobId) const;
    std::optional<SparkStageInfo> getStageInfo(int stageId) const;

private:
    std::weak_ptr<SparkContextCore> core_;
};

/// The engine: makes RDDs from data and runs jobs on `local[N]` slots. A copyable handle of one shared object; when the
/// last handle goes, the context stops. One active context per process. Thread-safe but for stop().
///
///     SparkContext sc(SparkConf().setMaster("local[2]").setAppName("Count"));
///     std::cout << sc.textFile("input.txt").count() << "\n";
class SparkContext {
public:
    /// @throws SparkException  when master or application name is missing, the master is unknown or N is not positive,
    /// or another
    ///                         context is active in the process
    explicit SparkContext(const SparkConf& conf);
    SparkContext(const std::string& master, const std::string& appName, const SparkConf& conf = SparkConf());
    /// The active context, else a new one. With an active context `conf` is ignored with a warning.
    static SparkContext getOrCreate(const SparkConf& conf = SparkConf());
    explicit SparkContext(const std::shared_ptr<SparkContextCore>& core) : core_(core->handle()) {}

    // ---- data

    /// Slice i holds elements [i*len/n, (i+1)*len/n). Without `slices`: defaultParallelism.
    /// @throws IllegalArgumentException  when slices < 1, once the partitions are asked for
    template <class T>
    RDD<T> parallelize(std::vector<T> elements, std::optional<int> slices = std::nullopt,
                       std::source_location location = std::source_location::current()) const;
    template <class T>
    RDD<T> makeRDD(std::vector<T> elements, std::optional<int> slices = std::nullopt,
                   std::source_location location = std::source_location::current()) const {
        return parallelize(std::move(elements), slices, location);
    }
    /// One partition per element, with host names it would like to be computed at (kept, without effect in one
    /// process).
    template <class T>
    RDD<T> makeRDD(std::vector<std::pair<T, std::vector<std::string>>> elementsAndHosts,
                   std::source_location location = std::source_location::current()) const;
    /// An RDD with exactly these partitions.
    template <class T>
    RDD<T> fromPartitions(std::vector<std::vector<T>> partitions,
                          std::source_location location = std::source_location::current()) const;
    /// start, start+step, … before end. Safe against overflow.
    /// @throws IllegalArgumentException  when step is 0
    RDD<int64_t> range(int64_t start, int64_t end, int64_t step = 1, std::optional<int> slices = std::nullopt,
                       std::source_location location = std::source_location::current()) const;
    template <class T>
    RDD<T> emptyRDD(std::source_location location = std::source_location::current()) const;
    /// RDDs without partitions are left out. If all others share one partitioner, partitions are merged index-wise and
    /// it is kept; else they are concatenated.
    template <class T>
    RDD<T> unionAll(std::vector<RDD<T>> rdds, std::source_location location = std::source_location::current()) const;
    template <class T, class... Rest>
    RDD<T> unionAll(const RDD<T>& first, const Rest&... rest) const {
        return unionAll(std::vector<RDD<T>>{first, rest...});
    }

    // ---- files (rdd/detail/files.hpp)

    /// Lines of files: a path, a comma list, directories, globs. Splits by size; gzip files are one partition each. A
    /// missing path fails when the partitions are computed.
    TextRDD textFile(const std::string& path, std::optional<int> minPartitions = std::nullopt,
                     std::source_location location = std::source_location::current()) const;
    /// (path, content) of each file; small files are packed together.
    RDD<std::pair<std::string, std::string>> wholeTextFiles(
        const std::string& path, std::optional<int> minPartitions = std::nullopt,
        std::source_location location = std::source_location::current()) const;
    /// (path, a stream that is opened when it is read) of each file.
    RDD<std::pair<std::string, class PortableDataStream>> binaryFiles(
        const std::string& path, std::optional<int> minPartitions = std::nullopt,
        std::source_location location = std::source_location::current()) const;
    /// Records of fixed length. A file whose size is no multiple of it fails its task with IllegalArgument.
    RDD<std::string> binaryRecords(const std::string& path, int recordLength,
                                   std::source_location location = std::source_location::current()) const;
    /// Reads what saveAsObjectFile wrote. Needs a Codec<T>.
    template <class T>
    RDD<T> objectFile(const std::string& path, std::optional<int> minPartitions = std::nullopt,
                      std::source_location location = std::source_location::current()) const;

    // ---- shared variables

    template <class T>
    Broadcast<T> broadcast(T value) const;
    LongAccumulator longAccumulator(const std::string& name = "") const;
    DoubleAccumulator doubleAccumulator(const std::string& name = "") const;
    template <class T>
    CollectionAccumulator<T> collectionAccumulator(const std::string& name = "") const;
    /// @throws IllegalStateException  when it is registered already
    template <class In, class Out>
    void registerAccumulator(AccumulatorV2<In, Out>& accumulator, const std::string& name = "") const;

    // ---- jobs

    /// Runs `f(TaskContext&, Iterator<T>)` or `f(Iterator<T>)` on each given partition (all without the argument) and
    /// returns the results in the order of that list. Blocks.
    /// @throws IllegalArgumentException  for an unknown partition; IllegalStateException after stop; SparkException
    /// when it fails
    template <class T, class F>
    auto runJob(const RDD<T>& rdd, F f, std::optional<std::vector<int>> partitions = std::nullopt,
                std::source_location location = std::source_location::current()) const;
    /// The same with `resultHandler(index, result)`, called in completion order.
    template <class T, class F, class Handler>
    requires(!std::is_convertible_v<Handler, std::source_location>) void runJob(
        const RDD<T>& rdd, F f, std::vector<int> partitions, Handler resultHandler,
        std::source_location location = std::source_location::current()) const;
    /// Asynchronous: the future's value is `resultFunc()` after all partitions were handled.
    template <class T, class F, class Handler, class ResultFunc>
    auto submitJob(const RDD<T>& rdd, F f, std::vector<int> partitions, Handler resultHandler, ResultFunc resultFunc,
                   std::source_location location = std::source_location::current()) const;

    /// Runs `f(TaskContext&, Iterator<T>)` on all partitions and waits `timeoutMs` at most: the result is what
    /// `evaluator` makes of the partitions done by then, and later its final value. `evaluator.merge(const R&)` takes a
    /// partition's result, `evaluator.estimate(int merged, int total)` makes the value; no two calls at a time.
    template <class T, class F, class Evaluator>
    auto runApproximateJob(const RDD<T>& rdd, F f, Evaluator evaluator, int64_t timeoutMs,
                           std::source_location location = std::source_location::current()) const;

    void setJobGroup(const std::string& groupId, const std::string& description, bool interruptOnCancel = false) const;
    void clearJobGroup() const;
    void setJobDescription(const std::optional<std::string>& description) const;
    void cancelJobGroup(const std::string& groupId) const;
    void cancelAllJobs() const;
    void cancelJob(int jobId, const std::string& reason = "") const;
    void cancelStage(int stageId, const std::string& reason = "") const;

    /// Sets a property of the calling thread; nullopt removes it. Jobs started from the thread carry it to their tasks.
    void setLocalProperty(const std::string& key, const std::optional<std::string>& value) const;
    std::optional<std::string> getLocalProperty(const std::string& key) const;
    Properties getLocalProperties() const;

    /// Gives the calling thread these properties until the scope ends, then its own back.
    class PropertiesScope {
    public:
        explicit PropertiesScope(Properties properties);
        ~PropertiesScope();
        PropertiesScope(const PropertiesScope&) = delete;
        PropertiesScope& operator=(const PropertiesScope&) = delete;

    private:
        Properties saved_;
    };
    [[nodiscard]] PropertiesScope inheritProperties(Properties properties) const;

    // ---- settings and information

    /// Creates a unique sub-directory below `directory` for RDD checkpoints.
    void setCheckpointDir(const std::string& directory) const;
    std::optional<std::string> getCheckpointDir() const;
    int defaultParallelism() const { return core_->defaultParallelism(); }
    int defaultMinPartitions() const { return std::min(defaultParallelism(), 2); }
    /// Makes a file known by its name to tasks (SparkFiles of the reference). A directory needs `recursive`.
    void addFile(const std::string& path, bool recursive = false) const;
    std::vector<std::string> listFiles() const;
    std::map<int, std::shared_ptr<RddBase>> getPersistentRDDs() const;
    std::vector<RDDInfo> getRDDStorageInfo() const;
    SparkStatusTracker statusTracker() const { return SparkStatusTracker(core_); }
    void setLogLevel(const std::string& level) const;
    std::string applicationId() const;
    int64_t startTime() const;
    static std::string version();
    std::optional<std::string> uiWebUrl() const;
    bool isLocal() const { return true; }
    bool isStopped() const { return core_->isStopped(); }
    SparkConf getConf() const;
    std::string appName() const;
    std::string master() const;
    void addSparkListener(std::shared_ptr<SparkListener> listener) const;
    void removeSparkListener(const std::shared_ptr<SparkListener>& listener) const;
    /// Blocks until all events posted so far have been delivered.
    void waitUntilListenersAreIdle() const;

    /// Cancels running jobs, joins all threads. Idempotent. A task that neither ends nor looks at
    /// TaskContext::interruption() is waited for as long as `dstream.stop.timeout` says; then it is named in the log
    /// and its thread left behind. Who waits for its job goes on waiting.
    /// @throws SparkException  from a listener's thread
    void stop() const;

    const std::shared_ptr<SparkContextCore>& core() const { return core_; }
    friend bool operator==(const SparkContext& a, const SparkContext& b) { return a.core_ == b.core_; }

private:
    std::shared_ptr<SparkContextCore> core_;
};

}  // namespace dstream

#include "rdd/detail/spark_context_impl.hpp"
