// The backward pass of one layer over all time steps: what each step contributes, and the
// gradients of the states. Names as in ops/gradients.py, whose lines these are.
//
// Floor: as the forward pass, T·B·GH·R multiply-adds. Besides, each step reads 5·H numbers a row
// (its gates and a cell state) and writes 4·H.
#include "activation.h"
#include "kernels.h"
#include "norm.h"
#include "real_steps.h"
#include "share.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {
namespace {

template <typename S>
struct Workspace {
  using T = Sum<S>;

  S* panels;       // R, packed to be multiplied by from the left
  S* panels_hr;    // the projection, likewise
  T* d_emitted;    // (B, H), where it is not made and used at once
  T* new_c;        // (members, H), with layer norm
  T* c_0;          // (B, H)
  T* reset_c;      // (B, H)
  Index* live;     // (members, B)
  Index elements;  // of all

  Workspace(const Layer<S>& layer, int members, S* memory) {
    Arena<S> arena(memory);
    const Index R = layer.recurrent, H = layer.hidden;
    const bool projects = layer.weight_hr != nullptr, normalizes = layer.norm_hh != nullptr;
    panels = arena.take(panel_elements<S>(layer.gates_width(), R));
    panels_hr = arena.take(projects ? panel_elements<S>(R, H) : 0);
    d_emitted = arena.template take_of<T>(projects || normalizes ? layer.rows * H : 0);
    new_c = arena.template take_of<T>(normalizes ? members * H : 0);
    c_0 = arena.template take_of<T>(layer.rows * H);
    reset_c = arena.template take_of<T>(layer.reset == nullptr ? 0 : layer.rows * H);
    live = arena.template take_of<Index>(layer.rows * members);
    elements = arena.used();
  }
};

template <typename S, int G, bool plain>
class Backward {
  using T = Sum<S>;

 public:
  Backward(const BackwardCall<S>& call, S* scratch, const Member& member)
      : call_(call),
        layer_(call.layer),
        H_(layer_.hidden),
        R_(layer_.recurrent),
        share_(share_of(layer_, layer_.gates_width() * R_ * sizeof(S), member)),
        work_(layer_, member.count, scratch),
        live_(layer_, share_.rows, work_.live + member.index * layer_.rows) {
    work_.new_c += has(layer_.norm_hh) ? member.index * H_ : 0;
  }

  void run() {
    prepare();
    share_.member.wait();  // all panels are packed, all gradients of the last states in place
    for (Index step = layer_.steps - 1; step >= 0; --step) run_step(step);
  }

 private:
  static constexpr Index width = lanes_of<S>;

  bool has(const void* pointer) const { return !plain && pointer != nullptr; }
  bool does_chores_for(Index row) const {
    return row >= share_.chores.first && row < share_.chores.last;
  }

  // The gradients of the states live where they are returned in the end.
  void prepare() {
    const Range own = part_of(panel_count<S>(R_), share_.member);
    for (Index panel = own.first; panel < own.last; ++panel)
      pack_panel_of(Factors<S>{layer_.weight_hh, R_, 1}, G * H_, R_, panel, work_.panels);
    if (has(layer_.weight_hr)) {
      const Range own_hr = part_of(panel_count<S>(H_), share_.member);
      for (Index panel = own_hr.first; panel < own_hr.last; ++panel)
        pack_panel_of(Factors<S>{layer_.weight_hr, H_, 1}, R_, H_, panel, work_.panels_hr);
    }
    for (Index row = share_.chores.first; row < share_.chores.last; ++row) {
      copy_or_fill(call_.d_h_n, call_.d_h_0, row, R_);
      copy_or_fill(call_.d_c_n, call_.d_c_0, row, H_);
      copy_or_fill(layer_.c_0, work_.c_0, row, H_);
      if (layer_.reset == nullptr) continue;
      copy_or_fill(layer_.reset_c, work_.reset_c, row, H_);
      fill(call_.d_reset_h + row * R_, R_);
      fill(call_.d_reset_c + row * H_, H_);
    }
  }

  template <typename To>
  static void fill(To* to, Index count) {
    std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(To));
  }
  template <typename From>
  static void copy_or_fill(const From* from, T* to, Index row, Index count) {
    if (from == nullptr) return fill(to + row * count, count);
    for_each_vector<T>(row * count, (row + 1) * count,
                       [&](Index i, int n) { Vec<T>::load(from + i, n).store(to + i, n); });
  }

  void run_step(Index step) {
    live_.go_back_to(layer_.time_of(step));
    if (has(layer_.weight_hr)) through_projection();
    if (has(layer_.norm_hh)) {
      for (Index i = 0; i < live_.count(); ++i)
        if (does_chores_for(live_[i].row)) through_normalized_cell(live_[i]);
    } else {
      const Range vectors = share_.panels(divide_up(H_, width));
      const Index last = vectors.last * width < H_ ? vectors.last * width : H_;
      for (Index i = 0; i < live_.count(); ++i) {
        const Here here = live_[i];
        const T* const c = cell_before(here);
        for_each_vector<T>(vectors.first * width, last,
                           [&](Index unit, int n) { through_cell(here, c, unit, n); });
      }
    }
    share_.wait();
    through_recurrence();
    share_.wait();
  }

  bool is_reset(const Here& here) const { return layer_.reset != nullptr && layer_.reset[here.at]; }

  const T* cell_before(const Here& here) const {
    if (is_reset(here)) return work_.reset_c + here.row * H_;
    const bool first = layer_.reverse
                           ? here.t + 1 == layer_.steps || !layer_.alive(here.t + 1, here.row)
                           : here.t == 0;
    if (first) return work_.c_0 + here.row * H_;
    return call_.cells + (here.at + (layer_.reverse ? layer_.rows : -layer_.rows)) * H_;
  }

  struct OldAndNew {
    Vec<T> old_value, new_value;
  };

  static OldAndNew through_zoneout(Vec<T> d, const bool* mask, T rate, Index from, int n) {
    const Vec<T> zero(T(0));
    if (mask != nullptr) {
      const auto kept = Vec<T>::load_mask(mask + from, n);
      return {select(kept, d, zero), select(kept, zero, d)};
    }
    if (rate == 0) return {zero, d};
    return {d * Vec<T>(rate), d * Vec<T>(1 - rate)};
  }

  // The gradient of h before zoneout; that of the old h takes the place of that of the new one.
  Vec<T> through_hidden_zoneout(const Here& here, Index column, int n) {
    T* const state = call_.d_h_0 + here.row * R_ + column;
    const Index in_time = here.at * R_ + column;
    Vec<T> d = Vec<T>::load(state, n);
    if (call_.d_output != nullptr) d = d + Vec<T>::load(call_.d_output + in_time, n);
    if (plain) return d;
    const OldAndNew split =
        through_zoneout(d, layer_.zoneout_hidden_mask, layer_.zoneout_hidden, in_time, n);
    split.old_value.store(state, n);
    return split.new_value;
  }

  void through_projection() {
    for (Index i = 0; i < live_.count(); ++i) {
      const Here here = live_[i];
      if (!does_chores_for(here.row)) continue;
      for_each_vector<T>(0, R_, [&](Index column, int n) {
        through_hidden_zoneout(here, column, n).store(call_.d_new_h + here.place * R_ + column, n);
      });
    }
    share_.wait();
    const Range own = share_.panels(panel_count<S>(H_));
    for (Index panel = own.first; panel < own.last; ++panel)
      multiply_by_panel(
          live_.count(), work_.panels_hr, R_, H_, panel,
          [&](Index i) { return call_.d_new_h + live_.place(i) * R_; },
          [&](Index i, Index unit, int n, Vec<T> d) {
            d.store(work_.d_emitted + live_[i].row * H_ + unit, n);
          });
    share_.wait();
  }

  // What the forward pass knew of one vector of units.
  struct Now {
    Vec<T> i, f, g, o, c, unclipped, new_c;
  };

  Now forward_again(const Here& here, const T* c, Index unit, int n) const {
    const S* const gates = call_.gates + here.at * G * H_ + unit;
    Now now;
    now.f = Vec<T>::load(gates + (G - 3) * H_, n);
    now.g = Vec<T>::load(gates + (G - 2) * H_, n);
    now.o = Vec<T>::load(gates + (G - 1) * H_, n);
    now.i = G == 4 ? Vec<T>::load(gates, n) : Vec<T>(T(1)) - now.f;
    now.c = Vec<T>::load(c + unit, n);
    now.unclipped = fma(now.f, now.c, now.i * now.g);
    now.new_c = now.unclipped;
    if (!plain && layer_.cell_clip != 0)
      now.new_c = min(Vec<T>(layer_.cell_clip), max(Vec<T>(-layer_.cell_clip), now.unclipped));
    return now;
  }

  Vec<T> emitted_gradient(const Here& here, Index unit, int n) {
    if (has(layer_.weight_hr)) return Vec<T>::load(work_.d_emitted + here.row * H_ + unit, n);
    return through_hidden_zoneout(here, unit, n);
  }

  static Vec<T> d_of_tanh(Vec<T> d, Vec<T> value) { return d * (Vec<T>(T(1)) - value * value); }
  static Vec<T> d_of_sigmoid(Vec<T> d, Vec<T> value) { return d * value * (Vec<T>(T(1)) - value); }

  void through_cell(const Here& here, const T* c, Index unit, int n) {
    const Now now = forward_again(here, c, unit, n);
    const Vec<T> d_emitted = emitted_gradient(here, unit, n);
    const Vec<T> tanh_seen = tanh(now.new_c);
    through_gates(here, unit, n, now, d_emitted * tanh_seen,
                  d_of_tanh(d_emitted * now.o, tanh_seen));
  }

  // From the gradient of o and that of c' by way of the output, to those of z and of c.
  void through_gates(const Here& here, Index unit, int n, const Now& now, Vec<T> d_o,
                     Vec<T> d_seen) {
    const Index in_time = here.at * H_ + unit;
    const auto with_own = [&](Vec<T> d, int gate) {
      if (call_.d_gates == nullptr) return d;
      return d + Vec<T>::load(call_.d_gates + (here.at * G + gate) * H_ + unit, n);
    };
    const auto peephole = [&](int which) {
      return Vec<T>::load(layer_.peephole + which * H_ + unit, n);
    };
    const Vec<T> d_z_o = d_of_sigmoid(with_own(d_o, G - 1), now.o);

    T* const state = call_.d_c_0 + here.row * H_ + unit;
    Vec<T> d_c = Vec<T>::load(state, n);
    if (call_.d_cells != nullptr) d_c = d_c + Vec<T>::load(call_.d_cells + in_time, n);
    OldAndNew split{Vec<T>(T(0)), d_c};
    if (!plain)
      split = through_zoneout(d_c, layer_.zoneout_cell_mask, layer_.zoneout_cell, in_time, n);
    Vec<T> d_new_c = split.new_value + d_seen;
    if (has(layer_.peephole)) d_new_c = fma(d_z_o, peephole(G - 2), d_new_c);
    if (!plain && layer_.cell_clip != 0)
      d_new_c =
          select(less_equal(abs(now.unclipped), Vec<T>(layer_.cell_clip)), d_new_c, Vec<T>(T(0)));

    const Vec<T> d_i = d_new_c * now.g;
    Vec<T> d_f = with_own(d_new_c * now.c, G - 3);
    if (G == 3) d_f = d_f - d_i;
    const Vec<T> d_z_f = d_of_sigmoid(d_f, now.f);
    const Vec<T> d_z_g = d_of_tanh(with_own(d_new_c * now.i, G - 2), now.g);
    Vec<T> d_old_c = fma(d_new_c, now.f, split.old_value);
    if (has(layer_.peephole)) d_old_c = fma(d_z_f, peephole(G - 3), d_old_c);

    S* const to = call_.d_z + here.place * G * H_ + unit;
    if (G == 4) {
      const Vec<T> d_z_i = d_of_sigmoid(with_own(d_i, 0), now.i);
      d_z_i.store(to, n);
      if (has(layer_.peephole)) d_old_c = fma(d_z_i, peephole(0), d_old_c);
    }
    d_z_f.store(to + (G - 3) * H_, n);
    d_z_g.store(to + (G - 2) * H_, n);
    d_z_o.store(to + (G - 1) * H_, n);
    hand_back(is_reset(here) ? call_.d_reset_c + here.row * H_ + unit : nullptr, state, d_old_c, n);
  }

  // The gradient of the state that a step starts from: of the last one, or of what a reset sets.
  static void hand_back(T* reset, T* state, Vec<T> d, int n) {
    if (reset != nullptr) {
      (Vec<T>::load(reset, n) + d).store(reset, n);
      d = Vec<T>(T(0));
    }
    d.store(state, n);
  }

  // All of one row, where layer norm makes each unit depend on the others.
  void through_normalized_cell(const Here& here) {
    // Read last, from far away: no other step came by here.
    for (Index i = 0; i < G * H_; i += 64 / sizeof(T))
      prefetch(call_.recurrent + here.place * G * H_ + i);
    const T* const c = cell_before(here);
    T* const d_seen = call_.d_seen + here.place * H_;
    T* const d_emitted = work_.d_emitted + here.row * H_;
    for_each_vector<T>(0, H_, [&](Index unit, int n) {
      emitted_gradient(here, unit, n).store(d_emitted + unit, n);
      forward_again(here, c, unit, n).new_c.store(work_.new_c + unit, n);
    });
    const Normalizer<T> of_cell = normalizer_of(work_.new_c, H_, layer_.norm_epsilon);
    T* const d_o = d_emitted;  // which takes its place
    for_each_vector<T>(0, H_, [&](Index unit, int n) {
      Vec<T> seen =
          of_cell(Vec<T>::load(work_.new_c + unit, n)) * Vec<T>::load(layer_.norm_cell + unit, n);
      if (layer_.norm_cell_bias != nullptr)
        seen = seen + Vec<T>::load(layer_.norm_cell_bias + unit, n);
      const Vec<T> tanh_seen = tanh(seen), d = Vec<T>::load(d_emitted + unit, n);
      const Vec<T> o = Vec<T>::load(call_.gates + (here.at * G + G - 1) * H_ + unit, n);
      d_of_tanh(d * o, tanh_seen).store(d_seen + unit, n);
      (d * tanh_seen).store(d_o + unit, n);
    });
    const ThroughNorm<T> cell_norm =
        through_norm(d_seen, layer_.norm_cell, work_.new_c, H_, of_cell);
    for_each_vector<T>(0, H_, [&](Index unit, int n) {
      const Now now = forward_again(here, c, unit, n);
      const Vec<T> scaled =
          Vec<T>::load(d_seen + unit, n) * Vec<T>::load(layer_.norm_cell + unit, n);
      through_gates(here, unit, n, now, Vec<T>::load(d_o + unit, n), cell_norm(scaled, now.new_c));
    });

    const S* const d_z = call_.d_z + here.place * G * H_;
    const T* const product = call_.recurrent + here.place * G * H_;
    S* const d_recurrent = call_.d_recurrent + here.place * G * H_;
    const ThroughNorm<T> product_norm = through_norm(
        d_z, layer_.norm_hh, product, G * H_, normalizer_of(product, G * H_, layer_.norm_epsilon));
    for_each_vector<T>(0, G * H_, [&](Index i, int n) {
      const Vec<T> scaled = Vec<T>::load(d_z + i, n) * Vec<T>::load(layer_.norm_hh + i, n);
      product_norm(scaled, Vec<T>::load(product + i, n)).store(d_recurrent + i, n);
    });
  }

  // From the gradient of R h to that of h.
  void through_recurrence() {
    const S* const d = has(layer_.norm_hh) ? call_.d_recurrent : call_.d_z;
    const Range own = share_.panels(panel_count<S>(R_));
    for (Index panel = own.first; panel < own.last; ++panel)
      multiply_by_panel(
          live_.count(), work_.panels, G * H_, R_, panel,
          [&](Index i) { return d + live_.place(i) * G * H_; },
          [&](Index i, Index column, int n, Vec<T> d_h) {
            const Here here = live_[i];
            const Index in_batch = here.row * R_ + column;
            T* const state = call_.d_h_0 + in_batch;
            if (has(layer_.recurrent_mask))
              d_h = d_h * Vec<T>::load(layer_.recurrent_mask + in_batch, n);
            if (!plain) d_h = d_h + Vec<T>::load(state, n);
            hand_back(is_reset(here) ? call_.d_reset_h + in_batch : nullptr, state, d_h, n);
          });
  }

  const BackwardCall<S>& call_;
  const Layer<S>& layer_;
  const Index H_, R_;
  Share share_;
  Workspace<S> work_;
  LiveRows<S> live_;
};

}  // namespace

template <typename S>
Index backward_scratch(const BackwardCall<S>& call, int threads) {
  return Workspace<S>(call.layer, threads, nullptr).elements;
}

// Sixteen-bit floats are for the plain layer: all others are calculated in float32.
template <typename S>
void backward(const BackwardCall<S>& call, S* scratch, const Member& member) {
  const TileSession session;
  if constexpr (std::is_same_v<S, bfloat16>) {
    Backward<S, 4, true>(call, scratch, member).run();
  } else if (call.layer.is_plain()) {
    Backward<S, 4, true>(call, scratch, member).run();
  } else if (call.layer.gate_count == 4) {
    Backward<S, 4, false>(call, scratch, member).run();
  } else {
    Backward<S, 3, false>(call, scratch, member).run();
  }
}

#define FASTLSTM_INSTANTIATE(S)                                 \
  template Index backward_scratch(const BackwardCall<S>&, int); \
  template void backward(const BackwardCall<S>&, S*, const Member&);
#if defined(FASTLSTM_BF16)
FASTLSTM_INSTANTIATE(bfloat16)
#else
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
#endif
#undef FASTLSTM_INSTANTIATE

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
