"""Measures memory and time of a large image in tiles per pixel, and compares them with the size of its scores.

    python benchmarks/tile_memory.py EXPORT TILE OVERLAP RESULT.json

EXPORT: any export with scores. TILE, OVERLAP: as `--tile-size`, `--tile-overlap`. A process of its own predicts 10,000
columns and 1,000 rows, then another one 10,000 rows; both with each blend.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from stamped import save

COLUMNS, FEW_ROWS, MANY_ROWS = 10_000, 1_000, 10_000
PREDICT = """
import json, resource, sys, time
import numpy as np, segexport
from segexport.exporter.import_options import tiles_from_strings
path, rows, columns, *options = sys.argv[1:]
rows, columns, tiles = int(rows), int(columns), tiles_from_strings(*options)
image = np.random.default_rng(0).integers(0, 256, (rows // 50 + 1, columns // 50 + 1, 3), np.uint8)
image = np.ascontiguousarray(image.repeat(50, axis=0).repeat(50, axis=1)[:rows, :columns])
with segexport.load(path) as model:
    start = time.perf_counter()
    (found,) = model.predict(image, tiles=tiles, score_map=False)
    seconds = time.perf_counter() - start
    assert found.label_map.shape == (rows, columns)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([peak, model.peak_rss_bytes(), seconds, len(model.artifact.manifest.labels)]))
"""


def predicted(export: str, rows: int, tile: str, overlap: str, blend: str) -> list[float]:
    command = [sys.executable, "-c", PREDICT, export, str(rows), str(COLUMNS), tile, overlap, blend]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(export: str, tile: str, overlap: str, result: str) -> None:
    found: list[dict[str, Any]] = []
    for blend in ("center", "average"):
        few, many = (predicted(export, rows, tile, overlap, blend) for rows in (FEW_ROWS, MANY_ROWS))
        pixels = (MANY_ROWS - FEW_ROWS) * COLUMNS
        found.append(
            {
                "blend": blend,
                "tile": tile,
                "overlap": overlap,
                "peak_mb": {str(FEW_ROWS): round(few[0] / 1e6), str(MANY_ROWS): round(many[0] / 1e6)},
                "worker_peak_mb": {str(FEW_ROWS): round(few[1] / 1e6), str(MANY_ROWS): round(many[1] / 1e6)},
                "bytes_per_further_pixel": round((many[0] - few[0]) / pixels, 2),
                "scores_bytes_per_pixel": 4 * int(many[3]),
                "seconds": round(many[2], 1),
            }
        )
    save(Path(result), found)


if __name__ == "__main__":
    main(*sys.argv[1:])
