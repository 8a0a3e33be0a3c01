// Registers a name that the plugin "good" has registered.
#include <plugins/plugin.hpp>

using namespace dstream;

static void job(StreamingContext&, const Options&) {}

DSTREAM_REGISTER_JOB("new_name", job)
DSTREAM_REGISTER_JOB("count", job)
