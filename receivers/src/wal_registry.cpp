#include "wal_registry.hpp"

#include "rdd/exceptions.hpp"
#include "receivers/file_write_ahead_log.hpp"

#include <map>
#include <mutex>

namespace dstream {

namespace {

struct Registry {
    std::mutex mutex;  // guards factories
    std::map<std::string, WriteAheadLogFactory> factories;
};
Registry& registry() {
    static Registry instance;
    return instance;
}

std::unique_ptr<WriteAheadLog> makeRegistered(const std::string& name, const char* key, const SparkConf& conf,
                                              const std::string& directory) {
    WriteAheadLogFactory factory;
    std::string known;
    {
        std::lock_guard lock(registry().mutex);
        for (const auto& entry : registry().factories) known += " " + entry.first;
        const auto found = registry().factories.find(name);
        if (found != registry().factories.end()) factory = found->second;
    }
    if (!factory) {
        throw SparkException(
            std::string(key) + " names an unknown log '" + name +
            "'; register it by registerWriteAheadLog before start. Registered:" + (known.empty() ? " none" : known));
    }
    try {
        if (auto log = factory(conf, directory)) return log;
        throw SparkException("its factory returned null");
    } catch (...) {
        std::throw_with_nested(
            SparkException("the write-ahead log '" + name + "' that " + key + " names could not be made"));
    }
}

}  // namespace

void registerWriteAheadLog(const std::string& name, WriteAheadLogFactory factory) {
    require(!name.empty() && factory, "a write-ahead log is registered by a name and a factory, one of them is empty");
    std::lock_guard lock(registry().mutex);
    registry().factories[name] = std::move(factory);
}

namespace detail {

std::unique_ptr<WriteAheadLog> makeReceiverLog(const SparkConf& conf, const std::string& directory,
                                               std::shared_ptr<Clock> clock) {
    constexpr const char* kKey = "spark.streaming.receiver.writeAheadLog.class";
    if (const auto name = conf.getOption(kKey)) return makeRegistered(*name, kKey, conf, directory);
    return std::make_unique<FileWriteAheadLog>(directory, FileWriteAheadLogOptions::forReceiver(conf),
                                               std::move(clock));
}

std::unique_ptr<WriteAheadLog> makeDriverLog(const SparkConf& conf, const std::string& directory,
                                             std::shared_ptr<Clock> clock) {
    constexpr const char* kKey = "spark.streaming.driver.writeAheadLog.class";
    if (const auto name = conf.getOption(kKey)) return makeRegistered(*name, kKey, conf, directory);
    return std::make_unique<FileWriteAheadLog>(directory, FileWriteAheadLogOptions::forDriver(conf), std::move(clock));
}

}  // namespace detail
}  // namespace dstream
