#include "plugins/plugin.hpp"

#include "fuzz/fuzz.hpp"
#include "plugin_metadata.hpp"
#include "plugins/options.hpp"
#include "rdd/exceptions.hpp"

#include <elf.h>
#include <sstream>

namespace dstream {
namespace {

/// The smallest shared object that is a plugin: a header, the texts of two sections, their names, the section table.
std::string smallestPlugin() {
    const std::string names("\0dstream_plugin\0", 16);
    const std::string build = std::string(DSTREAM_PLUGIN_BUILD) + '\0' + std::string(DSTREAM_PLUGIN_BUILD) + '\0';
    Elf64_Ehdr header{};
    std::copy_n(ELFMAG, SELFMAG, reinterpret_cast<char*>(header.e_ident));
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_shoff = sizeof header + names.size() + build.size();
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 3;
    header.e_shstrndx = 1;
    Elf64_Shdr sections[3]{};
    sections[1].sh_type = SHT_STRTAB;
    sections[1].sh_offset = sizeof header;
    sections[1].sh_size = names.size();
    sections[2].sh_name = 1;
    sections[2].sh_type = SHT_PROGBITS;
    sections[2].sh_offset = sizeof header + names.size();
    sections[2].sh_size = build.size();
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) + names + build +
           std::string(reinterpret_cast<const char*>(sections), sizeof sections);
}

/// A damaged object is refused, or it says how it was built; either way nothing of it runs.
std::string readObject(const std::string& input) {
    std::istringstream object(input);
    try {
        for (const std::string& build : detail::readPluginBuilds(object)) {
            const bool same = detail::buildDifference(build, DSTREAM_PLUGIN_BUILD).empty();
            if (same && build.find("abi=" DSTREAM_PLUGIN_TEXT(DSTREAM_PLUGIN_ABI)) == std::string::npos) {
                return "a build without the ABI number was taken: " + build;
            }
        }
    } catch (const SparkException&) {
    }
    return {};
}

/// Options are complete and of their types, or refused.
std::string readOptions(const std::string& input) {
    const OptionSchema schema{{"text", OptionType::kString, "", ""},     {"int", OptionType::kInt, "1", ""},
                              {"double", OptionType::kDouble, "1", ""},  {"bool", OptionType::kBool, "true", ""},
                              {"time", OptionType::kDuration, "1s", ""}, {"size", OptionType::kSize, "1k", ""}};
    std::vector<std::string> arguments;
    std::istringstream lines(input);
    for (std::string line; std::getline(lines, line);) arguments.push_back(line);
    try {
        const Options options(schema, schema.parseArguments(arguments));
        options.getString("text");
        options.getInt("int");
        options.getDouble("double");
        options.getBool("bool");
        options.getDuration("time");
        options.getSize("size");
    } catch (const IllegalArgumentException&) {
    }
    try {
        OptionSchema({{input, OptionType::kSize, input, ""}});
    } catch (const IllegalArgumentException&) {
    }
    return {};
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    using namespace dstream;
    const std::vector<std::string> seeds = {smallestPlugin(), "int=5\ntime=10ms\nsize=64k", "words\n1\n0.5\nfalse",
                                            "bool=true\ndouble=1e3\ntext=a=b"};
    return fuzz::run(argc, argv, seeds, [](const std::string& input, fuzz::Random&) {
        const std::string wrong = readObject(input);
        return wrong.empty() ? readOptions(input) : wrong;
    });
}
