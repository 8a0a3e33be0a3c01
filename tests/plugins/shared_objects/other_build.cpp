// Built with the checks of the debug mode of the standard library, which change its types.
#include <plugins/plugin.hpp>

using namespace dstream;

static void job(StreamingContext&, const Options&) {}

DSTREAM_REGISTER_JOB("other_build", job)
