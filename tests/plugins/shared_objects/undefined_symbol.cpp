// Calls what no program has.
#include <plugins/plugin.hpp>

using namespace dstream;

void nowhere();

static void job(StreamingContext&, const Options&) {
    nowhere();
}

DSTREAM_REGISTER_JOB("undefined_symbol", job)
