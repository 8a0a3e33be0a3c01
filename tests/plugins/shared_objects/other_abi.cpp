// Says that it was built for another ABI, and would tell if any of it ran.
#include <cstdlib>

[[gnu::section("dstream_plugin"), gnu::used]] static const char build[] =
    "abi=999 compiler=gcc-12 stdlib=libstdc++-12-cxx11abi-1 assertions=off sanitizer=none";

[[gnu::constructor]] static void loaded() {
    std::abort();
}
