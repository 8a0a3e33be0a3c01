#include "dstream/stream_node.hpp"

#include "dstream/output_ops.hpp"
#include "dstream/stream.hpp"
#include "streaming_core.hpp"

#include <algorithm>
#include <functional>
#include <iostream>
#include <utility>
#include <vector>

namespace dstream::detail {

void throwNoCodec(const DStreamBase& stream, const std::string& type) {
    throw NotSerializableException(stream.scopeText() +
                                   " is checkpointed, but there is no Codec for its elements of type " + type +
                                   "; declare one or do not checkpoint it");
}

void throwNoParentRdd(const DStreamBase& stream, const DStreamBase& parent, Time time) {
    throw SparkException("Couldn't generate RDD from parent at time " + time.toString() + ": " + stream.scopeText() +
                         " needs one of " + parent.scopeText());
}

void throwEmptyRdd(const DStreamBase& stream, Time time) {
    throw SparkException("the function of " + stream.scopeText() +
                         " must not return an empty RDD handle, but did for batch " + time.toString() +
                         "; return SparkContext::emptyRDD for no data");
}

std::shared_ptr<DStreamBase> asShared(DStreamBase* made) {
    return std::shared_ptr<DStreamBase>(made);
}
GeneratedRddPtr asShared(const GeneratedRdd* made) {
    return GeneratedRddPtr(made);
}

RDD<int64_t> sumOfCounts(const RDD<std::pair<int64_t, int64_t>>& counts, const Partitioner& partitioner,
                         std::source_location where) {
    const auto zero = counts.sparkContext().parallelize(std::vector{std::pair<int64_t, int64_t>(0, 0)}, 1, where);
    return counts.unionWith(zero, where).reduceByKey(partitioner, std::plus<>{}, where).values(where);
}

void checkCompatible(const char* operatorName, const DStreamBase::Parents& streams) {
    const std::string name(operatorName);
    require(!streams.empty(), name + " needs at least one stream, found none");
    for (const auto& stream : streams) {
        require(stream->context() == streams.front()->context(),
                name + ": Some of the DStreams have different contexts");
        require(stream->slideDuration() == streams.front()->slideDuration(),
                name + ": Some of the DStreams have different slide durations: " +
                    streams.front()->slideDuration().toString() + " and " + stream->slideDuration().toString());
    }
}

void registerInput(std::shared_ptr<DStreamBase> input) {
    const StreamingContext context = input->context();
    context.owner()->core()->graph.addInput(std::move(input));
}

void registerOutput(std::shared_ptr<DStreamBase> output) {
    const StreamingContext context = output->context();
    context.owner()->core()->graph.addOutput(std::move(output));
}

int newInputId(const StreamingContext& context) {
    return context.owner()->core()->graph.newInputId();
}

bool placedAlike(const RddCheckpoint& checkpoint, const Partitioner& partitioner) {
    return checkpoint.placedByHash && partitioner.impl().placesByHash() &&
           checkpoint.numPartitions == partitioner.numPartitions();
}

void printBatch(Time time, const std::vector<std::string>& records, bool more) {
    static const std::string rule(43, '-');
    std::string text = rule + "\nTime: " + time.toString() + "\n" + rule + "\n";
    for (const std::string& record : records) text += record + "\n";
    if (more) text += "...\n";
    text += "\n";
    std::cout << text << std::flush;
}

template void addPrint(const StreamNodePtr<int>&, int, std::source_location);
template void addPrint(const StreamNodePtr<int64_t>&, int, std::source_location);
template void addPrint(const StreamNodePtr<std::string>&, int, std::source_location);
template void addPrint(const StreamNodePtr<std::pair<std::string, int>>&, int, std::source_location);
template void addPrint(const StreamNodePtr<std::pair<std::string, int64_t>>&, int, std::source_location);

std::string batchFileName(const std::string& prefix, const std::string& suffix, Time time) {
    std::string name = std::to_string(time.milliseconds());
    if (!prefix.empty()) name = prefix + "-" + name;
    if (!suffix.empty()) name += "." + suffix;
    return name;
}

void claimSinkOperation(const StreamingContext& context, const std::string& name, bool hasSink) {
    require(!name.empty(), "saveToSink needs a name for the operation, which the sink keeps; found none");
    require(hasSink, "saveToSink(\"" + name + "\") needs a sink, found a null pointer");
    context.owner()->core()->graph.claimSinkOperation(name);
}

}  // namespace dstream::detail

namespace dstream {

TextDStream::TextDStream(std::shared_ptr<DStreamNodeOf<TextRDD>> node) : Ops(std::move(node)) {}

}  // namespace dstream
