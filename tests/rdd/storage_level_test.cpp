#include "rdd/storage_level.hpp"

#include "rdd/exceptions.hpp"

#include <gtest/gtest.h>

namespace dstream {
namespace {

TEST(StorageLevelTest, HasTheFlagsOfTheReference) {
    const std::tuple<const char*, int, int, const char*> cases[] = {
        {"NONE", 0, 1, "Serialized 1x Replicated"},
        {"DISK_ONLY", 8, 1, "Disk Serialized 1x Replicated"},
        {"DISK_ONLY_2", 8, 2, "Disk Serialized 2x Replicated"},
        {"DISK_ONLY_3", 8, 3, "Disk Serialized 3x Replicated"},
        {"MEMORY_ONLY", 5, 1, "Memory Deserialized 1x Replicated"},
        {"MEMORY_ONLY_2", 5, 2, "Memory Deserialized 2x Replicated"},
        {"MEMORY_ONLY_SER", 4, 1, "Memory Serialized 1x Replicated"},
        {"MEMORY_ONLY_SER_2", 4, 2, "Memory Serialized 2x Replicated"},
        {"MEMORY_AND_DISK", 13, 1, "Disk Memory Deserialized 1x Replicated"},
        {"MEMORY_AND_DISK_2", 13, 2, "Disk Memory Deserialized 2x Replicated"},
        {"MEMORY_AND_DISK_SER", 12, 1, "Disk Memory Serialized 1x Replicated"},
        {"MEMORY_AND_DISK_SER_2", 12, 2, "Disk Memory Serialized 2x Replicated"},
        {"OFF_HEAP", 14, 1, "Disk Memory (off heap) Serialized 1x Replicated"},
    };
    for (const auto& [name, flags, replication, description] : cases) {
        const StorageLevel level = StorageLevel::fromString(name);
        EXPECT_EQ(level.toInt(), flags) << name;
        EXPECT_EQ(level.replication(), replication) << name;
        EXPECT_EQ(level.description(), description);
        EXPECT_EQ(level.isValid(), flags != 0) << name;
    }
    EXPECT_EQ(StorageLevel::fromString("MEMORY_ONLY"), StorageLevel::MEMORY_ONLY);
    EXPECT_EQ(StorageLevel::MEMORY_AND_DISK.toString(), "StorageLevel(disk, memory, deserialized, 1 replicas)");
}

TEST(StorageLevelTest, RefusesWhatDoesNotExist) {
    EXPECT_THROW(StorageLevel::fromString("MEMORY"), IllegalArgumentException);
    EXPECT_THROW(StorageLevel(true, true, false, false, 40), IllegalArgumentException);
    EXPECT_THROW(StorageLevel(true, true, true, true), IllegalArgumentException);
    EXPECT_FALSE(StorageLevel(true, false, false, false, 0).isValid());
}

}  // namespace
}  // namespace dstream
