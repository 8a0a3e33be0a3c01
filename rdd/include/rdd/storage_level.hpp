#pragma once

#include <string>
#include <string_view>

namespace dstream {

/// Says where the blocks of a persisted RDD or stream are kept, and in what form.
/// `deserialized = false` is a permission, not a duty: a block in memory may stay as objects.
///
///     lines.persist(StorageLevel::MEMORY_AND_DISK_SER);
class StorageLevel {
public:
    /// The level NONE.
    constexpr StorageLevel() = default;
    /// @throws IllegalArgumentException  when `replication` is 40 or more, or for off-heap and deserialized together
    constexpr StorageLevel(bool useDisk, bool useMemory, bool useOffHeap, bool deserialized, int replication = 1)
        : useDisk_(useDisk),
          useMemory_(useMemory),
          useOffHeap_(useOffHeap),
          deserialized_(deserialized),
          replication_(replication) {
        if (replication >= 40 || (useOffHeap && deserialized)) refuse(replication);
    }

    static const StorageLevel NONE;
    static const StorageLevel DISK_ONLY;
    static const StorageLevel DISK_ONLY_2;
    static const StorageLevel DISK_ONLY_3;
    static const StorageLevel MEMORY_ONLY;
    static const StorageLevel MEMORY_ONLY_2;
    static const StorageLevel MEMORY_ONLY_SER;
    static const StorageLevel MEMORY_ONLY_SER_2;
    static const StorageLevel MEMORY_AND_DISK;
    static const StorageLevel MEMORY_AND_DISK_2;
    static const StorageLevel MEMORY_AND_DISK_SER;
    static const StorageLevel MEMORY_AND_DISK_SER_2;
    static const StorageLevel OFF_HEAP;

    /// Returns the constant of that name.
    /// @throws IllegalArgumentException  when there is none
    static StorageLevel fromString(std::string_view name);

    constexpr bool useDisk() const { return useDisk_; }
    constexpr bool useMemory() const { return useMemory_; }
    constexpr bool useOffHeap() const { return useOffHeap_; }
    constexpr bool deserialized() const { return deserialized_; }
    constexpr int replication() const { return replication_; }

    constexpr bool isValid() const { return (useDisk_ || useMemory_) && replication_ > 0; }
    /// Returns the flags as one number: disk 8, memory 4, off-heap 2, deserialized 1.
    constexpr int toInt() const { return useDisk_ * 8 + useMemory_ * 4 + useOffHeap_ * 2 + deserialized_; }
    constexpr bool operator==(const StorageLevel&) const = default;

    /// Returns words for the page, as "Disk Memory Deserialized 1x Replicated".
    std::string description() const;
    /// Returns "StorageLevel(disk, memory, deserialized, 1 replicas)".
    std::string toString() const;

private:
    [[noreturn]] static void refuse(int replication);

    bool useDisk_ = false;
    bool useMemory_ = false;
    bool useOffHeap_ = false;
    bool deserialized_ = false;
    int replication_ = 1;
};

inline constexpr StorageLevel StorageLevel::NONE{};
inline constexpr StorageLevel StorageLevel::DISK_ONLY{true, false, false, false};
inline constexpr StorageLevel StorageLevel::DISK_ONLY_2{true, false, false, false, 2};
inline constexpr StorageLevel StorageLevel::DISK_ONLY_3{true, false, false, false, 3};
inline constexpr StorageLevel StorageLevel::MEMORY_ONLY{false, true, false, true};
inline constexpr StorageLevel StorageLevel::MEMORY_ONLY_2{false, true, false, true, 2};
inline constexpr StorageLevel StorageLevel::MEMORY_ONLY_SER{false, true, false, false};
inline constexpr StorageLevel StorageLevel::MEMORY_ONLY_SER_2{false, true, false, false, 2};
inline constexpr StorageLevel StorageLevel::MEMORY_AND_DISK{true, true, false, true};
inline constexpr StorageLevel StorageLevel::MEMORY_AND_DISK_2{true, true, false, true, 2};
inline constexpr StorageLevel StorageLevel::MEMORY_AND_DISK_SER{true, true, false, false};
inline constexpr StorageLevel StorageLevel::MEMORY_AND_DISK_SER_2{true, true, false, false, 2};
inline constexpr StorageLevel StorageLevel::OFF_HEAP{true, true, true, false};

}  // namespace dstream
