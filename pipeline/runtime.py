"""What must be fixed so that the same inputs give the same bits."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch
import transformers
from threadpoolctl import threadpool_limits

from pipeline.errors import UserError

NATIVE_BF16 = ("avx512_bf16", "amx_bf16")


def fix_runtime(threads: int, seed: int) -> None:
    """Fixes thread count, GPU, seed and deterministic kernels for the process, and keeps its output to our own lines.

    Bits are equal for the same wheel, thread count and CPU class only: a sum split over other threads rounds otherwise.

    Args:
        threads: CPU threads of torch and of the BLAS behind NumPy, SciPy and scikit-learn.
        seed: seed of torch's generator (initial weights, dropout).
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's matrix products are not deterministic
    torch.set_num_threads(threads)
    threadpool_limits(limits=threads)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if 0 < local_rank < torch.cuda.device_count():  # of several processes each has a GPU: without this all would put "cuda" on the first
        torch.cuda.set_device(local_rank)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid; a twentieth of a step
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def check_device(key: str, device: str) -> None:
    """Raises UserError where the device that a key of ``params.yaml`` asks for is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        why = "this is torch's CPU build: `make --always-make install`" if "+cpu" in torch.__version__ else "use cpu"
        raise UserError(f"params.yaml: {key}: cuda: torch {torch.__version__} sees no CUDA device here: {why}")


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints: the first of those that ``torchrun`` started, or the only one."""
    return share()[0] == 0


def share() -> tuple[int, int]:
    """Which of how many processes this is, as ``torchrun`` tells: rank and world size."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def resolve_precision(asked: str, device: str = "cpu") -> str:
    """What ``auto`` means on this CPU or GPU: ``bf16`` where it multiplies bf16 itself, else ``fp32``; any other word stays.

    bf16 is twice as fast with the instructions for it and, on a CPU, ten times slower without, where it is emulated.
    """
    if asked != "auto":
        return asked
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in NATIVE_BF16) else "fp32"


def machine_class(threads: int, precision: str, device: str = "cpu") -> dict[str, str | int]:
    """What the bits of a result depend on beside its inputs: CPU, instruction set, torch build, threads, resolved precision, GPU."""
    told: dict[str, str | int] = {
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": threads,
        "precision": precision,
    }
    return told | {"gpu": torch.cuda.get_device_name()} if device == "cuda" else told


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
