#include "dispatch.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) || defined(_M_X64)
#define FASTLSTM_X86_64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define FASTLSTM_ARM64 1
#endif

namespace fastlstm {
namespace {

constexpr std::array<Isa, 5> all_isas = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512,
                                         Isa::avx512_amx};

struct Hardware {
  std::vector<Isa> isas;
  bool avx512_bf16 = false;
};

#if defined(FASTLSTM_X86_64)

struct Registers {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  Registers registers;
#if defined(_MSC_VER)
  int values[4];
  __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
  registers.eax = static_cast<std::uint32_t>(values[0]);
  registers.ebx = static_cast<std::uint32_t>(values[1]);
  registers.ecx = static_cast<std::uint32_t>(values[2]);
  registers.edx = static_cast<std::uint32_t>(values[3]);
#else
  __cpuid_count(leaf, subleaf, registers.eax, registers.ebx, registers.ecx, registers.edx);
#endif
  return registers;
}

// The register state that the operating system saves on a context switch (XCR0).
std::uint64_t enabled_state() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  // The intrinsic would need -mxsave, which this file must not require of the CPU.
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

bool bit(std::uint32_t value, int position) { return (value >> position) & 1u; }

bool covers(std::uint64_t state, std::uint64_t mask) { return (state & mask) == mask; }

// Linux grants the tile registers only to a process that asked for them (kernel documentation,
// arch/x86/xstate). Where the rule is unknown the answer is no: a wrong yes would be a crash.
bool request_tile_permission() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

Hardware detect() {
  constexpr std::uint64_t avx_state = 0x6;       // XMM and the upper halves of YMM
  constexpr std::uint64_t avx512_state = 0xe6;   // and the mask registers and all of ZMM
  constexpr std::uint64_t tile_state = 0x60000;  // TILECFG and TILEDATA

  Hardware hardware;
  hardware.isas = {Isa::scalar};

  const std::uint32_t highest_leaf = cpuid(0, 0).eax;
  const Registers leaf1 = cpuid(1, 0);
  const bool os_uses_xsave = bit(leaf1.ecx, 27);
  if (highest_leaf < 7 || !os_uses_xsave) return hardware;

  const std::uint64_t state = enabled_state();
  const Registers leaf7 = cpuid(7, 0);
  const Registers leaf7_1 = leaf7.eax >= 1 ? cpuid(7, 1) : Registers{};

  const bool avx = bit(leaf1.ecx, 28) && covers(state, avx_state);
  const bool fma = bit(leaf1.ecx, 12);
  const bool f16c = bit(leaf1.ecx, 29);
  const bool avx2 = bit(leaf7.ebx, 5);
  if (!(avx && fma && f16c && avx2)) return hardware;
  hardware.isas.push_back(Isa::avx2);

  const bool avx512_f = bit(leaf7.ebx, 16);
  const bool avx512_dq = bit(leaf7.ebx, 17);
  const bool avx512_bw = bit(leaf7.ebx, 30);
  const bool avx512_vl = bit(leaf7.ebx, 31);
  if (!(avx512_f && avx512_dq && avx512_bw && avx512_vl && covers(state, avx512_state)))
    return hardware;
  hardware.isas.push_back(Isa::avx512);
  hardware.avx512_bf16 = bit(leaf7_1.eax, 5);

#if defined(FASTLSTM_EMULATE_TILES)
  const bool amx = true;
#elif defined(FASTLSTM_AMX_KERNELS)
  const bool amx = bit(leaf7.edx, 24) && bit(leaf7.edx, 22) && covers(state, tile_state) &&
                   request_tile_permission();
#else
  const bool amx = false;
#endif
  if (hardware.avx512_bf16 && amx) hardware.isas.push_back(Isa::avx512_amx);
  return hardware;
}

#elif defined(FASTLSTM_ARM64)

Hardware detect() {
  // Every 64-bit Arm CPU that runs an operating system of ours has it.
  Hardware hardware;
  hardware.isas = {Isa::scalar, Isa::neon};
  return hardware;
}

#else

Hardware detect() {
  Hardware hardware;
  hardware.isas = {Isa::scalar};
  return hardware;
}

#endif

const Hardware& hardware() {
  static const Hardware detected = detect();
  return detected;
}

template <typename Isas>
std::string join(const Isas& isas) {
  std::string text;
  for (const Isa isa : isas) {
    if (!text.empty()) text += ", ";
    text += name(isa);
  }
  return text;
}

Isa choose(const char* request) {
  const std::vector<Isa>& available = available_isas();
  // Shells cannot always unset a variable; an empty one is their way to say "no request".
  if (request == nullptr || *request == '\0') return available.back();

  const auto is_requested = [&](Isa isa) { return std::string(name(isa)) == request; };
  const auto found = std::find_if(available.begin(), available.end(), is_requested);
  if (found != available.end()) return *found;

  const bool known = std::any_of(all_isas.begin(), all_isas.end(), is_requested);
  const std::string given = std::string("FASTLSTM_ISA='") + request + "' ";
  const std::string offer = "available on this CPU: " + join(available);
  if (known) throw std::runtime_error(given + "is not supported by this CPU; " + offer);
  throw std::runtime_error(given + "is not an instruction set that fastlstm knows (" +
                           join(all_isas) + "); " + offer);
}

}  // namespace

const char* name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::neon:
      return "neon";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_amx:
      return "avx512_amx";
  }
  return "unknown";
}

const std::vector<Isa>& available_isas() { return hardware().isas; }

const Target& target() {
  static const Target chosen = [] {
    const Isa isa = choose(std::getenv("FASTLSTM_ISA"));
    const bool full = isa == Isa::avx512 || isa == Isa::avx512_amx;
    return Target{isa, full && hardware().avx512_bf16, isa == Isa::avx512_amx};
  }();
  return chosen;
}

}  // namespace fastlstm
