from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime import resolve_precision


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_an_asked_precision_stays(asked: str) -> None:
    assert resolve_precision(asked) == asked


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells the instructions of its CPU")
def test_auto_is_bf16_only_where_the_cpu_has_instructions_for_it() -> None:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    assert resolve_precision("auto") == ("bf16" if flags & {"avx512_bf16", "amx_bf16"} else "fp32")
