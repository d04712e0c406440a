// The kernels as functions of Python. `bind_kernels` is called by the module in bindings.cpp.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arrays.h"
#include "engine.h"

namespace nb = nanobind;

namespace fastlstm {
namespace {

// What the forward and the backward pass take alike, as `ScanArguments` names it.
struct LayerArrays {
  In c_0, reset_c, weight_hh, weight_hr, weight_peephole, norm_hh, norm_cell, norm_cell_bias;
  In lengths, reset, recurrent_mask, zoneout_cell_mask, zoneout_hidden_mask;
  double zoneout_cell, zoneout_hidden, cell_clip, norm_epsilon;
  bool reverse;
};

struct Sizes {
  Index T, B, H, R, GH;
};

// From the first dimensions of an array that goes through time, the widths of the two states, and
// the width of all gates; whether all arrays agree is checked with each of them.
Sizes sizes_of(const Shape& of_time, const Shape& of_h, const Shape& of_c, Index gates) {
  const Sizes sizes{of_time[0], of_time[1], of_c[1], of_h[1], gates};
  if (sizes.T < 1) refuse("input", "must have at least one step, got " + text_of(of_time));
  if (sizes.H < 1) refuse("c_0", "must have at least one unit, got " + text_of(of_c));
  if (sizes.R < 1) refuse("h_0", "must have at least one unit, got " + text_of(of_h));
  if (sizes.GH != 3 * sizes.H && sizes.GH != 4 * sizes.H)
    refuse("weight_ih", "must have 3 or 4 rows for each unit of c_0, " + text_of(of_c) + ", got " +
                            std::to_string(gates));
  return sizes;
}

template <typename S>
Layer<S> layer_of(const Sizes& n, const LayerArrays& a) {
  using T = Sum<S>;
  Layer<S> layer{};
  layer.steps = n.T;
  layer.rows = n.B;
  layer.hidden = n.H;
  layer.recurrent = n.R;
  layer.gate_count = static_cast<int>(n.GH / n.H);
  layer.reverse = a.reverse;
  if (!a.weight_hr && n.R != n.H) refuse("h_0", "must be as wide as c_0 without weight_hr");
  const bool norm = a.norm_hh.has_value();
  layer.weight_hh = needed<const S>("weight_hh", a.weight_hh, {n.GH, n.R});
  layer.weight_hr = pointer<const S>("weight_hr", a.weight_hr, {n.R, n.H});
  layer.peephole =
      pointer<const S>("weight_peephole", a.weight_peephole, {layer.gate_count - 1, n.H});
  layer.norm_hh = pointer<const S>("norm_hh", a.norm_hh, {n.GH});
  layer.norm_cell = needed_if<const S>(norm, "norm_cell", a.norm_cell, {n.H});
  layer.norm_cell_bias = pointer<const S>("norm_cell_bias", a.norm_cell_bias, {n.H});
  layer.c_0 = needed<const S>("c_0", a.c_0, {n.B, n.H});
  layer.reset_c = pointer<const S>("reset_c", a.reset_c, {n.B, n.H});
  layer.lengths = pointer<const std::int64_t>("lengths", a.lengths, {n.B});
  layer.reset = pointer<const bool>("reset", a.reset, {n.T, n.B});
  layer.recurrent_mask = pointer<const S>("recurrent_mask", a.recurrent_mask, {n.B, n.R});
  layer.zoneout_cell_mask =
      pointer<const bool>("zoneout_cell_mask", a.zoneout_cell_mask, {n.T, n.B, n.H});
  layer.zoneout_hidden_mask =
      pointer<const bool>("zoneout_hidden_mask", a.zoneout_hidden_mask, {n.T, n.B, n.R});
  layer.zoneout_cell = static_cast<T>(a.zoneout_cell);
  layer.zoneout_hidden = static_cast<T>(a.zoneout_hidden);
  layer.cell_clip = static_cast<T>(a.cell_clip);
  layer.norm_epsilon = static_cast<T>(a.norm_epsilon);
  if (std::is_same_v<S, bfloat16> && !layer.is_plain())
    refuse("layer", "must be a plain one, without switches, to run in bfloat16");
  return layer;
}

void forward(const LayerArrays& arrays, const In& input, const In& weight_ih, const In& bias_ih,
             const In& bias_hh, const In& norm_ih, const In& h_0, const In& reset_h,
             const Out& output, const Out& h_n, const Out& c_n, const Out& gates, const Out& cells,
             Index save_every, int threads) {
  run_for_dtype("output", output, [&](auto zero) {
    using S = decltype(zero);
    using T = Sum<S>;
    const Shape of_input = shape_of_rank(3, "input", input);
    const Sizes n =
        sizes_of(of_input, shape_of_rank(2, "h_0", h_0), shape_of_rank(2, "c_0", arrays.c_0),
                 shape_of_rank(2, "weight_ih", weight_ih)[0]);
    if (save_every < 0) refuse("save_every", "must not be negative");
    const Index kept = save_every == 0 ? 0 : 1 + (n.T - 1) / save_every;
    ForwardCall<S> call{};
    call.layer = layer_of<S>(n, arrays);
    call.features = of_input[2];
    call.input = needed<const S>("input", input, {n.T, n.B, call.features});
    call.weight_ih = needed<const S>("weight_ih", weight_ih, {n.GH, call.features});
    call.bias_ih = pointer<const S>("bias_ih", bias_ih, {n.GH});
    call.bias_hh = pointer<const S>("bias_hh", bias_hh, {n.GH});
    call.norm_ih = needed_if<const S>(arrays.norm_hh.has_value(), "norm_ih", norm_ih, {n.GH});
    call.h_0 = needed<const S>("h_0", h_0, {n.B, n.R});
    call.reset_h = pointer<const S>("reset_h", reset_h, {n.B, n.R});
    call.gates = needed_if<S>(save_every == 1, "gates", gates, {n.T, n.B, n.GH});
    call.output = needed<S>("output", output, {n.T, n.B, n.R});
    call.h_n = needed<S>("h_n", h_n, {n.B, n.R});
    call.c_n = needed<S>("c_n", c_n, {n.B, n.H});
    call.cells = needed_if<T>(save_every > 0, "cells", cells, {kept, n.B, n.H});
    call.save_every = save_every;
    const int team = checked_threads(threads);
    return [call, team] { return run_forward(call, team); };
  });
}

void backward(const LayerArrays& arrays, const In& gates, const In& cells, const In& recurrent,
              const In& d_output, const In& d_h_n, const In& d_c_n, const In& d_gates,
              const In& d_cells, const Out& d_z, const Out& d_recurrent, const Out& d_seen,
              const Out& d_new_h, const Out& d_h_0, const Out& d_c_0, const Out& d_reset_h,
              const Out& d_reset_c, int threads) {
  run_for_dtype("gates", gates, [&](auto zero) {
    using S = decltype(zero);
    using T = Sum<S>;
    const Shape gates_shape = shape_of_rank(3, "gates", gates);
    const Sizes n = sizes_of(gates_shape, shape_of_rank(2, "d_h_0", d_h_0),
                             shape_of_rank(2, "c_0", arrays.c_0), gates_shape[2]);
    const bool norm = arrays.norm_hh.has_value(), resets = arrays.reset.has_value();
    const Shape of_gates{n.T, n.B, n.GH}, of_cells{n.T, n.B, n.H}, of_output{n.T, n.B, n.R};
    const Shape of_h{n.B, n.R}, of_c{n.B, n.H};
    BackwardCall<S> call{};
    call.layer = layer_of<S>(n, arrays);
    call.gates = needed<const S>("gates", gates, of_gates);
    call.cells = needed<const T>("cells", cells, of_cells);
    const Index real = call.layer.real_steps();
    call.recurrent = needed_if<const T>(norm, "recurrent", recurrent, {real, n.GH});
    call.d_output = pointer<const S>("d_output", d_output, of_output);
    call.d_h_n = pointer<const T>("d_h_n", d_h_n, of_h);
    call.d_c_n = pointer<const T>("d_c_n", d_c_n, of_c);
    call.d_gates = pointer<const S>("d_gates", d_gates, of_gates);
    call.d_cells = pointer<const T>("d_cells", d_cells, of_cells);
    call.d_z = needed<S>("d_z", d_z, {real, n.GH});
    call.d_recurrent = needed_if<S>(norm, "d_recurrent", d_recurrent, {real, n.GH});
    call.d_seen = needed_if<T>(norm, "d_seen", d_seen, {real, n.H});
    call.d_new_h = needed_if<S>(arrays.weight_hr.has_value(), "d_new_h", d_new_h, {real, n.R});
    call.d_h_0 = needed<T>("d_h_0", d_h_0, of_h);
    call.d_c_0 = needed<T>("d_c_0", d_c_0, of_c);
    call.d_reset_h = needed_if<T>(resets, "d_reset_h", d_reset_h, of_h);
    call.d_reset_c = needed_if<T>(resets, "d_reset_c", d_reset_c, of_c);
    const int team = checked_threads(threads);
    return [call, team] { return run_backward(call, team); };
  });
}

void product(const In& a, const In& b, const Out& out, bool accumulate, const Out& row_sums,
             int threads) {
  run_for_dtype("a", a, [&](auto zero) {
    using S = decltype(zero);
    using T = Sum<S>;
    shape_of_rank(2, "a", a);
    shape_of_rank(2, "b", b);
    check_kind<S>("a", *a);
    check_kind<S>("b", *b);
    ProductCall<S> call{};
    call.rows = static_cast<Index>(a->shape(0));
    call.depth = static_cast<Index>(a->shape(1));
    call.columns = static_cast<Index>(b->shape(1));
    if (static_cast<Index>(b->shape(0)) != call.depth)
      refuse("b", "must have as many rows as a has columns");
    call.a = static_cast<const S*>(a->data());
    call.a_row_stride = a->stride(0);
    call.a_depth_stride = a->stride(1);
    call.b = static_cast<const S*>(b->data());
    call.b_depth_stride = b->stride(0);
    call.b_column_stride = b->stride(1);
    call.accumulate = accumulate;
    call.out = needed<T>("out", out, {call.rows, call.columns});
    call.row_sums = pointer<T>("row_sums", row_sums, {call.rows});
    const int team = checked_threads(threads);
    return [call, team] { return run_product(call, team); };
  });
}

void activation(const std::string& name, const In& from, const Out& to) {
  run_for_dtype<false>("to", to, [&](auto zero) {
    using T = decltype(zero);
    const Shape shape = shape_of(*to);
    const T* const source = needed<const T>("from", from, shape);
    T* const target = needed<T>("to", to, shape);
    if (name != "sigmoid" && name != "tanh")
      throw nb::value_error("engine: there are the activations sigmoid and tanh");
    const Index count = static_cast<Index>(to->size());
    const auto apply = name == "tanh" ? &run_tanh<T> : &run_sigmoid<T>;
    return [=] {
      apply(source, target, count);
      return true;
    };
  });
}

}  // namespace

void bind_kernels(nb::module_& module) {
  nb::class_<LayerArrays>(module, "Layer", "What the forward and the backward pass take alike.")
      .def(
          "__init__",
          [](LayerArrays* self, In c_0, In reset_c, In weight_hh, In weight_hr, In weight_peephole,
             In norm_hh, In norm_cell, In norm_cell_bias, In lengths, In reset, In recurrent_mask,
             In zoneout_cell_mask, In zoneout_hidden_mask, double zoneout_cell,
             double zoneout_hidden, double cell_clip, double norm_epsilon, bool reverse) {
            new (self) LayerArrays{c_0,
                                   reset_c,
                                   weight_hh,
                                   weight_hr,
                                   weight_peephole,
                                   norm_hh,
                                   norm_cell,
                                   norm_cell_bias,
                                   lengths,
                                   reset,
                                   recurrent_mask,
                                   zoneout_cell_mask,
                                   zoneout_hidden_mask,
                                   zoneout_cell,
                                   zoneout_hidden,
                                   cell_clip,
                                   norm_epsilon,
                                   reverse};
          },
          nb::arg("c_0").none(), nb::arg("reset_c").none(), nb::arg("weight_hh").none(),
          nb::arg("weight_hr").none(), nb::arg("weight_peephole").none(), nb::arg("norm_hh").none(),
          nb::arg("norm_cell").none(), nb::arg("norm_cell_bias").none(), nb::arg("lengths").none(),
          nb::arg("reset").none(), nb::arg("recurrent_mask").none(),
          nb::arg("zoneout_cell_mask").none(), nb::arg("zoneout_hidden_mask").none(),
          nb::arg("zoneout_cell"), nb::arg("zoneout_hidden"), nb::arg("cell_clip"),
          nb::arg("norm_epsilon"), nb::arg("reverse"));

  module.def("forward", &forward, nb::arg("layer"), nb::arg("input").none(),
             nb::arg("weight_ih").none(), nb::arg("bias_ih").none(), nb::arg("bias_hh").none(),
             nb::arg("norm_ih").none(), nb::arg("h_0").none(), nb::arg("reset_h").none(),
             nb::arg("output").none(), nb::arg("h_n").none(), nb::arg("c_n").none(),
             nb::arg("gates").none(), nb::arg("cells").none(), nb::arg("save_every"),
             nb::arg("threads"), "Run a layer over all steps; keep its gates if save_every is 1.");

  module.def("backward", &backward, nb::arg("layer"), nb::arg("gates").none(),
             nb::arg("cells").none(), nb::arg("recurrent").none(), nb::arg("d_output").none(),
             nb::arg("d_h_n").none(), nb::arg("d_c_n").none(), nb::arg("d_gates").none(),
             nb::arg("d_cells").none(), nb::arg("d_z").none(), nb::arg("d_recurrent").none(),
             nb::arg("d_seen").none(), nb::arg("d_new_h").none(), nb::arg("d_h_0").none(),
             nb::arg("d_c_0").none(), nb::arg("d_reset_h").none(), nb::arg("d_reset_c").none(),
             nb::arg("threads"), "Write what each step contributes to the gradients.");

  module.def("product", &product, nb::arg("a").none(), nb::arg("b").none(), nb::arg("out").none(),
             nb::arg("accumulate"), nb::arg("row_sums").none(), nb::arg("threads"),
             "out = a·b, or out += a·b; and the sums of the rows of a.");

  module.def("activation", &activation, nb::arg("name"), nb::arg("source").none(),
             nb::arg("target").none(), "The engine's `sigmoid` or `tanh`, for tests.");
}

}  // namespace fastlstm
