"""Makes Paddle's matrix products fast on AMD processors.

Paddle 2.6 multiplies with MKL, which serves processors of other makers than Intel by its slowest code unless
`MKL_DEBUG_CPU_TYPE=5` asks for the one written for AVX2. A training computes its convolutions by these products.
Only for training: other code adds in another order, and what exports are compared with shall be what users run.
"""

from __future__ import annotations

from segexport.measure.environment import processor_flags, processor_vendor


def fast_products() -> dict[str, str]:
    """Returns the environment variables for a process that trains; none where they would not help."""
    helps = processor_vendor() == "AuthenticAMD" and {"avx2", "fma"} <= processor_flags()
    return {"MKL_DEBUG_CPU_TYPE": "5"} if helps else {}
