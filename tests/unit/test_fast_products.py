"""Matrix products on AMD processors: who is asked for which code, and that it is faster."""

import os
import subprocess
import sys

import pytest

from segexport.measure.environment import processor_flags, processor_vendor
from segexport.process import fast_products as module
from segexport.process.fast_products import fast_products

PRODUCT = """
import time, paddle
paddle.set_device("cpu")
matrix = paddle.rand([768, 768])
times = []
for _ in range(7):
    start = time.process_time()
    float(paddle.matmul(matrix, matrix)[0, 0])
    times.append(time.process_time() - start)
print(min(times))
"""


@pytest.mark.parametrize(
    ("vendor", "flags", "helps"),
    [
        ("AuthenticAMD", {"avx2", "fma"}, True),
        ("AuthenticAMD", {"sse4_2"}, False),
        ("GenuineIntel", {"avx2", "fma", "avx512f"}, False),
        ("", set(), False),
    ],
)
def test_only_amd_processors_with_avx2_are_asked(monkeypatch, vendor, flags, helps):
    monkeypatch.setattr(module, "processor_vendor", lambda: vendor)
    monkeypatch.setattr(module, "processor_flags", lambda: frozenset(flags))
    assert fast_products() == ({"MKL_DEBUG_CPU_TYPE": "5"} if helps else {})


@pytest.mark.serial
@pytest.mark.skipif(
    processor_vendor() != "AuthenticAMD" or "avx2" not in processor_flags(), reason="not an AMD processor with AVX2"
)
def test_products_take_less_processor_time():
    def seconds(environment: dict[str, str]) -> float:
        plain = {name: value for name, value in os.environ.items() if name != "MKL_DEBUG_CPU_TYPE"}
        given = {**plain, "OMP_NUM_THREADS": "1", **environment}
        return float(subprocess.check_output([sys.executable, "-c", PRODUCT], env=given, text=True).split()[-1])

    assert seconds(fast_products()) < 0.8 * seconds({})
