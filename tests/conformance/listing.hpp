#pragma once

#include "value.hpp"

#include <string>

namespace conformance {

/// A directory that is removed with everything in it at the end.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// Returns (name, list of lines) of each file below a directory, sorted; names are relative to it. Files whose name
/// begins with '.' are left out.
Values listFiles(const std::string& directory);

}  // namespace conformance
