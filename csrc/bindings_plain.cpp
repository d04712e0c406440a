// A stack of plain layers without gradients in one call: what surrounds a kernel in Python takes
// longer than one step of a small layer does.
#include <nanobind/stl/vector.h>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "arrays.h"
#include "engine.h"
#include "tensors.h"

namespace nb = nanobind;

namespace fastlstm {
namespace {

// How the user's tensors lie.
struct Layout {
  bool has_steps;    // the input has a dimension of time
  bool batch_first;  // ... after that of the batch
  bool stacked;      // the states have a dimension of layers, and there is an output beside them
};

struct Sizes {
  Index T, B, I, H, layers;
  bool batched;
};

// The tensors of one layer, in `nn.LSTM`'s order.
struct Parameters {
  TensorView weight_ih, weight_hh;
  std::optional<TensorView> bias_ih, bias_hh;

  bool fit(Index features, Index hidden, nb::dlpack::dtype dtype) const {
    const auto fits = [&](const TensorView& view, std::initializer_list<Index> shape) {
      return view && view.dtype() == dtype && view.has_shape(shape);
    };
    return fits(weight_ih, {4 * hidden, features}) && fits(weight_hh, {4 * hidden, hidden}) &&
           (!bias_ih || (fits(*bias_ih, {4 * hidden}) && fits(*bias_hh, {4 * hidden})));
  }
};

std::vector<Parameters> parameters_of(const nb::list& tensors, bool biased) {
  std::vector<Parameters> layers;
  const std::size_t of_layer = biased ? 4 : 2;
  if (tensors.size() == 0 || tensors.size() % of_layer != 0) return layers;
  layers.reserve(tensors.size() / of_layer);
  for (std::size_t first = 0; first < tensors.size(); first += of_layer) {
    Parameters layer{TensorView(tensors[first]), TensorView(tensors[first + 1]), {}, {}};
    if (biased) {
      layer.bias_ih.emplace(tensors[first + 2]);
      layer.bias_hh.emplace(tensors[first + 3]);
    }
    layers.push_back(layer);
  }
  return layers;
}

// The sizes of a call, or nothing where this way of running it does not apply.
std::optional<Sizes> sizes_of(const TensorView& input, const std::vector<Parameters>& layers,
                              const Layout& layout) {
  if (layers.empty() || !layers[0].weight_hh || layers[0].weight_hh.dimensions() != 2) return {};
  const int unbatched = layout.has_steps ? 2 : 1;
  if (!input || (input.dimensions() != unbatched && input.dimensions() != unbatched + 1)) return {};
  Sizes n{};
  n.batched = input.dimensions() == unbatched + 1;
  n.I = input.size(input.dimensions() - 1);
  n.H = layers[0].weight_hh.size(1);
  n.layers = static_cast<Index>(layers.size());
  n.T = layout.has_steps ? input.size(0) : 1;
  n.B = n.batched ? input.size(layout.has_steps ? 1 : 0) : 1;
  if (layout.batch_first && n.batched) {
    if (n.T != 1 && n.B != 1) return {};  // else both orders are the same memory
    std::swap(n.T, n.B);
  }
  if (n.T < 1 || n.B < 1 || n.I < 1 || n.H < 1) return {};
  for (std::size_t k = 0; k < layers.size(); ++k)
    if (!layers[k].fit(k == 0 ? n.I : n.H, n.H, input.dtype())) return {};
  return n;
}

bool is_state(const TensorView& view, const Sizes& n, const Layout& layout,
              nb::dlpack::dtype dtype) {
  if (!view || view.dtype() != dtype) return false;
  if (!layout.stacked) return n.batched ? view.has_shape({n.B, n.H}) : view.has_shape({n.H});
  return n.batched ? view.has_shape({n.layers, n.B, n.H}) : view.has_shape({n.layers, n.H});
}

NewTensor new_state(const Sizes& n, const Layout& layout, nb::dlpack::dtype dtype) {
  if (!layout.stacked) return n.batched ? NewTensor(dtype, {n.B, n.H}) : NewTensor(dtype, {n.H});
  return n.batched ? NewTensor(dtype, {n.layers, n.B, n.H}) : NewTensor(dtype, {n.layers, n.H});
}

NewTensor new_output(const Sizes& n, const Layout& layout, nb::dlpack::dtype dtype) {
  if (!layout.has_steps) return n.batched ? NewTensor(dtype, {n.B, n.H}) : NewTensor(dtype, {n.H});
  if (!n.batched) return NewTensor(dtype, {n.T, n.H});
  return layout.batch_first ? NewTensor(dtype, {n.B, n.T, n.H}) : NewTensor(dtype, {n.T, n.B, n.H});
}

// What all layers read and write, one after another.
template <typename S>
struct Stack {
  Sizes n;
  const std::vector<Parameters>& layers;
  const S *input, *h_0, *c_0;  // null states are zeros
  S *output, *h_n, *c_n;
  int threads;

  bool run() const {
    const std::size_t state = static_cast<std::size_t>(n.B * n.H);
    const std::size_t zeros_count = h_0 == nullptr || c_0 == nullptr ? state : 0;
    const std::unique_ptr<S[]> zeros(new (std::nothrow) S[zeros_count]());
    const std::size_t between_count = n.layers > 1 ? static_cast<std::size_t>(n.T) * state : 0;
    const std::unique_ptr<S[]> between(new (std::nothrow) S[between_count]);
    if (zeros == nullptr || between == nullptr) return false;
    const S* x = input;
    for (Index k = 0; k < n.layers; ++k) {
      // The last layer writes the output, so those before it take turns with the other memory.
      S* const y = (n.layers - 1 - k) % 2 == 0 ? output : between.get();
      const Index of_layer = k * static_cast<Index>(state);
      ForwardCall<S> call = call_of(layers[static_cast<std::size_t>(k)], k == 0 ? n.I : n.H);
      call.input = x;
      call.output = y;
      call.h_0 = h_0 == nullptr ? zeros.get() : h_0 + of_layer;
      call.layer.c_0 = c_0 == nullptr ? zeros.get() : c_0 + of_layer;
      call.h_n = h_n + of_layer;
      call.c_n = c_n + of_layer;
      if (!run_forward(call, threads)) return false;
      x = y;
    }
    return true;
  }

 private:
  ForwardCall<S> call_of(const Parameters& parameters, Index features) const {
    ForwardCall<S> call{};
    call.layer.steps = n.T;
    call.layer.rows = n.B;
    call.layer.hidden = call.layer.recurrent = n.H;
    call.layer.gate_count = 4;
    call.layer.weight_hh = static_cast<const S*>(parameters.weight_hh.data());
    call.features = features;
    call.weight_ih = static_cast<const S*>(parameters.weight_ih.data());
    if (parameters.bias_ih) {
      call.bias_ih = static_cast<const S*>(parameters.bias_ih->data());
      call.bias_hh = static_cast<const S*>(parameters.bias_hh->data());
    }
    return call;
  }
};

template <typename S>
nb::object run_stack(const Sizes& n, const Layout& layout, const std::vector<Parameters>& layers,
                     const TensorView& input, const TensorView& h_0, const TensorView& c_0,
                     int threads) {
  NewTensor output = new_output(n, layout, input.dtype());
  NewTensor h_n = new_state(n, layout, input.dtype()), c_n = new_state(n, layout, input.dtype());
  const Stack<S> stack{n,
                       layers,
                       static_cast<const S*>(input.data()),
                       h_0 ? static_cast<const S*>(h_0.data()) : nullptr,
                       c_0 ? static_cast<const S*>(c_0.data()) : nullptr,
                       static_cast<S*>(output.data()),
                       static_cast<S*>(h_n.data()),
                       static_cast<S*>(c_n.data()),
                       threads};
  run_released([&] { return stack.run(); });
  const nb::object states = nb::make_tuple(h_n.to_python(), c_n.to_python());
  return layout.stacked ? nb::make_tuple(output.to_python(), states) : states;
}

nb::object plain_layers(nb::handle input, nb::handle h_0, nb::handle c_0, const nb::list& tensors,
                        bool biased, bool has_steps, bool batch_first, bool stacked, int threads) {
  const Layout layout{has_steps, batch_first, stacked};
  const TensorView x(input), h(h_0), c(c_0);
  const std::vector<Parameters> layers = parameters_of(tensors, biased);
  const std::optional<Sizes> n = sizes_of(x, layers, layout);
  if (!n || (!stacked && n->layers != 1)) return nb::none();
  if (!h_0.is_none() && !is_state(h, *n, layout, x.dtype())) return nb::none();
  if (!c_0.is_none() && !is_state(c, *n, layout, x.dtype())) return nb::none();
  const int team = checked_threads(threads);
  if (x.dtype() == dtype_of<float>()) return run_stack<float>(*n, layout, layers, x, h, c, team);
  if (x.dtype() == dtype_of<double>()) return run_stack<double>(*n, layout, layers, x, h, c, team);
  if (x.dtype() == dtype_of<bfloat16>() && target().avx512_bf16)
    return run_stack<bfloat16>(*n, layout, layers, x, h, c, team);
  return nb::none();
}

}  // namespace

void bind_plain(nb::module_& module) {
  module.def("learn_tensor_type", &learn_tensor_type, nb::arg("type"),
             "Have `plain_layers` read and make tensors of this type; whether it can.");
  module.def("plain_layers", &plain_layers, nb::arg("input").none(), nb::arg("h_0").none(),
             nb::arg("c_0").none(), nb::arg("tensors"), nb::arg("biased"), nb::arg("has_steps"),
             nb::arg("batch_first"), nb::arg("stacked"), nb::arg("threads"),
             "Run plain layers, or return None where the tensors are not for it.");
}

}  // namespace fastlstm
