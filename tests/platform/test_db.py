import sqlalchemy as sa

from aliquot.platform.db import Database


async def test_a_fresh_database_is_reachable(database: Database) -> None:
    async with database.begin() as tx:
        assert await tx.scalar(sa.text("select version_num from alembic_version"))
