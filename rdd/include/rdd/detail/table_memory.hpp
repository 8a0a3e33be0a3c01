#pragma once

#include <cstddef>

namespace dstream::detail {

/// Memory for tables that are read here and there: from 2 MiB on in large pages, where the system has them.
void* allocateTable(std::size_t bytes);
void freeTable(void* memory, std::size_t bytes) noexcept;

/// An allocator of such memory.
template <class T>
struct TableAllocator {
    using value_type = T;
    TableAllocator() = default;
    template <class U>
    TableAllocator(const TableAllocator<U>&) {}  // NOLINT: as the standard's allocators convert
    T* allocate(std::size_t n) { return static_cast<T*>(allocateTable(n * sizeof(T))); }
    void deallocate(T* memory, std::size_t n) noexcept { freeTable(memory, n * sizeof(T)); }
    friend bool operator==(const TableAllocator&, const TableAllocator&) { return true; }
};

}  // namespace dstream::detail
