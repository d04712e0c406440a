"""The CPU engine of fastlstm."""

def version() -> str:
    """The version that the engine was built as."""

def isa() -> str:
    """The instruction set in use: the best available, or what `FASTLSTM_ISA` named at import."""

def available_isas() -> list[str]:
    """The instruction sets that `FASTLSTM_ISA` may name on this CPU, slowest first."""

def features() -> dict[str, bool]:
    """Further instructions that the kernels may use under the instruction set in use.

    The keys are `avx512_bf16` and `amx_bf16`, on every platform.
    """
