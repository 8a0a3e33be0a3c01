#include "rdd/detail/table_memory.hpp"

#include <cstddef>
#include <cstdint>
#include <new>
#include <sys/mman.h>

namespace dstream::detail {

namespace {

constexpr std::size_t kLargePage = std::size_t{1} << 21;

/// In large pages, when only a small part of the last one would not be used.
bool takesLargePages(std::size_t bytes) {
    return bytes > kLargePage / 2 && -bytes % kLargePage <= bytes / 16;
}

}  // namespace

void* allocateTable(std::size_t bytes) {
    if (!takesLargePages(bytes)) return ::operator new(bytes);
    // More than is wanted, of which what lies before and after the large pages is given back.
    const std::size_t whole = bytes + -bytes % kLargePage;
    void* const mapped =
        ::mmap(nullptr, whole + kLargePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* const begin = static_cast<std::byte*>(mapped);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(mapped) % kLargePage;
    if (before > 0) ::munmap(begin, before);
    ::munmap(begin + before + whole, kLargePage - before);
    ::madvise(begin + before, whole, MADV_HUGEPAGE);  // in vain where the system has none
    return begin + before;
}

void freeTable(void* memory, std::size_t bytes) noexcept {
    if (!takesLargePages(bytes)) return ::operator delete(memory);
    ::munmap(memory, bytes + -bytes % kLargePage);
}

}  // namespace dstream::detail
