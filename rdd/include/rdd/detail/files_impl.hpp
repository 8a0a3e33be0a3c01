#pragma once

#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "rdd/detail/stage.hpp"

// Text and object files, and processes that elements are piped through.

namespace dstream {
template <class T>
class RDD;
template <class PlanT>
class Narrow;
class TextRDD;
}  // namespace dstream

namespace dstream::detail {

using LineWriter = std::function<void(std::string_view)>;

/// Splits a command at blanks; no quoting.
std::vector<std::string> splitCommand(const std::string& command);

template <class T>
RDD<std::string> pipe(const std::shared_ptr<RddNode<T>>& node, std::vector<std::string> command,
                      std::map<std::string, std::string> environment, std::function<void(const LineWriter&)> printContext,
                      std::function<void(const Owned<T>&, const LineWriter&)> printElement, bool separateDirectory,
                      std::source_location where);
template <class PlanT>
void saveAsTextFile(const PlanT& plan, const std::string& path, const std::string& codec, std::source_location where);
template <class T>
void saveAsObjectFile(const std::shared_ptr<RddNode<T>>& node, const std::string& path, std::source_location where);

/// Lines of exactly these files, whatever is in their names. A file that is gone is reported by its own task, when the others are
/// read already.
std::shared_ptr<RddNode<std::string_view>> linesOfFiles(const std::shared_ptr<SparkContextCore>& core,
                                                        std::vector<std::string> files, int minPartitions,
                                                        const char* operatorName, std::source_location where);

}  // namespace dstream::detail
