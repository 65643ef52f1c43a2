"""The terminal client of a person with a second factor."""

import base64
import time
from collections.abc import Callable

from aliquot.identity import otp
from tests.cli.conftest import PASSWORD, Client
from tests.site import Site


async def test_the_one_time_password_is_asked_for_when_it_is_needed(site: Site, client: Callable[[str], Client]) -> None:
    browser = await site.client("viewer")
    secret = base64.b32decode((await browser.post("/api/auth/otp", json={"password": PASSWORD})).json()["secret"])
    step = int(time.time()) // otp.STEP_SECONDS
    confirmed = await browser.post("/api/auth/otp/confirm", json={"code": otp.hotp(secret, step)})
    assert confirmed.status_code == 200, confirmed.text
    typed = ["viewer@demo.lab", PASSWORD, "000000", "viewer@demo.lab", PASSWORD, otp.hotp(secret, step + 1), "Is PCR-02 ready?", ""]
    ended = await client(site.url).run(stdin="\n".join(typed))
    assert ended.code == 0, ended.out + ended.err
    assert "The one-time password is wrong or was used before." in ended.out
    assert "idle" in ended.out
    # The site is shared with other tests.
    assert (await (await site.client("admin")).delete(f"/api/admin/users/{site.people['viewer']}/otp")).status_code == 204
