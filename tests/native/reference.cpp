#include "reference.h"

namespace fastlstm::native {
namespace {

template <typename T>
Numbers leaves(const Array<T>& values) {
  Numbers numbers;
  for (Index i = 0; i < values.size(); ++i) numbers.push_back(Number::leaf(values[i]));
  return numbers;
}

Numbers slice(const Numbers& numbers, Index row, Index width) {
  const auto first = numbers.begin() + row * width;
  return Numbers(first, first + width);
}

void put(const Numbers& from, Numbers& to, Index row) {
  std::copy(from.begin(), from.end(), to.begin() + row * static_cast<Index>(from.size()));
}

template <typename T>
Numbers product(const Array<T>& matrix, const Numbers& x) {
  const auto width = static_cast<Index>(x.size());
  Numbers result(static_cast<std::size_t>(matrix.size() / width));
  for (std::size_t row = 0; row < result.size(); ++row)
    for (Index k = 0; k < width; ++k)
      result[row] = multiply_add(matrix[static_cast<Index>(row) * width + k],
                                 x[static_cast<std::size_t>(k)], result[row]);
  return result;
}

// W x + b of all steps, leaves again; zero past a row's end.
template <typename T>
Numbers input_part(const Problem<T>& problem) {
  const Index GH = problem.gates_width(), I = problem.features;
  Numbers result;
  for (Index at = 0; at < problem.sizes.steps * problem.sizes.rows; ++at) {
    Numbers x(I), of_x(GH);
    for (Index k = 0; k < I; ++k) x[k] = problem.input[at * I + k];
    if (problem.alive(at / problem.sizes.rows, at % problem.sizes.rows))
      of_x = product(problem.weight_ih, x);
    if (problem.has(layer_norm)) of_x = layer_normalized(of_x, problem.layer().norm_epsilon);
    for (Index i = 0; i < GH; ++i) {
      double value = of_x[i].value;
      if (problem.has(layer_norm)) value *= problem.norm_ih[i];
      if (!problem.has(no_bias)) value += problem.bias_ih[i] + double(problem.bias_hh[i]);
      result.push_back(Number::leaf(value));
    }
  }
  return result;
}

Number zoneout(Number old, Number fresh, const bool* mask, double rate, Index at) {
  if (mask != nullptr) return mask[at] ? old : fresh;
  return rate == 0 ? fresh : rate * old + (1 - rate) * fresh;
}

}  // namespace

template <typename T>
Reference::Reference(const Problem<T>& problem)
    : gates_x(input_part(problem)),
      h_0(leaves(problem.h_0)),
      c_0(leaves(problem.c_0)),
      reset_h(leaves(problem.reset_h)),
      reset_c(leaves(problem.reset_c)) {
  const Layer<T> layer = problem.layer();
  const auto [steps, rows, H] = problem.sizes;
  const Index R = problem.recurrent, GH = problem.gates_width(), G = problem.gate_count;
  const auto all = static_cast<std::size_t>(steps * rows);
  // Made here so that their gradients can be asked for whether or not there is a reset state.
  if (reset_h.empty()) reset_h = leaves(Array<T>(problem.h_0)), reset_c = leaves(problem.c_0);
  if (!problem.has(reset_state)) {
    for (Number& one : reset_h) one.value = 0;
    for (Number& one : reset_c) one.value = 0;
  }
  output.resize(all * static_cast<std::size_t>(R));
  new_h = output;
  gates.resize(all * static_cast<std::size_t>(GH));
  recurrent = gates;
  cells.resize(all * static_cast<std::size_t>(H));
  seen = cells_before = cells;
  h_n = h_0;
  c_n = c_0;

  for (Index step = 0; step < steps; ++step) {
    const Index t = layer.time_of(step);
    for (Index row = 0; row < rows; ++row) {
      const Index at = t * rows + row;
      put(slice(c_n, row, H), cells_before, at);
      if (!problem.alive(t, row)) continue;
      const bool resets = layer.reset != nullptr && layer.reset[at];
      const Numbers h = slice(resets ? reset_h : h_n, row, R);
      const Numbers c = slice(resets ? reset_c : c_n, row, H);

      Numbers masked = h;
      if (problem.has(recurrent_mask))
        for (Index i = 0; i < R; ++i) masked[i] = layer.recurrent_mask[row * R + i] * h[i];
      const Numbers of_h = product(problem.weight_hh, masked);
      put(of_h, recurrent, at);
      Numbers z = of_h;
      if (problem.has(layer_norm)) {
        z = layer_normalized(of_h, layer.norm_epsilon);
        for (Index i = 0; i < GH; ++i) z[i] = layer.norm_hh[i] * z[i];
      }
      for (Index i = 0; i < GH; ++i) z[i] = gates_x[at * GH + i] + z[i];

      Numbers new_c(H), o(H), kept(H), gate(GH);
      for (Index u = 0; u < H; ++u) {
        const auto seen_by = [&](Index which, Number cell, Number z_gate) {
          if (!problem.has(peephole)) return z_gate;
          return multiply_add(layer.peephole[which * H + u], cell, z_gate);
        };
        const Number f = sigmoid(seen_by(G - 3, c[u], z[(G - 3) * H + u]));
        const Number g = tanh(z[(G - 2) * H + u]);
        const Number i = G == 3 ? 1 - f : sigmoid(seen_by(0, c[u], z[u]));
        new_c[u] = f * c[u] + i * g;
        if (problem.has(cell_clip)) new_c[u] = clip(new_c[u], layer.cell_clip);
        o[u] = sigmoid(seen_by(G - 2, new_c[u], z[(G - 1) * H + u]));
        if (G == 4) gate[u] = i;
        gate[(G - 3) * H + u] = f;
        gate[(G - 2) * H + u] = g;
        gate[(G - 1) * H + u] = o[u];
        kept[u] = zoneout(c[u], new_c[u], layer.zoneout_cell_mask, layer.zoneout_cell, at * H + u);
      }
      put(gate, gates, at);
      put(kept, cells, at);
      put(kept, c_n, row);

      Numbers of_cell = new_c;
      if (problem.has(layer_norm)) {
        of_cell = layer_normalized(new_c, layer.norm_epsilon);
        for (Index u = 0; u < H; ++u) {
          const double bias = layer.norm_cell_bias == nullptr ? 0 : layer.norm_cell_bias[u];
          of_cell[u] = multiply_add(layer.norm_cell[u], of_cell[u], bias);
        }
      }
      put(of_cell, seen, at);
      Numbers emitted(H);
      for (Index u = 0; u < H; ++u) emitted[u] = o[u] * tanh(of_cell[u]);
      if (problem.has(projection)) emitted = product(problem.weight_hr, emitted);
      put(emitted, new_h, at);
      for (Index i = 0; i < R; ++i)
        emitted[i] =
            zoneout(h[i], emitted[i], layer.zoneout_hidden_mask, layer.zoneout_hidden, at * R + i);
      put(emitted, output, at);
      put(emitted, h_n, row);
    }
  }
}

template <typename T>
std::vector<double> Reference::gradients(const Problem<T>& problem, Given given) const {
  std::vector<double> gradients = tape.no_gradients();
  const auto seed = [&](const Numbers& numbers, const Array<T>& d) {
    for (Index i = 0; i < d.size(); ++i)
      if (numbers[i].operation >= 0) gradients[numbers[i].operation] += d[i];
  };
  if (given != Given::last_states) seed(output, problem.d_output);
  if (given != Given::output) {
    seed(h_n, problem.d_h_n);
    seed(c_n, problem.d_c_n);
  }
  if (given == Given::all) {
    seed(gates, problem.d_gates);
    seed(cells, problem.d_cells);
  }
  tape.run_back(gradients);
  return gradients;
}

#define FASTLSTM_INSTANTIATE(T)                     \
  template Reference::Reference(const Problem<T>&); \
  template std::vector<double> Reference::gradients(const Problem<T>&, Given) const;
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#undef FASTLSTM_INSTANTIATE

}  // namespace fastlstm::native
