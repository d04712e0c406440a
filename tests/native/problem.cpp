#include "problem.h"

#include <cmath>

#include "check.h"
#include "random.h"

namespace fastlstm::native {
namespace {

enum Name : std::uint64_t {
  of_input,
  of_weight_ih,
  of_bias_ih,
  of_bias_hh,
  of_norm_ih,
  of_h_0,
  of_c_0,
  of_reset_h,
  of_reset_c,
  of_weight_hh,
  of_weight_hr,
  of_peephole,
  of_norm_hh,
  of_norm_cell,
  of_norm_cell_bias,
  of_mask,
  of_lengths,
  of_reset,
  of_cell_mask,
  of_hidden_mask,
  of_d_output,
  of_d_h_n,
  of_d_c_n,
  of_d_gates,
  of_d_cells,
};

// (rows, width); nothing where `given` is false.
template <typename T>
Array<T> matrix(bool given, Name name, Index rows, Index width, double scale = 1) {
  if (!given) return {};
  Array<T> values(rows * width);
  for (Index row = 0; row < rows; ++row)
    for (Index i = 0; i < width; ++i)
      values[row * width + i] = static_cast<T>(scale * number_at(name, row, i));
  return values;
}

// (T, B, width). What is past a row's end stays NaN: nobody may use it.
template <typename T>
Array<T> sequence(const Problem<T>& problem, Name name, Index width, double scale = 1) {
  const auto [steps, rows, hidden] = problem.sizes;
  Array<T> values(steps * rows * width);
  for (Index t = 0; t < steps; ++t)
    for (Index row = 0; row < rows; ++row)
      for (Index i = 0; i < width && problem.alive(t, row); ++i)
        values[(t * rows + row) * width + i] = static_cast<T>(scale * number_at(name, t, row, i));
  return values;
}

Array<bool> chances(bool given, Name name, Sizes sizes, Index width, double rate) {
  if (!given) return {};
  Array<bool> values(sizes.steps * sizes.rows * width);
  for (Index t = 0; t < sizes.steps; ++t)
    for (Index row = 0; row < sizes.rows; ++row)
      for (Index i = 0; i < width; ++i)
        values[(t * sizes.rows + row) * width + i] = chance_at(rate, name, t, row, i);
  return values;
}

}  // namespace

template <typename T>
Problem<T>::Problem(Sizes of_problem, unsigned on)
    : sizes(of_problem),
      switches(on),
      recurrent(has(projection) ? (sizes.hidden + 2) / 2 : sizes.hidden),
      features(1 + sizes.hidden % 11),
      gate_count(has(coupled_gates) ? 3 : 4) {
  const auto [steps, rows, H] = sizes;
  const Index R = recurrent, GH = gates_width();
  // One full row, an empty one, the others in between.
  if (has(lengths)) {
    row_lengths = Array<std::int64_t>(rows);
    for (Index row = 0; row < rows; ++row)
      row_lengths[row] =
          static_cast<std::int64_t>(mixed(of_lengths + static_cast<std::uint64_t>(row)) %
                                    static_cast<std::uint64_t>(steps + 1));
    row_lengths[0] = steps;
    if (rows > 1) row_lengths[1] = 0;
  }
  input = sequence(*this, of_input, features, 2);
  weight_ih = matrix<T>(true, of_weight_ih, GH, features);
  bias_ih = matrix<T>(!has(no_bias), of_bias_ih, GH, 1);
  bias_hh = matrix<T>(!has(no_bias), of_bias_hh, GH, 1);
  norm_ih = matrix<T>(has(layer_norm), of_norm_ih, GH, 1);
  h_0 = matrix<T>(true, of_h_0, rows, R);
  c_0 = matrix<T>(true, of_c_0, rows, H, 2);
  reset_h = matrix<T>(has(reset_state), of_reset_h, rows, R);
  reset_c = matrix<T>(has(reset_state), of_reset_c, rows, H);
  weight_hh = matrix<T>(true, of_weight_hh, GH, R, 2 / std::sqrt(static_cast<double>(R)));
  weight_hr = matrix<T>(has(projection), of_weight_hr, R, H, 2 / std::sqrt(static_cast<double>(H)));
  peepholes = matrix<T>(has(peephole), of_peephole, gate_count - 1, H);
  norm_hh = matrix<T>(has(layer_norm), of_norm_hh, GH, 1);
  norm_cell = matrix<T>(has(layer_norm), of_norm_cell, H, 1);
  norm_cell_bias = matrix<T>(has(layer_norm) && has(norm_bias), of_norm_cell_bias, H, 1);
  if (has(recurrent_mask)) {
    mask = Array<T>(rows * R);
    for (Index row = 0; row < rows; ++row)
      for (Index i = 0; i < R; ++i)
        mask[row * R + i] = chance_at(0.7, of_mask, row, i) ? T(1.4) : T(0);
  }
  is_reset = chances(has(reset | reset_state), of_reset, sizes, 1, 0.4);
  cell_mask = chances(has(zoneout_masks), of_cell_mask, sizes, H, 0.3);
  hidden_mask = chances(has(zoneout_masks), of_hidden_mask, sizes, R, 0.3);
  d_output = sequence(*this, of_d_output, R);
  d_gates = sequence(*this, of_d_gates, GH);
  d_cells = sequence(*this, of_d_cells, H);
  d_h_n = matrix<T>(true, of_d_h_n, rows, R);
  d_c_n = matrix<T>(true, of_d_c_n, rows, H);
}

template <typename T>
Layer<T> Problem<T>::layer() const {
  Layer<T> layer{};
  layer.steps = sizes.steps;
  layer.rows = sizes.rows;
  layer.hidden = sizes.hidden;
  layer.recurrent = recurrent;
  layer.gate_count = gate_count;
  layer.reverse = has(reverse);
  layer.weight_hh = weight_hh.get();
  layer.weight_hr = weight_hr.get();
  layer.peephole = peepholes.get();
  layer.norm_hh = norm_hh.get();
  layer.norm_cell = norm_cell.get();
  layer.norm_cell_bias = norm_cell_bias.get();
  layer.c_0 = c_0.get();
  layer.reset_c = reset_c.get();
  layer.lengths = row_lengths.get();
  layer.reset = is_reset.get();
  layer.recurrent_mask = mask.get();
  layer.zoneout_cell_mask = cell_mask.get();
  layer.zoneout_hidden_mask = hidden_mask.get();
  layer.zoneout_cell = has(zoneout_rates) ? T(0.3) : T(0);
  layer.zoneout_hidden = has(zoneout_rates) ? T(0.2) : T(0);
  // Small enough that some units are clipped and others are not.
  layer.cell_clip = has(cell_clip) ? T(0.8) : T(0);
  layer.norm_epsilon = T(1e-5);
  return layer;
}

template <typename T>
std::string Problem<T>::text() const {
  constexpr const char* names[] = {
      "projection",     "peephole",      "layer_norm",    "norm_bias", "coupled_gates",
      "recurrent_mask", "zoneout_masks", "zoneout_rates", "cell_clip", "lengths",
      "reset",          "reset_state",   "reverse",       "no_bias"};
  std::string text = std::to_string(8 * sizeof(T)) + " bits, " + std::to_string(sizes.steps) +
                     " steps, " + std::to_string(sizes.rows) + " rows, " +
                     std::to_string(sizes.hidden) + " units";
  for (unsigned i = 0; i < switch_count; ++i)
    if (has(1u << i)) text += std::string(", ") + names[i];
  return text + ": ";
}

template <typename T>
Outputs<T> forward(const Problem<T>& problem, Index save_every, int threads) {
  const auto [steps, rows, H] = problem.sizes;
  const Index R = problem.recurrent, all = steps * rows;
  const Index kept = save_every == 0 ? 0 : 1 + (steps - 1) / save_every;
  Outputs<T> outputs{Array<T>(all * R), Array<T>(rows * R), Array<T>(rows * H),
                     Array<T>(save_every == 1 ? all * problem.gates_width() : 0),
                     Array<T>(kept * rows * H)};
  ForwardCall<T> call{};
  call.layer = problem.layer();
  call.h_0 = problem.h_0.get();
  call.reset_h = problem.reset_h.get();
  call.features = problem.features;
  call.input = problem.input.get();
  call.weight_ih = problem.weight_ih.get();
  call.bias_ih = problem.bias_ih.get();
  call.bias_hh = problem.bias_hh.get();
  call.norm_ih = problem.norm_ih.get();
  call.gates = save_every == 1 ? outputs.gates.get() : nullptr;
  call.output = outputs.output.get();
  call.h_n = outputs.h_n.get();
  call.c_n = outputs.c_n.get();
  call.cells = save_every == 0 ? nullptr : outputs.cells.get();
  call.save_every = save_every;
  check(run_forward(call, threads), problem.text() + "has no memory");
  return outputs;
}

template <typename T>
Gradients<T> backward(const Problem<T>& problem, const Outputs<T>& outputs,
                      const Array<T>& recurrent, Given given, int threads) {
  const auto [steps, rows, H] = problem.sizes;
  const Index R = problem.recurrent, GH = problem.gates_width();
  const Index real = problem.layer().real_steps();
  const bool norm = problem.has(layer_norm), resets = problem.has(reset | reset_state);
  Gradients<T> gradients{Array<T>(real * GH),
                         norm ? Array<T>(real * GH) : Array<T>(),
                         norm ? Array<T>(real * H) : Array<T>(),
                         problem.has(projection) ? Array<T>(real * R) : Array<T>(),
                         Array<T>(rows * R),
                         Array<T>(rows * H),
                         resets ? Array<T>(rows * R) : Array<T>(),
                         resets ? Array<T>(rows * H) : Array<T>()};
  BackwardCall<T> call{};
  call.layer = problem.layer();
  call.gates = outputs.gates.get();
  call.cells = outputs.cells.get();
  call.recurrent = norm ? recurrent.get() : nullptr;
  if (given != Given::last_states) call.d_output = problem.d_output.get();
  if (given != Given::output) {
    call.d_h_n = problem.d_h_n.get();
    call.d_c_n = problem.d_c_n.get();
  }
  if (given == Given::all) {
    call.d_gates = problem.d_gates.get();
    call.d_cells = problem.d_cells.get();
  }
  call.d_z = gradients.d_z.get();
  call.d_recurrent = gradients.d_recurrent.get();
  call.d_seen = gradients.d_seen.get();
  call.d_new_h = gradients.d_new_h.get();
  call.d_h_0 = gradients.d_h_0.get();
  call.d_c_0 = gradients.d_c_0.get();
  call.d_reset_h = gradients.d_reset_h.get();
  call.d_reset_c = gradients.d_reset_c.get();
  check(run_backward(call, threads), problem.text() + "has no memory");
  return gradients;
}

#define FASTLSTM_INSTANTIATE(T)                               \
  template struct Problem<T>;                                 \
  template Outputs<T> forward(const Problem<T>&, Index, int); \
  template Gradients<T> backward(const Problem<T>&, const Outputs<T>&, const Array<T>&, Given, int);
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#undef FASTLSTM_INSTANTIATE

}  // namespace fastlstm::native
