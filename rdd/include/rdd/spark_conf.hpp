#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dstream {

/// The settings of an application: text values by key. Copies are independent; not thread-safe while being changed.
///
///     SparkConf conf;
///     conf.setAppName("WordCount").setMaster("local[2]").set("spark.streaming.blockInterval", "50ms");
///     conf.getTimeAsMs("spark.streaming.blockInterval");  // 50
///
/// The typed getters throw IllegalArgumentException, naming key, value and what was expected, for a value that does
/// not parse, and NoSuchElementException for a missing key when no default is given.
class SparkConf {
public:
    SparkConf& set(std::string key, std::string value);
    SparkConf& setIfMissing(std::string key, std::string value);
    SparkConf& setAppName(std::string name) { return set("spark.app.name", std::move(name)); }
    SparkConf& setMaster(std::string master) { return set("spark.master", std::move(master)); }
    SparkConf& setAll(const std::vector<std::pair<std::string, std::string>>& settings);
    SparkConf& remove(std::string_view key);

    bool contains(std::string_view key) const;
    /// @throws NoSuchElementException  when the key is missing
    std::string get(std::string_view key) const;
    std::string get(std::string_view key, std::string_view defaultValue) const;
    std::optional<std::string> getOption(std::string_view key) const;
    /// Returns all settings, sorted by key.
    std::vector<std::pair<std::string, std::string>> getAll() const;
    /// Returns the settings whose key begins with `prefix`, without the prefix, sorted.
    std::vector<std::pair<std::string, std::string>> getAllWithPrefix(std::string_view prefix) const;

    int32_t getInt(std::string_view key, int32_t defaultValue) const;
    int64_t getLong(std::string_view key, int64_t defaultValue) const;
    double getDouble(std::string_view key, double defaultValue) const;
    /// "true" or "false" in any case.
    bool getBoolean(std::string_view key, bool defaultValue) const;

    /// Times: a whole number with one of the suffixes us, ms, s, m, min, h, d; without one, the unit of the method.
    int64_t getTimeAsMs(std::string_view key) const;
    int64_t getTimeAsMs(std::string_view key, std::string_view defaultValue) const;
    int64_t getTimeAsSeconds(std::string_view key) const;
    int64_t getTimeAsSeconds(std::string_view key, std::string_view defaultValue) const;

    /// Sizes: a whole number with one of the suffixes b, k, kb, m, mb, g, gb, t, tb, p, pb (powers of 1024); without
    /// one, the unit of the method.
    int64_t getSizeAsBytes(std::string_view key) const;
    int64_t getSizeAsBytes(std::string_view key, std::string_view defaultValue) const;
    int64_t getSizeAsBytes(std::string_view key, int64_t defaultBytes) const;
    int64_t getSizeAsKb(std::string_view key) const;
    int64_t getSizeAsKb(std::string_view key, std::string_view defaultValue) const;
    int64_t getSizeAsMb(std::string_view key) const;
    int64_t getSizeAsMb(std::string_view key, std::string_view defaultValue) const;
    int64_t getSizeAsGb(std::string_view key) const;
    int64_t getSizeAsGb(std::string_view key, std::string_view defaultValue) const;

    SparkConf clone() const;
    /// Returns one "key=value" line per setting, sorted, secrets redacted.
    std::string toDebugString() const;

    bool operator==(const SparkConf&) const = default;

private:
    std::map<std::string, std::string, std::less<>> settings_;
};

/// Tells whether the value of `key` must never be shown: keys with secret, password, token, access key, sasl.jaas or
/// ssl.key in them, in any case.
bool isSecretKey(std::string_view key);

/// Returns `value`, or "*********(redacted)" when `key` is a secret one.
std::string redact(std::string_view key, std::string_view value);

/// Parses a time as SparkConf does; `unitMillis` is the unit of a bare number in milliseconds.
/// @throws IllegalArgumentException  when `text` is not a time or does not fit
int64_t parseTimeMs(std::string_view text, int64_t unitMillis = 1);

/// Parses a size as SparkConf does; `unitBytes` is the unit of a bare number.
/// @throws IllegalArgumentException  when `text` is not a size or does not fit
int64_t parseSizeBytes(std::string_view text, int64_t unitBytes = 1);

}  // namespace dstream
