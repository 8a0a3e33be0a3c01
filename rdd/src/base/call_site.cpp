#include "rdd/call_site.hpp"

#include <string_view>

namespace dstream {

std::string CallSite::toString() const {
    const std::string_view path = file;
    if (path.empty()) return {};
    return std::string(path.substr(path.rfind('/') + 1)) + ":" + std::to_string(line);  // npos + 1 is 0
}

}  // namespace dstream
