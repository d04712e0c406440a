// What the forward pass decides beforehand, and its scratch memory.
#pragma once

#include <type_traits>

#include "calls.h"
#include "share.h"
#include "units.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

// How a call is carried out, alike for all members. It changes the time, never a bit: each sum is
// one chain that begins with the bias, goes on with W x and ends with R h.
struct Plan {
  bool fused;     // W x is added up in the registers that R h is added to
  bool lazy;      // weights that are used once are packed where they are used
  Index stretch;  // how many steps' W x + b are made at a time, where it is not fused
};

// W x on its own is made of many steps' rows at a time, which each panel of W is read for once; but
// it is stored and loaded again, which takes longer than reading W where W is at hand: in the
// level-1 cache, or with rows enough to read it for. A row alone waits for its own last step all
// the time, and W x would only stand in its way.
template <typename S>
inline Plan plan_of(const ForwardCall<S>& call, int members) {
  constexpr Index level1_part = 16 * 1024, at_hand_bytes = 3072 * 1024, stretch_bytes = 256 * 1024;
  const Layer<S>& layer = call.layer;
  const Index number = sizeof(S), width = layer.gates_width();
  const Share share = share_of(layer.rows, width * layer.recurrent * number, {0, members, nullptr});
  const Index rows = share.rows.size();
  const Index weights = width * (layer.recurrent + call.features) * number;
  const Index own_weights = share.by_rows ? weights : weights / members;
  const bool at_hand = (rows > 1 && width * call.features * number <= level1_part) ||
                       (rows >= 2 * tile_rows && own_weights <= at_hand_bytes);
  const bool one_step = layer.steps == 1, normalizes = layer.norm_hh != nullptr;
  Index at_once = stretch_bytes / number / (call.features > 0 ? call.features : 1);
  at_once = at_once < 96 ? 96 : at_once > 512 ? 512 : at_once;
  Index stretch = at_once / (rows > 0 ? rows : 1);
  stretch = stretch < 1 ? 1 : stretch < layer.steps ? stretch : layer.steps;
  const bool each_panel_once = one_step && rows <= tile_rows && (members == 1 || !share.by_rows);
  return {!normalizes && (at_hand || one_step), !normalizes && each_panel_once, stretch};
}

// What one row starts a step from: its last state, or the state that a reset sets.
template <typename S>
struct Start {
  Index row;
  const S* recurrent;  // h as R sees it, under its mask
  const S* h;
  const Sum<S>* c;
};

// What W x + b of one row and step is made from, and where it goes.
template <typename S>
struct Place {
  const S* x;
  Sum<S>* gates_x;
};

template <typename S>
struct Workspace {
  using T = Sum<S>;

  S* panels;         // R, packed
  S* panels_ih;      // W, packed
  S* panels_hr;      // the projection, packed
  T* gates_x;        // (stretch, B, GH): W x + b, where it does not go where the gates are kept
  T* bias;           // (GH)
  S* h[2];           // (B, R): of the last step and of this one, in turns
  S* masked_h[2];    // (B, R): the same under the recurrent mask
  T* c;              // (B, H)
  S* reset_h;        // (B, R): what a reset sets
  S* masked_reset;   // (B, R)
  T* reset_c;        // (B, H)
  T* product;        // (B, GH): R h, where layer norm must see all of it first
  S* emitted;        // (B, H): o ⊙ tanh(c'), where there is a projection
  Start<S>* starts;  // (members, B)
  Place<S>* places;  // (members, stretch · B)

  // Returns how many elements there are in all.
  Index lay_out(const ForwardCall<S>& call, const Plan& plan, int members, S* memory) {
    const Layer<S>& layer = call.layer;
    Arena<S> arena(memory);
    const Index of_h = layer.rows * layer.recurrent, of_c = layer.rows * layer.hidden;
    const Index of_gates = layer.gates_width();
    const Index masked = layer.recurrent_mask == nullptr ? 0 : of_h;
    const Index resets = layer.reset == nullptr ? 0 : 1;
    const bool projects = layer.weight_hr != nullptr;
    const bool in_place = std::is_same_v<S, T> && call.gates != nullptr;
    const Index units = plan.lazy ? 0 : unit_panel_count<S>(layer.hidden) * lanes_of<S>;
    const Index stretch_rows = plan.fused ? 0 : plan.stretch * layer.rows;
    panels = arena.take(units * padded_depth<S>(layer.recurrent) * layer.gate_count);
    panels_ih = arena.take(units * padded_depth<S>(call.features) * layer.gate_count);
    panels_hr = arena.take(projects ? panel_elements<S>(layer.hidden, layer.recurrent) : 0);
    gates_x = arena.template take_of<T>(in_place ? 0 : stretch_rows * of_gates);
    bias = arena.template take_of<T>(of_gates);
    for (S*& one : h) one = arena.take(of_h);
    for (S*& one : masked_h) one = arena.take(masked);
    c = arena.template take_of<T>(of_c);
    reset_h = arena.take(resets * of_h);
    masked_reset = arena.take(resets * masked);
    reset_c = arena.template take_of<T>(resets * of_c);
    product = arena.template take_of<T>(layer.norm_hh == nullptr ? 0 : layer.rows * of_gates);
    emitted = arena.take(projects ? of_c : 0);
    starts = arena.template take_of<Start<S>>(layer.rows * members);
    places = arena.template take_of<Place<S>>(stretch_rows * members);
    return arena.used();
  }
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
