// What one tile of the forward pass does with its products: gates, cell states, hidden states.
#pragma once

#include <cstring>

#include "activation.h"
#include "forward_parts.h"
#include "norm.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

template <typename S, int G, bool plain>
class ForwardCells {
 protected:
  using T = Sum<S>;
  static constexpr Index width = lanes_of<S>;

  ForwardCells(const ForwardCall<S>& call, const Plan& plan, S* scratch, int members)
      : call_(call), layer_(call.layer) {
    work_.lay_out(call, plan, members, scratch);
  }

  bool has(const void* pointer) const { return !plain && pointer != nullptr; }

  static void fill(T* to, Index count) {
    std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(T));
  }

  // A vector of units of one row.
  struct Piece {
    const Start<S>* start;
    Index unit;
    int n;
  };

  // The gates of a tile from the sums that go into their non-linearities. Two loops: what is in
  // flight at once is then many pieces' gates, or many pieces' tanh(c'), and not one's long chain
  // from one to the other.
  void apply_tile(Index t, const Piece* pieces, int count, const Vec<T>* z, Index step) {
    Cell cells[tile_rows];
    for (int i = 0; i < count; ++i)
      cells[i] = apply_gates(t, *pieces[i].start, pieces[i].unit, pieces[i].n, z + i * G);
    for (int i = 0; i < count; ++i)
      emit(t, *pieces[i].start, pieces[i].unit, pieces[i].n, cells[i].o * tanh(cells[i].c), step);
  }

  // All of one row, from R h to o ⊙ tanh(LN(c')). The product's memory is used again for c' and o.
  void apply_normalized(Index t, const Start<S>& start, const T* gates_x, Index step) {
    const Index H = layer_.hidden;
    T* const product = work_.product + start.row * G * H;
    T* const cells = product;
    T* const output_gates = product + H;
    const Normalizer<T> of_input = normalizer_of(gates_x, G * H, layer_.norm_epsilon);
    const Normalizer<T> of_product = normalizer_of(product, G * H, layer_.norm_epsilon);
    for_each_vector<T>(0, H, [&](Index unit, int n) {
      Vec<T> z[G];
      for (int gate = 0; gate < G; ++gate) {
        const Index at = gate * H + unit;
        const Vec<T> from_input =
            fma(of_input(Vec<T>::load(gates_x + at, n)), Vec<T>::load(call_.norm_ih + at, n),
                Vec<T>::load(work_.bias + at, n));
        z[gate] = fma(of_product(Vec<T>::load(product + at, n)),
                      Vec<T>::load(layer_.norm_hh + at, n), from_input);
      }
      const Cell cell = apply_gates(t, start, unit, n, z);
      cell.c.store(cells + unit, n);
      cell.o.store(output_gates + unit, n);
    });
    const Normalizer<T> of_cell = normalizer_of(cells, H, layer_.norm_epsilon);
    for_each_vector<T>(0, H, [&](Index unit, int n) {
      Vec<T> seen =
          of_cell(Vec<T>::load(cells + unit, n)) * Vec<T>::load(layer_.norm_cell + unit, n);
      if (layer_.norm_cell_bias != nullptr)
        seen = seen + Vec<T>::load(layer_.norm_cell_bias + unit, n);
      emit(t, start, unit, n, Vec<T>::load(output_gates + unit, n) * tanh(seen), step);
    });
  }

  // Stores h, for the caller and for the next step.
  void hand_on(Index t, const Start<S>& start, Index at, int n, Vec<T> h, Index step) {
    const Index R = layer_.recurrent, in_batch = start.row * R + at;
    const Index in_time = t * layer_.rows * R + in_batch;
    if (!plain)
      h = zoneout(Vec<T>::load(start.h + at, n), h, layer_.zoneout_hidden_mask,
                  layer_.zoneout_hidden, in_time, n);
    const Index next = (step + 1) % 2;
    h.store(call_.output + in_time, n);
    h.store(work_.h[next] + in_batch, n);
    if (has(layer_.recurrent_mask))
      (h * Vec<T>::load(layer_.recurrent_mask + in_batch, n))
          .store(work_.masked_h[next] + in_batch, n);
  }

 private:
  struct Cell {
    Vec<T> c;  // c', before zoneout
    Vec<T> o;
  };

  // The gates from what goes into their non-linearities, and the cell state.
  Cell apply_gates(Index t, const Start<S>& start, Index unit, int n, const Vec<T>* z) {
    const Index H = layer_.hidden;
    const Vec<T> old_c = Vec<T>::load(start.c + unit, n);
    const auto peephole = [&](int which, Vec<T> c, Vec<T> z_gate) {
      if (!has(layer_.peephole)) return z_gate;
      return fma(Vec<T>::load(layer_.peephole + which * H + unit, n), c, z_gate);
    };
    const Vec<T> f = sigmoid(peephole(G - 3, old_c, z[G - 3]));
    const Vec<T> g = tanh(z[G - 2]);
    const Vec<T> i = G == 3 ? Vec<T>(T(1)) - f : sigmoid(peephole(0, old_c, z[0]));
    Vec<T> c = fma(f, old_c, i * g);
    if (!plain && layer_.cell_clip != 0)
      c = min(Vec<T>(layer_.cell_clip), max(Vec<T>(-layer_.cell_clip), c));
    const Vec<T> o = sigmoid(peephole(G - 2, c, z[G - 1]));

    const Index at = t * layer_.rows + start.row;
    if (call_.gates != nullptr) {
      S* const to = call_.gates + at * G * H + unit;
      if (G == 4) i.store(to, n);
      f.store(to + (G - 3) * H, n);
      g.store(to + (G - 2) * H, n);
      o.store(to + (G - 1) * H, n);
    }
    Vec<T> kept = c;
    if (!plain)
      kept = zoneout(old_c, c, layer_.zoneout_cell_mask, layer_.zoneout_cell, at * H + unit, n);
    kept.store(work_.c + start.row * H + unit, n);
    if (call_.save_every == 1) kept.store(call_.cells + at * H + unit, n);
    return {c, o};
  }

  static Vec<T> zoneout(Vec<T> old, Vec<T> fresh, const bool* mask, T rate, Index at, int n) {
    if (mask != nullptr) return select(Vec<T>::load_mask(mask + at, n), old, fresh);
    if (rate == 0) return fresh;
    return fma(old, Vec<T>(rate), fresh * Vec<T>(1 - rate));
  }

  void emit(Index t, const Start<S>& start, Index unit, int n, Vec<T> emitted, Index step) {
    if (has(layer_.weight_hr)) {
      emitted.store(work_.emitted + start.row * layer_.hidden + unit, n);
    } else {
      hand_on(t, start, unit, n, emitted, step);
    }
  }

 protected:
  const ForwardCall<S>& call_;
  const Layer<S>& layer_;
  Workspace<S> work_;
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
