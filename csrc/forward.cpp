// The forward pass of one layer over all time steps.
//
// Floor: T·B·GH·(I + R) multiply-adds at the peak of one core times the cores; or, where there are
// few rows, the bytes of R once a step from the cache that holds it. The gates of a tile are
// applied while its products are still in the level-1 cache.
#include "activation.h"
#include "forward_parts.h"
#include "kernels.h"
#include "norm.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {
namespace {

template <typename T, int G, bool plain>
class Forward {
 public:
  Forward(const ForwardCall<T>& call, T* scratch, const Member& member)
      : call_(call),
        layer_(call.layer),
        share_(share_of(layer_.rows, layer_.gates_width() * layer_.recurrent * sizeof(T), member)),
        plan_(plan_of(call, member.count)) {
    work_.lay_out(call, plan_, member.count, scratch);
    work_.starts += member.index * layer_.rows;
    work_.places += member.index * plan_.stretch * layer_.rows;
    recurrent_ = {layer_.weight_hh, layer_.hidden, layer_.recurrent, work_.panels};
    input_ = {call.weight_ih, layer_.hidden, call.features, work_.panels_ih};
    gates_ = call.gates != nullptr ? call.gates : work_.gates;
  }

  void run() {
    prepare();
    share_.member.wait();  // all panels are packed, all states in place
    for (Index first = 0; first < layer_.steps; first += plan_.stretch) {
      const Index left = layer_.steps - first;
      const Index count = left < plan_.stretch ? left : plan_.stretch;
      if (call_.gates == nullptr)
        first_kept_ = layer_.reverse ? layer_.steps - first - count : first;
      if (!plan_.fused) write_input_part(first, count);
      for (Index step = first; step < first + count; ++step) run_step(step);
    }
    finish();
  }

 private:
  static constexpr int width = Vec<T>::width;

  Index unit_panels() const { return unit_panel_count<T>(layer_.hidden); }
  bool has(const void* pointer) const { return !plain && pointer != nullptr; }

  void prepare() {
    const Index R = layer_.recurrent, H = layer_.hidden;
    const Range own = part_of(unit_panels(), share_.member);
    for (Index panel = own.first; panel < own.last && !plan_.lazy; ++panel) {
      recurrent_.pack(panel);
      input_.pack(panel);
    }
    if (has(layer_.weight_hr)) {
      const Range own_hr = part_of(panel_count<T>(R), share_.member);
      for (Index panel = own_hr.first; panel < own_hr.last; ++panel)
        pack_panel_of(Factors<T>{layer_.weight_hr, 1, H}, H, R, panel, work_.panels_hr);
    }
    if (share_.member.index == 0) {
      fill(work_.zeros, H > R ? H : R);
      add_biases();
    }
    for (Index row = share_.chores.first; row < share_.chores.last; ++row) {
      copy(layer_.c_0 + row * H, call_.c_n + row * H, H);
      for (T* state : work_.h) copy(call_.h_0 + row * R, state + row * R, R);
      if (!has(layer_.recurrent_mask)) continue;
      for (T* state : work_.masked_h) mask(call_.h_0 + row * R, row, state + row * R);
      if (call_.reset_h == nullptr) {
        fill(work_.masked_reset + row * R, R);
      } else {
        mask(call_.reset_h + row * R, row, work_.masked_reset + row * R);
      }
    }
  }

  void add_biases() {
    fill(work_.bias, G * layer_.hidden);
    for (const T* bias : {call_.bias_ih, call_.bias_hh})
      for (Index i = 0; bias != nullptr && i < G * layer_.hidden; ++i) work_.bias[i] += bias[i];
  }

  // The caller may have the last state written over the first.
  static void copy(const T* from, T* to, Index count) {
    if (from == to) return;
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
  }
  static void fill(T* to, Index count) {
    std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(T));
  }
  void mask(const T* h, Index row, T* to) const {
    const T* const factor = layer_.recurrent_mask + row * layer_.recurrent;
    for_each_vector<T>(0, layer_.recurrent, [&](Index at, int n) {
      (Vec<T>::load(h + at, n) * Vec<T>::load(factor + at, n)).store(to + at, n);
    });
  }

  // W x + b of a stretch of steps, for those rows that live then; without b where layer norm comes
  // between them. Each member makes the columns, or the rows, that it will read itself.
  void write_input_part(Index first_step, Index steps) {
    const Index count = find_places(first_step, steps);
    const Range own = share_.panels(unit_panels());
    for (Index panel = own.first; panel < own.last; ++panel)
      for_each_tile(count, tile_rows, [&](Index first, Index rows) {
        const Place<T>* const places = work_.places + first;
        const T* from[tile_rows];
        for (Index row = 0; row < rows; ++row) from[row] = places[row].x;
        Vec<T> sums[tile_rows * G];
        start_sums(panel, static_cast<int>(rows), sums);
        input_.multiply_packed(panel, static_cast<int>(rows), from, sums);
        store_sums(panel, static_cast<int>(rows), sums, [&](int row) { return places[row].gates; });
      });
  }

  Index find_places(Index first_step, Index steps) {
    Index count = 0;
    for (Index step = first_step; step < first_step + steps; ++step) {
      const Index t = layer_.time_of(step);
      for (Index row = share_.rows.first; row < share_.rows.last; ++row)
        if (layer_.alive(t, row)) work_.places[count++] = {input_of(t, row), gates_of(t, row)};
    }
    return count;
  }

  // How many of a panel's lanes are units.
  int units_of(Index panel) const {
    const Index left = layer_.hidden - panel * width;
    return static_cast<int>(left < width ? left : width);
  }

  void start_sums(Index panel, int rows, Vec<T>* sums) const {
    const int n = units_of(panel);
    for (int gate = 0; gate < G; ++gate) {
      const Vec<T> bias = has(layer_.norm_hh)
                              ? Vec<T>(T(0))
                              : Vec<T>::load(work_.bias + gate * layer_.hidden + panel * width, n);
      for (int row = 0; row < rows; ++row) sums[row * G + gate] = bias;
    }
  }

  template <typename To>
  void store_sums(Index panel, int rows, const Vec<T>* sums, const To& to) const {
    const int n = units_of(panel);
    for (int row = 0; row < rows; ++row)
      for (int gate = 0; gate < G; ++gate)
        sums[row * G + gate].store(to(row) + gate * layer_.hidden + panel * width, n);
  }

  void run_step(Index step) {
    const Index t = layer_.time_of(step);
    if (call_.save_every > 1) keep_cells(t);
    const Index count = find_starts(t, step);
    const bool backwards = step % 2 == 1;
    const Range own = share_.panels(unit_panels());
    for (Index i = 0; i < own.size(); ++i) {
      // To and fro: what was read last is still in the cache.
      const Index panel = backwards ? own.last - 1 - i : own.first + i;
      for_each_tile(count, tile_rows, [&](Index first, Index rows) {
        multiply_units(t, panel, work_.starts + first, static_cast<int>(rows), count - first, step);
      });
    }
    if (has(layer_.norm_hh)) {
      share_.wait();
      for (Index i = 0; i < count; ++i) {
        const Start<T>& start = work_.starts[i];
        if (start.row >= share_.chores.first && start.row < share_.chores.last)
          apply_normalized(t, start, step);
      }
    }
    if (has(layer_.weight_hr)) {
      share_.wait();
      project(t, count, step);
    }
    share_.wait();
  }

  void keep_cells(Index t) {
    const Index every = call_.save_every, chunk = t / every;
    const Index end = (chunk + 1) * every < layer_.steps ? (chunk + 1) * every : layer_.steps;
    if (t != (layer_.reverse ? end - 1 : chunk * every)) return;
    const Index H = layer_.hidden;
    const Range units = share_.panels(unit_panels());
    const Index first = has(layer_.norm_hh) ? 0 : units.first * width;
    const Index last = has(layer_.norm_hh) || units.last * width > H ? H : units.last * width;
    // With layer norm a member owns the cells of its rows, else those of its units.
    const Range rows = has(layer_.norm_hh) ? share_.chores : share_.rows;
    for (Index row = rows.first; row < rows.last; ++row)
      copy(call_.c_n + row * H + first, call_.cells + (chunk * layer_.rows + row) * H + first,
           last - first);
  }

  // Lists the live rows, and clears what is returned of the others. Returns how many live.
  Index find_starts(Index t, Index step) {
    const Index R = layer_.recurrent, H = layer_.hidden;
    Index count = 0;
    for (Index row = share_.rows.first; row < share_.rows.last; ++row) {
      if (!layer_.alive(t, row)) {
        if (row >= share_.chores.first && row < share_.chores.last) clear(t, row);
        continue;
      }
      const T* const h = work_.h[step % 2] + row * R;
      Start<T> start{row, h, h, call_.c_n + row * H};
      if (has(layer_.recurrent_mask)) start.recurrent = work_.masked_h[step % 2] + row * R;
      if (layer_.reset != nullptr && layer_.reset[t * layer_.rows + row]) {
        start.h = call_.reset_h == nullptr ? work_.zeros : call_.reset_h + row * R;
        start.c = layer_.reset_c == nullptr ? work_.zeros : layer_.reset_c + row * H;
        start.recurrent = has(layer_.recurrent_mask) ? work_.masked_reset + row * R : start.h;
      }
      work_.starts[count++] = start;
    }
    return count;
  }

  void clear(Index t, Index row) {
    const Index at = t * layer_.rows + row, H = layer_.hidden;
    fill(call_.output + at * layer_.recurrent, layer_.recurrent);
    if (call_.gates != nullptr) fill(call_.gates + at * G * H, G * H);
    if (call_.save_every == 1) fill(call_.cells + at * H, H);
  }

  T* gates_of(Index t, Index row) const {
    return gates_ + ((t - first_kept_) * layer_.rows + row) * G * layer_.hidden;
  }
  const T* input_of(Index t, Index row) const {
    return call_.input + (t * layer_.rows + row) * call_.features;
  }

  // One tile: `rows` of the `left` rows from `starts` on.
  void multiply_units(Index t, Index panel, const Start<T>* starts, int rows, Index left,
                      Index step) {
    const Index unit = panel * width, H = layer_.hidden;
    const int n = units_of(panel);
    const T* from[tile_rows];
    Vec<T> sums[tile_rows * G];
    if (plan_.fused) {
      for (int row = 0; row < rows; ++row) from[row] = input_of(t, starts[row].row);
      start_sums(panel, rows, sums);
      multiply_panel(input_, panel, rows, from, sums);
    } else if (has(layer_.norm_hh)) {
      for (int i = 0; i < rows * G; ++i) sums[i] = Vec<T>(T(0));
    } else {
      for (int row = 0; row < rows; ++row)
        for (int gate = 0; gate < G; ++gate)
          sums[row * G + gate] = Vec<T>::load(gates_of(t, starts[row].row) + gate * H + unit, n);
      for (Index row = rows; row < left && row < 2 * rows; ++row)  // of the next tile
        for (int gate = 0; gate < G; ++gate)
          prefetch(gates_of(t, starts[row].row) + gate * H + unit);
    }
    for (int row = 0; row < rows; ++row) from[row] = starts[row].recurrent;
    multiply_panel(recurrent_, panel, rows, from, sums);
    if (has(layer_.norm_hh))
      return store_sums(panel, rows, sums,
                        [&](int row) { return work_.product + starts[row].row * G * H; });
    // Two loops: what is in flight at once is then many rows' gates, or many rows' tanh(c'), and
    // not one row's long chain from one to the other.
    Cell cells[tile_rows];
    for (int row = 0; row < rows; ++row)
      cells[row] = apply_gates(t, starts[row], unit, n, sums + row * G);
    for (int row = 0; row < rows; ++row)
      emit(t, starts[row], unit, n, cells[row].o * tanh(cells[row].c), step);
  }

  void multiply_panel(const UnitPanels<T, G>& panels, Index panel, int rows, const T* const* from,
                      Vec<T>* sums) const {
    if (plan_.lazy) return panels.multiply_unpacked(panel, rows, from, sums);
    panels.multiply_packed(panel, rows, from, sums);
  }

  struct Cell {
    Vec<T> c;  // c', before zoneout
    Vec<T> o;
  };

  // The gates from what goes into their non-linearities, and the cell state.
  Cell apply_gates(Index t, const Start<T>& start, Index unit, int n, const Vec<T>* z) {
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

    if (call_.gates != nullptr) {
      T* const to = gates_of(t, start.row) + unit;
      if (G == 4) i.store(to, n);
      f.store(to + (G - 3) * H, n);
      g.store(to + (G - 2) * H, n);
      o.store(to + (G - 1) * H, n);
    }
    Vec<T> kept = c;
    if (!plain)
      kept = zoneout(old_c, c, layer_.zoneout_cell_mask, layer_.zoneout_cell,
                     (t * layer_.rows + start.row) * H + unit, n);
    kept.store(call_.c_n + start.row * H + unit, n);
    if (call_.save_every == 1)
      kept.store(call_.cells + (t * layer_.rows + start.row) * H + unit, n);
    return {c, o};
  }

  static Vec<T> zoneout(Vec<T> old, Vec<T> fresh, const bool* mask, T rate, Index at, int n) {
    if (mask != nullptr) return select(Vec<T>::load_mask(mask + at, n), old, fresh);
    if (rate == 0) return fresh;
    return fma(old, Vec<T>(rate), fresh * Vec<T>(1 - rate));
  }

  void emit(Index t, const Start<T>& start, Index unit, int n, Vec<T> emitted, Index step) {
    if (has(layer_.weight_hr)) {
      emitted.store(work_.emitted + start.row * layer_.hidden + unit, n);
    } else {
      hand_on(t, start, unit, n, emitted, step);
    }
  }

  // Stores h, for the caller and for the next step.
  void hand_on(Index t, const Start<T>& start, Index at, int n, Vec<T> h, Index step) {
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

  // All of one row, from R h to o ⊙ tanh(LN(c')). The product's memory is used again for c' and o.
  void apply_normalized(Index t, const Start<T>& start, Index step) {
    const Index H = layer_.hidden;
    T* const product = work_.product + start.row * G * H;
    T* const cells = product;
    T* const output_gates = product + H;
    const T* const gates_x = gates_of(t, start.row);
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

  void project(Index t, Index count, Index step) {
    const Index R = layer_.recurrent, H = layer_.hidden;
    const Range own = share_.panels(panel_count<T>(R));
    for (Index panel = own.first; panel < own.last; ++panel)
      multiply_by_panel(
          count, work_.panels_hr, H, R, panel,
          [&](Index i) { return work_.emitted + work_.starts[i].row * H; },
          [&](Index i, Index column, int n, Vec<T> h) {
            hand_on(t, work_.starts[i], column, n, h, step);
          });
  }

  // The state that a row stopped at, in the memory that its last step wrote to.
  void finish() {
    const Index R = layer_.recurrent;
    for (Index row = share_.chores.first; row < share_.chores.last; ++row) {
      Index stepped = layer_.steps;
      if (layer_.lengths != nullptr) {
        const Index length = static_cast<Index>(layer_.lengths[row]);
        if (length <= 0) stepped = 0;
        if (length < stepped && !layer_.reverse) stepped = length;
      }
      copy(work_.h[stepped % 2] + row * R, call_.h_n + row * R, R);
    }
  }

  const ForwardCall<T>& call_;
  const Layer<T>& layer_;
  Share share_;
  Plan plan_;
  Workspace<T> work_;
  UnitPanels<T, G> recurrent_, input_;
  T* gates_;              // (steps, B, GH): all of them, or those of a stretch
  Index first_kept_ = 0;  // the first time step in `gates_`
};

}  // namespace

template <typename T>
Index forward_scratch(const ForwardCall<T>& call, int threads) {
  Index most = 0;  // a team may turn out smaller than asked for
  for (int members = 1; members <= threads; ++members) {
    const Index needed = Workspace<T>().lay_out(call, plan_of(call, members), members, nullptr);
    most = needed > most ? needed : most;
  }
  return most;
}

template <typename T>
void forward(const ForwardCall<T>& call, T* scratch, const Member& member) {
  if (call.layer.is_plain()) {
    Forward<T, 4, true>(call, scratch, member).run();
  } else if (call.layer.gate_count == 4) {
    Forward<T, 4, false>(call, scratch, member).run();
  } else {
    Forward<T, 3, false>(call, scratch, member).run();
  }
}

template Index forward_scratch(const ForwardCall<float>&, int);
template Index forward_scratch(const ForwardCall<double>&, int);
template void forward(const ForwardCall<float>&, float*, const Member&);
template void forward(const ForwardCall<double>&, double*, const Member&);

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
