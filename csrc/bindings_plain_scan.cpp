// The scan of one plain layer and its backward pass, each in one call that makes its own results:
// for small layers, as in bindings_plain.cpp.
#include <algorithm>
#include <initializer_list>
#include <new>
#include <optional>

#include "arrays.h"
#include "engine.h"
#include "tensors.h"

namespace nb = nanobind;

namespace fastlstm {
namespace {

struct Sizes {
  Index T, B, I, H;
  nb::dlpack::dtype dtype;

  // That of states on the way back, and of sums.
  nb::dlpack::dtype sum_dtype() const {
    return dtype == dtype_of<bfloat16>() ? dtype_of<float>() : dtype;
  }
  bool fit(const TensorView& view, std::initializer_list<Index> shape) const {
    return view && view.dtype() == dtype && view.has_shape(shape);
  }
  bool fit_sums(const TensorView& view, std::initializer_list<Index> shape) const {
    return view && view.dtype() == sum_dtype() && view.has_shape(shape);
  }
};

std::optional<Sizes> sizes_of(const TensorView& input, const TensorView& h_0) {
  if (!input || !h_0 || input.dimensions() != 3 || h_0.dimensions() != 2) return {};
  const Sizes n{input.size(0), input.size(1), input.size(2), h_0.size(1), input.dtype()};
  if (n.T < 1 || n.B < 1 || n.I < 1 || n.H < 1) return {};
  return n;
}

template <typename T>
const T* read(const TensorView& view) {
  return view ? static_cast<const T*>(view.data()) : nullptr;
}
template <typename T>
T* write(const NewTensor& tensor) {
  return static_cast<T*>(tensor.data());
}

template <typename S>
Layer<S> layer_of(const Sizes& n, const TensorView& c_0, const TensorView& weight_hh,
                  bool reverse) {
  Layer<S> layer{};
  layer.steps = n.T;
  layer.rows = n.B;
  layer.hidden = layer.recurrent = n.H;
  layer.gate_count = 4;
  layer.reverse = reverse;
  layer.weight_hh = read<S>(weight_hh);
  layer.c_0 = read<S>(c_0);
  return layer;
}

// ------------------------------------------------------------------------------------- forward --

struct ForwardViews {
  TensorView input, h_0, c_0, weight_ih, weight_hh, bias_ih, bias_hh;
};

template <typename S>
nb::object scan(const Sizes& n, const ForwardViews& views, bool reverse, int threads) {
  const nb::dlpack::dtype of_cells = dtype_of<Sum<S>>();
  NewTensor output(n.dtype, {n.T, n.B, n.H}), h_n(n.dtype, {n.B, n.H}), c_n(n.dtype, {n.B, n.H});
  NewTensor gates(n.dtype, {n.T, n.B, 4 * n.H}), cells(of_cells, {n.T, n.B, n.H});
  ForwardCall<S> call{};
  call.layer = layer_of<S>(n, views.c_0, views.weight_hh, reverse);
  call.features = n.I;
  call.input = read<S>(views.input);
  call.weight_ih = read<S>(views.weight_ih);
  call.bias_ih = read<S>(views.bias_ih);
  call.bias_hh = read<S>(views.bias_hh);
  call.h_0 = read<S>(views.h_0);
  call.output = write<S>(output);
  call.h_n = write<S>(h_n);
  call.c_n = write<S>(c_n);
  call.gates = write<S>(gates);
  call.cells = write<Sum<S>>(cells);
  call.save_every = 1;
  run_released([&] { return run_forward(call, threads); });
  return nb::make_tuple(output.to_python(), h_n.to_python(), c_n.to_python(), gates.to_python(),
                        cells.to_python());
}

nb::object plain_scan(nb::handle input, nb::handle h_0, nb::handle c_0, nb::handle weight_ih,
                      nb::handle weight_hh, nb::handle bias_ih, nb::handle bias_hh, bool reverse,
                      int threads) {
  const ForwardViews views{TensorView(input),     TensorView(h_0),       TensorView(c_0),
                           TensorView(weight_ih), TensorView(weight_hh), TensorView(bias_ih),
                           TensorView(bias_hh)};
  const std::optional<Sizes> n = sizes_of(views.input, views.h_0);
  if (!n || !n->fit(views.h_0, {n->B, n->H}) || !n->fit(views.c_0, {n->B, n->H}) ||
      !n->fit(views.weight_ih, {4 * n->H, n->I}) || !n->fit(views.weight_hh, {4 * n->H, n->H}) ||
      !(bias_ih.is_none() || n->fit(views.bias_ih, {4 * n->H})) ||
      !(bias_hh.is_none() || n->fit(views.bias_hh, {4 * n->H})))
    return nb::none();
  const int team = checked_threads(threads);
  if (n->dtype == dtype_of<float>()) return scan<float>(*n, views, reverse, team);
  if (n->dtype == dtype_of<double>()) return scan<double>(*n, views, reverse, team);
  if (n->dtype == dtype_of<bfloat16>() && target().avx512_bf16)
    return scan<bfloat16>(*n, views, reverse, team);
  return nb::none();
}

// ------------------------------------------------------------------------------------ backward --

struct BackwardViews {
  TensorView input, h_0, c_0, weight_ih, weight_hh, output, gates, cells, d_output, d_h_n, d_c_n;
};

struct Needs {
  bool input, weight_ih, weight_hh, biases;
};

// dR = Σ d_z hᵀ: the first step starts from h_0, each other one from the output before it.
template <typename S>
bool add_hidden_products(const Sizes& n, const BackwardViews& views, bool reverse, const S* d_z,
                         Sum<S>* d_weight_hh, int threads) {
  const Index gates = 4 * n.H, others = (n.T - 1) * n.B;
  const Index first = reverse ? others : 0, rest = reverse ? 0 : n.B;
  ProductCall<S> call{};
  call.rows = gates;
  call.columns = n.H;
  call.a_row_stride = 1;
  call.a_depth_stride = gates;
  call.b_depth_stride = n.H;
  call.b_column_stride = 1;
  call.out = d_weight_hh;

  call.depth = n.B;
  call.a = d_z + first * gates;
  call.b = read<S>(views.h_0);
  if (!run_product(call, threads)) return false;
  if (others == 0) return true;
  call.depth = others;
  call.a = d_z + rest * gates;
  call.b = read<S>(views.output) + (reverse ? n.B * n.H : 0);
  call.accumulate = true;
  return run_product(call, threads);
}

// dW = Σ d_z xᵀ, and the sums of d_z, which are the gradient of either bias.
template <typename S>
bool write_input_products(const Sizes& n, const BackwardViews& views, const S* d_z,
                          Sum<S>* d_weight_ih, Sum<S>* d_bias, int threads) {
  ProductCall<S> call{};
  call.rows = 4 * n.H;
  call.depth = n.T * n.B;
  call.columns = n.I;
  call.a = d_z;
  call.a_row_stride = 1;
  call.a_depth_stride = 4 * n.H;
  call.b = read<S>(views.input);
  call.b_depth_stride = n.I;
  call.b_column_stride = 1;
  call.out = d_weight_ih;
  call.row_sums = d_bias;
  return run_product(call, threads);
}

// dx = d_z W.
template <typename S>
bool write_input_gradient(const Sizes& n, const BackwardViews& views, const S* d_z, Sum<S>* d_input,
                          int threads) {
  ProductCall<S> call{};
  call.rows = n.T * n.B;
  call.depth = 4 * n.H;
  call.columns = n.I;
  call.a = d_z;
  call.a_row_stride = 4 * n.H;
  call.a_depth_stride = 1;
  call.b = read<S>(views.weight_ih);
  call.b_depth_stride = n.I;
  call.b_column_stride = 1;
  call.out = d_input;
  return run_product(call, threads);
}

nb::object to_python(std::optional<NewTensor>& tensor) {
  return tensor ? tensor->to_python() : nb::none();
}

template <typename S>
nb::object scan_backward(const Sizes& n, const BackwardViews& views, const Needs& needs,
                         bool reverse, int threads) {
  using T = Sum<S>;
  const Index gates = 4 * n.H;
  const nb::dlpack::dtype sums = n.sum_dtype();
  const NewTensor d_z(n.dtype, {n.T, n.B, gates});
  NewTensor d_h_0(sums, {n.B, n.H}), d_c_0(sums, {n.B, n.H});
  std::optional<NewTensor> d_input, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh;
  if (needs.input) d_input.emplace(sums, std::initializer_list<Index>{n.T, n.B, n.I});
  if (needs.weight_ih) d_weight_ih.emplace(sums, std::initializer_list<Index>{gates, n.I});
  if (needs.weight_hh) d_weight_hh.emplace(sums, std::initializer_list<Index>{gates, n.H});
  if (needs.biases) d_bias_ih.emplace(sums, std::initializer_list<Index>{gates});
  if (needs.biases) d_bias_hh.emplace(sums, std::initializer_list<Index>{gates});

  BackwardCall<S> call{};
  call.layer = layer_of<S>(n, views.c_0, views.weight_hh, reverse);
  call.gates = read<S>(views.gates);
  call.cells = read<T>(views.cells);
  call.d_output = read<S>(views.d_output);
  call.d_h_n = read<T>(views.d_h_n);
  call.d_c_n = read<T>(views.d_c_n);
  S* const z = write<S>(d_z);
  call.d_z = z;
  call.d_h_0 = write<T>(d_h_0);
  call.d_c_0 = write<T>(d_c_0);
  run_released([&] {
    if (!run_backward(call, threads)) return false;
    if (d_weight_hh && !add_hidden_products(n, views, reverse, z, write<T>(*d_weight_hh), threads))
      return false;
    T* const d_bias = d_bias_ih ? write<T>(*d_bias_ih) : nullptr;
    if (d_weight_ih && !write_input_products(n, views, z, write<T>(*d_weight_ih), d_bias, threads))
      return false;
    if (d_bias_hh) std::copy(d_bias, d_bias + gates, write<T>(*d_bias_hh));
    return !d_input || write_input_gradient(n, views, z, write<T>(*d_input), threads);
  });
  return nb::make_tuple(to_python(d_input), d_h_0.to_python(), d_c_0.to_python(),
                        to_python(d_weight_ih), to_python(d_weight_hh), to_python(d_bias_ih),
                        to_python(d_bias_hh));
}

nb::object plain_scan_backward(nb::handle input, nb::handle h_0, nb::handle c_0,
                               nb::handle weight_ih, nb::handle weight_hh, nb::handle output,
                               nb::handle gates, nb::handle cells, nb::handle d_output,
                               nb::handle d_h_n, nb::handle d_c_n, bool needs_input,
                               bool needs_weight_ih, bool needs_weight_hh, bool needs_biases,
                               bool reverse, int threads) {
  const BackwardViews views{TensorView(input),     TensorView(h_0),       TensorView(c_0),
                            TensorView(weight_ih), TensorView(weight_hh), TensorView(output),
                            TensorView(gates),     TensorView(cells),     TensorView(d_output),
                            TensorView(d_h_n),     TensorView(d_c_n)};
  const Needs needs{needs_input, needs_weight_ih, needs_weight_hh, needs_biases};
  const std::optional<Sizes> n = sizes_of(views.input, views.h_0);
  if (!n || (needs.biases && !needs.weight_ih)) return nb::none();
  const std::initializer_list<Index> state{n->B, n->H}, states{n->T, n->B, n->H};
  if (!n->fit(views.h_0, state) || !n->fit(views.c_0, state) ||
      !n->fit(views.weight_ih, {4 * n->H, n->I}) || !n->fit(views.weight_hh, {4 * n->H, n->H}) ||
      !n->fit(views.output, states) || !n->fit(views.gates, {n->T, n->B, 4 * n->H}) ||
      !n->fit_sums(views.cells, states) ||
      !(d_output.is_none() || n->fit(views.d_output, states)) ||
      !(d_h_n.is_none() || n->fit_sums(views.d_h_n, state)) ||
      !(d_c_n.is_none() || n->fit_sums(views.d_c_n, state)))
    return nb::none();
  const int team = checked_threads(threads);
  if (n->dtype == dtype_of<float>()) return scan_backward<float>(*n, views, needs, reverse, team);
  if (n->dtype == dtype_of<double>()) return scan_backward<double>(*n, views, needs, reverse, team);
  if (n->dtype == dtype_of<bfloat16>() && target().avx512_bf16)
    return scan_backward<bfloat16>(*n, views, needs, reverse, team);
  return nb::none();
}

}  // namespace

void bind_plain_scan(nb::module_& module) {
  module.def("plain_scan", &plain_scan, nb::arg("input").none(), nb::arg("h_0").none(),
             nb::arg("c_0").none(), nb::arg("weight_ih").none(), nb::arg("weight_hh").none(),
             nb::arg("bias_ih").none(), nb::arg("bias_hh").none(), nb::arg("reverse"),
             nb::arg("threads"),
             "Run a plain layer and keep its gates and cells, or return None likewise.");
  module.def("plain_scan_backward", &plain_scan_backward, nb::arg("input").none(),
             nb::arg("h_0").none(), nb::arg("c_0").none(), nb::arg("weight_ih").none(),
             nb::arg("weight_hh").none(), nb::arg("output").none(), nb::arg("gates").none(),
             nb::arg("cells").none(), nb::arg("d_output").none(), nb::arg("d_h_n").none(),
             nb::arg("d_c_n").none(), nb::arg("needs_input"), nb::arg("needs_weight_ih"),
             nb::arg("needs_weight_hh"), nb::arg("needs_biases"), nb::arg("reverse"),
             nb::arg("threads"), "The gradients of a plain layer, or None likewise.");
}

}  // namespace fastlstm
