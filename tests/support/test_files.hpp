#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dstream::testsupport {

/// Returns the path of a file in tests/data.
std::string testData(const std::string& name);

/// Returns the lines of a file, without their ends.
std::vector<std::string> readLines(const std::string& path);

/// A fresh directory that goes away with its object.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();

    std::string path() const { return path_.string(); }
    /// Returns the path of `name` in it.
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

}  // namespace dstream::testsupport
