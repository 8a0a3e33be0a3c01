#pragma once

#include "dstream/dstream.hpp"
#include "plugins/plugin.hpp"

#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

namespace dstream {

/// Reports a plugin that cannot be used: one line with its path and the reason.
class PluginException : public SparkException {
public:
    using SparkException::SparkException;
};

/// What is known of a registered receiver, sink or job.
struct PluginInfo {
    PluginKind kind;
    std::string name;
    std::string elementType;  // "text", "bytes", "key-value" or the name of a type; empty for a job
    OptionSchema options;
    std::string origin;  // the path of the plugin; empty for the program itself
};

using OptionValues = std::map<std::string, std::string>;

/// Lists what the program itself and the plugins loaded so far have registered, by kind and name. Any thread.
std::vector<PluginInfo> registeredPlugins();

/// Loads a plugin: an absolute path, or the name of a file NAME.so in one of the directories of `dstream.plugin.path`
/// (absolute, separated by colons; else the environment's DSTREAM_PLUGIN_PATH). A plugin that is loaded already is left
/// alone; none is ever unloaded. Before the first instruction of the plugin runs, its build is compared with the
/// program's. Any thread.
/// @throws PluginException  when there is none, its file or a directory above it can be written by everybody, it was
/// built in another way, throws while it registers, or registers what another one has; nothing of it is registered
/// then. After a plugin whose global objects threw the program should end: the dynamic linker does not recover from
/// that
void loadPlugin(const std::string& nameOrPath, const SparkConf& conf = {});

/// Loads every plugin of those directories.
/// @return what was wrong with those that could not be loaded, a line each
/// @throws PluginException  for a relative directory, and for a plugin whose global objects throw
std::vector<std::string> loadPlugins(const SparkConf& conf = {});

/// Defines the streams of a registered job in a context that has not been started.
/// @throws PluginException           when there is no job of that name
/// @throws IllegalArgumentException  when the options are not what it takes
void defineJob(const std::string& name, StreamingContext& ssc, const OptionValues& options = {});

namespace detail {

/// Makes what is registered; when nothing is, loads the plugin of that name first.
std::shared_ptr<void> makeRegistered(PluginKind kind, const std::string& name, const OptionValues& options,
                                     const SparkConf& conf, const std::type_info& type, const std::string& elementType,
                                     std::size_t elementSize);

}  // namespace detail

/// Makes a receiver of records of type `T` that is registered under a name, or that the plugin of that name registers.
/// @throws PluginException           when there is none, it has records of another type, or its constructor throws
/// @throws IllegalArgumentException  when the options are not what it takes
template <class T>
std::shared_ptr<Receiver<T>> makeReceiver(const std::string& name, const OptionValues& options = {},
                                          const SparkConf& conf = {}) {
    return std::static_pointer_cast<Receiver<T>>(detail::makeRegistered(
        PluginKind::kReceiver, name, options, conf, typeid(Receiver<T>), detail::elementTypeName<T>(), sizeof(T)));
}

/// Makes a sink of records of type `T`, as makeReceiver makes a receiver.
template <class T>
std::shared_ptr<TransactionalSink<T>> makeSink(const std::string& name, const OptionValues& options = {},
                                               const SparkConf& conf = {}) {
    return std::static_pointer_cast<TransactionalSink<T>>(detail::makeRegistered(
        PluginKind::kSink, name, options, conf, typeid(TransactionalSink<T>), detail::elementTypeName<T>(), sizeof(T)));
}

/// A stream of what a registered receiver stores.
///
///     auto lines = pluginStream<std::string>(ssc, "tail", {{"file", "/var/log/syslog"}});
template <class T>
ReceiverInputDStream<T> pluginStream(const StreamingContext& ssc, const std::string& name,
                                     const OptionValues& options = {},
                                     std::source_location site = std::source_location::current()) {
    return ssc.receiverStream<T>(makeReceiver<T>(name, options, ssc.sparkContext().getConf()), site);
}

}  // namespace dstream
