"""Seeds the demo laboratory once."""

import uuid

from aliquot.bootstrap import Services
from aliquot.demo.laboratory import seed_laboratory
from aliquot.demo.people import DEMO_PEOPLE
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Transaction


async def is_seeded(tx: Transaction, services: Services) -> bool:
    """True when the demo people are there."""
    try:
        await services.identity.person(tx, DEMO_PEOPLE[0].email)
    except NotFound:
        return False
    return True


async def seed(services: Services, password: str) -> None:
    """People, instruments, protocols and runs, in one transaction: all of it or nothing."""
    async with services.db.begin() as tx:
        people: dict[str, uuid.UUID] = {}
        for demo in DEMO_PEOPLE:
            made = await services.identity.create_person(tx, email=demo.email, name=demo.name, roles=[demo.role], password=password)
            people[demo.role] = made.person.id
            if made.person.may_sign:
                await services.signatures.accept_for(tx, made.person.id)
        await seed_laboratory(tx, services.lab, people)
