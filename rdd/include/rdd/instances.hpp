#pragma once

#include "rdd/rdd.hpp"

// What operators need of an element type whatever the program does with it: its nodes, blocks, codec and tables. The
// library has these compiled for int, int64_t, std::string and some pairs of them. A program of several files can have
// its own types compiled in one of them, too; both lines stand outside of any namespace:
//
//     DSTREAM_ELEMENT(extern template, shop::Click)    // in the header that declares Click
//     DSTREAM_ELEMENT(template, shop::Click)           // in one source file

/// Of an element type that owns what it holds.
#define DSTREAM_ELEMENT(linkage, ...)                                                                                  \
    linkage class dstream::VectorBlock<__VA_ARGS__>;                                                                   \
    linkage const dstream::BlockCodec* dstream::detail::blockCodecFor<__VA_ARGS__>();                                  \
    linkage class dstream::detail::OwnedArrayCursor<__VA_ARGS__>;                                                      \
    linkage std::vector<__VA_ARGS__> dstream::detail::take(const std::shared_ptr<dstream::RddNode<__VA_ARGS__>>&, int, \
                                                           const char*, std::source_location);                         \
    linkage std::vector<__VA_ARGS__> dstream::detail::collect(const dstream::detail::PlanOf<__VA_ARGS__>&,             \
                                                              std::source_location);                                   \
    linkage int64_t dstream::detail::count(const dstream::detail::PlanOf<__VA_ARGS__>&, std::source_location);         \
    DSTREAM_VIEW(linkage, __VA_ARGS__)

/// Of an element type that looks into a buffer.
#define DSTREAM_VIEW(linkage, ...)                                                    \
    linkage class dstream::detail::SharedArrayCursor<__VA_ARGS__, dstream::BlockPtr>; \
    linkage class dstream::RddNode<__VA_ARGS__>;                                      \
    linkage class dstream::detail::BlockFilesNode<__VA_ARGS__>;

/// Of a key and a value that come out of a shuffle. Names of types that contain a comma need an alias.
#define DSTREAM_PAIR(linkage, K, V)                                             \
    DSTREAM_ELEMENT(linkage, std::pair<K, V>)                                   \
    linkage class dstream::detail::PairBlock<K, V>;                             \
    linkage const dstream::BlockCodec* dstream::detail::pairBlockCodec<K, V>(); \
    linkage class dstream::detail::FlatTable<K, V>;                             \
    linkage class dstream::detail::CombineBuffer<K, V>;                         \
    linkage class dstream::detail::CombinedNodeBase<K, V>;                      \
    linkage class dstream::detail::BlocksCursor<K, V>;

/// The types of the library's list.
#define DSTREAM_BUILT_IN_INSTANCES(linkage)                 \
    DSTREAM_ELEMENT(linkage, int)                           \
    DSTREAM_ELEMENT(linkage, int64_t)                       \
    DSTREAM_ELEMENT(linkage, std::string)                   \
    DSTREAM_PAIR(linkage, int64_t, int64_t)                 \
    DSTREAM_PAIR(linkage, std::string, int)                 \
    DSTREAM_PAIR(linkage, std::string, int64_t)             \
    DSTREAM_VIEW(linkage, std::string_view)                 \
    DSTREAM_VIEW(linkage, std::pair<std::string_view, int>) \
    DSTREAM_VIEW(linkage, std::pair<std::string_view, int64_t>)

DSTREAM_BUILT_IN_INSTANCES(extern template)
