// Built in the right way, but without the entry.
#define dstream_plugin_v1 dstream_plugin_v0
#include <plugins/plugin.hpp>
