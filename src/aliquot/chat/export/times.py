"""Times as people read them in an export."""

from zoneinfo import ZoneInfo

from aliquot.kernel.clock import Timestamp


def shown(at: Timestamp, time_zone: str) -> str:
    """`2026-11-21 09:12:42 +00:00`: the offset is always said, because clocks of a zone repeat an hour every autumn."""
    local = at.astimezone(ZoneInfo(time_zone))
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"
