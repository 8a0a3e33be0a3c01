#pragma once

#include "support/test_files.hpp"

#include <filesystem>
#include <string>

namespace dstream::testsupport {

/// A directory that only its owner may write to, with copies of plugins built for the tests.
class PluginDirectory {
public:
    /// Copies a plugin there and returns its path.
    std::string add(const std::string& name, const std::string& from = DSTREAM_TEST_PLUGINS) const {
        const std::string path = directory_ / (name + ".so");
        std::filesystem::copy_file(from + "/" + name + ".so", path, std::filesystem::copy_options::skip_existing);
        std::filesystem::permissions(path, std::filesystem::perms(0755));
        return path;
    }
    std::string path() const { return directory_.path(); }
    std::string operator/(const std::string& name) const { return directory_ / name; }

private:
    TemporaryDirectory directory_;
};

}  // namespace dstream::testsupport
