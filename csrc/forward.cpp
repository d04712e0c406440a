// The forward pass of one layer over all time steps.
//
// Floor: T·B·GH·(I + R) multiply-adds at the peak of one core times the cores; or, where there are
// few rows, the bytes of R once a step from the cache that holds it. The gates of a tile are
// applied while its products are still in the level-1 cache.
#include "forward_cells.h"
#include "kernels.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {
namespace {

template <typename S, int G, bool plain>
class Forward : private ForwardCells<S, G, plain> {
  using Cells = ForwardCells<S, G, plain>;
  using Cells::call_;
  using Cells::fill;
  using Cells::has;
  using Cells::layer_;
  using Cells::width;
  using Cells::work_;
  using typename Cells::T;

 public:
  Forward(const ForwardCall<S>& call, S* scratch, const Member& member)
      : Cells(call, plan_of(call, member.count), scratch, member.count),
        share_(share_of(layer_, layer_.gates_width() * layer_.recurrent * sizeof(S), member)),
        plan_(plan_of(call, member.count)) {
    work_.starts += member.index * layer_.rows;
    work_.places += member.index * plan_.stretch * layer_.rows;
    recurrent_ = {layer_.weight_hh, layer_.hidden, layer_.recurrent, work_.panels};
    input_ = {call.weight_ih, layer_.hidden, call.features, work_.panels_ih};
  }

  void run() {
    prepare();
    share_.member.wait();  // all panels are packed, all states in place
    for (Index first = 0; first < layer_.steps; first += plan_.stretch) {
      const Index left = layer_.steps - first;
      const Index count = left < plan_.stretch ? left : plan_.stretch;
      if (!plan_.fused) write_input_part(first, count);
      for (Index step = first; step < first + count; ++step) run_step(step);
    }
    finish();
  }

 private:
  Index unit_panels() const { return unit_panel_count<S>(layer_.hidden); }

  void prepare() {
    const Index R = layer_.recurrent, H = layer_.hidden;
    const Range own = part_of(unit_panels(), share_.member);
    for (Index panel = own.first; panel < own.last && !plan_.lazy; ++panel) {
      recurrent_.pack(panel);
      input_.pack(panel);
    }
    if (has(layer_.weight_hr)) {
      const Range own_hr = part_of(panel_count<S>(R), share_.member);
      for (Index panel = own_hr.first; panel < own_hr.last; ++panel)
        pack_panel_of(Factors<S>{layer_.weight_hr, 1, H}, H, R, panel, work_.panels_hr);
    }
    if (share_.member.index == 0) add_biases();
    for (Index row = share_.chores.first; row < share_.chores.last; ++row) {
      convert(layer_.c_0 + row * H, work_.c + row * H, H);
      convert(layer_.reset_c == nullptr ? nullptr : layer_.reset_c + row * H,
              work_.reset_c + row * H, layer_.reset == nullptr ? 0 : H);
      convert(call_.reset_h == nullptr ? nullptr : call_.reset_h + row * R, work_.reset_h + row * R,
              layer_.reset == nullptr ? 0 : R);
      for (S* state : work_.h) convert(call_.h_0 + row * R, state + row * R, R);
      if (!has(layer_.recurrent_mask)) continue;
      for (S* state : work_.masked_h) mask(call_.h_0 + row * R, row, state + row * R);
      if (layer_.reset != nullptr) mask(work_.reset_h + row * R, row, work_.masked_reset + row * R);
    }
  }

  // Copies numbers, or zeros where there are none, from one type to another.
  template <typename From, typename To>
  static void convert(const From* from, To* to, Index count) {
    for_each_vector<T>(0, count, [&](Index at, int n) {
      (from == nullptr ? Vec<T>(T(0)) : Vec<T>::load(from + at, n)).store(to + at, n);
    });
  }

  void add_biases() {
    const Index count = G * layer_.hidden;
    fill(work_.bias, count);
    for (const S* bias : {call_.bias_ih, call_.bias_hh}) {
      if (bias == nullptr) continue;
      for_each_vector<T>(0, count, [&](Index at, int n) {
        T* const to = work_.bias + at;
        (Vec<T>::load(to, n) + Vec<T>::load(bias + at, n)).store(to, n);
      });
    }
  }

  void mask(const S* h, Index row, S* to) const {
    const S* const factor = layer_.recurrent_mask + row * layer_.recurrent;
    for_each_vector<T>(0, layer_.recurrent, [&](Index at, int n) {
      (Vec<T>::load(h + at, n) * Vec<T>::load(factor + at, n)).store(to + at, n);
    });
  }

  // W x + b of a stretch of steps, for those rows that live then; without b where layer norm comes
  // between them. Each member makes the columns, or the rows, that it will read itself.
  void write_input_part(Index first_step, Index steps) {
    const Index last_step = first_step + steps;
    first_in_stretch_ = layer_.reverse ? layer_.steps - last_step : first_step;
    const Index count = find_places(first_step, last_step);
    const Range own = share_.panels(unit_panels());
    for (Index panel = own.first; panel < own.last; ++panel)
      for_each_tile(count, tile_rows, [&](Index first, Index rows) {
        const Place<S>* const places = work_.places + first;
        Term<S> term = input_.term(panel);
        for (Index row = 0; row < rows; ++row) term.rows.from[row] = places[row].x;
        Vec<T> sums[sums_rows * G];
        start_sums(panel, static_cast<int>(rows), sums);
        multiply<S, G>(static_cast<int>(rows), &term, 1, sums);
        store_sums(panel, static_cast<int>(rows), sums,
                   [&](int row) { return places[row].gates_x; });
      });
  }

  Index find_places(Index first_step, Index last_step) {
    Index count = 0;
    for (Index step = first_step; step < last_step; ++step) {
      const Index t = layer_.time_of(step);
      for (Index row = share_.rows.first; row < share_.rows.last; ++row)
        if (layer_.alive(t, row)) work_.places[count++] = {input_of(t, row), gates_x_of(t, row)};
    }
    return count;
  }

  const S* input_of(Index t, Index row) const {
    return call_.input + (t * layer_.rows + row) * call_.features;
  }
  // W x + b; where the gates are kept, in their place.
  T* gates_x_of(Index t, Index row) const {
    if constexpr (std::is_same_v<S, T>)
      if (call_.gates != nullptr) return call_.gates + (t * layer_.rows + row) * G * layer_.hidden;
    return work_.gates_x + ((t - first_in_stretch_) * layer_.rows + row) * G * layer_.hidden;
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
    const Range own = share_.panels(unit_panels());
    const Index at_once = panels_at_once(count);
    for (Index done = 0; done < own.size(); done += at_once) {
      // To and fro: what was read last is still in the cache.
      const Index last = done + at_once < own.size() ? done + at_once : own.size();
      const Range panels = step % 2 == 1 ? Range{own.last - last, own.last - done}
                                         : Range{own.first + done, own.first + last};
      for_each_tile(count, tile_rows, [&](Index first, Index rows) {
        run_tile(t, panels, work_.starts + first, static_cast<int>(rows), count - first, step);
      });
    }
    if (has(layer_.norm_hh)) {
      share_.wait();
      for (Index i = 0; i < count; ++i) {
        const Start<S>& start = work_.starts[i];
        if (start.row >= share_.chores.first && start.row < share_.chores.last)
          this->apply_normalized(t, start, gates_x_of(t, start.row), step);
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
      convert(work_.c + row * H + first, call_.cells + (chunk * layer_.rows + row) * H + first,
              last - first);
  }

  // Lists the live rows, and clears what is returned of the others. Returns how many live.
  Index find_starts(Index t, Index step) {
    const Index R = layer_.recurrent, H = layer_.hidden;
    const bool masks = has(layer_.recurrent_mask);
    Index count = 0;
    for (Index row = share_.rows.first; row < share_.rows.last; ++row) {
      if (!layer_.alive(t, row)) {
        if (row >= share_.chores.first && row < share_.chores.last) clear(t, row);
        continue;
      }
      const bool is_reset = layer_.reset != nullptr && layer_.reset[t * layer_.rows + row];
      const S* const h = (is_reset ? work_.reset_h : work_.h[step % 2]) + row * R;
      const S* const masked =
          masks ? (is_reset ? work_.masked_reset : work_.masked_h[step % 2]) + row * R : h;
      work_.starts[count++] = {row, masked, h, (is_reset ? work_.reset_c : work_.c) + row * H};
    }
    return count;
  }

  void clear(Index t, Index row) {
    const Index at = t * layer_.rows + row, H = layer_.hidden, R = layer_.recurrent;
    const S* const nothing = nullptr;
    convert(nothing, call_.output + at * R, R);
    if (call_.gates != nullptr) convert(nothing, call_.gates + at * G * H, G * H);
    if (call_.save_every == 1) fill(call_.cells + at * H, H);
  }

  // A tile of few rows is filled up with more than one panel: their chains run side by side.
  static Index panels_at_once(Index rows) {
    return rows > 0 && 2 * rows <= tile_rows ? tile_rows / rows : 1;
  }

  // One tile: `rows` of the `left` rows from `starts` on, of all gates of some panels' units.
  void run_tile(Index t, Range panels, const Start<S>* starts, int rows, Index left, Index step) {
    typename Cells::Piece pieces[tile_rows];
    Vec<T> sums[sums_rows * G];
    int count = 0;
    for (Index panel = panels.first; panel < panels.last; ++panel) {
      Vec<T>* const of_panel = sums + count * G;
      add_up(t, panel, starts, rows, left, of_panel);
      if (has(layer_.norm_hh)) {
        store_sums(panel, rows, of_panel,
                   [&](int row) { return work_.product + starts[row].row * G * layer_.hidden; });
      } else {
        for (int row = 0; row < rows; ++row)
          pieces[count++] = {starts + row, panel * width, units_of(panel)};
      }
    }
    this->apply_tile(t, pieces, count, sums, step);
  }

  // W x + b + R h of one panel; with layer norm R h alone.
  void add_up(Index t, Index panel, const Start<S>* starts, int rows, Index left,
              Vec<T>* sums) const {
    const Index unit = panel * width, H = layer_.hidden;
    const int n = units_of(panel);
    Term<S> terms[2] = {input_.term(panel), recurrent_.term(panel)};
    for (int row = 0; row < rows; ++row) {
      terms[0].rows.from[row] = input_of(t, starts[row].row);
      terms[1].rows.from[row] = starts[row].recurrent;
    }
    if (plan_.fused) {
      start_sums(panel, rows, sums);
    } else if (has(layer_.norm_hh)) {
      for (int i = 0; i < rows * G; ++i) sums[i] = Vec<T>(T(0));
    } else {
      for (int row = 0; row < rows; ++row)
        for (int gate = 0; gate < G; ++gate)
          sums[row * G + gate] = Vec<T>::load(gates_x_of(t, starts[row].row) + gate * H + unit, n);
      for (Index row = rows; row < left && row < 2 * rows; ++row)  // of the next tile
        for (int gate = 0; gate < G; ++gate)
          prefetch(gates_x_of(t, starts[row].row) + gate * H + unit);
    }
    if (plan_.lazy) {
      input_.multiply_unpacked(panel, rows, terms[0].rows, sums);
      recurrent_.multiply_unpacked(panel, rows, terms[1].rows, sums);
    } else {
      const int first = plan_.fused ? 0 : 1;
      multiply<S, G>(rows, terms + first, 2 - first, sums);
    }
  }

  void project(Index t, Index count, Index step) {
    const Index R = layer_.recurrent, H = layer_.hidden;
    const Range own = share_.panels(panel_count<S>(R));
    for (Index panel = own.first; panel < own.last; ++panel)
      multiply_by_panel(
          count, work_.panels_hr, H, R, panel,
          [&](Index i) { return work_.emitted + work_.starts[i].row * H; },
          [&](Index i, Index column, int n, Vec<T> h) {
            this->hand_on(t, work_.starts[i], column, n, h, step);
          });
  }

  // The state that a row stopped at, in the memory that its last step wrote to.
  void finish() {
    const Index R = layer_.recurrent, H = layer_.hidden;
    for (Index row = share_.chores.first; row < share_.chores.last; ++row) {
      Index stepped = layer_.steps;
      if (layer_.lengths != nullptr) {
        const Index length = static_cast<Index>(layer_.lengths[row]);
        if (length <= 0) stepped = 0;
        if (length < stepped && !layer_.reverse) stepped = length;
      }
      convert(work_.h[stepped % 2] + row * R, call_.h_n + row * R, R);
      convert(work_.c + row * H, call_.c_n + row * H, H);
    }
  }

  Share share_;
  Plan plan_;
  UnitPanels<S, G> recurrent_, input_;
  Index first_in_stretch_ = 0;  // the earliest time step of those whose W x + b are made
};

}  // namespace

template <typename S>
Index forward_scratch(const ForwardCall<S>& call, int threads) {
  Index most = 0;  // a team may turn out smaller than asked for
  for (int members = 1; members <= threads; ++members) {
    const Index needed = Workspace<S>().lay_out(call, plan_of(call, members), members, nullptr);
    most = needed > most ? needed : most;
  }
  return most;
}

// Sixteen-bit floats are for the plain layer: all others are calculated in float32.
template <typename S>
void forward(const ForwardCall<S>& call, S* scratch, const Member& member) {
  const TileSession session;
  if constexpr (std::is_same_v<S, bfloat16>) {
    Forward<S, 4, true>(call, scratch, member).run();
  } else if (call.layer.is_plain()) {
    Forward<S, 4, true>(call, scratch, member).run();
  } else if (call.layer.gate_count == 4) {
    Forward<S, 4, false>(call, scratch, member).run();
  } else {
    Forward<S, 3, false>(call, scratch, member).run();
  }
}

#define FASTLSTM_INSTANTIATE(S)                               \
  template Index forward_scratch(const ForwardCall<S>&, int); \
  template void forward(const ForwardCall<S>&, S*, const Member&);
#if defined(FASTLSTM_BF16)
FASTLSTM_INSTANTIATE(bfloat16)
#else
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#endif
#undef FASTLSTM_INSTANTIATE

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
