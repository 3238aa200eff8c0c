"""docs/security.md names every attack that is tried, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from . import (
    test_attacks,
    test_attacks_messages,
    test_attacks_objects,
    test_attacks_requests,
    test_attacks_services,
)
from . import test_attacks_tls as tls

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
NO_ATTACK = {"good certificate"}


def test_every_attack_is_in_the_table() -> None:
    tried = {
        (name, f"{module.__name__.rpartition('.')[2]}.py")
        for module in (
            test_attacks,
            test_attacks_messages,
            test_attacks_objects,
            test_attacks_requests,
            test_attacks_services,
        )
        for name in module.ATTACKS
    }
    tried |= {(name, "test_attacks_tls.py") for name in tls.TLS_ATTACKS if name not in NO_ATTACK}
    rows = re.findall(r"^\| (.+?) \| .+ \| `(test_attacks\w*\.py)` \|$", PAGE.read_text(), re.M)
    assert len(rows) == len(set(rows))
    assert set(rows) == tried
