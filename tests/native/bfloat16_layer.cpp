#include "bfloat16_layer.h"

#include <cmath>

#include "check.h"
#include "numbers.h"
#include "random.h"

namespace fastlstm::native {
namespace {

// Apart from those of problem.cpp, whose arrays have other shapes.
enum Name : std::uint64_t {
  of_input = 100,
  of_weight_ih,
  of_weight_hh,
  of_bias_ih,
  of_bias_hh,
  of_h_0,
  of_c_0,
  of_reset_h,
  of_reset_c,
  of_lengths,
  of_reset,
  of_d_output,
  of_d_gates,
  of_d_cells,
  of_d_h_n,
  of_d_c_n,
};

template <typename T>
Array<T> matrix(bool given, Name name, Index rows, Index width, double scale = 1) {
  if (!given) return {};
  Array<T> values(rows * width);
  for (Index row = 0; row < rows; ++row)
    for (Index i = 0; i < width; ++i)
      values[row * width + i] = nearest<T>(scale * number_at(name, row, i));
  return values;
}

// (T, B, width). What is past a row's end stays NaN: nobody may use it.
template <typename T>
Array<T> sequence(const Bfloat16Layer& layer, Name name, Index width) {
  const auto [steps, rows, hidden, features] = layer.sizes;
  Array<T> values(steps * rows * width);
  for (Index t = 0; t < steps; ++t)
    for (Index row = 0; row < rows; ++row)
      for (Index i = 0; i < width && layer.alive(t, row); ++i)
        values[(t * rows + row) * width + i] = nearest<T>(number_at(name, t, row, i));
  return values;
}

double scale_of(Index depth) { return 2 / std::sqrt(static_cast<double>(depth)); }

}  // namespace

Bfloat16Layer::Bfloat16Layer(Bfloat16Sizes of_layer, unsigned on) : sizes(of_layer), switches(on) {
  const auto [steps, rows, H, I] = sizes;
  const bool sets = has(reset_state);
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
  if (has(reset | reset_state)) {
    is_reset = Array<bool>(steps * rows);
    for (Index t = 0; t < steps; ++t)
      for (Index row = 0; row < rows; ++row)
        is_reset[t * rows + row] = chance_at(0.4, of_reset, t, row);
  }
  input = sequence<bfloat16>(*this, of_input, I);
  weight_ih = matrix<bfloat16>(true, of_weight_ih, 4 * H, I, scale_of(I));
  weight_hh = matrix<bfloat16>(true, of_weight_hh, 4 * H, H, scale_of(H));
  bias_ih = matrix<bfloat16>(!has(no_bias), of_bias_ih, 4 * H, 1);
  bias_hh = matrix<bfloat16>(!has(no_bias), of_bias_hh, 4 * H, 1);
  h_0 = matrix<bfloat16>(true, of_h_0, rows, H);
  c_0 = matrix<bfloat16>(true, of_c_0, rows, H, 2);
  reset_h = matrix<bfloat16>(sets, of_reset_h, rows, H);
  reset_c = matrix<bfloat16>(sets, of_reset_c, rows, H);
  d_output = sequence<bfloat16>(*this, of_d_output, H);
  d_gates = sequence<bfloat16>(*this, of_d_gates, 4 * H);
  d_cells = sequence<float>(*this, of_d_cells, H);
  d_h_n = matrix<float>(true, of_d_h_n, rows, H);
  d_c_n = matrix<float>(true, of_d_c_n, rows, H);
}

std::string Bfloat16Layer::text() const {
  std::string text = "bfloat16, " + std::to_string(sizes.steps) + " steps, " +
                     std::to_string(sizes.rows) + " rows, " + std::to_string(sizes.hidden) +
                     " units, " + std::to_string(sizes.features) + " features";
  if (has(lengths)) text += ", lengths";
  if (has(reset | reset_state)) text += ", reset";
  if (has(reset_state)) text += ", reset_state";
  if (has(reverse)) text += ", reverse";
  if (has(no_bias)) text += ", no_bias";
  return text + ": ";
}

Layer<bfloat16> Bfloat16Layer::layer() const {
  Layer<bfloat16> layer{};
  layer.steps = sizes.steps;
  layer.rows = sizes.rows;
  layer.hidden = layer.recurrent = sizes.hidden;
  layer.gate_count = 4;
  layer.reverse = has(reverse);
  layer.weight_hh = weight_hh.get();
  layer.c_0 = c_0.get();
  layer.reset_c = reset_c.get();
  layer.lengths = row_lengths.get();
  layer.reset = is_reset.get();
  return layer;
}

Bfloat16Outputs Bfloat16Layer::forward(Index save_every, int threads) const {
  const auto [steps, rows, H, I] = sizes;
  const Index kept = save_every == 0 ? 0 : 1 + (steps - 1) / save_every;
  Bfloat16Outputs outputs{
      Array<bfloat16>(steps * rows * H), Array<bfloat16>(rows * H), Array<bfloat16>(rows * H),
      Array<bfloat16>(save_every == 1 ? steps * rows * 4 * H : 0), Array<float>(kept * rows * H)};
  ForwardCall<bfloat16> call{};
  call.layer = layer();
  call.features = I;
  call.input = input.get();
  call.weight_ih = weight_ih.get();
  call.bias_ih = bias_ih.get();
  call.bias_hh = bias_hh.get();
  call.h_0 = h_0.get();
  call.reset_h = reset_h.get();
  call.gates = save_every == 1 ? outputs.gates.get() : nullptr;
  call.output = outputs.output.get();
  call.h_n = outputs.h_n.get();
  call.c_n = outputs.c_n.get();
  call.cells = save_every == 0 ? nullptr : outputs.cells.get();
  call.save_every = save_every;
  check(run_forward(call, threads), text() + "has no memory");
  return outputs;
}

Bfloat16Gradients Bfloat16Layer::backward(const Bfloat16Outputs& outputs, Given given,
                                          int threads) const {
  const auto [steps, rows, H, I] = sizes;
  const Index of_reset = is_reset.get() == nullptr ? 0 : rows * H;
  Array<bfloat16> d_z(layer().real_steps() * 4 * H);
  Bfloat16Gradients gradients{Array<bfloat16>(steps * rows * 4 * H), Array<float>(rows * H),
                              Array<float>(rows * H), Array<float>(of_reset),
                              Array<float>(of_reset)};
  BackwardCall<bfloat16> call{};
  call.layer = layer();
  call.gates = outputs.gates.get();
  call.cells = outputs.cells.get();
  if (given != Given::last_states) call.d_output = d_output.get();
  if (given != Given::output) {
    call.d_h_n = d_h_n.get();
    call.d_c_n = d_c_n.get();
  }
  if (given == Given::all) {
    call.d_gates = d_gates.get();
    call.d_cells = d_cells.get();
  }
  call.d_z = d_z.get();
  call.d_h_0 = gradients.d_h_0.get();
  call.d_c_0 = gradients.d_c_0.get();
  call.d_reset_h = of_reset > 0 ? gradients.d_reset_h.get() : nullptr;
  call.d_reset_c = of_reset > 0 ? gradients.d_reset_c.get() : nullptr;
  check(run_backward(call, threads), text() + "has no memory");
  const bfloat16* next = d_z.get();
  for (Index t = 0; t < steps; ++t)
    for (Index row = 0; row < rows; ++row) {
      bfloat16* const to = gradients.d_z.get() + (t * rows + row) * 4 * H;
      const bool real = alive(t, row);
      for (Index i = 0; i < 4 * H; ++i) to[i] = real ? next[i] : bfloat16{};
      if (real) next += 4 * H;
    }
  return gradients;
}

}  // namespace fastlstm::native
