#include "rdd/codec.hpp"

#include <cstdlib>
#include <cxxabi.h>
#include <memory>

namespace dstream {

std::string typeName(const std::type_info& type) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                      std::free);
    return status == 0 ? name.get() : type.name();
}

void detail::newerVersion(const std::string& name, uint32_t found, uint32_t known) {
    throw SparkException(name + " was written by a newer version (" + std::to_string(found) + " > " +
                         std::to_string(known) + "); read it with a program of that version");
}

std::string detail::nameOf(const char* name, std::initializer_list<std::string> parts) {
    std::string text(name);
    char before = '<';
    for (const std::string& part : parts) {
        text += before;
        text += part;
        before = ',';
    }
    return text + '>';
}

void detail::badBlock(const std::string& name, const char* what) {
    throw SparkException("damaged or wrong data for " + name + ": " + what);
}

}  // namespace dstream
