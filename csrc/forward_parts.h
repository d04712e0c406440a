// What the forward pass decides beforehand, and its scratch memory.
#pragma once

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
// it is stored and loaded again, which takes longer than reading W where W is at hand.
template <typename T>
inline Plan plan_of(const ForwardCall<T>& call, int members) {
  constexpr Index level1_part = 16 * 1024, level2_part = 768 * 1024, stretch_bytes = 256 * 1024;
  const Layer<T>& layer = call.layer;
  const Index number = sizeof(T), width = layer.gates_width();
  const Share share = share_of(layer.rows, width * layer.recurrent * number, {0, members, nullptr});
  const Index rows = share.rows.size();
  const Index weights = width * (layer.recurrent + call.features) * number;
  const Index own_weights = share.by_rows ? weights : weights / members;
  const bool at_hand = width * call.features * number <= level1_part ||
                       (rows >= 2 * tile_rows && own_weights <= level2_part);
  const bool one_step = layer.steps == 1;
  Index at_once = stretch_bytes / number / (call.features > 0 ? call.features : 1);
  at_once = at_once < 96 ? 96 : at_once > 512 ? 512 : at_once;
  Index stretch = at_once / (rows > 0 ? rows : 1);
  stretch = stretch < 1 ? 1 : stretch < layer.steps ? stretch : layer.steps;
  return {
      layer.norm_hh == nullptr && (at_hand || one_step),
      one_step && layer.norm_hh == nullptr && (members == 1 || !share.by_rows) && rows <= tile_rows,
      stretch};
}

// What one row starts a step from: its last state, or the state that a reset sets.
template <typename T>
struct Start {
  Index row;
  const T* recurrent;  // h as R sees it, under its mask
  const T* h;
  const T* c;
};

// What W x + b of one row and step is made from, and where it goes.
template <typename T>
struct Place {
  const T* x;
  T* gates;
};

template <typename T>
struct Workspace {
  T* panels;        // R, packed
  T* panels_ih;     // W, packed
  T* panels_hr;     // the projection, packed
  T* gates;         // (stretch, B, GH): W x + b, where the gates are not kept
  T* bias;          // (GH)
  T* h[2];          // (B, R): of the last step and of this one, in turns
  T* masked_h[2];   // (B, R): the same under the recurrent mask
  T* masked_reset;  // (B, R)
  T* product;       // (B, GH): R h, where layer norm must see all of it first
  T* emitted;       // (B, H): o ⊙ tanh(c'), where there is a projection
  T* zeros;
  Start<T>* starts;  // (members, B)
  Place<T>* places;  // (members, stretch · B)

  // Returns how many elements there are in all.
  Index lay_out(const ForwardCall<T>& call, const Plan& plan, int members, T* memory) {
    const Layer<T>& layer = call.layer;
    Arena<T> arena(memory);
    const Index state = layer.rows * layer.recurrent;
    const Index masked = layer.recurrent_mask == nullptr ? 0 : state;
    const bool projects = layer.weight_hr != nullptr;
    const Index units = plan.lazy ? 0 : unit_panel_count<T>(layer.hidden) * Vec<T>::width;
    const Index stretch_rows = plan.fused ? 0 : plan.stretch * layer.rows;
    panels = arena.take(units * layer.recurrent * layer.gate_count);
    panels_ih = arena.take(units * call.features * layer.gate_count);
    panels_hr = arena.take(projects ? panel_elements<T>(layer.hidden, layer.recurrent) : 0);
    gates = arena.take(call.gates != nullptr ? 0 : stretch_rows * layer.gates_width());
    bias = arena.take(layer.gates_width());
    for (T*& one : h) one = arena.take(state);
    for (T*& one : masked_h) one = arena.take(masked);
    masked_reset = arena.take(masked);
    product = arena.take(layer.norm_hh == nullptr ? 0 : layer.rows * layer.gates_width());
    emitted = arena.take(projects ? layer.rows * layer.hidden : 0);
    zeros = arena.take(layer.hidden > layer.recurrent ? layer.hidden : layer.recurrent);
    starts = arena.template take_of<Start<T>>(layer.rows * members);
    places = arena.template take_of<Place<T>>(stretch_rows * members);
    return arena.used();
  }
};

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
