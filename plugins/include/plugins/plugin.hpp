#pragma once

#include "plugins/options.hpp"
#include "rdd/codec.hpp"
#include "receivers/receiver.hpp"

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

/// What a plugin is made of. A plugin is a shared object with one or more of
///
///     DSTREAM_REGISTER_RECEIVER("sensor", SensorReceiver)
///     DSTREAM_REGISTER_SINK("ledger", LedgerSink)
///     DSTREAM_REGISTER_JOB("count", countSensors, {"room", OptionType::kString, kRequired, "which sensors"})
///
/// in its sources, at namespace scope. The same lines in a program register with the program itself.

namespace dstream {

class StreamingContext;
template <class T>
class TransactionalSink;

/// What something is registered as.
enum class PluginKind { kReceiver, kSink, kJob };

namespace detail {

using JobFunction = std::function<void(StreamingContext&, const Options&)>;

/// One thing that a shared object or a program has registered. Built before main() or while the object is loaded, so it
/// runs none of the plugin's own code yet.
class Registration {
public:
    using Make = std::shared_ptr<void> (*)(const Options&);
    using Run = JobFunction (*)();

    Registration(PluginKind kind, const char* name, OptionSchema (*schema)(), const std::type_info* type,
                 std::string (*elementType)(), std::size_t elementSize, Make make, Run run) noexcept;
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

    const PluginKind kind;
    const char* const name;
    OptionSchema (*const schema)();
    const std::type_info* const type;    // Receiver<T> or TransactionalSink<T>; null for a job
    std::string (*const elementType)();  // null for a job
    const std::size_t elementSize;
    const Make make;  // a shared_ptr to what `type` says; null for a job
    const Run run;    // null unless a job
    const Registration* const next;
};

/// The registrations of this shared object, or of this program: hidden, so that each has a list of its own.
[[gnu::visibility("hidden")]] inline const Registration* moduleRegistrations = nullptr;

inline Registration::Registration(PluginKind kindOf, const char* nameOf, OptionSchema (*schemaOf)(),
                                  const std::type_info* typeOf, std::string (*elementTypeOf)(),
                                  std::size_t elementSizeOf, Make makeOf, Run runOf) noexcept
    : kind(kindOf),
      name(nameOf),
      schema(schemaOf),
      type(typeOf),
      elementType(elementTypeOf),
      elementSize(elementSizeOf),
      make(makeOf),
      run(runOf),
      next(moduleRegistrations) {
    moduleRegistrations = this;
}

template <class T>
std::string elementTypeName() {
    if constexpr (std::is_same_v<T, std::string>) {
        return "text";
    } else if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
        return "bytes";
    } else if constexpr (std::is_same_v<T, std::pair<std::string, std::string>>) {
        return "key-value";
    } else {
        return typeName<T>();
    }
}

template <class P>
OptionSchema schemaOf() {
    if constexpr (requires {
                      { P::options() } -> std::convertible_to<OptionSchema>;
                  }) {
        return P::options();
    } else {
        return {};
    }
}

template <class Interface, class P>
std::shared_ptr<void> makePlugin(const Options& options) {
    std::shared_ptr<Interface> made;
    if constexpr (std::is_constructible_v<P, const Options&>) {
        made = std::make_shared<P>(options);
    } else {
        static_assert(std::is_default_constructible_v<P>, "needs a constructor from const Options&, or a default one");
        made = std::make_shared<P>();
    }
    return made;
}

template <class T>
T recordOf(const Receiver<T>&);

template <class P>
Registration registerReceiver(const char* name) noexcept {
    using T = decltype(recordOf(std::declval<const P&>()));
    return {PluginKind::kReceiver,       name,   &schemaOf<P>, &typeid(Receiver<T>), &elementTypeName<T>, sizeof(T),
            &makePlugin<Receiver<T>, P>, nullptr};
}

template <class P>
Registration registerSink(const char* name) noexcept {
    using T = typename P::Record;
    return {PluginKind::kSink,
            name,
            &schemaOf<P>,
            &typeid(TransactionalSink<T>),
            &elementTypeName<T>,
            sizeof(T),
            &makePlugin<TransactionalSink<T>, P>,
            nullptr};
}

inline Registration registerJob(const char* name, OptionSchema (*schema)(), Registration::Run run) noexcept {
    return {PluginKind::kJob, name, schema, nullptr, nullptr, 0, nullptr, run};
}

}  // namespace detail
}  // namespace dstream

/// Number of the layout of what crosses the border of a plugin; rises with every incompatible change of it.
#define DSTREAM_PLUGIN_ABI 1

#define DSTREAM_PLUGIN_TEXT_(x) #x
#define DSTREAM_PLUGIN_TEXT(x) DSTREAM_PLUGIN_TEXT_(x)
#define DSTREAM_PLUGIN_JOIN_(a, b) a##b
#define DSTREAM_PLUGIN_JOIN(a, b) DSTREAM_PLUGIN_JOIN_(a, b)

#if defined(__clang__)
#define DSTREAM_PLUGIN_COMPILER "clang-" DSTREAM_PLUGIN_TEXT(__clang_major__)
#else
#define DSTREAM_PLUGIN_COMPILER "gcc-" DSTREAM_PLUGIN_TEXT(__GNUC__)
#endif
#if defined(_LIBCPP_VERSION)
#define DSTREAM_PLUGIN_STDLIB "libc++-" DSTREAM_PLUGIN_TEXT(_LIBCPP_VERSION)
#else
#define DSTREAM_PLUGIN_STDLIB \
    "libstdc++-" DSTREAM_PLUGIN_TEXT(_GLIBCXX_RELEASE) "-cxx11abi-" DSTREAM_PLUGIN_TEXT(_GLIBCXX_USE_CXX11_ABI)
#endif
#if defined(_GLIBCXX_DEBUG)
#define DSTREAM_PLUGIN_ASSERTIONS "debug"
#elif defined(_GLIBCXX_ASSERTIONS)
#define DSTREAM_PLUGIN_ASSERTIONS "on"
#else
#define DSTREAM_PLUGIN_ASSERTIONS "off"
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DSTREAM_PLUGIN_SANITIZER "address"
#elif __has_feature(thread_sanitizer)
#define DSTREAM_PLUGIN_SANITIZER "thread"
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define DSTREAM_PLUGIN_SANITIZER "address"
#elif defined(__SANITIZE_THREAD__)
#define DSTREAM_PLUGIN_SANITIZER "thread"
#endif
#ifndef DSTREAM_PLUGIN_SANITIZER
#define DSTREAM_PLUGIN_SANITIZER "none"
#endif

/// How this file is being built: what a plugin and the program that loads it must have in common.
#define DSTREAM_PLUGIN_BUILD                                                                \
    "abi=" DSTREAM_PLUGIN_TEXT(DSTREAM_PLUGIN_ABI) " compiler=" DSTREAM_PLUGIN_COMPILER     \
                                                   " stdlib=" DSTREAM_PLUGIN_STDLIB         \
                                                   " assertions=" DSTREAM_PLUGIN_ASSERTIONS \
                                                   " sanitizer=" DSTREAM_PLUGIN_SANITIZER

namespace dstream::detail {

/// The text above in a section of its own, where it is read before the object is loaded.
[[gnu::section("dstream_plugin"), gnu::used]] static const char kPluginBuild[] = DSTREAM_PLUGIN_BUILD;

/// What the one function that a plugin exports returns.
struct PluginEntry {
    const char* build;
    const Registration* registrations;
};

}  // namespace dstream::detail

/// The one function that a plugin exports.
extern "C" [[gnu::used, gnu::visibility("default")]] inline dstream::detail::PluginEntry dstream_plugin_v1() {
    return {dstream::detail::kPluginBuild, dstream::detail::moduleRegistrations};
}

#define DSTREAM_REGISTER(registration)                                                                      \
    static const ::dstream::detail::Registration DSTREAM_PLUGIN_JOIN(dstreamPluginRegistration, __LINE__) = \
        ::dstream::detail::registration;

/// Registers a class derived from Receiver<T> under a name. It has a constructor from `const Options&` and a
/// `static OptionSchema options()`, or neither.
#define DSTREAM_REGISTER_RECEIVER(name, ...) DSTREAM_REGISTER(registerReceiver<__VA_ARGS__>(name))

/// Registers a class derived from TransactionalSink<T> under a name, in the same way.
#define DSTREAM_REGISTER_SINK(name, ...) DSTREAM_REGISTER(registerSink<__VA_ARGS__>(name))

/// Registers a job under a name: a function `void(StreamingContext&, const Options&)` that defines the streams of a
/// program, and the options that it takes.
#define DSTREAM_REGISTER_JOB(name, define, ...)                    \
    DSTREAM_REGISTER(registerJob(                                  \
        name, [] { return ::dstream::OptionSchema{__VA_ARGS__}; }, \
        []() -> ::dstream::detail::JobFunction { return define; }))
