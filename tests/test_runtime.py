from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.errors import UserError
from pipeline.runtime import check_device, fix_runtime, is_main_process, resolve_precision, share


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_an_asked_precision_stays(asked: str) -> None:
    assert resolve_precision(asked) == asked


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({}, "fp32"), ({"avx512_bf16": False, "avx2": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_auto_is_bf16_only_where_torch_tells_of_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto") == precision


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells the instructions of its CPU")
def test_torch_tells_what_linux_tells_of_this_cpu() -> None:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    assert resolve_precision("auto") == ("bf16" if flags & {"avx512_bf16", "amx_bf16"} else "fp32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("version", "remedy"), [("2.13.0", "use cpu"), ("2.13.0+cpu", "this is torch's CPU build: `make --always-make install`")]
)
def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, version: str, remedy: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    check_device("train.device", "cpu")
    with pytest.raises(UserError) as error:
        check_device("train.device", "cuda")
    assert str(error.value) == f"params.yaml: train.device: cuda: torch {version} sees no CUDA device here: {remedy}"


@pytest.mark.parametrize(("rank", "gpus", "taken"), [("1", 2, [1]), ("0", 2, []), ("1", 1, []), ("1", 0, []), (None, 2, [])])
def test_of_several_processes_each_takes_the_gpu_of_its_rank(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, gpus: int, taken: list[int]
) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", told.append)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    fix_runtime(threads=2, seed=0)
    assert told == taken


@pytest.fixture
def restored_runtime() -> Iterator[None]:
    """What a process is held to, as it was before."""
    threads, is_deterministic, state = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    with threadpool_limits():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(is_deterministic)
    torch.set_rng_state(state)


@pytest.mark.usefixtures("restored_runtime")
@pytest.mark.parametrize(("threads", "seed"), [(1, 3), (2, 4)])
def test_threads_seed_and_kernels_are_fixed_for_the_process(threads: int, seed: int) -> None:
    torch.use_deterministic_algorithms(False)
    fix_runtime(threads, seed)
    assert (torch.get_num_threads(), torch.initial_seed(), torch.are_deterministic_algorithms_enabled()) == (threads, seed, True)
    assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] in ("blas", "openmp")} == {threads}


def test_torchrun_tells_a_process_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (share(), is_main_process()) == ((0, 1), True)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (share(), is_main_process()) == ((1, 2), False)
