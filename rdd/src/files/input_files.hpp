#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstream {
class SparkConf;
}

namespace dstream::detail {

/// A file to read, with the size that everything is planned by: bytes appended later are not seen.
struct InputFile {
    std::string path;
    uint64_t sizeBytes = 0;
};

/// A part of a file that one task reads.
struct FileSplit {
    InputFile file;
    uint64_t start = 0;
    uint64_t length = 0;
};

/// Returns `path` without the scheme "file:".
/// @throws IllegalArgumentException  for an empty path and for any other scheme
std::string localPath(const std::string& path);

/// Tells whether directories are read with those below them.
bool readsRecursively(const SparkConf& conf);

/// Finds the files that a comma list of files, directories and globs names. In directories, names that begin with "_"
/// or "." are left out; sockets, fifos, devices and links that lead nowhere are skipped with a log line.
/// @throws IllegalArgumentException  when something named does not exist, or a directory holds another one and
/// !recursive
/// @throws FileSystemException       when a directory cannot be read
std::vector<InputFile> findInputFiles(const std::string& paths, bool recursive);

/// Exactly these files, whatever is in their names. One that is missing is left for its task to report.
std::vector<InputFile> statInputFiles(const std::vector<std::string>& paths);

/// Tells by its name whether a file holds compressed text, which is read as a whole.
/// @throws IllegalArgumentException  for a form of compression that is not read here
bool isCompressed(const std::string& path);

/// Cuts files into pieces of about total/minPartitions; one up to a tenth larger stays whole. An empty file is one
/// piece.
std::vector<FileSplit> splitFiles(const std::vector<InputFile>& files, int minPartitions);

/// Packs whole files, in order, into min(number of files, minPartitions) groups of about the same size.
std::vector<std::vector<InputFile>> packFiles(const std::vector<InputFile>& files, int minPartitions);

}  // namespace dstream::detail
