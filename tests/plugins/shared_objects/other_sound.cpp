// A receiver of a record that has grown since the program was built.
#include <plugins/plugin.hpp>

#include <string>

using namespace dstream;

struct Sound {
    int64_t time = 0;
    double loudness = 0;
    std::string place;
    std::string room;
};

namespace {

class Sounds : public Receiver<Sound> {
public:
    Sounds() : Receiver(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {}
    void onStop() override {}
};

}  // namespace

DSTREAM_REGISTER_RECEIVER("other_sounds", Sounds)
