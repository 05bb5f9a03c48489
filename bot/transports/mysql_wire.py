"""aiomysql with its gaps closed: the only file that knows the library.

Measured on aiomysql 0.3.2, each guarded here: it goes on in plain text when TLS was asked for and the
server has none; it lets statements be joined by ``;``; it hands over the password in plain text to a
server that asks for it; closing a cursor reads the rest of the answer, so no cursor is used; and a
connection that is closed under a reader raises AttributeError in place of the cancellation.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiomysql
from pymysql import err
from pymysql.connections import MAX_PACKET_LEN
from pymysql.constants import CLIENT, FIELD_TYPE

from bot.model import MySql
from bot.transports.mysql_errors import SqlError
from bot.transports.mysql_table import Column

_BINARY = 63  # the character set of bytes that are no text
_WHOLE = frozenset({FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG})
# Codes of the client's own, from the MySQL error reference; the server never sends them.
_CANNOT_CONNECT, _CONNECTION_LOST, _TOO_LARGE, _NO_TLS, _NO_PLUGIN = 2003, 2013, 2020, 2026, 2059
_PLAIN_PLUGINS = ("mysql_clear_password", "mysql_old_password")
_GARBLED = (struct.error, IndexError, ValueError, AssertionError, RuntimeError)  # of packets that are none


class Wire(aiomysql.Connection):  # type: ignore[misc]  # aiomysql ships no types
    """aiomysql's connection with its gaps closed."""

    def __init__(self, mysql: MySql, password: str, tls: ssl.SSLContext | None, socket: str | None) -> None:
        super().__init__(
            host=mysql.host,  # with a socket in its place this is only the name that TLS verifies
            port=mysql.port,
            unix_socket=socket,
            user=mysql.user,
            password=password.encode().decode("latin-1"),  # aiomysql encodes it as latin-1: the server gets UTF-8
            db=mysql.database,
            ssl=tls,
            charset="utf8mb4",
            use_unicode=False,
            conv={},  # no conversion: every value is the server's own text
            autocommit=True,
            program_name="capturebot",
        )
        self.client_flag &= ~CLIENT.MULTI_STATEMENTS
        self._reader: asyncio.StreamReader | None
        self._writer: asyncio.StreamWriter | None

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return bool(self._secure)

    async def open(self) -> None:
        """Connect and log in."""
        await self._connect()

    async def ask(self, text: str) -> tuple[Column, ...]:
        """Send a statement and read the head of its answer."""
        await self.query(text, unbuffered=True)
        if not self._result.field_count:
            return ()
        return tuple(
            Column(name=found.name, binary=found.charsetnr == _BINARY, whole=found.type_code in _WHOLE)
            for found in self._result.fields
        )

    async def row(self) -> tuple[bytes | None, ...] | None:
        """Read the next row, None after the last."""
        row: tuple[bytes | None, ...] | None = await self._result._read_rowdata_packet_unbuffered()  # noqa: SLF001  # a cursor's close would drain
        return row

    def close(self) -> None:
        """Drop the connection, whoever reads from it."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer:
            writer.transport.abort()  # a goodbye of TLS would wait for a server that may hang

    async def _request_authentication(self) -> None:
        self._secure = False  # aiomysql trusts every local socket; ours leads through a jump host to a network
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise err.OperationalError(
                _NO_TLS,
                "the server offers no TLS; no user and no password was sent to it — set it up there "
                "(ssl_cert, ssl_key), or set the target's tls to off",
            )
        if not self._ssl_context:
            self._refuse_plain(self._server_auth_plugin)
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if not self._secure:
            self._refuse_plain(plugin_name.decode(errors="replace"))
        return await super()._process_auth(plugin_name, auth_packet)

    def _refuse_plain(self, plugin: str) -> None:
        if plugin in _PLAIN_PLUGINS:
            raise err.OperationalError(_NO_PLUGIN, f"the server wants the password by {plugin} without TLS")

    async def _read_bytes(self, num_bytes: int) -> bytes:
        if self._reader is None:
            raise err.OperationalError(_CONNECTION_LOST, "the connection was closed")
        if num_bytes == MAX_PACKET_LEN:  # a row of more than one packet would grow without bound
            self.close()
            raise err.OperationalError(_TOO_LARGE, "a row is larger than 16 MiB: ask for LEFT(column, 1024)")
        data: bytes = await super()._read_bytes(num_bytes)
        return data


@contextmanager
def told(wire: Wire) -> Iterator[None]:
    """Turn what the library raises into SqlError, or the OSError behind it; close what is not in step any more."""
    try:
        yield
    except err.InterfaceError as error:
        raise SqlError(_CONNECTION_LOST, str(error)) from error
    except err.MySQLError as error:
        if error.args[0] == _CANNOT_CONNECT and isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        code, message = error.args if len(error.args) == 2 else (0, str(error))
        raise SqlError(code if isinstance(code, int) else 0, str(message)) from error
    except _GARBLED as error:
        wire.close()
        raise SqlError(0, f"its answer makes no sense: {error}") from error
    except BaseException:
        wire.close()
        raise
