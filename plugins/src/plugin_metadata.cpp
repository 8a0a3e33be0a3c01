#include "plugin_metadata.hpp"

#include "rdd/exceptions.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <map>
#include <sstream>
#include <string_view>

namespace dstream::detail {

namespace {

constexpr uint64_t kMaxSections = 1 << 16;
constexpr uint64_t kMaxNames = 1 << 24;
constexpr uint64_t kMaxBuilds = 1 << 16;
constexpr std::string_view kSection = "dstream_plugin";

#if defined(__x86_64__)
constexpr unsigned kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kMachine = EM_AARCH64;
#else
constexpr unsigned kMachine = EM_NONE;  // any
#endif
constexpr unsigned char kByteOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;

bool readAt(std::istream& in, uint64_t offset, char* into, std::size_t size) {
    in.clear();
    if (offset > static_cast<uint64_t>(INT64_MAX)) return false;
    in.seekg(static_cast<std::streamoff>(offset));
    return in && in.read(into, static_cast<std::streamsize>(size));
}

template <class T>
T readStruct(std::istream& in, uint64_t offset) {
    T value;
    if (!readAt(in, offset, reinterpret_cast<char*>(&value), sizeof value)) {
        throw SparkException("it is cut short or damaged");
    }
    return value;
}

std::string readBytes(std::istream& in, const Elf64_Shdr& section, uint64_t limit) {
    if (section.sh_type == SHT_NOBITS || section.sh_size > limit) throw SparkException("it is cut short or damaged");
    // The last byte first, so that a size that is a lie costs no memory.
    if (section.sh_size > 0) readStruct<char>(in, section.sh_offset + (section.sh_size - 1));
    std::string bytes(section.sh_size, '\0');
    if (!readAt(in, section.sh_offset, bytes.data(), bytes.size())) throw SparkException("it is cut short or damaged");
    return bytes;
}

std::map<std::string, std::string> fields(const std::string& build) {
    std::map<std::string, std::string> result;
    std::istringstream words(build);
    for (std::string word; words >> word;) {
        const std::size_t end = word.find('=');
        result[word.substr(0, end)] = end == std::string::npos ? "" : word.substr(end + 1);
    }
    return result;
}

}  // namespace

std::vector<std::string> readPluginBuilds(std::istream& object) {
    unsigned char ident[EI_NIDENT];
    if (!readAt(object, 0, reinterpret_cast<char*>(ident), sizeof ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0) {
        throw SparkException("it is not an ELF file");
    }
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != kByteOrder) {
        throw SparkException("it is built for another kind of machine");
    }
    const auto header = readStruct<Elf64_Ehdr>(object, 0);
    if (kMachine != EM_NONE && header.e_machine != kMachine) {
        throw SparkException("it is built for another kind of machine");
    }
    if (header.e_type != ET_DYN) throw SparkException("it is not a shared object");
    if (header.e_shnum > kMaxSections || header.e_shstrndx >= header.e_shnum ||
        header.e_shentsize != sizeof(Elf64_Shdr)) {
        throw SparkException("it has no section table: build it without stripping that");
    }
    const auto section = [&](uint64_t index) {
        if (header.e_shoff > static_cast<uint64_t>(INT64_MAX)) throw SparkException("it is cut short or damaged");
        return readStruct<Elf64_Shdr>(object, header.e_shoff + index * sizeof(Elf64_Shdr));
    };
    const std::string names = readBytes(object, section(header.e_shstrndx), kMaxNames);
    std::vector<std::string> builds;
    for (uint64_t i = 0; i < header.e_shnum; ++i) {
        const Elf64_Shdr each = section(i);
        if (each.sh_name >= names.size() || std::string_view(names.c_str() + each.sh_name) != kSection) continue;
        std::istringstream texts(readBytes(object, each, kMaxBuilds));
        // One from each source file, with zeros between them.
        for (std::string text; std::getline(texts, text, '\0');) {
            if (!text.empty()) builds.push_back(text);
        }
    }
    if (builds.empty()) throw SparkException("it is not a plugin: nothing in it includes plugins/plugin.hpp");
    return builds;
}

std::string buildDifference(const std::string& plugin, const std::string& program) {
    const auto theirs = fields(plugin);
    const auto ours = fields(program);
    std::string difference;
    const auto add = [&](const std::string& name, const std::string& their, const std::string& our) {
        difference += (difference.empty() ? "" : ", ") + name + " " + their + " (the program: " + our + ")";
    };
    for (const auto& [name, our] : ours) {
        const auto found = theirs.find(name);
        if (found == theirs.end()) {
            add(name, "unknown", our);
        } else if (found->second != our) {
            add(name, found->second, our);
        }
    }
    for (const auto& [name, their] : theirs) {
        if (!ours.contains(name)) add(name, their, "unknown");
    }
    return difference;
}

}  // namespace dstream::detail
