// Counts the words of text files that appear in a directory: HdfsWordCount.
#include "../example_input.hpp"

#include <plugins/run.hpp>

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <string>
#include <sys/stat.h>
#include <utility>
#include <vector>

using namespace dstream;

namespace fs = std::filesystem;

/// Puts the files of a folder into the directory, the first in the first batch of a manual clock and so on.
void feed(const fs::path& input, const fs::path& directory, Duration batch) {
    std::vector<fs::path> files(fs::directory_iterator(input), {});
    std::ranges::sort(files);
    fs::create_directories(directory);
    for (std::size_t i = 0; i < files.size(); ++i) {
        const fs::path copy = directory / files[i].filename();
        fs::copy_file(files[i], copy, fs::copy_options::overwrite_existing);
        const int64_t ms = batch.milliseconds() * static_cast<int64_t>(i) + batch.milliseconds() / 2;
        const timespec time{ms / 1000, ms % 1000 * 1'000'000};
        const timespec times[2] = {time, time};
        ::utimensat(AT_FDCWD, copy.c_str(), times, 0);
    }
}

void hdfsWordCount(StreamingContext& ssc, const Options& options) {
    const std::string directory = options.getString("directory");
    if (!options.getString("input").empty()) feed(options.getString("input"), directory, ssc.batchDuration());

    const auto lines = ssc.textFileStream(directory);
    const auto words = lines.flatMap(wordsOf);
    const auto wordCounts = words.map([](const std::string& x) { return std::pair(x, 1); }).reduceByKey(std::plus<>{});
    wordCounts.print();
}

DSTREAM_REGISTER_JOB("hdfs_word_count", hdfsWordCount,
                     {"directory", OptionType::kString, kRequired, "where the files appear, by a rename"},
                     {"input", OptionType::kString, "", "folder whose files are put there, one a batch"})

int main(int argc, char** argv) {
    return runMain(argc, argv, "hdfs_word_count");
}
