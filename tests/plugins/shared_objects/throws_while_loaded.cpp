// Throws from the constructor of a global object.
#include <plugins/plugin.hpp>

#include <stdexcept>

using namespace dstream;

static void job(StreamingContext&, const Options&) {}

DSTREAM_REGISTER_JOB("throws_while_loaded", job)

static const struct Global {
    Global() { throw std::runtime_error("no licence"); }
} global;
