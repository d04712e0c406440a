// PyTorch's tensors without Python in between: its table of C functions for DLPack's exchange of
// arrays (DLPack 1.3, `__dlpack_c_exchange_api__`; PyTorch 2.10). A capsule for an array costs five
// times as much as a view of it does here, and a new tensor from Python twice as much.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <initializer_list>

#include "calls.h"

namespace fastlstm {

// Has tensors of this Python type read and made from now on; false if the type has no such table,
// or one that this file does not know.
bool learn_tensor_type(nanobind::handle type);

// A tensor that somebody else keeps alive: its type is not a part of it.
class TensorView {
 public:
  // An empty view for None and for whatever is not a dense tensor of the CPU whose numbers lie one
  // after another.
  explicit TensorView(nanobind::handle object);

  explicit operator bool() const { return present_; }
  int dimensions() const { return tensor_.ndim; }
  Index size(int dimension) const { return static_cast<Index>(tensor_.shape[dimension]); }
  bool has_shape(std::initializer_list<Index> shape) const;
  nanobind::dlpack::dtype dtype() const { return tensor_.dtype; }
  void* data() const { return static_cast<char*>(tensor_.data) + tensor_.byte_offset; }

 private:
  bool is_contiguous() const;

  nanobind::dlpack::dltensor tensor_{};
  bool present_ = false;
};

// A new tensor of the CPU, its memory not set.
class NewTensor {
 public:
  NewTensor(nanobind::dlpack::dtype dtype, std::initializer_list<Index> shape);
  ~NewTensor();
  NewTensor(const NewTensor&) = delete;
  NewTensor& operator=(const NewTensor&) = delete;

  void* data() const;
  nanobind::object to_python();  // once

 private:
  void* managed_ = nullptr;
};

}  // namespace fastlstm
