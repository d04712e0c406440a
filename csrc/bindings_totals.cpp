// The sums over all steps as functions of Python. `bind_totals` is called by the module in
// bindings.cpp.
#include <nanobind/stl/optional.h>

#include "arrays.h"
#include "engine.h"

namespace nb = nanobind;

namespace fastlstm {
namespace {

// The pointer to a matrix whose rows are contiguous and may be any distance apart.
template <typename T>
const T* pointer_to_rows(const char* name, const In& array, const Shape& shape) {
  check_kind<T>(name, *array);
  const Shape found = shape_of(*array);
  if (found != shape) refuse(name, "must have shape " + text_of(shape) + ", got " + text_of(found));
  if (array->size() > 0 && shape[1] > 1 && array->stride(1) != 1)
    refuse(name, "must have contiguous rows");
  return static_cast<const T*>(array->data());
}

void column_dots(const In& a, const In& b, const Out& out, bool accumulate, int threads) {
  run_for_dtype<false>("out", out, [&](auto zero) {
    using T = decltype(zero);
    const Shape shape = shape_of_rank(2, "a", a);
    shape_of_rank(2, "b", b);
    ColumnDotsCall<T> call{};
    call.rows = shape[0];
    call.columns = shape[1];
    call.a = pointer_to_rows<T>("a", a, shape);
    call.a_row_stride = a->stride(0);
    call.b = pointer_to_rows<T>("b", b, shape);
    call.b_row_stride = b->stride(0);
    call.accumulate = accumulate;
    call.out = needed<T>("out", out, {call.columns});
    const int team = checked_threads(threads);
    return [call, team] { return run_column_dots(call, team); };
  });
}

void norm_totals(const In& d, const In& x, const In& gain, double epsilon, const Out& d_gain,
                 const Out& d_bias, const Out& d_x, int threads) {
  run_for_dtype<false>("d_gain", d_gain, [&](auto zero) {
    using T = decltype(zero);
    const Shape shape = shape_of_rank(2, "d", d);
    NormTotalsCall<T> call{};
    call.rows = shape[0];
    call.columns = shape[1];
    call.d = needed<const T>("d", d, shape);
    call.x = needed<const T>("x", x, shape);
    call.gain = needed_if<const T>(d_x.has_value(), "gain", gain, {call.columns});
    call.epsilon = static_cast<T>(epsilon);
    call.d_gain = needed<T>("d_gain", d_gain, {call.columns});
    call.d_bias = needed<T>("d_bias", d_bias, {call.columns});
    call.d_x = pointer<T>("d_x", d_x, shape);
    const int team = checked_threads(threads);
    return [call, team] { return run_norm_totals(call, team); };
  });
}

}  // namespace

void bind_totals(nb::module_& module) {
  module.def("column_dots", &column_dots, nb::arg("a").none(), nb::arg("b").none(),
             nb::arg("out").none(), nb::arg("accumulate"), nb::arg("threads"),
             "The sums over the rows of a ⊙ b, or added to what is there.");

  module.def("norm_totals", &norm_totals, nb::arg("d").none(), nb::arg("x").none(),
             nb::arg("gain").none(), nb::arg("epsilon"), nb::arg("d_gain").none(),
             nb::arg("d_bias").none(), nb::arg("d_x").none(), nb::arg("threads"),
             "The gradients of a layer norm's gain, bias and x from that of what it returns.");
}

}  // namespace fastlstm
