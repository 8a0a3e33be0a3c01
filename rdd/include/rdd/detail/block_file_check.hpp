#pragma once

#include <string>

namespace dstream::detail {

/// Reads `part-NNNNN` of a directory of block files as far as its frame tells whether it is damaged.
/// @throws SparkException  naming the file and what is wrong with it
void checkBlockFile(const std::string& directory, int partition);

}  // namespace dstream::detail
