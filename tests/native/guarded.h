// Memory that ends, or begins, at a page that nobody may touch: one element too far is a crash. A
// sanitizer sees what the compiler generates from C++; it does not see the masked loads and stores
// of the kernels, and the processor sees them all.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

namespace fastlstm::native {

// Which end of an array touches forbidden memory. What is left of the page at the other end is
// checked for writes when the array is freed.
enum class Guard { end, begin };
extern Guard guard;

// All bits are set, which is NaN in either type: a missed write, or a read before it, shows.
void* guarded_allocate(std::size_t bytes, std::size_t alignment);
void guarded_free(void* memory);

template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(std::ptrdiff_t count)
      : count_(count),
        data_(static_cast<T*>(
            guarded_allocate(static_cast<std::size_t>(count) * sizeof(T), alignof(T)))) {}
  Array(const Array& other) : Array(other.count_) {
    if (count_ > 0) std::memcpy(data_, other.data_, bytes());
  }
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array other) noexcept {
    swap(other);
    return *this;
  }
  ~Array() {
    if (data_ != nullptr) guarded_free(data_);
  }

  // Null for an array that was never given, as the kernels want it.
  T* get() { return data_; }
  const T* get() const { return data_; }
  std::ptrdiff_t size() const { return count_; }
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * sizeof(T); }
  T& operator[](std::ptrdiff_t i) { return data_[i]; }
  const T& operator[](std::ptrdiff_t i) const { return data_[i]; }

 private:
  void swap(Array& other) {
    std::swap(count_, other.count_);
    std::swap(data_, other.data_);
  }

  std::ptrdiff_t count_ = 0;
  T* data_ = nullptr;
};

}  // namespace fastlstm::native
