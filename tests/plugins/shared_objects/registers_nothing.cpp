// A plugin that registers nothing.
#include <plugins/plugin.hpp>
