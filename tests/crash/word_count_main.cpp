// The program that the crash kit kills:
//   crash_word_count --prepare DIR   writes the input to DIR/input and what must come out to DIR/ledger
//   crash_word_count DIR [--scarce] [--careless]
//                                    counts the words of DIR/input into the working directory, going on from a kill
#include "word_count.hpp"

#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>

int main(int argc, char** argv) {
    using namespace dstream::crash;
    try {
        if (argc == 3 && std::string_view(argv[1]) == "--prepare") {
            const std::string directory = argv[2];
            writeInput(directory + "/input");
            std::ofstream ledger(directory + "/ledger");
            for (const std::string& line : expectedLines()) ledger << line << '\n';
            return ledger.flush() ? 0 : 1;
        }
        WordCount program{.input = std::string(argc > 1 ? argv[1] : "") + "/input",
                          .checkpoints = "checkpoint",
                          .output = "sink",
                          .scratch = "scratch"};
        bool known = argc > 1;
        for (int i = 2; i < argc; ++i) {
            const std::string_view option = argv[i];
            program.scarce |= option == "--scarce";
            program.careless |= option == "--careless";
            known &= option == "--scarce" || option == "--careless";
        }
        if (!known) {
            std::fprintf(stderr, "usage: %s --prepare DIR | DIR [--scarce] [--careless]\n", argv[0]);
            return 2;
        }
        runWordCount(makeWordCount(program));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
