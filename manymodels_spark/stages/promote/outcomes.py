"""What became of a partition in a promotion or a rollback, as table `promotions` says it."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The values of column `outcome`; all but KEPT are stored."""

    PROMOTED = "promoted"
    KEPT = "kept"
    REFUSED = "refused"
    WOULD_PROMOTE = "would_promote"
    ROLLED_BACK = "rolled back"
