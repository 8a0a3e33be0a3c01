#pragma once

#include <istream>
#include <string>
#include <vector>

namespace dstream::detail {

/// Reads from the bytes of a shared object, without loading it, how its parts say that they were built.
/// @throws SparkException  when they are no shared object of this machine, or not of a plugin
std::vector<std::string> readPluginBuilds(std::istream& object);

/// Tells what two builds do not have in common; empty when they are the same.
std::string buildDifference(const std::string& plugin, const std::string& program);

}  // namespace dstream::detail
