"""Which processors are said to be faster in bf16: products decide, and without AMX they are slower than in fp32."""

import pytest
import torch

from genzoo.saved import devices


@pytest.mark.parametrize(
    ("flags", "faster"),
    [(["avx512f", "avx512_bf16"], False), (["avx512_bf16", "amx_bf16", "amx_tile"], True), ([], False)],
)
def test_bf16_is_chosen_with_amx_alone(flags, faster, monkeypatch):
    monkeypatch.setattr(devices, "_flags", lambda: flags)
    assert devices.has_bf16(torch.device("cpu")) is faster
    assert devices.has_bf16(torch.device("mps")) is False
