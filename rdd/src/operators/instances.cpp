#include "rdd/instances.hpp"

DSTREAM_BUILT_IN_INSTANCES(template)
