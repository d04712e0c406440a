#include "memory.h"

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastlstm {

void advise_large_pages(void* memory, std::size_t bytes) {
#if defined(__linux__)
  constexpr std::uintptr_t page = 4096;
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (address + page - 1) / page * page;
  const std::uintptr_t last = (address + bytes) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  static_cast<void>(memory);
  static_cast<void>(bytes);
#endif
}

#if defined(FASTLSTM_EXACT_SCRATCH)

// For tests of where the kernels write: nothing beyond what they asked for, and always fresh.
MemoryBlock MemoryPool::take(std::size_t bytes) {
  return {::operator new(bytes, std::align_val_t{64}, std::nothrow), bytes};
}
void MemoryPool::give_back(MemoryBlock block) {
  ::operator delete(block.memory, std::align_val_t{64});
}

#else

MemoryBlock MemoryPool::take(std::size_t bytes) {
  for (Slot& slot : slots_) {
    if (slot.is_busy.exchange(true, std::memory_order_acquire)) continue;
    MemoryBlock found;
    if (slot.block.bytes >= bytes) found = std::exchange(slot.block, {});
    slot.is_busy.store(false, std::memory_order_release);
    if (found.memory != nullptr) return found;
  }
  bytes = (bytes + large_page - 1) / large_page * large_page;
  void* const memory = ::operator new(bytes, std::align_val_t{large_page}, std::nothrow);
  if (memory == nullptr) return {};
  advise_large_pages(memory, bytes);
  return {memory, bytes};
}

// A larger block takes the place of a smaller one.
void MemoryPool::give_back(MemoryBlock block) {
  for (Slot& slot : slots_) {
    if (block.memory == nullptr || block.bytes > most_kept) break;
    if (slot.is_busy.exchange(true, std::memory_order_acquire)) continue;
    if (slot.block.bytes < block.bytes) std::swap(slot.block, block);
    slot.is_busy.store(false, std::memory_order_release);
  }
  ::operator delete(block.memory, std::align_val_t{large_page});
}

#endif

// Never destroyed: another thread may be in a call when the process ends.
MemoryPool& scratch_pool() {
  static MemoryPool& pool = *new MemoryPool;
  return pool;
}

}  // namespace fastlstm
