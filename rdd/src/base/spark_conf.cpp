#include "rdd/spark_conf.hpp"

#include "rdd/exceptions.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>

namespace dstream {

namespace {

struct Unit {
    std::string_view suffix;
    int64_t inBase;  // how many of the smallest unit
};

constexpr Unit kTimeUnits[] = {
    // in microseconds
    {"us", 1},           {"ms", 1000},           {"s", 1'000'000},        {"m", 60'000'000},
    {"min", 60'000'000}, {"h", 3'600'000'000LL}, {"d", 86'400'000'000LL},
};
constexpr const char* kTimeExpected = "a time as 50us, 100ms, 2s, 5m, 5min, 1h or 1d";

constexpr int64_t kKb = 1024, kMb = kKb * 1024, kGb = kMb * 1024, kTb = kGb * 1024, kPb = kTb * 1024;
constexpr Unit kSizeUnits[] = {
    {"b", 1},    {"k", kKb}, {"kb", kKb}, {"m", kMb}, {"mb", kMb}, {"g", kGb},
    {"gb", kGb}, {"t", kTb}, {"tb", kTb}, {"p", kPb}, {"pb", kPb},
};
constexpr const char* kSizeExpected = "a whole number with an optional unit, as 512b, 64k, 100m, 2g or 1t";

std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n\f\v";
    const size_t begin = text.find_first_not_of(kSpace);
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& letter : result) {
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    }
    return result;
}

/// Parses a whole text as a number; a leading plus sign is allowed, as in the reference.
template <class T>
std::optional<T> parseNumber(std::string_view text) {
    if (text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+') text.remove_prefix(1);
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// Parses "<number><suffix>" and returns it in units of `result`; empty when it is not of that form or does not fit.
std::optional<int64_t> parseQuantity(std::string_view text, std::span<const Unit> units, int64_t bare, int64_t result) {
    const std::string trimmed = lower(trim(text));
    const size_t letters = std::min(trimmed.find_first_not_of("-0123456789"), trimmed.size());
    const std::string_view suffix = std::string_view(trimmed).substr(letters);
    int64_t unit = bare;
    if (!suffix.empty()) {
        const auto found = std::ranges::find(units, suffix, &Unit::suffix);
        if (found == units.end()) return std::nullopt;
        unit = found->inBase;
    }
    const auto number = parseNumber<int64_t>(std::string_view(trimmed).substr(0, letters));
    if (!number) return std::nullopt;
    int64_t product = 0;
    if (unit % result == 0) {
        if (__builtin_mul_overflow(*number, unit / result, &product)) return std::nullopt;
        return product;
    }
    if (__builtin_mul_overflow(*number, unit, &product)) return std::nullopt;
    return product / result;
}

std::string quoted(std::string_view text) {
    std::string result = "'";
    result += text;
    result += '\'';
    return result;
}

[[noreturn]] void refuse(std::string_view key, std::string_view value, const std::string& expected) {
    throw IllegalArgumentException(std::string(key) + " must be " + expected + ": " + quoted(redact(key, value)));
}

int64_t timeOf(std::string_view key, std::string_view value, int64_t unitUs) {
    const auto time = parseQuantity(value, kTimeUnits, unitUs, unitUs);
    if (!time) refuse(key, value, kTimeExpected);
    return *time;
}

int64_t sizeOf(std::string_view key, std::string_view value, int64_t unitBytes) {
    const auto size = parseQuantity(value, kSizeUnits, unitBytes, unitBytes);
    if (!size || *size < 0) refuse(key, value, kSizeExpected);
    return *size;
}

template <class T>
T numberOf(std::string_view key, const std::optional<std::string>& value, T defaultValue, const char* expected) {
    if (!value) return defaultValue;
    const auto number = parseNumber<T>(trim(*value));
    if (!number) refuse(key, *value, expected);
    return *number;
}

}  // namespace

SparkConf& SparkConf::set(std::string key, std::string value) {
    settings_.insert_or_assign(std::move(key), std::move(value));
    return *this;
}

SparkConf& SparkConf::setIfMissing(std::string key, std::string value) {
    return contains(key) ? *this : set(std::move(key), std::move(value));
}

SparkConf& SparkConf::setAll(const std::vector<std::pair<std::string, std::string>>& settings) {
    for (const auto& [key, value] : settings) set(key, value);
    return *this;
}

SparkConf& SparkConf::remove(std::string_view key) {
    const auto found = settings_.find(key);
    if (found != settings_.end()) settings_.erase(found);
    return *this;
}

std::optional<std::string> SparkConf::getOption(std::string_view key) const {
    const auto found = settings_.find(key);
    return found == settings_.end() ? std::nullopt : std::optional(found->second);
}

std::string SparkConf::get(std::string_view key) const {
    auto value = getOption(key);
    if (!value) throw NoSuchElementException(std::string(key) + " is not set; set it or give a default");
    return *std::move(value);
}

std::string SparkConf::get(std::string_view key, std::string_view defaultValue) const {
    return getOption(key).value_or(std::string(defaultValue));
}

bool SparkConf::contains(std::string_view key) const {
    return settings_.contains(key);
}

std::vector<std::pair<std::string, std::string>> SparkConf::getAll() const {
    return {settings_.begin(), settings_.end()};
}

std::vector<std::pair<std::string, std::string>> SparkConf::getAllWithPrefix(std::string_view prefix) const {
    std::vector<std::pair<std::string, std::string>> result;
    for (auto place = settings_.lower_bound(prefix); place != settings_.end() && place->first.starts_with(prefix);
         ++place) {
        result.emplace_back(place->first.substr(prefix.size()), place->second);
    }
    return result;
}

int32_t SparkConf::getInt(std::string_view key, int32_t defaultValue) const {
    return numberOf(key, getOption(key), defaultValue, "a whole number of 32 bits");
}

int64_t SparkConf::getLong(std::string_view key, int64_t defaultValue) const {
    return numberOf(key, getOption(key), defaultValue, "a whole number of 64 bits");
}

double SparkConf::getDouble(std::string_view key, double defaultValue) const {
    return numberOf(key, getOption(key), defaultValue, "a number");
}

bool SparkConf::getBoolean(std::string_view key, bool defaultValue) const {
    const auto value = getOption(key);
    if (!value) return defaultValue;
    const std::string text = lower(trim(*value));
    if (text != "true" && text != "false") refuse(key, *value, "true or false");
    return text == "true";
}

int64_t SparkConf::getTimeAsMs(std::string_view key) const {
    return timeOf(key, get(key), 1000);
}
int64_t SparkConf::getTimeAsMs(std::string_view key, std::string_view defaultValue) const {
    return timeOf(key, get(key, defaultValue), 1000);
}
int64_t SparkConf::getTimeAsSeconds(std::string_view key) const {
    return timeOf(key, get(key), 1'000'000);
}
int64_t SparkConf::getTimeAsSeconds(std::string_view key, std::string_view defaultValue) const {
    return timeOf(key, get(key, defaultValue), 1'000'000);
}

int64_t SparkConf::getSizeAsBytes(std::string_view key) const {
    return sizeOf(key, get(key), 1);
}
int64_t SparkConf::getSizeAsBytes(std::string_view key, std::string_view defaultValue) const {
    return sizeOf(key, get(key, defaultValue), 1);
}
int64_t SparkConf::getSizeAsBytes(std::string_view key, int64_t defaultBytes) const {
    return contains(key) ? getSizeAsBytes(key) : defaultBytes;
}
int64_t SparkConf::getSizeAsKb(std::string_view key) const {
    return sizeOf(key, get(key), kKb);
}
int64_t SparkConf::getSizeAsKb(std::string_view key, std::string_view defaultValue) const {
    return sizeOf(key, get(key, defaultValue), kKb);
}
int64_t SparkConf::getSizeAsMb(std::string_view key) const {
    return sizeOf(key, get(key), kMb);
}
int64_t SparkConf::getSizeAsMb(std::string_view key, std::string_view defaultValue) const {
    return sizeOf(key, get(key, defaultValue), kMb);
}
int64_t SparkConf::getSizeAsGb(std::string_view key) const {
    return sizeOf(key, get(key), kGb);
}
int64_t SparkConf::getSizeAsGb(std::string_view key, std::string_view defaultValue) const {
    return sizeOf(key, get(key, defaultValue), kGb);
}

SparkConf SparkConf::clone() const {
    return *this;
}

std::string SparkConf::toDebugString() const {
    std::string text;
    for (const auto& [key, value] : settings_) {
        if (!text.empty()) text += '\n';
        text += key + "=" + redact(key, value);
    }
    return text;
}

bool isSecretKey(std::string_view key) {
    // A question mark stands for any one character or none.
    static constexpr std::string_view kSecrets[] = {"secret",     "password",  "token",
                                                    "access?key", "sasl?jaas", "ssl?key"};
    const std::string text = lower(key);
    for (const std::string_view secret : kSecrets) {
        const size_t mark = secret.find('?');
        const std::string_view head = secret.substr(0, mark);
        const std::string_view tail = mark == secret.npos ? std::string_view() : secret.substr(mark + 1);
        for (size_t at = text.find(head); at != text.npos; at = text.find(head, at + 1)) {
            const std::string_view rest = std::string_view(text).substr(at + head.size());
            if (rest.starts_with(tail) || (!rest.empty() && rest.substr(1).starts_with(tail))) return true;
        }
    }
    return false;
}

std::string redact(std::string_view key, std::string_view value) {
    return isSecretKey(key) ? "*********(redacted)" : std::string(value);
}

int64_t parseTimeMs(std::string_view text, int64_t unitMillis) {
    const auto time = parseQuantity(text, kTimeUnits, unitMillis * 1000, 1000);
    if (!time) throw IllegalArgumentException(std::string("expected ") + kTimeExpected + ": " + quoted(text));
    return *time;
}

int64_t parseSizeBytes(std::string_view text, int64_t unitBytes) {
    const auto size = parseQuantity(text, kSizeUnits, unitBytes, 1);
    if (!size || *size < 0)
        throw IllegalArgumentException(std::string("expected ") + kSizeExpected + ": " + quoted(text));
    return *size;
}

}  // namespace dstream
