#pragma once

#include "dstream/dstream_base.hpp"
#include "streaming_checkpoint.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace dstream::detail {

/// The description of a checkpoint that has been written.
/// @param mayHaveChanges  it is of a whole state: `bases` are those of the changes beside it, if these were written
RddCheckpoint rddCheckpointOf(const RddBase& rdd, const std::string& directory, std::vector<std::string> bases,
                              bool mayHaveChanges);

/// The streams of one context: inputs, outputs and everything between them.
/// Grows while the program builds it; from `start` on its shape is fixed and only the generator's thread walks it.
class DStreamGraph {
public:
    explicit DStreamGraph(Duration batchDuration) : batchDuration_(batchDuration) {}

    int newInputId();
    int newStreamNumber();
    void addInput(std::shared_ptr<DStreamBase> input);
    void addOutput(std::shared_ptr<DStreamBase> output);
    /// @throws IllegalArgumentException  when called a second time
    void remember(Duration duration);
    /// @throws IllegalArgumentException  when an operator has this id already
    void claimUid(const std::string& uid);
    /// @throws IllegalArgumentException  when another output writes under this name
    void claimSinkOperation(const std::string& name);

    /// @throws IllegalArgumentException  when there is nothing to execute
    void validate() const;
    /// Sets times and durations of all streams that an output reaches, and validates them.
    void initialize(Time zeroTime);
    /// Starts all inputs in parallel; returns when all have started, or throws what the first failing one threw.
    void startInputs();
    void stopInputs();

    std::vector<Job> generateJobs(Time time);
    /// Tells the inputs in use.
    void batchEnded(Time time, bool succeeded);
    void clearMetadata(Time time);
    /// The longest that an input stream in use remembers.
    Duration maxInputRememberDuration() const;

    /// The operators that checkpoints know, in the order they were made; for a context that will not start.
    std::vector<OperatorDescription> describe();

    /// Adds the data of the operators to a checkpoint.
    /// @return the RDDs of batches up to `completed` whose checkpoints are to be written, parents first; while one of
    /// them is held, its cached blocks stay
    std::vector<DueRddCheckpoint> addTo(StreamingCheckpoint& checkpoint, Time completed);
    /// Drops the cached blocks of an RDD: now, or when nobody holds it as due any more. The generator's thread.
    void unpersist(RddBase& rdd);
    /// Gives the operators back what a checkpoint holds of them. After `initialize`.
    /// @param allowDropped  operators of the checkpoint that this graph lacks are dropped, else refused
    /// @param allowNew      inputs and operators with state that the checkpoint lacks start empty, else they are
    /// refused
    /// @throws SparkException  naming each operator that does not fit
    /// @throws NotSerializableException  when there is a stream that cannot be recovered
    void restore(const StreamingCheckpoint& checkpoint, bool allowDropped, bool allowNew);
    /// Makes the state of the batches before `time` that is missing, oldest first.
    void catchUp(Time time);
    /// @param newest  the time of the checkpoint that was restored
    /// @return the first batch whose input is needed to make that of `time` again
    /// @throws IllegalArgumentException  when it holds too little for that
    Time checkReplayable(Time newest, Time time) const;
    /// Drops all generated RDDs, restored ones too.
    void forgetRdds();
    /// Streams that a restart cannot bring back, for people; empty when there are none.
    std::string unrecoverable() const;

    std::optional<Time> zeroTime() const { return zeroTime_; }
    Duration batchDuration() const { return batchDuration_; }
    std::vector<std::shared_ptr<DStreamBase>> inputs() const;
    /// All streams that an output reaches, children before parents; empty before `initialize`.
    const std::vector<DStreamBase*>& order() const { return order_; }

private:
    struct Operator : OperatorDescription {
        DStreamBase* node = nullptr;
    };
    struct Due;
    /// Holds `rdd` as due.
    std::shared_ptr<RddBase> hold(std::shared_ptr<RddBase> rdd);
    void prepare(Time zeroTime);
    void sortNodes();
    void nameOperators();
    /// The ids of `nodes`, parents before children; those of the others are what they take up from their parents.
    std::vector<std::string> idsOf(const std::vector<DStreamBase*>& nodes,
                                   const std::unordered_set<const DStreamBase*>& operators, bool useUids) const;

    const Duration batchDuration_;
    std::optional<Time> zeroTime_;
    std::vector<DStreamBase*> order_;
    std::vector<Operator> operators_;                  // parents before children
    std::unordered_map<int, std::weak_ptr<Due>> due_;  // by the id of the RDD; the generator's thread

    mutable std::mutex mutex_;  // guards the fields below
    int nextInputId_ = 0;
    int nextStreamNumber_ = 0;
    std::vector<std::shared_ptr<DStreamBase>> inputs_;
    std::vector<std::shared_ptr<DStreamBase>> outputs_;
    std::optional<Duration> rememberDuration_;
    std::set<std::string> uids_;
    std::set<std::string> sinkOperations_;
    bool inputsStarted_ = false;
};

}  // namespace dstream::detail
