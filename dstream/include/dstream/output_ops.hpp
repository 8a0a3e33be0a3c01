#pragma once

#include "dstream/stream_node.hpp"
#include "dstream/transactional_sink.hpp"
#include "rdd/to_text.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace dstream::detail {

/// Writes one batch as `print` does.
void printBatch(Time time, const std::vector<std::string>& records, bool more);
/// Writes the first `num` elements of a batch, and whether there are more.
template <class T>
void printFirst(const RDD<T>& rdd, int num, Time time, std::source_location where) {
    auto first = rdd.take(num == std::numeric_limits<int>::max() ? num : num + 1, where);
    const bool more = static_cast<int64_t>(first.size()) > num;
    if (more) first.resize(static_cast<std::size_t>(std::max(num, 0)));
    std::vector<std::string> records;
    records.reserve(first.size());
    for (const auto& element : first) records.push_back(toText(element));
    printBatch(time, records, more);
}

/// Adds the output operation `print`.
template <class T>
void addPrint(const std::shared_ptr<DStreamNode<T>>& parent, int num, std::source_location where) {
    addOutput(parent, "print", CallSite::from(where),
              [num, where](const RDD<T>& rdd, Time time) { printFirst(rdd, num, time, where); });
}

template <class T>
using StreamNodePtr = std::shared_ptr<DStreamNode<T>>;
extern template void addPrint(const StreamNodePtr<int>&, int, std::source_location);
extern template void addPrint(const StreamNodePtr<int64_t>&, int, std::source_location);
extern template void addPrint(const StreamNodePtr<std::string>&, int, std::source_location);
extern template void addPrint(const StreamNodePtr<std::pair<std::string, int>>&, int, std::source_location);
extern template void addPrint(const StreamNodePtr<std::pair<std::string, int64_t>>&, int, std::source_location);

/// "prefix-TIME.suffix", without prefix "TIME.suffix", without suffix no dot.
std::string batchFileName(const std::string& prefix, const std::string& suffix, Time time);
/// @throws IllegalArgumentException  for an empty name, one that another output of the context has, or no sink
void claimSinkOperation(const StreamingContext& context, const std::string& name, bool hasSink);

/// The output operations. Each is registered with the context; within a batch they run in that order, on a job thread.
/// All throw IllegalStateException once the context has been started.
template <class Self, class T, class Base>
class OutputStreamOps : public Base {
    using Where = std::source_location;
    const Self& self() const { return static_cast<const Self&>(*this); }

public:
    using Base::Base;

    /// Calls `f(rdd)` or `f(rdd, batchTime)` for the RDD of each batch. What it throws fails the batch's output
    /// operation.
    template <class F>
    void foreachRDD(F f, Where where = Where::current()) const {
        addOutput(self().nodeAs(), "foreachRDD", CallSite::from(where), std::move(f));
    }
    /// Prints the first `num` elements of each batch to standard output, and a line `...` if there are more.
    void print(int num = 10, Where where = Where::current()) const { addPrint<T>(self().node(), num, where); }
    /// Writes each batch, empty ones too, as text into the directory `prefix-TIME_IN_MS[.suffix]`.
    void saveAsTextFiles(const std::string& prefix, const std::string& suffix = "",
                         Where where = Where::current()) const {
        addOutput(self().nodeAs(), "saveAsTextFiles", CallSite::from(where),
                  [prefix, suffix, where](const auto& rdd, Time time) {
                      rdd.saveAsTextFile(batchFileName(prefix, suffix, time), "", where);
                  });
    }
    /// The same in serialised form, for SparkContext::objectFile. Needs a Codec<T>.
    void saveAsObjectFiles(const std::string& prefix, const std::string& suffix = "",
                           Where where = Where::current()) const {
        addOutput(self().nodeAs(), "saveAsObjectFiles", CallSite::from(where),
                  [prefix, suffix, where](const auto& rdd, Time time) {
                      rdd.saveAsObjectFile(batchFileName(prefix, suffix, time), where);
                  });
    }
    /// Writes each batch, empty ones too, through a TransactionalSink that takes elements of this type: once, however
    /// often a batch or one of its tasks runs.
    /// @param operation  names the output in the sink; keep it when the program changes
    /// @throws IllegalArgumentException  when another output of the context has this name
    template <class Sink>
    void saveToSink(const std::string& operation, const std::shared_ptr<Sink>& sink,
                    Where where = Where::current()) const {
        claimSinkOperation(self().node()->context(), operation, sink != nullptr);
        addOutput(self().nodeAs(), "saveToSink", CallSite::from(where),
                  [operation, sink, where](const auto& rdd, Time time) {
                      dstream::saveToSink(rdd, time, operation, sink, where);
                  });
    }
};

}  // namespace dstream::detail
