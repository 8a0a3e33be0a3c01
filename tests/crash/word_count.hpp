#pragma once

#include "dstream/dstream.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace dstream::crash {

/// What the word count reads and where it keeps its things.
struct WordCount {
    std::string input;        // a directory that writeInput has filled
    std::string checkpoints;  // survives the process
    std::string output;       // directories out-<ms>
    std::string scratch;      // spark.local.dir
    bool scarce = false;      // so little memory that blocks and shuffles go to the disk
    bool careless = false;    // appends each batch to one file when the next one comes
};

/// Batches of one second that have input; the last ends at this many seconds.
inline constexpr int kBatches = 12;

/// Writes one file of words for each batch, modified within it.
void writeInput(const std::string& directory);

/// The lines that must be in the output at the end, each once, computed by plain loops.
std::vector<std::string> expectedLines();

/// Counts words in three ways (updateStateByKey, mapWithState and a window with an inverse) into one text output of
/// two files per batch, with checkpoints, under a manual clock: made anew or from what the checkpoints say.
StreamingContext makeWordCount(const WordCount& program);

/// Starts the word count, lets the batches up to the last come and stops it.
void runWordCount(StreamingContext ssc);

}  // namespace dstream::crash
