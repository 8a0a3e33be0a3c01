#include "plugins/options.hpp"

#include "rdd/exceptions.hpp"
#include "rdd/spark_conf.hpp"

#include <algorithm>

namespace dstream {

namespace {

/// SparkConf parses every type, so that there is one way in which values are written.
template <class Get>
auto parse(std::string_view name, const std::string& text, Get get) {
    SparkConf conf;
    conf.set(std::string(name), text);
    return get(conf, name);
}

int64_t parseInt(std::string_view name, const std::string& text) {
    return parse(name, text, [](const SparkConf& conf, std::string_view key) { return conf.getLong(key, 0); });
}

double parseDouble(std::string_view name, const std::string& text) {
    return parse(name, text, [](const SparkConf& conf, std::string_view key) { return conf.getDouble(key, 0); });
}

bool parseBool(std::string_view name, const std::string& text) {
    return parse(name, text, [](const SparkConf& conf, std::string_view key) { return conf.getBoolean(key, false); });
}

void checkValue(const OptionSpec& spec, const std::string& text) {
    switch (spec.type) {
        case OptionType::kString:
            return;
        case OptionType::kInt:
            parseInt(spec.name, text);
            return;
        case OptionType::kDouble:
            parseDouble(spec.name, text);
            return;
        case OptionType::kBool:
            parseBool(spec.name, text);
            return;
        case OptionType::kDuration:
            parseTimeMs(text);
            return;
        case OptionType::kSize:
            parseSizeBytes(text);
            return;
    }
}

/// Throws what is wrong with the value, with the option's name before it.
void check(const OptionSpec& spec, const std::string& text) {
    try {
        checkValue(spec, text);
    } catch (const std::exception& error) {
        throw IllegalArgumentException("option \"" + spec.name + "\" must be of type " +
                                       std::string(toString(spec.type)) + ": " + redact(spec.name, error.what()));
    }
}

std::string namesOf(const OptionSchema& schema) {
    if (schema.specs().empty()) return "there are none";
    std::string names;
    for (const OptionSpec& spec : schema.specs()) names += (names.empty() ? "there are " : ", ") + spec.name;
    return names;
}

}  // namespace

std::string_view toString(OptionType type) {
    switch (type) {
        case OptionType::kString:
            return "string";
        case OptionType::kInt:
            return "int";
        case OptionType::kDouble:
            return "double";
        case OptionType::kBool:
            return "bool";
        case OptionType::kDuration:
            return "duration";
        case OptionType::kSize:
            return "size";
    }
    return "unknown";
}

OptionSchema::OptionSchema(std::vector<OptionSpec> specs) : specs_(std::move(specs)) {
    for (const OptionSpec& spec : specs_) {
        require(!spec.name.empty() && spec.name.find_first_of("= \t\n") == std::string::npos,
                "the name of an option must be a word without '=': \"" + spec.name + "\"");
        require(find(spec.name) == &spec, "option \"" + spec.name + "\" is described twice");
        require(toString(spec.type) != "unknown", "option \"" + spec.name + "\" is of no known type");
        if (spec.defaultValue) check(spec, *spec.defaultValue);
    }
}

const OptionSpec* OptionSchema::find(std::string_view name) const {
    const auto found = std::ranges::find(specs_, name, &OptionSpec::name);
    return found == specs_.end() ? nullptr : &*found;
}

std::map<std::string, std::string> OptionSchema::parseArguments(std::span<const std::string> arguments) const {
    std::map<std::string, std::string> values;
    for (const std::string& argument : arguments) {
        const std::size_t end = argument.find('=');
        if (end != std::string::npos) {
            const std::string name = argument.substr(0, end);
            require(find(name) != nullptr, "option \"" + name + "\" is not known; " + namesOf(*this));
            require(values.emplace(name, argument.substr(end + 1)).second, "option \"" + name + "\" is given twice");
            continue;
        }
        const auto free =
            std::ranges::find_if(specs_, [&](const OptionSpec& each) { return !values.contains(each.name); });
        require(free != specs_.end(), "no option is left for the argument \"" + argument + "\"; " + namesOf(*this));
        values.emplace(free->name, argument);
    }
    return values;
}

Options::Options(const OptionSchema& schema, const std::map<std::string, std::string>& values) {
    for (const auto& [name, text] : values) {
        require(schema.find(name) != nullptr, "option \"" + name + "\" is not known; " + namesOf(schema));
    }
    for (const OptionSpec& spec : schema.specs()) {
        const auto given = values.find(spec.name);
        require(given != values.end() || spec.defaultValue.has_value(),
                "option \"" + spec.name + "\" (" + spec.help + ") must be given");
        const std::string& text = given != values.end() ? given->second : *spec.defaultValue;
        check(spec, text);
        values_.emplace(spec.name, Value{spec.type, text});
    }
}

const std::string& Options::value(std::string_view name, OptionType type) const {
    const auto found = values_.find(name);
    require(found != values_.end(), "option \"" + std::string(name) + "\" is not in the schema");
    require(found->second.type == type, "option \"" + std::string(name) + "\" is of type " +
                                            std::string(toString(found->second.type)) + ", asked for as " +
                                            std::string(toString(type)));
    return found->second.text;
}

int64_t Options::getInt(std::string_view name) const {
    return parseInt(name, value(name, OptionType::kInt));
}

double Options::getDouble(std::string_view name) const {
    return parseDouble(name, value(name, OptionType::kDouble));
}

bool Options::getBool(std::string_view name) const {
    return parseBool(name, value(name, OptionType::kBool));
}

Duration Options::getDuration(std::string_view name) const {
    return Duration(parseTimeMs(value(name, OptionType::kDuration)));
}

int64_t Options::getSize(std::string_view name) const {
    return parseSizeBytes(value(name, OptionType::kSize));
}

}  // namespace dstream
