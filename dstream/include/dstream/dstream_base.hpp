#pragma once

#include "rdd/call_site.hpp"
#include "rdd/storage_level.hpp"
#include "rdd/time.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dstream {

struct BlockCodec;
class RateController;
class RddBase;
class StreamingContext;

namespace detail {
class DStreamGraph;
class StreamingCore;
class StreamingOwner;

/// What the graph does with an input stream, beside evaluating it.
class InputControl {
public:
    virtual ~InputControl() = default;
    virtual int id() const = 0;
    /// Words for people: "Socket stream [0]".
    virtual std::string name() const = 0;
    /// Called once when the context starts, on a thread of its own; all inputs must have started before the first
    /// batch.
    virtual void start() = 0;
    virtual void stop() = 0;
    /// Follows the batches' pace when backpressure is on; null for streams without one.
    virtual std::shared_ptr<RateController> rateController() const { return nullptr; }
    /// Called when the output operations of a batch have ended; `succeeded` when all of them have. In turn with what
    /// the generator's thread does.
    virtual void batchEnded(Time, bool /*succeeded*/) {}
    /// Called before RDDs of past batches are made without a start, see StreamingContext::replay; perhaps repeatedly.
    /// Returns whether they are made of received blocks.
    virtual bool prepareReplay() { return false; }
};

/// The RDD that a stream generated for one batch, without its type.
class GeneratedRdd {
public:
    virtual ~GeneratedRdd() = default;
    virtual RddBase& base() const = 0;
};
using GeneratedRddPtr = std::shared_ptr<const GeneratedRdd>;

/// A checkpoint of one of a stream's RDDs.
struct RddCheckpoint {
    std::string directory;
    int numPartitions = 0;
    bool placedByHash = false;         // each key by its PlacementHash modulo numPartitions
    std::vector<std::string> bases{};  // checkpoints that this one adds to, oldest first
};

/// Beside a state that is written as a whole lies what has changed since the one before, in a directory of this name in
/// its own. It comes before the whole one among the bases, which goes before as long as it is sound.
inline constexpr const char* kChangesBeside = "/since";
/// Whether `changes` lies beside `whole`.
bool isBeside(const std::string& changes, const std::string& whole);

/// One of a stream's RDDs whose checkpoint is to be written.
struct DueRddCheckpoint {
    Time time;
    std::shared_ptr<RddBase> rdd;
    std::vector<std::string> bases;  // those that it adds to
    std::optional<std::size_t> op;   // the operator's place in the checkpoint; absent for what is not restored
    /// Writes the changes beside it to a directory, unless they are not known any more. Null: there are to be none.
    std::function<void(const std::string& directory)> writeChanges{};
};

/// One output operation of one batch, ready to run on a job thread.
struct Job {
    std::function<void()> body;
    std::string name;         // "print at main.cpp:12"
    std::string description;  // longer text for people
};
}  // namespace detail

/// The part of a stream's node that does not depend on its element type: lineage, times, storage and the RDDs generated
/// so far. Built from the thread that builds the graph; evaluated by the generator's thread only.
class DStreamBase : public std::enable_shared_from_this<DStreamBase> {
public:
    using Parents = std::vector<std::shared_ptr<DStreamBase>>;

    virtual ~DStreamBase();
    DStreamBase(const DStreamBase&) = delete;
    DStreamBase& operator=(const DStreamBase&) = delete;

    /// @throws IllegalStateException  when the context is gone
    StreamingContext context() const;
    const std::weak_ptr<detail::StreamingOwner>& weakContext() const { return context_; }
    Duration slideDuration() const { return slideDuration_; }
    const Parents& dependencies() const { return parents_; }
    /// The operator that made the stream, e.g. "map".
    const char* operatorName() const { return operatorName_; }
    /// The class name of the reference's stream of this kind, e.g. "MappedDStream".
    const CallSite& creationSite() const { return creationSite_; }
    /// "map at main.cpp:12"
    std::string scopeText() const;

    bool isInitialized() const { return zeroTime_.has_value(); }
    /// One batch before the first.
    /// @throws SparkException  before the context has been started
    Time zeroTime() const;
    /// How long generated RDDs are kept; final once the context has been started.
    std::optional<Duration> rememberDuration() const { return rememberDuration_; }
    StorageLevel storageLevel() const { return storageLevel_; }
    std::optional<Duration> checkpointDuration() const { return checkpointDuration_; }
    const std::string& rddName() const { return name_; }
    const std::string& uid() const { return uid_; }

    /// Persists every RDD generated from now on.
    /// @throws UnsupportedOperationException  once the context has been started
    virtual void persist(StorageLevel level);
    /// Checkpoints the RDDs of every `interval`, and persists as MEMORY_ONLY_SER.
    /// @throws UnsupportedOperationException  once the context has been started
    virtual void checkpoint(Duration interval);
    /// Names the RDDs of this stream.
    void setName(std::string name);
    /// Gives the operator a stable identity for checkpoints.
    /// @throws IllegalArgumentException  when another operator of the context has this id
    virtual void setUid(std::string uid);

    /// The RDD of `time`: generated once, remembered for rememberDuration. Null for times that are not on the stream's
    /// grid and for batches without RDD. Generator's thread only.
    detail::GeneratedRddPtr getOrComputeRdd(Time time);
    /// The RDDs of the times in [from, to]; see DStream::slice. Any thread.
    std::vector<detail::GeneratedRddPtr> sliceRdds(Time from, Time to);
    /// The job of an output operation; other streams have none. Generator's thread only.
    virtual std::optional<detail::Job> generateJob(Time) { return std::nullopt; }
    /// Not null for input streams.
    virtual detail::InputControl* input() { return nullptr; }

    /// How long the parents must remember, given how long this stream does. Windows add their length.
    virtual std::optional<Duration> parentRememberDuration() const { return rememberDuration_; }
    /// True for streams whose state would grow a lineage without end: they get a checkpoint interval by themselves.
    virtual bool mustCheckpoint() const { return false; }
    /// What a stream that must checkpoint uses unless told otherwise: the slide, rounded up to 10 s or more.
    virtual Duration defaultCheckpointInterval() const;
    /// Throws what makes this stream unfit to run; called at start, children before parents.
    virtual void validateAtStart() const;
    /// Drops what `time` makes old. Generator's thread only.
    virtual void clearMetadata(Time time);
    /// What must be kept to be restored after a restart, and back; empty for most. Generator's thread only.
    virtual std::string checkpointData(Time) const { return {}; }
    virtual void restoreCheckpointData(const std::string&) {}
    /// False for streams that a restart cannot bring back.
    virtual bool isRecoverable() const { return true; }
    /// How checkpoints of its RDDs are written; null when the element type has no codec.
    virtual const BlockCodec* rddCodec() const { return nullptr; }

protected:
    /// @param operatorName  a literal
    /// @param slide         absent: that of the first parent
    /// @throws IllegalStateException  when the context has been started or is gone
    DStreamBase(std::weak_ptr<detail::StreamingOwner> context, const char* operatorName, Parents parents,
                CallSite creationSite, std::optional<Duration> slide = std::nullopt);

    /// Computes the RDD of a time on the stream's grid; null when there is none.
    virtual detail::GeneratedRddPtr computeRdd(Time time) = 0;
    /// Makes an RDD of what a checkpoint holds; only for streams that must checkpoint.
    virtual detail::GeneratedRddPtr readRddCheckpoint(const detail::RddCheckpoint& from);
    /// The checkpoints that the one due for `time` adds to, oldest first; and the call when it is durable. Generator's
    /// thread only.
    virtual std::vector<std::string> checkpointBases(Time) const { return {}; }
    /// What writes the changes beside the checkpoint, on any thread. If there are some, the bases above are theirs.
    virtual std::function<void(const std::string&)> changesBeside(Time) const { return {}; }
    virtual void checkpointed(Time, const detail::RddCheckpoint&) {}
    /// Called for each generated RDD that is dropped while `spark.streaming.unpersist` is on: drops its cached blocks.
    virtual void forget(Time time, RddBase& rdd);
    /// True for a time after zero time and on the slide's grid.
    bool isTimeValid(Time time) const;
    /// @throws UnsupportedOperationException  when the context has been started
    void checkNotInitialized(const char* what) const;
    /// Makes the stream keep its RDDs for at least this long.
    void remember(std::optional<Duration> duration);
    /// The context's inside. @throws IllegalStateException  when the context is gone
    std::shared_ptr<detail::StreamingCore> core() const;

private:
    friend class detail::DStreamGraph;
    void initialize(Time zeroTime);
    /// The RDDs that a restart goes on from: those in memory that are checkpointed, else the last ones there were.
    const std::map<Time, detail::RddCheckpoint>& updateRddCheckpoints();
    /// The newest RDD up to `upTo` that is to be checkpointed, unless that has been done.
    std::optional<detail::DueRddCheckpoint> dueRddCheckpoint(Time upTo);
    /// The time of the newest RDD that is there and not newer than `time`; when there is none, the time before its
    /// first.
    Time newestRddUpTo(Time time) const;
    /// Makes the stream have no RDD up to `time`: its state begins empty after it.
    void beginAfter(Time time) { beginsAfter_ = time; }
    void restoreRddCheckpoints(const std::map<Time, detail::RddCheckpoint>& checkpoints);
    /// Makes the RDDs of the times before `time` that are missing, oldest first, so that no recursion goes back to
    /// them.
    void catchUp(Time time);

    const std::weak_ptr<detail::StreamingOwner> context_;
    const char* const operatorName_;
    Parents parents_;
    const CallSite creationSite_;
    const Duration slideDuration_;
    int number_ = 0;  // streams of a context are counted as they are made, parents before children
    int depth_ = 0;   // longest path to an input
    StorageLevel storageLevel_;
    std::optional<Duration> checkpointDuration_;
    std::optional<Duration> rememberDuration_;
    std::optional<Time> zeroTime_;
    std::optional<Time> beginsAfter_;
    std::string name_;
    std::string uid_;
    std::map<Time, detail::GeneratedRddPtr> generatedRdds_;
    std::map<Time, detail::RddCheckpoint> rddCheckpoints_;
};

}  // namespace dstream
