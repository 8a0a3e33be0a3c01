// Runs jobs of plugins.
#include <plugins/run.hpp>

int main(int argc, char** argv) {
    return dstream::runMain(argc, argv);
}
