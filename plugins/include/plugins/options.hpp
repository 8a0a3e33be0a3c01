#pragma once

#include "rdd/time.hpp"

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dstream {

/// What the text of an option must be. Durations and sizes are written as in SparkConf: `500ms`, `64k`.
enum class OptionType { kString, kInt, kDouble, kBool, kDuration, kSize };

/// The name that a type has in listings and messages.
std::string_view toString(OptionType type);

/// Stands for the default value of an option that must be given.
inline constexpr std::nullopt_t kRequired = std::nullopt;

/// One option of a plugin.
struct OptionSpec {
    std::string name;
    OptionType type;
    std::optional<std::string> defaultValue;
    std::string help;

    bool operator==(const OptionSpec&) const = default;
};

/// The options that a plugin takes, in the order in which arguments without a name are taken for them.
///
///     static OptionSchema options() {
///         return {{"host", OptionType::kString, kRequired, "server"}, {"port", OptionType::kInt, "9999", "its port"}};
///     }
class OptionSchema {
public:
    OptionSchema() = default;
    /// @throws IllegalArgumentException  for a name that is empty or there twice, and a default that does not parse
    OptionSchema(std::initializer_list<OptionSpec> specs) : OptionSchema(std::vector<OptionSpec>(specs)) {}
    explicit OptionSchema(std::vector<OptionSpec> specs);

    const std::vector<OptionSpec>& specs() const { return specs_; }
    /// Null when there is no option of that name.
    const OptionSpec* find(std::string_view name) const;

    /// Turns arguments into option values: `name=value`, or a value alone for the first option that has none yet.
    /// @throws IllegalArgumentException  for an unknown option, one that is given twice, and more values than options
    std::map<std::string, std::string> parseArguments(std::span<const std::string> arguments) const;

private:
    std::vector<OptionSpec> specs_;
};

/// The values of a plugin's options, complete and of the right types once it exists.
class Options {
public:
    Options() = default;
    /// @throws IllegalArgumentException  for an unknown option, a value that does not parse and a missing one
    Options(const OptionSchema& schema, const std::map<std::string, std::string>& values);

    /// Each getter takes an option of its own type.
    /// @throws IllegalArgumentException  for an option that the schema does not have, or has with another type
    std::string getString(std::string_view name) const { return value(name, OptionType::kString); }
    int64_t getInt(std::string_view name) const;
    double getDouble(std::string_view name) const;
    bool getBool(std::string_view name) const;
    Duration getDuration(std::string_view name) const;
    /// In bytes.
    int64_t getSize(std::string_view name) const;

private:
    struct Value {
        OptionType type;
        std::string text;
    };
    const std::string& value(std::string_view name, OptionType type) const;

    std::map<std::string, Value, std::less<>> values_;
};

}  // namespace dstream
