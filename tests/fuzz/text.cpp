#include "fuzz/fuzz.hpp"
#include "rdd/block.hpp"

namespace dstream {
namespace {

struct Lines {
    std::vector<std::string> lines;
    uint64_t tooLong = 0;
    bool operator==(const Lines&) const = default;
};

/// The rule in its simplest form: CR LF, CR and LF end a line; what is left at the end is a line unless it is empty.
Lines splitSimply(std::string_view text, size_t maxLineBytes) {
    Lines result;
    std::string line;
    const auto end = [&] {
        if (line.size() <= maxLineBytes) {
            result.lines.push_back(line);
        } else {
            ++result.tooLong;
        }
        line.clear();
    };
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\n' && text[i] != '\r') {
            line += text[i];
            continue;
        }
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
        end();
    }
    if (!line.empty()) end();
    return result;
}

int fuzzAll(int argc, char** argv) {
    const std::vector<std::string> seeds = {
        "one\ntwo\r\nthree\rfour\n\r\n\r\rfive",       "a\n\n\n\nb", "\r\n\r\n\r\r\n\n",
        "no end of line at all in this piece of text", "x\r",        std::string(300, '\n')};
    return fuzz::run(argc, argv, seeds, [](const std::string& input, fuzz::Random& random) -> std::string {
        const size_t maxLineBytes = 1 + fuzz::below(random, 40);
        TextBlockBuilder builder(maxLineBytes);
        Lines found;
        const auto take = [&] {
            const auto block = builder.take();
            for (size_t i = 0; block && i < block->numLines(); ++i) found.lines.emplace_back(block->line(i));
        };
        for (std::string_view rest = input; !rest.empty();) {
            const size_t maxLines =
                fuzz::below(random, 3) == 0 ? 1 + fuzz::below(random, 4) : TextBlockBuilder::kNoLimit;
            const std::string piece(
                rest.substr(0, 1 + fuzz::below(random, 20)));  // a buffer of its own: reads beyond it show
            const size_t linesBefore = builder.numLines();
            const size_t taken = builder.append(piece, maxLines);
            if (taken > piece.size()) return "more was taken than there was";
            if (builder.numLines() - linesBefore > maxLines) return "more lines came than were asked for";
            if (taken < piece.size() && builder.numLines() - linesBefore < maxLines) return "a piece was not used up";
            rest.remove_prefix(taken);
            if (fuzz::below(random, 3) == 0) take();
        }
        builder.finish();
        take();
        found.tooLong = builder.longLines();
        return found == splitSimply(input, maxLineBytes) ? "" : "the lines differ from those of the simple rule";
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
