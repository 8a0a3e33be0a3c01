// Describes an option whose default is not of its type.
#include <plugins/plugin.hpp>

using namespace dstream;

static void job(StreamingContext&, const Options&) {}

DSTREAM_REGISTER_JOB("bad_schema", job, {"port", OptionType::kInt, "many", "a number"})
