#pragma once

#include "dstream/dstream_base.hpp"
#include "streaming_checkpoint.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dstream::detail {

/// The streams of one context: inputs, outputs and everything between them.
/// Grows while the program builds it; from `start` on its shape is fixed and only the generator's thread walks it.
class DStreamGraph {
public:
    explicit DStreamGraph(Duration batchDuration) : batchDuration_(batchDuration) {}

    int newInputId();
    void addInput(std::shared_ptr<DStreamBase> input);
    void addOutput(std::shared_ptr<DStreamBase> output);
    /// @throws IllegalArgumentException  when called a second time
    void remember(Duration duration);
    /// @throws IllegalArgumentException  when an operator has this id already
    void claimUid(const std::string& uid);

    /// @throws IllegalArgumentException  when there is nothing to execute
    void validate() const;
    /// Sets times and durations of all streams that an output reaches, and validates them.
    void initialize(Time zeroTime);
    /// Starts all inputs in parallel; returns when all have started, or throws what the first failing one threw.
    void startInputs();
    void stopInputs();

    std::vector<Job> generateJobs(Time time);
    void clearMetadata(Time time);
    /// The longest that an input stream in use remembers.
    Duration maxInputRememberDuration() const;

    /// Adds the data of the operators to a checkpoint.
    void addTo(StreamingCheckpoint& checkpoint);
    /// Gives the operators back what a checkpoint holds of them. After `initialize`.
    /// @param allowDropped  operators of the checkpoint that this graph lacks are dropped, else refused
    /// @param allowNew      inputs and operators with state that the checkpoint lacks start empty, else they are
    /// refused
    /// @throws SparkException  naming each operator that does not fit
    /// @throws NotSerializableException  when there is a stream that cannot be recovered
    void restore(const StreamingCheckpoint& checkpoint, bool allowDropped, bool allowNew);
    /// Makes the state of the batches before `time` that is missing, oldest first.
    void catchUp(Time time);
    /// Streams that a restart cannot bring back, for people; empty when there are none.
    std::string unrecoverable() const;

    std::optional<Time> zeroTime() const { return zeroTime_; }
    Duration batchDuration() const { return batchDuration_; }
    std::vector<std::shared_ptr<DStreamBase>> inputs() const;
    /// All streams that an output reaches, children before parents; empty before `initialize`.
    const std::vector<DStreamBase*>& order() const { return order_; }

private:
    void sortNodes();
    void nameOperators();

    const Duration batchDuration_;
    std::optional<Time> zeroTime_;
    std::vector<DStreamBase*> order_;
    std::vector<std::pair<std::string, DStreamBase*>> operators_;  // those with an id, parents before children

    mutable std::mutex mutex_;  // guards the fields below
    int nextInputId_ = 0;
    std::vector<std::shared_ptr<DStreamBase>> inputs_;
    std::vector<std::shared_ptr<DStreamBase>> outputs_;
    std::optional<Duration> rememberDuration_;
    std::set<std::string> uids_;
    bool inputsStarted_ = false;
};

}  // namespace dstream::detail
