"""`aliquot user`: administration of people on the server's own machine, for when nobody can log in."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from aliquot.cli.common import open_services, sentences
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import CLI, ROLES, Person
from aliquot.kernel.clock import SystemClock
from aliquot.platform.db import Transaction

app = typer.Typer(help="People: add, list, disable, enable, password, roles, key.", no_args_is_help=True)

Result = TypeVar("Result")
_Email = Annotated[str, typer.Argument(help="E-mail address of the person")]
_Roles = Annotated[list[str], typer.Option("--role", "-r", help="One of " + ", ".join(ROLES) + "; may be given several times")]


@app.command()
def add(
    email: _Email,
    role: _Roles,
    name: Annotated[str | None, typer.Option(help="Printed name; asked for, or made of the address, when left out")] = None,
    may_sign: Annotated[
        bool | None, typer.Option("--may-sign/--may-not-sign", help="Default: scientists, reviewers and clinicians may")
    ] = None,
) -> None:
    """Make a person; prints a one-time password."""

    printed = name or _named(email)

    async def work(identity: IdentityApi, tx: Transaction) -> str | None:
        made = await identity.create_person(tx, email=email, name=printed, roles=role, may_sign=may_sign, by=CLI)
        return made.password

    password = _run(work)
    typer.echo(f"Name: {printed}")
    typer.echo(f"One-time password: {password}")


def _named(email: str) -> str:
    """The person at the keyboard says it; a script gets `Grace Hopper` of grace.hopper@example.org."""
    derived = " ".join(word.capitalize() for word in re.split(r"[._+-]+", email.partition("@")[0]) if word) or "Unnamed"
    return str(typer.prompt("Printed name", default=derived)) if sys.stdin.isatty() else derived


@app.command("list")
def list_people() -> None:
    """Show all people."""

    async def work(identity: IdentityApi, tx: Transaction) -> list[Person]:
        people: list[Person] = []
        while page := await identity.list_people(tx, limit=200, after=people[-1].id if people else None):
            people.extend(page)
        return people

    table = Table("e-mail", "name", "roles", "may sign", "state", "id")
    for person in _run(work):
        state = "disabled" if not person.active else "must change password" if person.must_change else "active"
        table.add_row(person.email, person.name, ", ".join(person.roles), "yes" if person.may_sign else "no", state, str(person.id))
    for column in table.columns:
        column.overflow = "fold"
    # In a pipe nothing is folded: a script reads whole addresses and ids.
    Console(width=None if sys.stdout.isatty() else 400, markup=False, highlight=False).print(table)


@app.command()
def disable(email: _Email) -> None:
    """Disable a person: sessions and keys end at once."""
    _set_active(email, active=False)
    typer.echo("Disabled.")


@app.command()
def enable(email: _Email) -> None:
    """Enable a person again."""
    _set_active(email, active=True)
    typer.echo("Enabled.")


@app.command()
def password(email: _Email) -> None:
    """Give a person a new one-time password; their sessions end."""

    async def work(identity: IdentityApi, tx: Transaction) -> str:
        person = await identity.person(tx, email)
        return await identity.reset_password(tx, person.id, by=CLI)

    typer.echo(f"One-time password: {_run(work)}")


@app.command()
def roles(email: _Email, role: _Roles) -> None:
    """Replace a person's roles."""

    async def work(identity: IdentityApi, tx: Transaction) -> Person:
        person = await identity.person(tx, email)
        return await identity.set_roles(tx, person.id, role, by=CLI)

    typer.echo("Roles: " + ", ".join(_run(work).roles))


@app.command()
def key(
    email: _Email,
    name: Annotated[str, typer.Option(help="What the key is for")] = "command line",
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires; never when left out")] = None,
) -> None:
    """Make an API key for a person; printed this once."""

    async def work(identity: IdentityApi, tx: Transaction) -> str:
        person = await identity.person(tx, email)
        expires_at = SystemClock().now() + timedelta(days=days) if days is not None else None
        return (await identity.create_key(tx, person.id, name=name, expires_at=expires_at, by=CLI)).secret

    typer.echo(_run(work))


def _set_active(email: str, *, active: bool) -> None:
    async def work(identity: IdentityApi, tx: Transaction) -> Person:
        person = await identity.person(tx, email)
        return await identity.set_active(tx, person.id, active, by=CLI)

    _run(work)


def _run(work: Callable[[IdentityApi, Transaction], Awaitable[Result]]) -> Result:
    """Do `work` in one transaction."""

    async def transaction() -> Result:
        async with open_services() as services, services.db.begin() as tx:
            return await work(services.identity, tx)

    with sentences():
        return asyncio.run(transaction())
