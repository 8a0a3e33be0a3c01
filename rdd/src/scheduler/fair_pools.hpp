#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dstream {

/// A pool of FAIR scheduling. Jobs name it with the local property spark.scheduler.pool; a pool that no file describes
/// has these values.
struct PoolSettings {
    std::string name;
    int weight = 1;     // its part of the slots, compared with the other pools' weights
    int minShare = 0;   // slots that it gets before the others get theirs by weight
    bool fair = false;  // shares its slots between its stages; else the oldest job and stage comes first
};

/// Reads the allocation file of the reference:
///
///     <allocations>
///       <pool name="batch"><schedulingMode>FAIR</schedulingMode><weight>1</weight><minShare>2</minShare></pool>
///     </allocations>
///
/// A value that makes no sense is left at its default, with a warning.
/// @param origin  the file, for messages
/// @throws IllegalArgumentException  when it is no such file
std::vector<PoolSettings> parseFairPools(std::string_view xml, const std::string& origin);

}  // namespace dstream
