#include "plugins/registry.hpp"

#include "plugin_metadata.hpp"
#include "rdd/exceptions.hpp"

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace dstream {

namespace {

namespace fs = std::filesystem;
using detail::Registration;

/// A registration and what its own code says of it.
struct Entry {
    const Registration* registration;
    PluginInfo info;
};

/// Everything that is registered.
class Registry {
public:
    static Registry& instance() {
        static Registry* const registry = new Registry;  // outlives everything that plugins keep
        return *registry;
    }

    std::vector<Entry> entries() {
        addProgram();
        const std::lock_guard lock(mutex_);
        std::vector<Entry> result;
        for (const auto& [key, entry] : entries_) result.push_back(entry);
        return result;
    }
    std::optional<Entry> find(PluginKind kind, const std::string& name) {
        addProgram();
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find({kind, name});
        return found == entries_.end() ? std::nullopt : std::optional(found->second);
    }
    bool isLoaded(const std::string& path) {
        const std::lock_guard lock(mutex_);
        return libraries_.contains(path);
    }
    /// All of a plugin, or nothing when a name is taken.
    void add(const std::string& path, boost::dll::shared_library library, const std::vector<Entry>& entries) {
        addProgram();
        const std::lock_guard lock(mutex_);
        if (libraries_.contains(path)) return;
        addAll(entries);
        libraries_.emplace(path, std::move(library));
    }
    /// The turn of the one thread that loads.
    std::mutex& loading() { return loading_; }

private:
    void addProgram();
    void addAll(const std::vector<Entry>& entries);

    std::mutex loading_;
    std::once_flag programAdded_;
    std::mutex mutex_;  // guards the fields below
    std::map<std::pair<PluginKind, std::string>, Entry> entries_;
    std::map<std::string, boost::dll::shared_library> libraries_;
};

std::string_view toString(PluginKind kind) {
    return kind == PluginKind::kReceiver ? "receiver" : kind == PluginKind::kSink ? "sink" : "job";
}

std::string originText(const std::string& origin) {
    return origin.empty() ? "the program itself" : origin;
}

/// A plugin threw through the dynamic linker, which stays locked: other threads must not get to need it.
class ThrewWhileLoaded : public PluginException {
public:
    using PluginException::PluginException;
};

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
    throw PluginException("plugin " + path + ": " + reason);
}

/// What each registration of a list says of itself; this is where the plugin's own code runs first.
std::vector<Entry> describe(const Registration* first, const std::string& origin) {
    std::vector<Entry> entries;
    for (const Registration* each = first; each != nullptr; each = each->next) {
        PluginInfo info{each->kind, each->name != nullptr ? each->name : "", "", {}, origin};
        require(!info.name.empty() && info.name.find_first_of(" \t\n/") == std::string::npos,
                "the name of a " + std::string(toString(each->kind)) + " must be a word: \"" + info.name + "\"");
        try {
            info.options = each->schema();
            if (each->elementType != nullptr) info.elementType = each->elementType();
        } catch (...) {
            throw IllegalArgumentException(std::string(toString(each->kind)) + " \"" + info.name +
                                           "\": " + describeException(std::current_exception()));
        }
        entries.push_back({each, std::move(info)});
    }
    return entries;
}

void Registry::addProgram() {
    std::call_once(programAdded_, [this] {
        const std::vector<Entry> entries = describe(detail::moduleRegistrations, "");
        const std::lock_guard lock(mutex_);
        addAll(entries);
    });
}

void Registry::addAll(const std::vector<Entry>& entries) {
    auto all = entries_;
    for (const Entry& entry : entries) {
        const auto [place, isNew] = all.emplace(std::pair(entry.info.kind, entry.info.name), entry);
        require(isNew, std::string(toString(entry.info.kind)) + " \"" + entry.info.name +
                           "\" is registered already, by " + originText(place->second.info.origin));
    }
    entries_ = std::move(all);
}

std::vector<fs::path> pluginDirectories(const SparkConf& conf) {
    const char* const variable = std::getenv("DSTREAM_PLUGIN_PATH");
    std::istringstream texts(conf.get("dstream.plugin.path", variable != nullptr ? variable : ""));
    std::vector<fs::path> directories;
    for (std::string text; std::getline(texts, text, ':');) {
        if (text.empty()) continue;
        if (!fs::path(text).is_absolute()) {
            throw PluginException("plugin directory " + text +
                                  ": give an absolute path in dstream.plugin.path or DSTREAM_PLUGIN_PATH");
        }
        directories.emplace_back(text);
    }
    return directories;
}

/// The file of a plugin, without links in its path.
std::string locate(const std::string& nameOrPath, const SparkConf& conf) {
    if (nameOrPath.find('/') != std::string::npos) {
        const fs::path path(nameOrPath);
        if (!path.is_absolute()) fail(nameOrPath, "give an absolute path, or a name in a plugin directory");
        std::error_code error;
        const fs::path file = fs::canonical(path, error);
        if (error) fail(nameOrPath, error.message());
        return file.string();
    }
    std::string tried;
    for (const fs::path& directory : pluginDirectories(conf)) {
        std::error_code error;
        const fs::path file = fs::canonical(directory / (nameOrPath + ".so"), error);
        if (!error) return file.string();
        tried += (tried.empty() ? "" : ", ") + directory.string();
    }
    fail(nameOrPath, tried.empty() ? "no plugin directory is set; set dstream.plugin.path or DSTREAM_PLUGIN_PATH"
                                   : "no " + nameOrPath + ".so in " + tried);
}

/// Refuses a plugin that anybody could have put in place: everybody may write the file or one of the directories above
/// it. In a directory such as /tmp, where only the owner of an entry may replace it, entries of root and of this user
/// are safe.
void refuseIfAnyoneMayWrite(const std::string& plugin) {
    struct stat entry {};
    for (fs::path path = plugin;; path = path.parent_path()) {
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0) fail(plugin, std::generic_category().message(errno));
        const bool ownersOnly =
            path != plugin && (status.st_mode & S_ISVTX) != 0 && (entry.st_uid == 0 || entry.st_uid == ::geteuid());
        if ((status.st_mode & S_IWOTH) != 0 && !ownersOnly) {
            fail(plugin, (path == plugin ? "everybody may write it" : "everybody may write to " + path.string()) +
                             "; take that right away (chmod o-w)");
        }
        if (path == path.root_path()) return;
        entry = status;
    }
}

/// Runs the code of a plugin; what it throws becomes the reason.
template <class F>
auto guarded(const std::string& path, const std::string& doing, F&& f) {
    try {
        return f();
    } catch (...) {
        fail(path, doing + describeException(std::current_exception()));
    }
}

/// What the dynamic linker says, without what is around it.
std::string linkerMessage(const std::string& text) {
    const std::string_view before = "dlerror system message: ";
    const std::size_t start = text.find(before);
    if (start == std::string::npos) return text;
    std::string message = text.substr(start + before.size(), text.rfind("): ") - start - before.size());
    if (message.find("undefined symbol") != std::string::npos) {
        message += "; the program that loads plugins must be made with dstream_plugin_host()";
    }
    return message;
}

void load(const std::string& path) {
    Registry& registry = Registry::instance();
    const std::lock_guard turn(registry.loading());
    if (registry.isLoaded(path)) return;
    refuseIfAnyoneMayWrite(path);
    if (!fs::is_regular_file(path)) fail(path, "it is not a file");
    std::ifstream object(path, std::ios::binary);
    if (!object) fail(path, "it cannot be read");
    const auto builds = guarded(path, "", [&] { return detail::readPluginBuilds(object); });
    for (const std::string& build : builds) {
        const std::string difference = detail::buildDifference(build, DSTREAM_PLUGIN_BUILD);
        if (!difference.empty()) fail(path, "it was built with another " + difference);
    }
    boost::dll::shared_library library;
    try {
        library.load(path, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
    } catch (const boost::dll::fs::system_error& error) {
        fail(path, linkerMessage(error.what()));
    } catch (...) {
        throw ThrewWhileLoaded("plugin " + path +
                               ": it threw while it was loaded: " + describeException(std::current_exception()));
    }
    if (!library.has("dstream_plugin_v1")) fail(path, "it has no entry dstream_plugin_v1");
    const auto entry = library.get<detail::PluginEntry()>("dstream_plugin_v1");
    const auto entries =
        guarded(path, "it threw while it registered: ", [&] { return describe(entry().registrations, path); });
    if (entries.empty()) fail(path, "it registers nothing");
    guarded(path, "", [&] { registry.add(path, std::move(library), entries); });
}

std::string known(PluginKind kind) {
    std::string names;
    for (const Entry& entry : Registry::instance().entries()) {
        if (entry.info.kind == kind) names += (names.empty() ? "; there are " : ", ") + entry.info.name;
    }
    return names;
}

Options optionsFor(const Entry& entry, const OptionValues& values) {
    try {
        return Options(entry.info.options, values);
    } catch (const IllegalArgumentException& error) {
        throw IllegalArgumentException(std::string(toString(entry.info.kind)) + " \"" + entry.info.name +
                                       "\": " + error.what());
    }
}

}  // namespace

std::vector<PluginInfo> registeredPlugins() {
    std::vector<PluginInfo> infos;
    for (Entry& entry : Registry::instance().entries()) infos.push_back(std::move(entry.info));
    return infos;
}

void loadPlugin(const std::string& nameOrPath, const SparkConf& conf) {
    load(locate(nameOrPath, conf));
}

std::vector<std::string> loadPlugins(const SparkConf& conf) {
    std::vector<std::string> wrong;
    for (const fs::path& directory : pluginDirectories(conf)) {
        std::vector<fs::path> files;
        std::error_code error;
        for (fs::directory_iterator file(directory, error), end; !error && file != end; file.increment(error)) {
            if (file->path().extension() == ".so") files.push_back(file->path());
        }
        if (error) wrong.push_back("plugin directory " + directory.string() + ": " + error.message());
        std::ranges::sort(files);
        for (const fs::path& file : files) {
            try {
                loadPlugin(file.string());
            } catch (const ThrewWhileLoaded&) {
                throw;
            } catch (const PluginException& reason) {
                wrong.emplace_back(reason.what());
            }
        }
    }
    return wrong;
}

void defineJob(const std::string& name, StreamingContext& ssc, const OptionValues& options) {
    const auto entry = Registry::instance().find(PluginKind::kJob, name);
    if (!entry) throw PluginException("there is no job \"" + name + "\"" + known(PluginKind::kJob));
    entry->registration->run()(ssc, optionsFor(*entry, options));
}

namespace detail {

std::shared_ptr<void> makeRegistered(PluginKind kind, const std::string& name, const OptionValues& values,
                                     const SparkConf& conf, const std::type_info& type, const std::string& elementType,
                                     std::size_t elementSize) {
    Registry& registry = Registry::instance();
    auto entry = registry.find(kind, name);
    const std::string what = std::string(toString(kind)) + " \"" + name + "\"";
    if (!entry) {
        try {
            loadPlugin(name, conf);
        } catch (const PluginException& error) {
            throw PluginException("there is no " + what + known(kind) + "; " + error.what());
        }
        entry = registry.find(kind, name);
        if (!entry) throw PluginException("plugin " + name + ": it registers no " + what);
    }
    const Registration& registration = *entry->registration;
    const std::string origin = originText(entry->info.origin);
    if (*registration.type != type) {
        throw PluginException(what + " of " + origin + " is one of " + entry->info.elementType + ", asked for one of " +
                              elementType);
    }
    if (registration.elementSize != elementSize) {
        throw PluginException(what + " of " + origin + " was built with another version of " + elementType + ", of " +
                              std::to_string(registration.elementSize) + " bytes instead of " +
                              std::to_string(elementSize));
    }
    const Options options = optionsFor(*entry, values);
    try {
        return registration.make(options);
    } catch (...) {
        throw PluginException(what + " of " + origin +
                              " could not be made: " + describeException(std::current_exception()));
    }
}

}  // namespace detail

}  // namespace dstream
