#pragma once

#include "dstream/dstream.hpp"

#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace dstream::crash {

/// A line and how often it has come.
using Count = std::pair<std::string, int>;

/// The lines that must be in the output at the end, each once.
std::vector<std::string> receivedLines();

/// Receives lines with a write-ahead log and writes them to the directory's sink/out-<ms>, going on from what is there.
/// The source keeps a position, which moves when a line was stored; a death in between brings the line a second time.
/// State counts each line, and its first arrival goes into the files, and to where `alsoTo` writes it.
/// @param giveUp  ends the program before its end, as its files cannot be written any more
void receive(const std::string& directory, const std::function<void(const DStream<Count>& first)>& alsoTo,
             const std::stop_token& giveUp = {});

}  // namespace dstream::crash
