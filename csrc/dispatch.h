// Which instructions the kernels may use, decided once when the engine is loaded.
#pragma once

#include <vector>

namespace fastlstm {

// Slowest first. Kernels are compiled once for each of these that the platform knows.
enum class Isa {
  scalar,      // whatever the compiler's default target allows
  neon,        // arm64
  avx2,        // AVX2, FMA and F16C
  avx512,      // all of avx2 and AVX-512 F, BW, DQ and VL
  avx512_amx,  // all of avx512, AVX512-BF16, and AMX-BF16, which multiplies bfloat16 alone
};

// What the engine runs on. The flags refine `isa`: all are false under an instruction set that was
// forced below the one they belong to, so that forcing shows what an older CPU would do.
struct Target {
  Isa isa;
  bool avx512_bf16;
  bool amx_bf16;
};

const char* name(Isa isa);

// The instruction sets that both this CPU and its operating system support, slowest first.
const std::vector<Isa>& available_isas();

// The best available instruction set, or the one that the environment variable FASTLSTM_ISA names.
// Decided by the first call; throws std::runtime_error if the variable asks for the impossible.
const Target& target();

}  // namespace fastlstm
