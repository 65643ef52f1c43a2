"""Routes of identity, and the dependencies by which every other `http.py` learns who asks."""

from aliquot.identity.dependencies import (
    AnyPrincipalDep,
    AnySessionPrincipalDep,
    IdentityServices,
    PrincipalDep,
    SessionPrincipalDep,
    address_of,
    require,
    services_of,
)

__all__ = [
    "AnyPrincipalDep",
    "AnySessionPrincipalDep",
    "IdentityServices",
    "PrincipalDep",
    "SessionPrincipalDep",
    "address_of",
    "require",
    "services_of",
]
