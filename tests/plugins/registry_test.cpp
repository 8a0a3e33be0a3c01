#include "plugins/registry.hpp"

#include "plugins/plugin_files.hpp"
#include "plugins/shared_objects/sound.hpp"
#include "support/errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

namespace dstream {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using testsupport::errorOf;
using testsupport::PluginDirectory;

void ownJob(StreamingContext&, const Options&) {}

/// A receiver of the program itself.
class OwnReceiver : public Receiver<int> {
public:
    OwnReceiver() : Receiver(StorageLevel::MEMORY_ONLY) {}
    void onStart() override {}
    void onStop() override {}
};

/// What one process has loaded, it keeps.
const PluginDirectory& good() {
    static const PluginDirectory directory;
    loadPlugin(directory.add("good"));
    return directory;
}

std::vector<std::string> names() {
    std::vector<std::string> result;
    for (const PluginInfo& info : registeredPlugins()) result.push_back(info.name);
    return result;
}

/// The error of loading one of the plugins built for the tests, without its path.
std::string errorOfLoading(const std::string& name) {
    const PluginDirectory directory;
    const std::string path = directory.add(name);
    const auto before = names();
    const std::string error = errorOf([&] { loadPlugin(path); });
    EXPECT_EQ(names(), before);
    EXPECT_THAT(error, StartsWith("plugin " + path + ": "));
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    return error.substr(std::min(error.size(), path.size() + 9));
}

TEST(Plugins, AProgramRegistersItsOwn) {
    EXPECT_THAT(names(), testing::IsSupersetOf({"own_job", "own_receiver"}));
    EXPECT_EQ(makeReceiver<int>("own_receiver")->streamId(), -1);
}

TEST(Plugins, AreFoundByPathOrByNameInAPluginDirectory) {
    const PluginDirectory& directory = good();
    loadPlugin(directory / "good.so");  // again: it is left alone
    SparkConf conf;
    conf.set("dstream.plugin.path", "/nonexistent:" + directory.path());
    loadPlugin("good", conf);
    EXPECT_EQ(errorOf([&] { loadPlugin("other", conf); }),
              "plugin other: no other.so in /nonexistent, " + directory.path());
    ::setenv("DSTREAM_PLUGIN_PATH", directory.path().c_str(), 1);
    loadPlugin("good");
    ::unsetenv("DSTREAM_PLUGIN_PATH");
    EXPECT_EQ(errorOf([&] { loadPlugin("good"); }),
              "plugin good: no plugin directory is set; set dstream.plugin.path or DSTREAM_PLUGIN_PATH");
}

TEST(Plugins, TellTheirOptionsAndTheTypesOfTheirRecords) {
    const PluginDirectory& directory = good();
    std::vector<std::string> receivers;
    for (const PluginInfo& info : registeredPlugins()) {
        if (info.origin != fs::canonical(directory / "good.so") || info.kind != PluginKind::kReceiver) continue;
        receivers.push_back(info.name + ": " + info.elementType);
        if (info.name == "texts") {
            EXPECT_EQ(info.options.specs(),
                      (std::vector<OptionSpec>{{"text", OptionType::kString, std::nullopt, "what is stored"},
                                               {"times", OptionType::kInt, "1", "how often"}}));
        }
    }
    EXPECT_THAT(receivers, ElementsAre("bytes: bytes", "escapes: int", "pairs: key-value", "sounds: Sound",
                                       "texts: text", "throws: text"));
}

TEST(Plugins, MakeReceiversOfTextBytesPairsAndTypesSharedByHeader) {
    good();
    StreamingContext ssc("local[2]", "plugins", Milliseconds(20));
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t arrived = 0;
    const auto gather = [&](const auto& stream) {
        using T = typename std::remove_cvref_t<decltype(stream)>::Element;
        const auto gathered = std::make_shared<std::vector<T>>();
        stream.foreachRDD([&, gathered](const auto& rdd, Time) {
            const auto batch = rdd.collect();
            const std::lock_guard lock(mutex);
            gathered->insert(gathered->end(), batch.begin(), batch.end());
            arrived += batch.size();
            changed.notify_all();
        });
        return gathered;
    };
    const auto texts = gather(pluginStream<std::string>(ssc, "texts", {{"text", "a"}, {"times", "2"}}));
    const auto pairs = gather(pluginStream<std::pair<std::string, std::string>>(ssc, "pairs"));
    const auto bytes = gather(pluginStream<std::vector<std::byte>>(ssc, "bytes"));
    const auto sounds = gather(pluginStream<Sound>(ssc, "sounds"));
    ssc.start();
    {
        std::unique_lock lock(mutex);
        EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return arrived == 5; })) << arrived;
    }
    ssc.stop();
    EXPECT_THAT(*texts, ElementsAre("a", "a"));
    EXPECT_EQ(*pairs, (std::vector<std::pair<std::string, std::string>>{{"key", "value"}}));
    EXPECT_EQ(*bytes, (std::vector<std::vector<std::byte>>{{std::byte{0}, std::byte{255}}}));
    EXPECT_EQ(*sounds, (std::vector<Sound>{{7, 0.5, "hall"}}));
}

TEST(Plugins, RefuseAReceiverOfOtherRecords) {
    const std::string path = fs::canonical(good() / "good.so").string();
    EXPECT_EQ(errorOf([] { makeReceiver<int>("sounds"); }),
              "receiver \"sounds\" of " + path + " is one of Sound, asked for one of int");
    const static PluginDirectory other;
    loadPlugin(other.add("other_sound"));
    EXPECT_EQ(errorOf([] { makeReceiver<Sound>("other_sounds"); }),
              "receiver \"other_sounds\" of " + fs::canonical(other / "other_sound.so").string() +
                  " was built with another version of Sound, of 80 bytes instead of 48");
}

TEST(Plugins, RefuseWrongOptionsAndTellWhatAConstructorThrows) {
    const std::string path = fs::canonical(good() / "good.so").string();
    EXPECT_EQ(errorOf([] { makeReceiver<std::string>("texts"); }),
              "receiver \"texts\": option \"text\" (what is stored) must be given");
    EXPECT_EQ(errorOf([] {
                  makeReceiver<std::string>("texts", {{"txet", "a"}});
              }),
              "receiver \"texts\": option \"txet\" is not known; there are text, times");
    EXPECT_THAT(errorOf([] {
                    makeReceiver<std::string>("texts", {{"text", "a"}, {"times", "x"}});
                }),
                StartsWith("receiver \"texts\": option \"times\" must be of type int: "));
    EXPECT_EQ(errorOf([] { makeReceiver<std::string>("throws"); }),
              "receiver \"throws\" of " + path + " could not be made: the device is on fire");
    EXPECT_THAT(errorOf([] { makeReceiver<std::string>("nothing"); }),
                StartsWith("there is no receiver \"nothing\"; there are bytes, "));
}

TEST(BadPlugins, Row35_AFileThatIsNoPluginIsNamedWithTheReason) {
    EXPECT_EQ(errorOfLoading("not_a_plugin"), "it is not a plugin: nothing in it includes plugins/plugin.hpp");
    EXPECT_EQ(errorOfLoading("no_entry"), "it has no entry dstream_plugin_v1");
    EXPECT_EQ(errorOfLoading("registers_nothing"), "it registers nothing");
    const PluginDirectory directory;
    std::ofstream(directory / "text.so") << "not a shared object, but long enough to look at as if it were one";
    EXPECT_EQ(errorOf([&] { loadPlugin(directory / "text.so"); }),
              "plugin " + directory.path() + "/text.so: it is not an ELF file");
    EXPECT_EQ(errorOf([&] { loadPlugin(directory / "gone.so"); }),
              "plugin " + directory.path() + "/gone.so: No such file or directory");
    fs::create_directory(directory / "folder.so");
    EXPECT_EQ(errorOf([&] { loadPlugin(directory / "folder.so"); }),
              "plugin " + directory.path() + "/folder.so: it is not a file");
}

TEST(BadPlugins, Row35_AnotherAbiOrBuildIsRefusedBeforeAnythingOfItRuns) {
    EXPECT_THAT(errorOfLoading("other_abi"), StartsWith("it was built with another abi 999 (the program: 1)"));
    EXPECT_EQ(errorOfLoading("other_build"),
              "it was built with another assertions debug (the program: " DSTREAM_PLUGIN_ASSERTIONS ")");
}

TEST(BadPlugins, Row35_OneThatCannotBeLinkedOrThrowsWhenItRegistersIsNamed) {
    EXPECT_THAT(errorOfLoading("bad_schema"), StartsWith("it threw while it registered: job \"bad_schema\": option "
                                                         "\"port\" must be of type int: "));
    EXPECT_THAT(errorOfLoading("undefined_symbol"), HasSubstr("undefined symbol: _Z7nowherev; "));
}

TEST(BadPlugins, RegisterNothingWhenANameIsTaken) {
    const std::string path = fs::canonical(good() / "good.so").string();
    EXPECT_EQ(errorOfLoading("duplicate"), "job \"count\" is registered already, by " + path);
}

TEST(BadPlugins, Row35_AreNotLoadedFromWhereAnybodyMayWriteOrFromTheWorkingDirectory) {
    const PluginDirectory directory;
    const std::string path = directory.add("registers_nothing");
    const auto error = [&] { return errorOf([&] { loadPlugin(path); }); };
    fs::permissions(path, fs::perms(0757));
    EXPECT_EQ(error(), "plugin " + path + ": everybody may write it; take that right away (chmod o-w)");
    fs::permissions(path, fs::perms(0755));
    fs::permissions(directory.path(), fs::perms(0777));
    EXPECT_EQ(error(),
              "plugin " + path + ": everybody may write to " + directory.path() + "; take that right away (chmod o-w)");
    const std::string nobodyElse = "plugin " + path + ": it registers nothing";
    fs::permissions(directory.path(), fs::perms(01777));
    EXPECT_EQ(error(), nobodyElse) << "only the owner of a file may replace it there";
    fs::permissions(directory.path(), fs::perms(0700));
    EXPECT_EQ(error(), nobodyElse);
    EXPECT_EQ(errorOf([] { loadPlugin("./good.so"); }),
              "plugin ./good.so: give an absolute path, or a name in a plugin directory");
    SparkConf conf;
    conf.set("dstream.plugin.path", ".");
    EXPECT_EQ(errorOf([&] { loadPlugin("good", conf); }),
              "plugin directory .: give an absolute path in dstream.plugin.path or DSTREAM_PLUGIN_PATH");
}

TEST(BadPlugins, Row35_AreRefusedBelowADirectoryThatEverybodyMayWriteTo) {
    const PluginDirectory directory;
    fs::create_directories(directory / "open/closed");
    const std::string path = directory / "open/closed/registers_nothing.so";
    fs::rename(directory.add("registers_nothing"), path);
    fs::create_symlink(path, directory / "link.so");
    fs::permissions(directory / "open", fs::perms(0757));
    for (const std::string& given : {path, directory / "link.so"}) {
        EXPECT_EQ(errorOf([&] { loadPlugin(given); }), "plugin " + path + ": everybody may write to " +
                                                           (directory / "open") + "; take that right away (chmod o-w)");
    }
    fs::permissions(directory / "open", fs::perms(01757));
    EXPECT_EQ(errorOf([&] { loadPlugin(path); }), "plugin " + path + ": it registers nothing");
    if (::chown((directory / "open/closed").c_str(), 1, 1) != 0) return;  // only root may
    EXPECT_THAT(errorOf([&] { loadPlugin(path); }), HasSubstr("everybody may write to " + (directory / "open")));
}

TEST(BadPlugins, DoNotKeepOthersOfTheirDirectoryFromBeingLoaded) {
    const static PluginDirectory directory;
    directory.add("other_abi");
    directory.add("other_sound");
    SparkConf conf;
    conf.set("dstream.plugin.path", directory.path());
    const auto wrong = loadPlugins(conf);
    ASSERT_FALSE(wrong.empty());
    EXPECT_THAT(wrong.front(), HasSubstr("other_abi.so: it was built with another abi 999"));
}

}  // namespace
}  // namespace dstream

DSTREAM_REGISTER_JOB("own_job", dstream::ownJob)
DSTREAM_REGISTER_RECEIVER("own_receiver", dstream::OwnReceiver)
