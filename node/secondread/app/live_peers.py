"""The peers as the configuration file has them now, for a role that only needs to know them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from secondread.config.reload import Watch
from secondread.config.settings import Settings
from secondread.domain.network import Peer

CHECK_S = 1.0
"""How often the file is looked at; a change is taken up in the second look that sees it."""


class LivePeers:
    """Peers by name; what changes in the file applies to whoever holds ``by_name``.

    Intake says in the log and in the trail what has changed, and what is wrong with a file.
    """

    def __init__(self, settings: Settings) -> None:
        self._peers = {peer.name: peer for peer in settings.peers}
        self._watch = Watch(settings.path, settings) if settings.path is not None else None

    @property
    def by_name(self) -> Mapping[str, Peer]:
        """The peers that hold now; the mapping stays the same one."""
        return MappingProxyType(self._peers)

    def check(self) -> bool:
        """Look at the file, for a timer; whether peers have changed."""
        change = self._watch.check() if self._watch is not None else None
        if change is None or "peers" not in change.live:
            return False
        now = {peer.name: peer for peer in change.settings.peers}
        self._peers.update(now)
        for name in self._peers.keys() - now.keys():
            del self._peers[name]
        return True
