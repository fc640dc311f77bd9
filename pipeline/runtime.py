"""What must be fixed so that the same inputs give the same bits."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch
import transformers
from threadpoolctl import threadpool_limits

NATIVE_BF16 = ("avx512_bf16", "amx_bf16")


def fix_runtime(threads: int, seed: int) -> None:
    """Fixes thread count, seed and deterministic kernels for the process, and keeps its output to our own lines.

    Bits are equal for the same wheel, thread count and CPU class only: a sum split over other threads rounds otherwise.

    Args:
        threads: CPU threads of torch and of the BLAS behind NumPy, SciPy and scikit-learn.
        seed: seed of torch's generator (initial weights, dropout).
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(threads)
    threadpool_limits(limits=threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid; a twentieth of a step
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def resolve_precision(asked: str) -> str:
    """What ``auto`` means on this CPU: ``bf16`` where it multiplies bf16 itself, else ``fp32``; any other word stays.

    bf16 is twice as fast with the instructions for it and ten times slower without, where it is emulated.
    """
    if asked != "auto":
        return asked
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in NATIVE_BF16) else "fp32"


def machine_class(threads: int, precision: str) -> dict[str, str | int]:
    """What the bits of a result depend on beside its inputs: CPU, instruction set, torch build, threads, resolved precision."""
    return {
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": threads,
        "precision": precision,
    }


def _cpu() -> str:
    """Vendor, family, model and stepping where Linux tells them (names of virtual machines do not), else the platform's word."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    if "cpu family" not in fields:
        return platform.machine()
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']}, stepping {fields['stepping']})"
