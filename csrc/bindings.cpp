#include <nanobind/nanobind.h>

#include "dispatch.h"

namespace nb = nanobind;

namespace fastlstm {
void bind_kernels(nb::module_& module);
void bind_plain(nb::module_& module);
void bind_plain_scan(nb::module_& module);
void bind_totals(nb::module_& module);
}  // namespace fastlstm

NB_MODULE(_engine, module) {
  // Asked for here so that a bad FASTLSTM_ISA fails at import and not in the middle of a run.
  fastlstm::target();

  module.doc() = "The CPU engine of fastlstm.";

  module.def(
      "version", [] { return FASTLSTM_VERSION; }, "The version that the engine was built as.");

  module.def(
      "isa", [] { return fastlstm::name(fastlstm::target().isa); },
      "The instruction set in use: the best available, or what FASTLSTM_ISA named at import.");

  module.def(
      "available_isas",
      [] {
        nb::list names;
        for (const fastlstm::Isa isa : fastlstm::available_isas())
          names.append(fastlstm::name(isa));
        return names;
      },
      nb::sig("def available_isas() -> list[str]"),
      "The instruction sets that FASTLSTM_ISA may name on this CPU, slowest first.");

  module.def(
      "features",
      [] {
        nb::dict features;
        features["avx512_bf16"] = fastlstm::target().avx512_bf16;
        features["amx_bf16"] = fastlstm::target().amx_bf16;
        return features;
      },
      nb::sig("def features() -> dict[str, bool]"),
      "Further instructions that the kernels may use under the instruction set in use.");

  fastlstm::bind_kernels(module);
  fastlstm::bind_plain(module);
  fastlstm::bind_plain_scan(module);
  fastlstm::bind_totals(module);
}
