// Arrays as they come from Python, checked before a pointer is taken from them, and the kernels run
// on them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "calls.h"
#include "dispatch.h"

namespace fastlstm {

using In = std::optional<nanobind::ndarray<nanobind::ro>>;
using Out = std::optional<nanobind::ndarray<>>;
using Shape = std::vector<Index>;

inline std::string text_of(const Shape& shape) {
  std::string text = "[";
  for (const Index size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

template <typename Array>
Shape shape_of(const Array& array) {
  Shape shape;
  for (std::size_t i = 0; i < array.ndim(); ++i)
    shape.push_back(static_cast<Index>(array.shape(i)));
  return shape;
}

template <typename Array>
bool is_contiguous(const Array& array) {
  if (array.size() == 0) return true;
  Index expected = 1;
  for (std::size_t i = array.ndim(); i-- > 0;) {
    const Index size = static_cast<Index>(array.shape(i));
    if (size != 1 && static_cast<Index>(array.stride(i)) != expected) return false;
    expected *= size;
  }
  return true;
}

[[noreturn]] inline void refuse(const char* name, const std::string& what) {
  throw nanobind::value_error((std::string("engine: ") + name + " " + what).c_str());
}

template <typename T>
nanobind::dlpack::dtype dtype_of() {
  return nanobind::dtype<T>();
}
template <>
inline nanobind::dlpack::dtype dtype_of<bfloat16>() {
  return {static_cast<std::uint8_t>(nanobind::dlpack::dtype_code::Bfloat), 16, 1};
}

template <typename T, typename Array>
void check_kind(const char* name, const Array& array) {
  if (array.device_type() != nanobind::device::cpu::value) refuse(name, "must be on the CPU");
  if (array.dtype() != dtype_of<T>())
    throw nanobind::type_error((std::string("engine: ") + name + " has the wrong dtype").c_str());
}

// The shape of an array that must be given and have so many dimensions.
template <typename Array>
Shape shape_of_rank(std::size_t rank, const char* name, const std::optional<Array>& array) {
  if (!array) refuse(name, "is missing");
  const Shape shape = shape_of(*array);
  if (shape.size() != rank)
    refuse(name, "must have " + std::to_string(rank) + " dimensions, got " + text_of(shape));
  return shape;
}

// The pointer to a contiguous array of this type and shape; null where none is given.
template <typename T, typename Array>
T* pointer(const char* name, const std::optional<Array>& array, const Shape& shape) {
  if (!array) return nullptr;
  check_kind<std::remove_const_t<T>>(name, *array);
  const Shape found = shape_of(*array);
  if (found != shape) refuse(name, "must have shape " + text_of(shape) + ", got " + text_of(found));
  if (!is_contiguous(*array)) refuse(name, "must be contiguous");
  return static_cast<T*>(array->data());
}

// The same for an array that must be given.
template <typename T, typename Array>
T* needed(const char* name, const std::optional<Array>& array, const Shape& shape) {
  if (!array) refuse(name, "is missing");
  return pointer<T>(name, array, shape);
}

// The same for one that must be given exactly where a switch is on.
template <typename T, typename Array>
T* needed_if(bool on, const char* name, const std::optional<Array>& array, const Shape& shape) {
  if (on) return needed<T>(name, array, shape);
  if (array) refuse(name, "is given and not used");
  return nullptr;
}

inline int checked_threads(int threads) {
  if (threads < 1 || threads > 1024)
    throw nanobind::value_error("engine: threads must be between 1 and 1024");
  return threads;
}

// Runs work, which returns whether there was enough memory, without the interpreter's lock.
template <typename Work>
void run_released(const Work& work) {
  bool enough_memory;
  {
    const nanobind::gil_scoped_release released;
    enough_memory = work();
  }
  if (!enough_memory) throw std::bad_alloc();
}

// Runs `work` for the scalar type of `array`, without the interpreter's lock, which it takes from
// `prepare`'s result: the call, every pointer of which has been checked.
template <bool takes_bfloat16 = true, typename Array, typename Prepare>
void run_for_dtype(const char* name, const std::optional<Array>& array, const Prepare& prepare) {
  if (!array) refuse(name, "is missing");
  const auto run = [&](auto zero) { run_released(prepare(zero)); };
  if (array->dtype() == dtype_of<float>()) return run(0.0f);
  if (array->dtype() == dtype_of<double>()) return run(0.0);
  if constexpr (takes_bfloat16) {
    if (array->dtype() == dtype_of<bfloat16>() && target().avx512_bf16) return run(bfloat16{});
  }
  throw nanobind::type_error((std::string("engine: ") + name +
                              " must be of dtype float32 or float64, or bfloat16 where the "
                              "CPU multiplies it")
                                 .c_str());
}

}  // namespace fastlstm
