// Scratch memory that outlives the calls that use it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace fastlstm {

// Asks for large pages; a refusal changes nothing but the time.
void advise_large_pages(void* memory, std::size_t bytes);

struct MemoryBlock {
  void* memory = nullptr;
  std::size_t bytes = 0;
};

// Keeps the blocks of finished calls, a few and not the largest, for the calls to come.
//
// Without a lock, so that a process that forks in the middle of a call leaves nothing locked.
class MemoryPool {
 public:
  // At least so many bytes, aligned to a large page; null if there is no memory.
  MemoryBlock take(std::size_t bytes);
  void give_back(MemoryBlock block);

 private:
  static constexpr std::size_t large_page = std::size_t{2} << 20;
  static constexpr std::size_t most_kept = std::size_t{64} << 20;  // of one block

  struct Slot {
    std::atomic<bool> is_busy{false};
    MemoryBlock block;
  };
  std::array<Slot, 4> slots_;
};

MemoryPool& scratch_pool();

}  // namespace fastlstm
