#include "rdd/placement_hash.hpp"

#include <xxhash.h>

namespace dstream::detail {

uint64_t xxh3Long(const void* data, size_t size) noexcept {
    return XXH3_64bits(data, size);
}

}  // namespace dstream::detail
