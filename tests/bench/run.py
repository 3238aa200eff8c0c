"""``make bench``: how fast each part is on this machine, as a table.

One run, no statistics: it shows where the time goes. Compare only figures of one quiet machine.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from deploy.demo.head import find_head
from tests.bench.intake import measure_intake
from tests.bench.stages import measure_stages


def main() -> int:
    """Print the table."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="secondread-bench-") as name:
        folder = Path(name)
        head = find_head()
        paths = head.write(folder / "series")
        print(f"{head.origin}: {len(paths)} slices of {paths[0].stat().st_size} bytes\n")
        for stage, figure in measure_stages(paths, folder):
            print(f"  {stage:<55}{figure}", flush=True)
        print()
        for sender, figure in measure_intake(folder / "series", len(paths), folder):
            print(f"  {'receive, from ' + sender:<55}{figure}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
