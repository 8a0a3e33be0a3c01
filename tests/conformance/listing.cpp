#include "listing.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace conformance {

namespace fs = std::filesystem;

TemporaryDirectory::TemporaryDirectory() {
    path_ = (fs::temp_directory_path() / "dstream-conformance-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) throw CaseError("cannot create a directory like " + path_);
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

Values listFiles(const std::string& directory) {
    Values result;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
        if (!entry.is_regular_file() || entry.path().filename().string().starts_with('.')) continue;
        std::ifstream file(entry.path());
        Values lines;
        for (std::string line; std::getline(file, line);) lines.emplace_back(line);
        result.push_back(
            Value::pair(Value(fs::relative(entry.path(), directory).string()), Value::list(std::move(lines))));
    }
    std::sort(result.begin(), result.end());
    return result;
}

}  // namespace conformance
