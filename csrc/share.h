// How one call is divided among the members of a team, and its scratch memory among its arrays.
#pragma once

#include "calls.h"
#include "panel.h"
#include "threads.h"

namespace fastlstm {
namespace FASTLSTM_TARGET {

struct Range {
  Index first, last;
  Index size() const { return last - first; }
};

// The part of [0, count) that falls to one member; all parts have the same size, within one.
inline Range part_of(Index count, const Member& member) {
  return {count * member.index / member.count, count * (member.index + 1) / member.count};
}

// Hands out parts of the scratch memory, each on a cache line of its own. With a null pointer it
// only counts how much is needed.
template <typename T>
class Arena {
 public:
  explicit Arena(T* memory) : memory_(memory) {}
  T* take(Index count) {
    T* const taken = memory_ == nullptr ? nullptr : memory_ + used_;
    constexpr Index line = 64 / sizeof(T);
    used_ += divide_up(count, line) * line;
    return taken;
  }
  // For things of another type, whose size is a multiple of T's alignment.
  template <typename Other>
  Other* take_of(Index count) {
    const Index bytes = static_cast<Index>(sizeof(Other)) * count;
    return reinterpret_cast<Other*>(take(divide_up(bytes, sizeof(T))));
  }
  Index used() const { return used_; }

 private:
  T* memory_;
  Index used_ = 0;
};

// The rows and the panels of columns that a member multiplies. Where each member has many rows, or
// the matrix is so small that to meet takes longer than to read it, a member takes its rows through
// all steps and meets the others never. Else each keeps a part of the matrix in its own caches.
struct Share {
  bool by_rows;
  Range rows;    // to multiply
  Range chores;  // rows to do everything else for
  Member member;

  Range panels(Index count) const { return by_rows ? Range{0, count} : part_of(count, member); }
  // Where members work on columns of the same rows, each waits for the others' columns.
  void wait() const {
    if (!by_rows) member.wait();
  }
};

// `own` are the rows that are the member's, if it takes any by itself.
inline Share share_of(Index rows, Index matrix_bytes, const Member& member, Range own) {
  constexpr Index small_bytes = 128 * 1024;
  constexpr Index many_rows = 16;
  const Index each = rows / member.count;
  const bool by_rows =
      member.count == 1 || each >= many_rows || (each >= 1 && matrix_bytes <= small_bytes);
  return {by_rows, by_rows ? own : Range{0, rows}, own, member};
}

inline Share share_of(Index rows, Index matrix_bytes, const Member& member) {
  return share_of(rows, matrix_bytes, member, part_of(rows, member));
}

// As many rows as make up so many of all real steps, to the nearest row.
template <typename S>
inline Index rows_of_steps(const Layer<S>& layer, Index steps) {
  Index row = 0, before = 0;
  for (; row < layer.rows && 2 * before + layer.steps_of(row) <= 2 * steps; ++row)
    before += layer.steps_of(row);
  return row;
}

// The same for the rows of a layer, those of a ragged batch by how many real steps they have.
template <typename S>
inline Share share_of(const Layer<S>& layer, Index matrix_bytes, const Member& member) {
  if (layer.lengths == nullptr) return share_of(layer.rows, matrix_bytes, member);
  const Range steps = part_of(layer.real_steps(), member);
  const Index last =
      member.index + 1 == member.count ? layer.rows : rows_of_steps(layer, steps.last);
  const Index first = member.index == 0 ? 0 : rows_of_steps(layer, steps.first);
  return share_of(layer.rows, matrix_bytes, member, {first, last});
}

// The columns of the panel `panel` out of `count`.
template <typename S>
inline Range columns_of_panel(Index panel, Index count) {
  constexpr Index most = panel_vectors * lanes_of<S>;
  const Index last = (panel + 1) * most;
  return {panel * most, last < count ? last : count};
}

template <typename S>
inline Index panel_count(Index columns) {
  return divide_up(columns, panel_vectors * lanes_of<S>);
}

// The rows of a tile: as few tiles as can be, of equal size within one.
template <typename Work>
inline void for_each_tile(Index rows, Index most, const Work& work) {
  const Index tiles = divide_up(rows, most);
  for (Index tile = 0; tile < tiles; ++tile) {
    const Index first = rows * tile / tiles;
    work(first, rows * (tile + 1) / tiles - first);
  }
}

// Multiplies rows by one panel and hands each vector of the products to `use(row, column, lanes,
// product)`. `from(row)` points to the `depth` factors of a row; `panels` holds all panels of a
// matrix of `columns`.
template <typename S, typename From, typename Use>
inline void multiply_by_panel(Index rows, const S* panels, Index depth, Index columns, Index panel,
                              const From& from, const Use& use) {
  constexpr Index width = lanes_of<S>;
  const Range range = columns_of_panel<S>(panel, columns);
  const int vectors = static_cast<int>(divide_up(range.size(), width));
  for_each_tile(rows, tile_rows, [&](Index first, Index count) {
    Term<S> term{{}, panels + range.first * padded_depth<S>(depth), depth};
    for (Index row = 0; row < count; ++row) term.rows.from[row] = from(first + row);
    Vec<Sum<S>> sums[sums_rows * panel_vectors];
    for (Vec<Sum<S>>& one : sums) one = Vec<Sum<S>>(Sum<S>(0));
    multiply(vectors, static_cast<int>(count), term, sums);
    for (Index row = 0; row < count; ++row)
      for (int vector = 0; vector < vectors; ++vector) {
        const Index column = range.first + vector * width;
        const Index lanes = range.last - column < width ? range.last - column : width;
        use(first + row, column, static_cast<int>(lanes), sums[row * vectors + vector]);
      }
  });
}

}  // namespace FASTLSTM_TARGET
}  // namespace fastlstm
