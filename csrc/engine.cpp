#include "engine.h"

#include <cstddef>
#include <stdexcept>

#include "dispatch.h"
#include "kernels.h"
#include "memory.h"

namespace fastlstm {
namespace {

#if defined(FASTLSTM_X86_64_KERNELS)
#define FASTLSTM_CASES_OF_ISAS(table) \
  case Isa::avx512_amx:               \
  case Isa::avx512:                   \
    return avx512::table<T>;          \
  case Isa::avx2:                     \
    return avx2::table<T>;
#elif defined(FASTLSTM_ARM64_KERNELS)
#define FASTLSTM_CASES_OF_ISAS(table) \
  case Isa::neon:                     \
    return neon::table<T>;
#else
#define FASTLSTM_CASES_OF_ISAS(table)
#endif

template <typename T>
const Kernels<T>& kernels() {
  switch (target().isa) {
    FASTLSTM_CASES_OF_ISAS(kernels)
    default:
      return scalar::kernels<T>;
  }
}

template <>
const Kernels<bfloat16>& kernels() {
#if defined(FASTLSTM_AMX_KERNELS)
  if (target().amx_bf16) return avx512_amx::kernels<bfloat16>;
#endif
#if defined(FASTLSTM_X86_64_KERNELS)
  if (target().avx512_bf16) return avx512_bf16::kernels<bfloat16>;
#endif
  throw std::logic_error("this CPU does not multiply bfloat16");
}

template <typename T>
const Activations<T>& activations() {
  switch (target().isa) {
    FASTLSTM_CASES_OF_ISAS(activations)
    default:
      return scalar::activations<T>;
  }
}

template <typename T>
const Totals<T>& totals() {
  switch (target().isa) {
    FASTLSTM_CASES_OF_ISAS(totals)
    default:
      return scalar::totals<T>;
  }
}

// Asks for large pages where the memory of a large result has not been touched yet: the first touch
// of small ones costs as much as the whole product that is stored there takes otherwise.
template <typename T>
void expect_large_pages(T* memory, Index count) {
  constexpr std::size_t worth_it = 4 << 20;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (memory != nullptr && bytes >= worth_it) advise_large_pages(memory, bytes);
}

// Scratch memory for one call; null if there is no memory. It is kept for the next call: fresh
// pages cost as much as a small call takes.
template <typename T>
class Scratch {
 public:
  explicit Scratch(Index count)
      : block_(scratch_pool().take(static_cast<std::size_t>(count > 0 ? count : 1) * sizeof(T))) {}
  ~Scratch() { scratch_pool().give_back(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() const { return static_cast<T*>(block_.memory); }

 private:
  MemoryBlock block_;
};

// A second thread has to be woken, which takes as long as a million multiply-adds, and members that
// share the columns meet at every step, which takes as long as some ten thousand.
constexpr double worth_waking = 2e6;
constexpr double worth_meeting = 5e4;

template <typename T>
int threads_for(const Layer<T>& layer, int threads) {
  const double of_step = static_cast<double>(layer.rows) * static_cast<double>(layer.recurrent) *
                         static_cast<double>(layer.gates_width());
  const bool worth_it =
      of_step * static_cast<double>(layer.steps) >= worth_waking && of_step >= worth_meeting;
  return worth_it ? threads : 1;
}

// A number that comes from memory takes as long as some ten multiply-adds of a product.
int threads_for_sums(Index rows, Index columns, int threads) {
  constexpr double of_number = 10;
  const double work = of_number * static_cast<double>(rows) * static_cast<double>(columns);
  return work >= worth_waking ? threads : 1;
}

template <typename T, typename Call>
bool run(const Call& call, int threads, Index (*scratch_of)(const Call&, int),
         void (*kernel)(const Call&, T*, const Member&)) {
  const Scratch<T> scratch(scratch_of(call, threads));
  if (scratch.get() == nullptr) return false;
  run_in_team(threads, [&](const Member& member) { kernel(call, scratch.get(), member); });
  return true;
}

}  // namespace

template <typename T>
bool run_forward(const ForwardCall<T>& call, int threads) {
  const Layer<T>& layer = call.layer;
  expect_large_pages(call.output, layer.steps * layer.rows * layer.recurrent);
  expect_large_pages(call.gates, layer.steps * layer.rows * layer.gates_width());
  if (call.save_every == 1) expect_large_pages(call.cells, layer.steps * layer.rows * layer.hidden);
  return run<T>(call, threads_for(call.layer, threads), kernels<T>().forward_scratch,
                kernels<T>().forward);
}

template <typename T>
bool run_backward(const BackwardCall<T>& call, int threads) {
  const Index gates = call.layer.real_steps() * call.layer.gates_width();
  expect_large_pages(call.d_z, gates);
  expect_large_pages(call.d_recurrent, gates);
  return run<T>(call, threads_for(call.layer, threads), kernels<T>().backward_scratch,
                kernels<T>().backward);
}

template <typename T>
bool run_product(const ProductCall<T>& call, int threads) {
  const double work = static_cast<double>(call.rows) * static_cast<double>(call.depth) *
                      static_cast<double>(call.columns);
  expect_large_pages(call.out, call.rows * call.columns);
  return run<T>(call, work >= worth_waking ? threads : 1, kernels<T>().product_scratch,
                kernels<T>().product);
}

template <typename T>
bool run_column_dots(const ColumnDotsCall<T>& call, int threads) {
  return run<T>(call, threads_for_sums(call.rows, call.columns, threads),
                totals<T>().column_dots_scratch, totals<T>().column_dots);
}

template <typename T>
bool run_norm_totals(const NormTotalsCall<T>& call, int threads) {
  return run<T>(call, threads_for_sums(call.rows, call.columns, threads),
                totals<T>().norm_totals_scratch, totals<T>().norm_totals);
}

template bool run_column_dots(const ColumnDotsCall<float>&, int);
template bool run_column_dots(const ColumnDotsCall<double>&, int);
template bool run_norm_totals(const NormTotalsCall<float>&, int);
template bool run_norm_totals(const NormTotalsCall<double>&, int);

template <typename T>
void run_sigmoid(const T* from, T* to, Index count) {
  activations<T>().sigmoid(from, to, count);
}

template <typename T>
void run_tanh(const T* from, T* to, Index count) {
  activations<T>().tanh(from, to, count);
}

#define FASTLSTM_INSTANTIATE(T)                            \
  template bool run_forward(const ForwardCall<T>&, int);   \
  template bool run_backward(const BackwardCall<T>&, int); \
  template bool run_product(const ProductCall<T>&, int);
FASTLSTM_INSTANTIATE(float)
FASTLSTM_INSTANTIATE(double)
FASTLSTM_INSTANTIATE(bfloat16)
#undef FASTLSTM_INSTANTIATE
template void run_sigmoid(const float*, float*, Index);
template void run_sigmoid(const double*, double*, Index);
template void run_tanh(const float*, float*, Index);
template void run_tanh(const double*, double*, Index);

}  // namespace fastlstm
