// Runs the tests, once for each instruction set of this CPU, or for the one in FASTLSTM_ISA. With
// arguments, only the tests that they name.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"

namespace fastlstm::native {
namespace {

std::atomic<int> failures{0};

struct Test {
  const char* name;
  void (*run)();
  bool multiplies_bfloat16 = false;
};

constexpr Test tests[] = {
    {"activation", test_activation}, {"product", test_product, true},   {"totals", test_totals},
    {"equations", test_equations},   {"bfloat16", test_bfloat16, true}, {"tiles", test_tiles, true},
    {"team_size", test_team_size},   {"own_pool", test_own_pool},
};

int run_tests(const std::vector<std::string>& wanted) {
  for (const Test& test : tests) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), test.name) == wanted.end())
      continue;
    // It has no kernels but those for bfloat16 of its own.
    if (target().isa == Isa::avx512_amx && !test.multiplies_bfloat16) continue;
    std::printf("%s: %s ...", name(target().isa), test.name);
    std::fflush(stdout);
    const int before = failures;
    const auto start = std::chrono::steady_clock::now();
    test.run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf(" %s, %.1f s\n", failures == before ? "passed" : "FAILED", took.count());
  }
  return failures == 0 ? 0 : 1;
}

// The instruction set is chosen once in the life of a process.
int run_in_child(Isa isa, const std::vector<std::string>& wanted) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("FASTLSTM_ISA", name(isa), 1);
    std::exit(run_tests(wanted));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 1;
  if (WIFSIGNALED(status)) std::printf("\n%s: killed by signal %d\n", name(isa), WTERMSIG(status));
  return status == 0 ? 0 : 1;
}

}  // namespace

void fail(const std::string& what) {
  constexpr int most_printed = 20;
  if (++failures <= most_printed) std::printf("\n  %s", what.c_str());
  std::fflush(stdout);
}

int failure_count() { return failures; }

template <typename T>
void check_close(const T* found, const double* expected, std::ptrdiff_t count, double tolerance,
                 const std::string& what) {
  double largest = 1e-3;
  for (std::ptrdiff_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(expected[i]));
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const double error = std::fabs(static_cast<double>(found[i]) - expected[i]) / largest;
    if (error <= tolerance) continue;  // NaN is not
    char message[200];
    std::snprintf(message, sizeof message, "[%td] is %.17g, expected %.17g, relative error %.2g", i,
                  static_cast<double>(found[i]), expected[i], error);
    return fail(what + message);
  }
}
template void check_close(const float*, const double*, std::ptrdiff_t, double, const std::string&);
template void check_close(const double*, const double*, std::ptrdiff_t, double, const std::string&);

void check_same_bits(const void* found, const void* expected, std::size_t bytes,
                     const std::string& what) {
  if (bytes == 0 || std::memcmp(found, expected, bytes) == 0) return;
  const auto* const one = static_cast<const unsigned char*>(found);
  const auto* const other = static_cast<const unsigned char*>(expected);
  std::size_t at = 0;
  while (one[at] == other[at]) ++at;
  fail(what + " differs from byte " + std::to_string(at) + " of " + std::to_string(bytes));
}

}  // namespace fastlstm::native

int main(int count, char** arguments) {
  using namespace fastlstm;
  const std::vector<std::string> wanted(arguments + 1, arguments + count);
  for (const std::string& one : wanted) {
    const auto is_one = [&](const native::Test& test) { return one == test.name; };
    if (std::none_of(std::begin(native::tests), std::end(native::tests), is_one)) {
      std::fprintf(stderr, "there is no test named %s\n", one.c_str());
      return 2;
    }
  }
  const char* const forced = std::getenv("FASTLSTM_ISA");
  if (forced != nullptr && *forced != '\0') return native::run_tests(wanted);
  int result = 0;
  for (const Isa isa : available_isas()) result |= native::run_in_child(isa, wanted);
  return result;
}
