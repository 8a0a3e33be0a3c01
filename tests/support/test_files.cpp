#include "support/test_files.hpp"

#include <fstream>
#include <stdexcept>
#include <stdlib.h>
#include <system_error>

namespace dstream::testsupport {

std::string testData(const std::string& name) {
    return std::string(DSTREAM_TEST_DATA) + "/" + name;
}

std::vector<std::string> readLines(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dstream-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::system_error(errno, std::generic_category(), pattern);
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;  // what is left over in the temporary folder harms nobody
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace dstream::testsupport
