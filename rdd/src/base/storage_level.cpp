#include "rdd/storage_level.hpp"

#include "rdd/exceptions.hpp"

#include <utility>

namespace dstream {

StorageLevel StorageLevel::fromString(std::string_view name) {
    static constexpr std::pair<std::string_view, StorageLevel> kLevels[] = {
        {"NONE", NONE},
        {"DISK_ONLY", DISK_ONLY},
        {"DISK_ONLY_2", DISK_ONLY_2},
        {"DISK_ONLY_3", DISK_ONLY_3},
        {"MEMORY_ONLY", MEMORY_ONLY},
        {"MEMORY_ONLY_2", MEMORY_ONLY_2},
        {"MEMORY_ONLY_SER", MEMORY_ONLY_SER},
        {"MEMORY_ONLY_SER_2", MEMORY_ONLY_SER_2},
        {"MEMORY_AND_DISK", MEMORY_AND_DISK},
        {"MEMORY_AND_DISK_2", MEMORY_AND_DISK_2},
        {"MEMORY_AND_DISK_SER", MEMORY_AND_DISK_SER},
        {"MEMORY_AND_DISK_SER_2", MEMORY_AND_DISK_SER_2},
        {"OFF_HEAP", OFF_HEAP},
    };
    for (const auto& [known, level] : kLevels) {
        if (known == name) return level;
    }
    throw IllegalArgumentException("Invalid StorageLevel: " + std::string(name) +
                                   "; expected a name as MEMORY_AND_DISK_SER_2");
}

std::string StorageLevel::description() const {
    std::string text;
    if (useDisk_) text += "Disk ";
    if (useMemory_) text += useOffHeap_ ? "Memory (off heap) " : "Memory ";
    text += deserialized_ ? "Deserialized " : "Serialized ";
    return text + std::to_string(replication_) + "x Replicated";
}

std::string StorageLevel::toString() const {
    std::string text = "StorageLevel(";
    if (useDisk_) text += "disk, ";
    if (useMemory_) text += "memory, ";
    if (useOffHeap_) text += "offheap, ";
    if (deserialized_) text += "deserialized, ";
    return text + std::to_string(replication_) + " replicas)";
}

void StorageLevel::refuse(int replication) {
    if (replication >= 40) {
        throw IllegalArgumentException("replication must be less than 40: " + std::to_string(replication));
    }
    throw IllegalArgumentException("an off-heap storage level cannot be deserialized");
}

}  // namespace dstream
