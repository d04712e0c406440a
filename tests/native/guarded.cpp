#include "guarded.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, size)
#define ASAN_UNPOISON_MEMORY_REGION(memory, size)
#endif

namespace fastlstm::native {

Guard guard = Guard::end;

namespace {

constexpr int untouched = 0xff;

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "guarded memory: %s\n", why);
  std::abort();
}

// A page that holds this, a forbidden page, the pages with the array, a forbidden page.
struct Header {
  std::size_t bytes;
  std::size_t pages;  // with the array
  void* mapped;
  std::size_t mapped_bytes;
};

unsigned char* first_page_of(void* memory) {
  return reinterpret_cast<unsigned char*>(reinterpret_cast<std::uintptr_t>(memory) / page_size() *
                                          page_size());
}

void check_untouched(const unsigned char* from, const unsigned char* to) {
  for (; from < to; ++from)
    if (*from != untouched) give_up("something was written outside an array");
}

}  // namespace

void* guarded_allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t page = page_size();
  const std::size_t pages = bytes == 0 ? 1 : (bytes + page - 1) / page;
  // Room for the first of them to be aligned to more than a page.
  const std::size_t mapped_bytes = (pages + 3) * page + (alignment > page ? alignment : 0);
  void* const mapped = mmap(nullptr, mapped_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const std::size_t unit = alignment > page ? alignment : page;
  const auto lowest = reinterpret_cast<std::uintptr_t>(mapped) + 2 * page;
  auto* const first = reinterpret_cast<unsigned char*>((lowest + unit - 1) / unit * unit);
  unsigned char* const header = first - 2 * page;
  if (mprotect(header, page, PROT_READ | PROT_WRITE) != 0 ||
      mprotect(first, pages * page, PROT_READ | PROT_WRITE) != 0)
    give_up("mprotect failed");
  new (header) Header{bytes, pages, mapped, mapped_bytes};
  std::memset(first, untouched, pages * page);
  // An empty array at the end would lie on the forbidden page, where its header is not found.
  std::size_t offset = bytes > 0 && guard == Guard::end ? pages * page - bytes : 0;
  offset = offset / alignment * alignment;
  ASAN_POISON_MEMORY_REGION(first, offset);
  ASAN_POISON_MEMORY_REGION(first + offset + bytes, pages * page - offset - bytes);
  return first + offset;
}

void guarded_free(void* memory) {
  const std::size_t page = page_size();
  unsigned char* const first = first_page_of(memory);
  const Header header = *reinterpret_cast<Header*>(first - 2 * page);
  ASAN_UNPOISON_MEMORY_REGION(first, header.pages * page);
  auto* const begin = static_cast<unsigned char*>(memory);
  check_untouched(first, begin);
  check_untouched(begin + header.bytes, first + header.pages * page);
  munmap(header.mapped, header.mapped_bytes);
}

}  // namespace fastlstm::native

// The engine's scratch memory, the only thing in it that is allocated with an alignment.
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return fastlstm::native::guarded_allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory, std::align_val_t) noexcept {
  if (memory != nullptr) fastlstm::native::guarded_free(memory);
}
