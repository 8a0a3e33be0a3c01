#include "fuzz/fuzz.hpp"
#include "rdd/exceptions.hpp"
#include "rdd/failpoint.hpp"
#include "rdd/log.hpp"
#include "rdd/spark_conf.hpp"
#include "rdd/storage_level.hpp"

namespace dstream {
namespace {

/// Every reader of settings either gives a value or says what was expected.
template <class Read>
void read(Read read) {
    try {
        (void)read();
    } catch (const IllegalArgumentException&) {
    } catch (const NoSuchElementException&) {
    }
}

int fuzzAll(int argc, char** argv) {
    const std::vector<std::string> seeds = {"42",
                                            "-7",
                                            "1.5e3",
                                            "true",
                                            "100ms",
                                            "2min",
                                            "5d",
                                            "512b",
                                            "64k",
                                            "1gb",
                                            "9pb",
                                            "MEMORY_ONLY",
                                            "wal.sync:EIO:3",
                                            "INFO",
                                            "list",
                                            "secret.password=token",
                                            "access.key",
                                            "+9223372036854775807"};
    return fuzz::run(argc, argv, seeds, [](const std::string& input, fuzz::Random& random) -> std::string {
        const std::string key = input.substr(0, fuzz::below(random, input.size() + 1));
        SparkConf conf;
        conf.set(key, input);
        read([&] { return conf.getInt(key, 0); });
        read([&] { return conf.getLong(key, 0); });
        read([&] { return conf.getDouble(key, 0); });
        read([&] { return conf.getBoolean(key, false); });
        read([&] { return conf.getTimeAsMs(key); });
        read([&] { return conf.getTimeAsSeconds(key); });
        read([&] { return conf.getSizeAsBytes(key); });
        read([&] { return conf.getSizeAsKb(key); });
        read([&] { return conf.getSizeAsGb(key); });
        read([&] { return conf.getAllWithPrefix(input); });
        read([&] { return parseTimeMs(input, 1000); });
        read([&] { return parseSizeBytes(input, 1024); });
        read([&] { return StorageLevel::fromString(input); });
        read([&] { return parseLogLevel(input); });
        read([&] { return parseFailpoints(input.c_str(), nullptr, nullptr); });
        read([&] { return parseFailpoints(nullptr, input.c_str(), nullptr); });
        if (isSecretKey(key) && conf.toDebugString() != key + "=*********(redacted)") return "a secret is shown";
        return {};
    });
}

}  // namespace
}  // namespace dstream

int main(int argc, char** argv) {
    return dstream::fuzzAll(argc, argv);
}
