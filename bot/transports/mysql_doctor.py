"""What `capturebot doctor` says of a database: can a capture see what recipes read, and can it harm."""

from __future__ import annotations

from bot.model import Tls
from bot.transports.mysql_connection import Connection, Login
from bot.transports.mysql_errors import Server, SqlError, performance_schema_cure
from bot.transports.mysql_grants import passwords_in, too_much


def sights(server: Server) -> list[tuple[str, str, str]]:
    """What recipes read: what for, a statement that needs the same right, and the GRANT that gives it."""
    mariadb = server.flavour == "mariadb"
    new_words = server.version >= ((10, 5, 1) if mariadb else (8, 0, 22))
    replication = "SLAVE MONITOR" if mariadb and new_words else "REPLICATION CLIENT"
    return [
        (
            "other people's threads, transactions and locks",
            "SHOW ENGINE INNODB STATUS",
            "PROCESS ON *.*",
        ),
        (
            "statement digests",
            "SELECT digest FROM performance_schema.events_statements_summary_by_digest LIMIT 0",
            "SELECT ON performance_schema.*",
        ),
        ("replication", f"SHOW {'REPLICA' if new_words else 'SLAVE'} STATUS", f"{replication} ON *.*"),
    ]


async def examine(login: Login, connection: Connection) -> list[str]:
    """Lines of "ok: …" and "fault: … — cure". Raises SqlError when the connection goes."""
    target, server = login.target, connection.server
    where = f"{login.mysql.host}:{login.mysql.port}"
    via = f" through {login.mysql.via.host}" if login.mysql.via else ""
    lines = [f"ok: {target}: {server} answers at {where}{via}, as {server.account}", await _tls(login, connection)]
    if server.performance_schema:
        lines.append(f"ok: {target}: performance_schema is ON")
    else:
        lines.append(
            f"fault: {target}: performance_schema is OFF, statement digests are not recorded — {performance_schema_cure(server)}"
        )
    for what, probe, grant in sights(server):
        try:
            await connection.rows(probe)
        except SqlError as error:
            if error.lost:
                raise
            lines.append(f"fault: {target}: may not see {what} ({error}) — GRANT {grant} TO {server.account}")
        else:
            lines.append(f"ok: {target}: may see {what}")
    grants = [line for (line,) in await connection.rows("SHOW GRANTS")]
    if can_write := too_much(grants):
        lines.append(
            f"fault: {target}: {server.account} can change things ({', '.join(can_write)}) — a capture needs none of that: "
            "REVOKE it, or give the capture an account of its own"
        )
    else:
        lines.append(f"ok: {target}: {server.account} can only read")
    if grant := passwords_in(grants):
        lines.append(
            f"warn: {target}: {server.account} can read the password hashes of every account ({grant}) — "
            "grant SELECT on the tables that recipes and queries read instead"
        )
    return lines


async def _tls(login: Login, connection: Connection) -> str:
    if not connection.encrypted:
        return f"ok: {login.target}: not encrypted, as tls: off asks"
    ((_, cipher),) = await connection.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    checked = (
        "certificate verified" if login.mysql.tls is Tls.VERIFY else "certificate not checked, as tls: required asks"
    )
    return f"ok: {login.target}: encrypted with {cipher}, {checked}"
